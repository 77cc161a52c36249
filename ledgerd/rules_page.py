"""docs/rules.md, written from the rulebook, the law file and the English words: `ledgerd rules`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, Final

from ledgerd.rules.law import Dated, Law, load_law
from ledgerd_client.core.days import to_date
from ledgerd_client.rulebook import RULES, Rule

_TITLES: Final[Mapping[str, str]] = {
    "K1": "What is no record",
    "K2": "Parties and places",
    "K3": "A contract in effect",
    "K4": "Filing",
    "K5": "Impact assessment",
    "K6": "Scope",
    "K7": "Provision onward",
    "K8": "Important data",
    "K9": "Consent",
    "K10": "Notice",
    "K11": "Yearly counters and routes",
    "K12": "Exemption by number",
    "K13": "Critical information infrastructure",
    "K14": "Split volumes",
    "K15": "Both halves of a transfer",
    "K16": "Retention and disposal",
    "K17": "Incidents",
    "K18": "Credit reference",
    "K19": "Human genetic resources",
    "K20": "Direct marketing",
    "K21": "How long records are kept",
    "K22": "Scale",
    "K23": "Validity of an assessment or a certificate",
    "K24": "Requests of public bodies",
    "C1": "Both halves of a contract",
    "C2": "Records of a contract that is not known",
    "C3": "Corrections",
    "L1": "Late records",
    "L2": "Codes out of use",
    "S1": "Stolen keys",
}

_HEAD: Final = """\
# The rules

Written by `ledgerd rules` from law {version}; do not edit. A finding says what a record shows, or
that no record is found; it decides nothing, and it is not legal advice. Each finding names the
RULESET entry by which it was made, and that entry the version of the law and the hash of its file.

*Where* says whose node can see a thing: the exporter's or the recipient's, its own (either node, of
its own institutions), both (from headers alone), or the one that was asked to admit it. What a rule
would need of the other side's records is not visible from here, and never reported as well.

Grades of sources: A read, B law firm, C quoted by others, GK general knowledge, ours: a figure of
this system that no law gives. *Unread* means that the text itself was not read in full: compare it
with the official one before relying on the rule.
"""


def render_rules(version: str) -> str:
    """Return the page on a version of the law; raises NotReadyError NO_SUCH_LAW."""
    law = load_law(version)
    words = tomllib.loads(files("ledgerd_client").joinpath("words", "en.toml").read_text("utf-8"))
    ordered = sorted(RULES.values(), key=_order)
    parts = [_HEAD.format(version=law.version)]
    for group, rules in groupby(ordered, key=lambda rule: rule.id.partition(".")[0]):
        lines = [f"## {group} {_TITLES[group]}", ""]
        parts.append("\n".join((*lines, *_table(_RULE_COLUMNS, _rule_rows(rules, law, words)))))
    parts += ["\n".join(section) for section in (_readings(words), _figures(law), _sources(law))]
    parts.append("\n".join(_calendars(law)))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _order(rule: Rule) -> tuple[str, int]:
    """K before C and L, and K2 before K10; within a group as the rulebook has them."""
    letter, number = rule.id[0], rule.id[1:].partition(".")[0]
    return str("KCLS".index(letter)), int(number)


_RULE_COLUMNS: Final = ("Rule", "Finds", "Severity", "Where", "Source", "Figures", "Cured by")


def _rule_rows(
    rules: Iterable[Rule], law: Law, words: Mapping[str, Any]
) -> Iterator[Sequence[str]]:
    for rule in rules:
        severity = words["word"][f"severity_{rule.severity}"]
        if rule.review:
            severity += f", {words['word']['review']}"
        source = f"{', '.join(rule.sources)} ({rule.grade}{', unread' if rule.unread else ''})"
        if rule.reading:
            source += f"; readings: {rule.reading}"
        yield (
            f"`{rule.id}`",
            _plain(words["rule"][rule.id]["says"]),
            severity,
            rule.where,
            source,
            ", ".join(_figure(name, law) for name in rule.parameters),
            _plain(words["rule"][rule.id]["cure"]),
        )


def _plain(sentence: str) -> str:
    """A sentence with the names of its numbers in the place of them."""
    return re.sub(r"{(\w+?)(_on|_at)?}", lambda found: f"*{found[1].replace('_', ' ')}*", sentence)


def _figure(name: str, law: Law) -> str:
    figures = [figure for figure in law.figures if figure.name == name]
    return f"{name} {_number(figures[-1])}" if figures else f"{name} (RULESET)"


def _number(figure: Dated) -> str:
    return f"{figure.value:,}"


def _readings(words: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "## Readings",
        "",
        "Where a source can be read in two ways, a finding shows both.",
        "",
    )
    keys = sorted({rule.reading for rule in RULES.values() if rule.reading})
    yield from _table(
        ("Key", "One", "The other"), ((key, *words["reading"][key].values()) for key in keys)
    )


def _figures(law: Law) -> Iterator[str]:
    yield from (
        "## Figures",
        "",
        "On a day on which a figure is not in force, its rule is not.",
        "",
    )
    rows = (
        (
            f"`{figure.name}`",
            _number(figure),
            _date(figure.valid_from),
            "" if figure.valid_to is None else _date(figure.valid_to),
            figure.source,
        )
        for figure in law.figures
    )
    yield from _table(("Figure", "Value", "From", "Until", "Source"), rows)


def _sources(law: Law) -> Iterator[str]:
    yield from ("## Sources", "")
    rows = (
        (f"`{name}`", source.grade, "unread" if source.unread else "", source.text)
        for name, source in law.sources.items()
    )
    yield from _table(("Source", "Grade", "", "What it says"), rows)


def _calendars(law: Law) -> Iterator[str]:
    yield from ("## Calendars", "")
    yield "A deadline that needs a year which is not here is provisional, and nobody is late by it."
    yield ""
    rows = (
        (side, str(year), _dates(holidays), _dates(workdays))
        for side, calendar in law.calendars.items()
        for year, (holidays, workdays) in sorted(calendar.years.items())
    )
    yield from _table(("Side", "Year", "Weekdays that are free", "Weekend days worked"), rows)


def _dates(days: frozenset[int]) -> str:
    return ", ".join(_date(day)[5:] for day in sorted(days))


def _date(day: int) -> str:
    date = to_date(day)
    return f"{date // 10_000:04}-{date // 100 % 100:02}-{date % 100:02}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"

"""
Codes, findings and errors in words: English, and Chinese as the Mainland and Hong Kong write it.

The words stand in words/*.toml, one file a language, with the same entries in each. What is
recorded holds numbers only, so that no word is ever signed or translated after the fact.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, NamedTuple, Self

from ledgerd_client._results import Finding
from ledgerd_client._values import LOCAL, from_micros, to_date
from ledgerd_client.core.errors import InputError
from ledgerd_client.rulebook import RULES

LANGUAGES = ("en", "zh-Hans", "zh-Hant")


class Told(NamedTuple):
    """A finding in words; readings are the two ways to read its source, if it is disputed."""

    says: str
    cure: str
    # Whose node can see it, and so who cannot.
    where: str
    readings: tuple[str, ...]
    severity: str


class ReportWords(NamedTuple):
    """A report in words."""

    title: str
    shows: str
    cannot: str


class Catalogue:
    """
    The words of one language.

    English has no labels, errors and troubles of its own: its labels are the fields' names, and the
    others say in English what they are.
    """

    def __init__(self, lang: str) -> None:
        """One of LANGUAGES; see load()."""
        self.lang = lang

    @cached_property
    def _words(self) -> Mapping[str, Any]:
        words = files("ledgerd_client").joinpath("words", f"{self.lang}.toml")
        return tomllib.loads(words.read_text("utf-8"))

    @classmethod
    @cache
    def load(cls, lang: str) -> Self:
        """Those of a language of LANGUAGES; raises InputError UNKNOWN_LANGUAGE."""
        if lang not in LANGUAGES:
            raise InputError(
                f"there are no words in {lang!r}",
                reason="UNKNOWN_LANGUAGE",
                action=f"use one of {', '.join(LANGUAGES)}",
            )
        return cls(lang)

    def finding(self, finding: Finding) -> Told:
        """
        What a rule says, and what would cure it.

        Of a rule that this version does not know: its id, and the numbers.
        """
        rule = RULES.get(finding.rule)
        if rule is None:
            severity = self.word(f"severity_{finding.severity}")
            return Told(_listed(finding), "", "", (), severity)
        # A closing does not say it again.
        severity = self.word(f"severity_{finding.severity or rule.severity}")
        words = self._words["rule"][finding.rule]
        numbers = _Numbers(finding.numbers)
        says = string.Formatter().vformat(words["says"], (), numbers)
        cure = string.Formatter().vformat(words["cure"], (), numbers)
        for name in ("provisional", "found_later"):
            if finding.numbers.get(name):
                says = f"{says} {self.word(name).format_map(numbers)}"
        if rule.review:
            severity = f"{severity}, {self.word('review')}"
        reading = self._words["reading"].get(rule.reading, {})
        where = self.word(f"where_{rule.where}")
        return Told(says, cure, where, tuple(reading.values()), severity)

    def code(self, table: str, number: int) -> str:
        """What a number of a table of core/codes.py means; the number itself if it is not known."""
        word: str = self._words["code"].get(table, {}).get(str(number), str(number))
        return word

    def error(self, reason: str) -> tuple[str, str] | None:
        """What an error of a reason is, and what to do; None if it is not known here."""
        words = self._words.get("error", {}).get(reason)
        return (words["what"], words["do"]) if words else None

    def trouble(self, code: str) -> tuple[str, str] | None:
        """What a trouble of a node is, and what to do first; None if it is not known here."""
        words = self._words.get("trouble", {}).get(code)
        return (words["what"], words["do"]) if words else None

    def report(self, name: str) -> ReportWords:
        """What a report is called, what it shows, and what no report of this kind can show."""
        return ReportWords(**self._words["report"][name])

    def column(self, name: str) -> str:
        """The heading of a report's column, with its unit; the name itself if it is not known."""
        word: str = self._words["column"].get(name) or name.replace("_", " ")
        return word

    def word(self, key: str) -> str:
        """A state, a severity, a phrase; the key itself if it is not known."""
        word: str = self._words["word"].get(key, key)
        return word

    def label(self, name: str) -> str:
        """What a field is called where people read it."""
        word: str = self._words.get("label", {}).get(name) or name.replace("_", " ")
        return word


class _Numbers(dict[str, str]):
    """Of a finding, as they are printed; one that is missing is a question mark."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        super().__init__({name: _printed(name, number) for name, number in numbers.items()})

    def __missing__(self, name: str) -> str:
        return "?"


def _printed(name: str, number: int) -> str:
    if name.endswith("_on"):
        day = to_date(number)
        return day.isoformat() if day else "?"
    if name.endswith("_at"):
        return from_micros(number).astimezone(LOCAL).isoformat()
    return str(number) if name == "year" else f"{number:,}"


def _listed(finding: Finding) -> str:
    numbers = (f"{name} {number}" for name, number in finding.numbers.items())
    return ", ".join((finding.rule, *numbers))

"""What was to be found beside what was found: recall and precision of each rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.table import Table
from scenarios.story import ANY, Expected

RULES = [f"K{number}" for number in range(1, 25)]
EVERYDAY = "everyday"
_SAME_EDGE = "-"


class Found(NamedTuple):
    """A finding of a node's log, by the story's name of the record that it rests on first."""

    node: str
    rule: str
    edge: str
    label: str
    closed: bool
    severity: int

    def __str__(self) -> str:
        state = "closed" if self.closed else "stands"
        return f"{self.node} {self.rule} on {self.edge}/{self.label} ({state})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """matched: pairs of what was expected and found; the rest of either is wrong."""

    matched: list[tuple[Expected, Found]]
    missing: list[Expected]
    extra: list[Found]

    @classmethod
    def of(cls, expected: Iterable[Expected], found: Iterable[Found]) -> Comparison:
        """Match the most particular expectations first, each with a finding of its own."""
        left = Counter(found)
        matched: list[tuple[Expected, Found]] = []
        missing: list[Expected] = []
        vague = {_SAME_EDGE: 1, ANY: 2}
        for wanted in sorted(expected, key=lambda row: (vague.get(row.label, 0), row)):
            candidates = [each for each in left if _meets(wanted, each)]
            if not candidates:
                missing.append(wanted)
                continue
            taken = min(candidates)
            matched.append((wanted, taken))
            left[taken] -= 1
            if not left[taken]:
                del left[taken]
        return cls(matched, missing, sorted(left.elements()))

    def rows(self) -> dict[str, dict[str, Any]]:
        """As build/scenarios.json: of each rule what was planted, and how much of it was found."""
        hit = Counter(_rule(wanted.rule) for wanted, _ in self.matched)
        lost = Counter(_rule(wanted.rule) for wanted in self.missing)
        wrong = Counter(_rule(found.rule) for found in self.extra)
        return {rule: row(hit[rule], lost[rule], wrong[rule]) for rule in RULES}


def row(hit: int, lost: int, wrong: int) -> dict[str, Any]:
    return {
        "planted": hit + lost,
        "found": hit,
        "recall": round(hit / (hit + lost), 4) if hit + lost else 0.0,
        "precision": round(hit / (hit + wrong), 4) if hit + wrong else 0.0,
    }


def wrong_severities(found: Iterable[Found], severities: Mapping[str, int]) -> list[str]:
    """Findings of another severity than the table's, each rule once."""
    return sorted(
        {
            f"{each.rule} has severity {each.severity}, not {wanted}"
            for each in found
            if (wanted := severities.get(each.rule, severities.get(_rule(each.rule), 0)))
            != each.severity
        }
    )


def table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    shown = Table("rule", "planted", "found", "recall", "precision", title=title)
    for rule, figures in rows.items():
        style = "" if figures["recall"] == figures["precision"] == 1.0 else "bold red"
        shown.add_row(rule, *(str(figure) for figure in figures.values()), style=style)
    return shown


def _meets(wanted: Expected, found: Found) -> bool:
    if (wanted.node, wanted.rule, wanted.closed) != (found.node, found.rule, found.closed):
        return False
    if wanted.label == ANY:
        return True
    return wanted.edge == found.edge and wanted.label in {_SAME_EDGE, found.label}


def _rule(rule_id: str) -> str:
    return rule_id.partition(".")[0]

"""Rows of the benchmark: shown as a table, and kept in build/bench.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

KEPT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


@dataclass(frozen=True, slots=True)
class Row:
    """value and floor in unit; at_least tells on which side of goal, if any, the ratio should be."""

    ratio: float
    value: float
    floor: float
    unit: str
    goal: float | None
    at_least: bool = True

    @property
    def reached(self) -> bool:
        if self.goal is None:
            return True
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


def show(rows: dict[str, Row]) -> None:
    """Print rows, and keep them in place of older ones of the same names."""
    table = Table("", "ratio", "goal", "value", "floor", "unit")
    for name, row in rows.items():
        bound = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal}"
        figures = f"{row.value:,.4g}", f"{row.floor:,.4g}"
        mark = "" if row.reached else " (not reached)"
        table.add_row(name, f"{row.ratio:.2f}", bound + mark, *figures, row.unit)
    Console().print(table)
    KEPT.parent.mkdir(exist_ok=True)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept |= {name: asdict(row) for name, row in rows.items()}
    KEPT.write_text(json.dumps(kept, indent=2) + "\n")

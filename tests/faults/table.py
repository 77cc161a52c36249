"""The table of docs/reliability.md, as a run prints it."""

from __future__ import annotations

from collections.abc import Iterable

from faults.oracle import Tally
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

COLUMNS = (
    "fault", "runs", "acknowledged", "lost", "doubled", "inconsistent checkpoints", "audits passed",
)  # fmt: skip


def render(tallies: Iterable[Tally]) -> str:
    """Numbered, in Markdown."""
    table = Table("", *COLUMNS, box=MARKDOWN)
    for number, row in enumerate(tallies, 1):
        counts = (row.runs, row.acknowledged, row.lost, row.doubled, row.inconsistent)
        passed = f"{row.passed:,} of {row.audits:,}"
        table.add_row(str(number), row.fault, *map("{:,}".format, counts), passed)
    return rendered(table)


def rendered(table: Table) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    return captured.get().strip()

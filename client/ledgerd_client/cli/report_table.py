"""A report on a terminal, for whoever reads tables and nothing else."""

from __future__ import annotations

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ledgerd_client.cli.output import pad, printable, width, words
from ledgerd_client.cli.terminal import cells_wide
from ledgerd_client.reports import REPORTS
from ledgerd_client.reports.model import Report, Table
from ledgerd_client.reports.text import headings, lines_of, shown

_SENTENCE = 26
_BETWEEN = "   "
_RIGHT = frozenset(("count", "index", "days", "hours", "share"))


def print_report(report: Report) -> None:
    """Title, what it shows, its tables, what it rests on, and what it cannot show."""
    told = words().report(report.name)
    typer.echo(f"{REPORTS[report.name].number}. {told.title}\n{told.shows}")
    for table in report.tables:
        typer.echo(f"\n{words().column(f'table_{table.name}')}")
        if table.rows:
            _print_table(table)
        else:
            typer.echo(f"  {words().word('nothing_found')}")
    typer.echo(f"\n{words().word('rests_on')}")
    _print_lines([(words().column(name), value) for name, value in lines_of(report)])
    typer.echo(f"\n{words().word('cannot_show')} {told.cannot}")


def _print_table(table: Table) -> None:
    """As a table, without columns in which nothing stands; where it does not fit, row by row."""
    names = headings(table.columns, words())
    rows = [
        [
            printable(shown(cell, column.unit, words()))
            for cell, column in zip(row, table.columns, strict=True)
        ]
        for row in table.rows
    ]
    full = [place for place in range(len(names)) if any(row[place] for row in rows)]
    wide = cells_wide()
    if sum(_needed(names[place], [row[place] for row in rows]) for place in full) > wide:
        for count, row in enumerate(rows):
            typer.echo("\n" * bool(count), nl=False)
            _print_lines([(names[place], row[place]) for place in full if row[place]])
        return
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place in full:
        right = table.columns[place].unit in _RIGHT
        grid.add_column(names[place], justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(row[place]) for place in full))
    Console(width=wide, color_system=None, highlight=False).print(grid)


def _needed(name: str, cells: list[str]) -> int:
    """How wide a column is, at least, to be read: a sentence may wrap, and a name may not."""
    return min(max(map(width, (name, *cells))), _SENTENCE) + len(_BETWEEN)


def _print_lines(lines: list[tuple[str, str]]) -> None:
    wide = max(width(label) for label, _ in lines)
    for label, value in lines:
        typer.echo(printable(f"  {pad(label, wide)}  {value}"))

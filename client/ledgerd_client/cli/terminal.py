"""How wide a terminal is, and what is laid out by that."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable

import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ledgerd_client.cli.output import printable

# Of what is not a terminal, whose lines wrap nowhere.
_WIDE = 240


def cells_wide() -> int:
    """How many cells a line has."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return _WIDE


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and, beside them, values, which wrap within their own column."""
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(Text(printable(name)), Text(printable(value)))
    console = Console(width=cells_wide(), color_system=None, highlight=False)
    with console.capture() as laid_out:
        console.print(grid)
    # Without the blanks that fill each line up.
    typer.echo("\n".join(line.rstrip() for line in laid_out.get().splitlines()))

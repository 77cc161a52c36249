"""What commands say to whoever ran them: on standard error, and by their exit code."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from ledgerd.commands.exits import STORE_FAILED, node_exit
from ledgerd_client.core.errors import LedgerError, StoreError


@contextmanager
def store_watched() -> Iterator[None]:
    """Exit with STORE_FAILED, and say why, when a store fails in the block."""
    try:
        yield
    except StoreError as error:
        explain(error)
        raise typer.Exit(STORE_FAILED) from None


@contextmanager
def ending_as_a_node() -> Iterator[None]:
    """Say what ends the block, and exit as node_exit has it: the service manager goes by that."""
    try:
        yield
    except LedgerError as error:
        explain(error)
        raise typer.Exit(node_exit(error)) from None


def explain(error: LedgerError) -> None:
    """Say an error in one line, with what to do."""
    from ledgerd.observe.logs import in_journal, prefix

    marked = prefix("error") if in_journal() else ""
    say(f"{marked}ledgerd: {error.message} ({error.reason}). What to do: {error.action}.")
    # Signed notes that prove it.
    for evidence in getattr(error, "__notes__", ()):
        for line in evidence.splitlines():
            say(line)


def say(words: str) -> None:
    """Say a line, part of which may come from a stranger's file."""
    typer.echo(printable(words), err=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Call what is given with how much is done, and of how much; only a terminal shows a bar."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # Elsewhere, say under cron, it would leave an empty line.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def printable(words: str) -> str:
    """A line without what could steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in words)

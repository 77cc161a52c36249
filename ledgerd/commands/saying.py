"""What commands say to whoever ran them, on standard error."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import typer

from ledgerd_client.core.errors import LedgerError


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


def printable(words: str) -> str:
    """A line without what could steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in words)

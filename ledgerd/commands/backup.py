"""`ledgerd backup`: the ledger into a directory, beside the node that serves it."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import say


def backup(
    to: Annotated[Path, typer.Option(help="Where backups are kept; made if it is not there.")],
    config: ConfigFile = NODE_TOML,
    keep: Annotated[int, typer.Option(min=1, help="How many to keep; older ones go.")] = 7,
) -> None:
    """
    Back the ledger up while it is served, and read back what was written.

    Each backup is a directory that is whole by itself, and shares with the one before what is the
    same. It has entries and no keys: keep these elsewhere. `ledgerd restore --from` takes it.
    """
    from rich.console import Console
    from rich.progress import Progress

    from ledgerd.backup import making
    from ledgerd.config import Config

    loaded = Config.load(config)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("backing up", total=None)
        made = making.backup(
            loaded,
            to,
            keep=keep,
            clock=lambda: time.time_ns() // 1000,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(f"{made.path}: {made.entries} entries, {made.added} of them new, read back whole.")
    if to.stat().st_dev == loaded.data.stat().st_dev:
        say(f"{to} is on the file system of the ledger itself: keep a copy of it elsewhere.")

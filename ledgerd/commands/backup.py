"""`ledgerd backup`: the ledger into a directory, beside the node that serves it."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ledgerd.clock import now
from ledgerd.commands.exits import FAILED
from ledgerd.commands.options import NODE_TOML, ConfigFile, Json
from ledgerd.commands.saying import printable, progress_bar, say

if TYPE_CHECKING:
    from ledgerd.backup.listing import Listed

# The end of the year 9999, µs.
_LAST: Final = 253_402_300_799_999_999


def backup(
    to: Annotated[Path, typer.Option(help="Where backups are kept; made if it is not there.")],
    config: ConfigFile = NODE_TOML,
    keep: Annotated[int, typer.Option(min=1, help="How many to keep; older ones go.")] = 7,
    list_: Annotated[
        bool, typer.Option("--list", help="Make none: list those that are there, of whatever logs.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="With --list: read every file, and compare digests.")
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Back the ledger up while it is served, and read back what was written.

    Each backup is a directory that is whole by itself, and shares with the one before what is the
    same. It has entries and no keys: keep these elsewhere. `ledgerd restore --from` takes it.

    With --list it says which there are, and needs no configuration; exit code 1 when one of them is
    not whole.
    """
    if list_:
        _list(to, verify=verify, as_json=as_json)
    elif verify or as_json:
        raise typer.BadParameter("--verify and --json go with --list")
    else:
        _make(to, config, keep)


def _make(to: Path, config: Path, keep: int) -> None:
    from ledgerd.backup import making
    from ledgerd.config import Config

    loaded = Config.load(config)
    with progress_bar("backing up") as progress:
        made = making.backup(loaded, to, keep=keep, clock=now, progress=progress)
    typer.echo(f"{made.path}: {made.entries} entries, {made.added} of them new, read back whole.")
    if to.stat().st_dev == loaded.data.stat().st_dev:
        say(f"{to} is on the file system of the ledger itself: keep a copy of it elsewhere.")


def _list(directory: Path, *, verify: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import track

    from ledgerd.backup.listing import examine, find_backups

    found = find_backups(directory)
    looking = examine(found, verify=verify)
    listed = list(
        track(looking, "looking", len(found), console=Console(stderr=True), transient=True)
    )
    if as_json:
        for each in listed:
            row = {**each._asdict(), "path": str(each.path), "made_at": _when(each)}
            typer.echo(json.dumps({**row, "whole": not each.fault, "verified": verify}))
    else:
        _print(listed, verify=verify)
    if any(each.fault for each in listed):
        raise typer.Exit(FAILED)


def _print(listed: Sequence[Listed], *, verify: bool) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Column, Table
    from rich.text import Text

    # Its name is when it was made, unless somebody gave it another.
    table = Table(
        Column("backup", no_wrap=True),
        Column("of", overflow="fold"),
        Column("entries", justify="right", no_wrap=True),
        Column("peer's", justify="right", no_wrap=True),
        Column("size", justify="right", no_wrap=True),
        Column("is", no_wrap=True),
        box=None,
        pad_edge=False,
    )
    for each in listed:
        whole = Text("verified" if verify else "whole", "green")
        table.add_row(
            Text(printable(each.path.name)),
            Text(printable(each.origin)),
            str(each.entries),
            str(each.peer_entries),
            decimal(each.size),
            Text("not whole", "bold red") if each.fault else whole,
        )
    Console(highlight=False).print(table)
    for each in listed:
        if each.fault:
            say(f"{each.path.name}: {each.fault}")


def _when(listed: Listed) -> str:
    """Empty of one that does not say, or says what is no time."""
    if not 0 < listed.made_at <= _LAST:
        return ""
    made_at = datetime.fromtimestamp(listed.made_at // 1_000_000, UTC)
    return made_at.isoformat().replace("+00:00", "Z")

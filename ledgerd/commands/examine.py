"""`ledgerd check` and `ledgerd doctor`: what is wrong, and what to do."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

import typer

from ledgerd.commands.exits import BAD_INPUT, FAILED
from ledgerd.commands.options import NODE_TOML, ConfigFile, Json
from ledgerd.commands.saying import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledgerd.doctor.result import Result

_STYLES: Final = {"ok": "green", "wrong": "bold red", "could not tell": "yellow"}


def check(config: ConfigFile = NODE_TOML, as_json: Json = False) -> None:
    """
    Say everything that is wrong with the configuration, each with the setting's name.

    Nothing but the file is looked at. Exit code 2 when something is wrong.
    """
    from ledgerd.config import Config

    faults = Config.faults(config)
    for fault in faults:
        if as_json:
            row = {"reason": fault.reason, "message": fault.message, "action": fault.action}
            typer.echo(json.dumps(row))
        else:
            told = f"{fault.message} ({fault.reason}). What to do: {fault.action}."
            typer.echo(printable(told))
    if faults:
        raise typer.Exit(BAD_INPUT)
    if not as_json:
        typer.echo(
            f"{config}: every setting is allowed. The files that it names: `ledgerd doctor`."
        )


def doctor(config: ConfigFile = NODE_TOML, as_json: Json = False) -> None:
    """
    Examine the node and its machine, and name what is wrong; the node may run.

    Run it as root, or as the node's user. It appends nothing, and writes nothing that stays.
    What needs something that is wrong can't be told, so that one fault is named once. Exit code 1
    when something is wrong, 2 when that is the configuration.
    """
    from ledgerd.config import Config
    from ledgerd.doctor.examining import examine
    from ledgerd.doctor.result import Verdict

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Where the unit's credentials are, for one that is called outside of it.
    os.environ.setdefault("CREDENTIALS_DIRECTORY", "/run/credentials/ledgerd.service")
    results = examine(Config.load(config))
    if as_json:
        for name, result in results.items():
            typer.echo(json.dumps({"check": name, **result._asdict()}))
    else:
        _print(results)
    if any(result.verdict is Verdict.WRONG for result in results.values()):
        raise typer.Exit(FAILED)


def _print(results: Mapping[str, Result]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table("check", "", Column("found", overflow="fold"), box=None, pad_edge=False)
    for name, result in results.items():
        table.add_row(name, Text(result.verdict, _STYLES[result.verdict]), Text(_said(result)))
    Console(highlight=False).print(table)


def _said(result: Result) -> str:
    """Names come from files, and from who answered."""
    lines = [result.found, *([f"→ {result.action}"] if result.action else [])]
    return "\n".join(map(printable, lines))

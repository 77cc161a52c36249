"""`ledgerctl trust keys`: a log's key history, for whoever verifies or signs away from the node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.cli.admin import key_history
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config
from ledgerd_client.cli.keys import trust
from ledgerd_client.cli.output import Json, emit
from ledgerd_client.config import Settings
from ledgerd_client.keyfile import write_new

__all__ = ["trust"]


@trust.command("keys")
def fetch_keys(
    out: Annotated[Path, typer.Option(help="The key history to make, usually *.keys.")],
    origin: Annotated[str, typer.Option(help="Of which log; else of one's own side's.")] = "",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Fetch a log's key history as it is now, verified under the trust file that settings name.

    It is what `authority rotate`, `receipt verify` and `evidence verify` take as --keys.
    """
    settings = Settings.from_file(config)
    history = asyncio.run(key_history(settings, settings.read_trust(), origin or settings.origin))
    write_new(out, history.format(), mode=0o644)
    fields = {"origin": history.origin, "entries": len(history.entries), "key_history": str(out)}
    emit(fields, as_json=as_json)

"""`ledgerd mirror`: a regulator's own copy."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from ledgerd.commands.saying import explain, progress_bar, store_watched


def mirror(
    settings: Annotated[Path, typer.Option(help="The regulator's client.toml.")],
    data: Annotated[Path, typer.Option(help="Where the mirror is, or is made.")],
    socket: Annotated[
        Path | None, typer.Option(help="Where it answers; by default mirror.sock in --data.")
    ] = None,
    once: Annotated[bool, typer.Option(help="Catch up with the node, and exit.")] = False,
) -> None:
    """
    Keep a regulator's own copy of a ledger, and answer from it as the node does.

    Every entry is verified as `ledgerd audit` verifies a store, and nothing is shown before the
    node's signed root came out. It needs a grant that covers everything. Ask it with
    `ledgerctl … --mirror SOCKET`; what it is asked is on nobody's record. SIGTERM or SIGINT ends
    it; it goes on where it stopped, after a crash too.
    """
    from ledgerd import mirroring
    from ledgerd.observe.logs import configure_logs
    from ledgerd_client.config import Settings

    configure_logs("warning")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    loaded = Settings.from_file(settings)
    listen = None if once else (socket or data / "mirror.sock").absolute()
    with store_watched(), progress_bar("mirroring") as progress:
        asyncio.run(mirroring.mirror(loaded, data, listen, progress=progress, say=explain))

"""`ledgerd serve`: a node that runs."""
# ruff: noqa: PLC0415 - so that a worker does not load the whole daemon

from __future__ import annotations

import asyncio
import functools
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledgerd.commands.options import NODE_TOML, ConfigFile
from ledgerd.commands.saying import ending_as_a_node

if TYPE_CHECKING:
    from ledgerd.config import Config


def serve(
    config: ConfigFile = NODE_TOML,
    throwaway: Annotated[bool, typer.Option("--throwaway", hidden=True)] = False,
) -> None:
    """
    Serve a ledger that `ledgerd init` made, until SIGTERM or SIGINT.

    It then finishes the calls in flight and exits 0. It takes a ledger up where its store left it,
    after a crash as after a stop, and never makes one.
    """
    from ledgerd.config import Config
    from ledgerd.observe.logs import configure_logs
    from ledgerd.observe.telemetry import export_traces

    loaded = Config.load(config)
    configure_logs(loaded.log_level)
    # Its own lines are no JSON, and a stranger could fill the log with failed handshakes.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    export_traces()
    asyncio.run(_serve(loaded, config, throwaway=throwaway))


async def _serve(config: Config, path: Path, *, throwaway: bool) -> None:
    from ledgerd.config import Config
    from ledgerd.daemon import run

    loop = asyncio.get_running_loop()
    stop, reload, ready = asyncio.Event(), asyncio.Event(), loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    load = functools.partial(Config.load, path)
    with ending_as_a_node():
        await run(config, stop=stop, ready=ready, reload=reload, load=load, throwaway=throwaway)

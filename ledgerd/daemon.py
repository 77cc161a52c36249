"""The composition root: one node, started in order and undone in reverse."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from ledgerd.background import Background
from ledgerd.config import Config
from ledgerd.ledger.child import tune_collector
from ledgerd.node import Node
from ledgerd.notify import Notifier

_log = structlog.get_logger()


async def run(
    config: Config, *, stop: asyncio.Event, ready: asyncio.Future[int], throwaway: bool = False
) -> None:
    """
    Serve until stop is set; resolve ready with the bound port once calls are answered.

    Calls in flight when stop is set are finished. throwaway allows the keys of a trial. Raises
    LedgerError when the node can't start, and StoreError, also after ready, when its store fails:
    the process must then end, and the next one starts from what is on the disk.
    """
    notifier, background = Notifier.from_environment(), Background(stop)
    async with AsyncExitStack() as stack:
        node = Node(config, stack, background, notifier, throwaway=throwaway)
        port = await node.start()
        tune_collector()
        _log.info("serving", origin=config.origin, port=port, size=node.reader.head().size)
        notifier.ready(node.status)
        ready.set_result(port)
        await stop.wait()
        _log.info("stopping", origin=config.origin)
        notifier.stopping()
    background.raise_failure()
    _log.info("stopped", origin=config.origin)

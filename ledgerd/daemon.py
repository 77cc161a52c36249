"""The composition root: one node, started in order and undone in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog

from ledgerd.background import Background
from ledgerd.config import Config
from ledgerd.ledger.child import tune_collector
from ledgerd.node.running import Node
from ledgerd.observe.notify import Notifier
from ledgerd.reloading import Reloader

_log = structlog.get_logger()


async def run(
    config: Config,
    *,
    stop: asyncio.Event,
    ready: asyncio.Future[int],
    reload: asyncio.Event | None = None,
    load: Callable[[], Config] | None = None,
    throwaway: bool = False,
) -> None:
    """
    Serve until stop is set; resolve ready with the bound port once calls are answered.

    Calls in flight when stop is set are finished. Whenever reload is set, what load gives is taken
    over as far as it can be (Reloader). throwaway allows the keys of a trial. Raises
    LedgerError when the node can't start, and StoreError, also after ready, when its store fails:
    the process must then end, and the next one starts from what is on the disk.
    """
    notifier, background = Notifier.from_environment(), Background(stop)
    async with AsyncExitStack() as stack:
        node = Node(config, stack, background, notifier, throwaway=throwaway)
        port = await node.start()
        tune_collector()
        _log.info("serving", origin=config.origin, port=port, size=node.opened.reader.head().size)
        notifier.ready(node.status)
        if reload is not None and load is not None:
            background.start(Reloader(node, notifier, load).run(reload))
        ready.set_result(port)
        await stop.wait()
        _log.info("stopping", origin=config.origin)
        notifier.stopping()
    background.raise_failure()
    _log.info("stopped", origin=config.origin)

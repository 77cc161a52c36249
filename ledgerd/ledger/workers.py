"""
Worker processes for what costs processor time: parsing and checking signatures.

Threads that drop the GIL for a signature wait for it again behind whoever computes; processes do
not. They are spawned, never forked: a fork would carry the store's open environment along.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from ledgerd_client.core.errors import UnavailableError

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """A pool of processes. Belongs to one event loop."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.count, context, initializer=_prepare)

    async def start(self) -> None:
        """Return when every worker answers, so that the first call does not pay for it."""
        await asyncio.gather(*(self.run(_ready) for _ in range(self.count)))

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Call a module-level function in a worker; its exception is raised here.

        Raises UnavailableError when the worker died; the pool is then replaced.
        """
        pool = self._pool
        try:
            return await asyncio.wrap_future(pool.submit(function, *args, **kwargs))
        except BrokenProcessPool:
            if pool is self._pool:
                self._pool = self._new_pool()
            raise UnavailableError("a worker process died; try again") from None

    def close(self) -> None:
        """End the workers; calls under way are finished first."""
        self._pool.shutdown()


def _prepare() -> None:
    # The parent drains first and ends its workers itself, also when a terminal signals both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A parent that was killed ends nobody, and its workers would wait for calls for ever: each
    # holds the other end of the queue open itself.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ready() -> None:
    """Nothing: that it was called is the answer."""

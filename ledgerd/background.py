"""What runs beside the calls for as long as the node does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

from ledgerd_client.core.errors import LedgerError, StoreError

_log = structlog.get_logger()


class Background:
    """
    Tasks that never end by themselves. When one fails the node must stop: stop is then set.

    A node without its watchdog, or its high-water mark, would be less than it says it is.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: StoreError | None = None

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def stop(self) -> None:
        """Cancel them all, and wait until they are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fail(self, error: StoreError) -> None:
        """Say that the process must end; the first reason counts."""
        _log.critical("failed", reason=error.reason, message=error.message, action=error.action)
        self._failure = self._failure or error
        self._stop.set()

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StoreError):
            self.fail(error)
        elif error is not None:
            _log.critical("task_failed", exc_info=error)
            what = error.message if isinstance(error, LedgerError) else type(error).__name__
            self.fail(StoreError(f"a task of the node failed: {what}", reason="TASK_FAILED"))

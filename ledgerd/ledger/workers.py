"""Worker processes for what costs processor time: parsing and checking signatures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from ledgerd.ledger.child import Child
from ledgerd_client.core.errors import UnavailableError

# How far workers stand back: who waits for a processor beside one gets it three times as long.
_NICENESS: Final = 5

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """A pool of processes, each given one call at a time. Belongs to one event loop."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._children: set[Child] = set()
        self._idle: asyncio.LifoQueue[Child] = asyncio.LifoQueue()
        self._closed = False

    async def start(self) -> None:
        """Return when every worker answers, so that the first call does not pay for it."""
        for child in await asyncio.gather(*(self._new() for _ in range(self.count))):
            self._idle.put_nowait(child)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """
        Call a module-level function in a worker; its exception is raised here.

        Raises UnavailableError when the worker died, which is then replaced, or when there are
        none any more.
        """
        if self._closed:
            raise UnavailableError("the node is stopping; try again in a moment", reason="STOPPING")
        child = await self._idle.get()
        try:
            result: R = await child.ask(function, args, kwargs)
        except UnavailableError:
            if not (child.answers or self._closed):
                child = await self._replaced(child)
            raise
        finally:
            # Also when the caller went away: questions are answered in their order.
            self._idle.put_nowait(child)
        return result

    async def close(self) -> None:
        """End the workers; calls under way are finished first."""
        self._closed = True
        await asyncio.gather(*(child.close() for child in self._children))
        self._children.clear()

    async def _replaced(self, child: Child) -> Child:
        self._children.discard(child)
        await child.close()
        return await self._new()

    async def _new(self) -> Child:
        child = Child(_make_caller)
        await child.start()
        self._children.add(child)
        return child


def _make_caller() -> Callable[..., object]:
    # Memory that is short is taken from a worker first: it is replaced, the node is not.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("300")
    # So is time. They alone have work waiting: while the writer waited for its turn among them,
    # they ran out of calls, and a tenth of two processors was idle.
    with suppress(OSError):
        os.nice(_NICENESS)
    return _call


def _call(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    return function(*args, **kwargs)

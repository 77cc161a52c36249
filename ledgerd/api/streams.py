"""Streams that last for minutes: few of one caller, alive to see, over when the node stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

from ledgerd.api.identity import Caller
from ledgerd_client.core.errors import BusyError

# How long one tail lasts; its caller goes on from where it got to.
TAIL_S: Final = 300
# Of what one look of a tail finds.
TAIL_PAGE: Final = 100
_LOOK_EVERY_S: Final = 1.0
_SIGN_OF_LIFE_S: Final = 10.0
_STREAMS_OF_ONE: Final = 4

_Reply = TypeVar("_Reply")


class Batch(NamedTuple, Generic[_Reply]):
    """What one look found, where the next begins, and whether there is more already."""

    replies: Iterable[_Reply]
    start: int
    more: bool


class Streams:
    """Those of one service. Belongs to one event loop."""

    def __init__(self) -> None:
        self._open: Counter[Caller] = Counter()
        self._stopping = asyncio.Event()

    def end(self) -> None:
        """Let those that are under way end; none begins after this."""
        self._stopping.set()

    @property
    def ending(self) -> bool:
        return self._stopping.is_set()

    @contextmanager
    def one(self, caller: Caller) -> Iterator[None]:
        """Count a stream of a caller's; raises BusyError."""
        if self._open[caller] >= _STREAMS_OF_ONE:
            raise BusyError("too many streams at once", reason="TOO_MANY_TAILS")
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1

    async def tail(
        self,
        look: Callable[[int], Awaitable[Batch[_Reply]]],
        start: int,
        sign_of_life: Callable[[int], _Reply],
    ) -> AsyncGenerator[_Reply, None]:
        """
        Look from start on, again and again, for TAIL_S or until the node stops.

        sign_of_life: what is sent when nothing was for a while; it says where the next look begins.
        """
        began = heard = monotonic()
        while monotonic() < began + TAIL_S and not self.ending:
            replies, start, more = await look(start)
            for reply in replies:
                yield reply
                heard = monotonic()
            if monotonic() >= heard + _SIGN_OF_LIFE_S:
                heard = monotonic()
                yield sign_of_life(start)
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _LOOK_EVERY_S)

"""Time and chance as values, so that tests own them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ledgerd_client.core.errors import LedgerError

# µs.
_BACKOFF_BASE = 200_000
_BACKOFF_CAP = 60_000_000
# Of what a node asks for, in seconds: it could say a year.
LONGEST_ASKED_S = 300.0


def system_now() -> int:
    """µs since the epoch, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Time:
    """now in µs since the epoch; sleep in seconds; random in [0, 1), for jitter."""

    now: Callable[[], int] = system_now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    def backoff_s(self, failures: int, error: LedgerError | None = None) -> float:
        """How long to wait after so many failures in a row, the last of them being error."""
        asked_s = getattr(error, "retry_after_s", 0.0)
        # On top, so that not everybody who was told the same comes back at once.
        return min(asked_s, LONGEST_ASKED_S) + backoff(failures, self.random) / 1_000_000

    async def pause(self, seconds: float, wake: asyncio.Event) -> None:
        """Wait until so much time has passed or wake is set."""
        waits = [asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(wake.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)


def backoff(attempt: int, random: Callable[[], float]) -> int:
    """
    Return how long to wait after the attempt-th failure (from 1) in a row, µs.

    Exponential with full jitter, at most a minute; random returns [0, 1), as random.random does.
    """
    doublings = min(max(attempt - 1, 0), 16)  # past the cap, before the numbers get large
    return int(min(_BACKOFF_CAP, _BACKOFF_BASE << doublings) * random())

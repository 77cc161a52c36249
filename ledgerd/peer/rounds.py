"""A loop that is woken, never busy, and patient with failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from ledgerd_client.core.errors import LedgerError

FIRST_RETRY_S: Final = 0.05

_log = structlog.get_logger()


def backoff(failures: int, longest: float, random: bytes) -> float:
    """
    Seconds to wait after so many failures in a row, at most longest.

    Doubles from FIRST_RETRY_S; one random byte takes up to half of it away, so that two nodes do
    not knock at the same time for ever.
    """
    whole: float = min(longest, FIRST_RETRY_S * 2 ** min(failures - 1, 30))
    return whole * (1 - random[0] / 512)


class Rounds:
    """
    Calls step again and again: at once when woken, else every idle seconds.

    Two rounds begin at least gap seconds apart, and after a failure being woken does not cut the
    backoff short. step returns False when it is worth calling again without being woken.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[bool]],
        *,
        gap: float,
        idle: float,
        random: Callable[[int], bytes],
    ) -> None:
        self.failures = 0
        self.error: LedgerError | None = None
        self._name = name
        self._step = step
        self._gap = gap
        self._idle = idle
        self._random = random
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Begin the next round as soon as may be."""
        self._woken.set()

    async def run(self) -> None:
        """Go round until cancelled."""
        in_a_row = 0
        while True:
            self._woken.clear()
            try:
                done = await self._step()
            except LedgerError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - a fault must not end the loop unseen
                _log.exception(f"{self._name}_fault")
                self._failed(LedgerError(f"a fault in ledgerd: {type(error).__name__}"))
            else:
                self._went_well()
                in_a_row = 0
                await self._pause(done=done)
                continue
            in_a_row += 1
            await asyncio.sleep(backoff(in_a_row, self._idle, self._random(1)))

    async def _pause(self, *, done: bool) -> None:
        await asyncio.sleep(self._gap)
        if done:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle):
                    await self._woken.wait()

    def _failed(self, error: LedgerError) -> None:
        if error.reason == "REPLAY_BEHIND":
            # The ordinary course: each side waits for the other to read, and so is reached.
            self._went_well()
            return
        # Once for each reason: a peer that is down for a day is one line, not ten thousand.
        if self.error is None or self.error.reason != error.reason:
            _log.warning(
                f"{self._name}_failed", reason=error.reason, error=error.message,
                action=error.action,
            )  # fmt: skip
        self.failures += 1
        self.error = error

    def _went_well(self) -> None:
        if self.error is not None:
            _log.info(f"{self._name}_recovered", failures=self.failures)
        self.error = None

"""How much one caller may have, at once and a second: so there is always some for others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Final

from ledgerd.api.identity import Caller
from ledgerd_client.core.errors import BusyError

# What somebody who was silent may use at once, in seconds of its rate.
BURST_S: Final = 10.0


class Shares:
    """
    So much of something, for all callers together; each may hold as much as is free.

    One alone gets half of it, two get a third each, and so on: whoever comes next finds some.
    Belongs to the event loop.
    """

    def __init__(self, total: int, *, each: int, what: str, reason: str) -> None:
        """each: the most for one caller, however much is free; what, reason: of the refusal."""
        self._free = total
        self._each = each
        self._what = what
        self._reason = reason
        self._held: Counter[Caller] = Counter()

    @property
    def held(self) -> int:
        """By all callers together."""
        return self._held.total()

    @contextmanager
    def hold(self, caller: Caller, amount: int) -> Iterator[None]:
        """Hold an amount as long as the block lasts; raises BusyError."""
        if self._held[caller] + amount > min(self._each, self._free):
            raise BusyError(f"too many {self._what} at once", reason=self._reason)
        self._held[caller] += amount
        self._free -= amount
        try:
            yield
        finally:
            self._free += amount
            self._held[caller] -= amount
            if not self._held[caller]:
                del self._held[caller]


class Rates:
    """
    How fast each caller goes on: its records and bytes a second, on the average.

    A call is paid for when it is known what it was: who is in no debt is let in, and who got into
    debt waits until it is worked off. So no request is looked at to find its price. Belongs to the
    event loop.
    """

    def __init__(
        self,
        *,
        records_per_s: float = inf,
        bytes_per_s: float = inf,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Without limits unless they are given; clock: seconds, of any beginning."""
        self._records = _Bucket(records_per_s)
        self._bytes = _Bucket(bytes_per_s)
        self._clock = clock

    def check(self, caller: Caller) -> None:
        """Refuse a caller that is in debt; raises BusyError TOO_FAST, which says for how long."""
        if (debt_s := self._debt_s(caller)) > 0:
            raise BusyError(
                f"{caller.role} {caller.id} sends or asks more a second than it may",
                reason="TOO_FAST",
                action=f"go on in {debt_s:.1f} s; if it has to be faster, ask the node's operator",
                retry_after_s=debt_s,
            )

    def used(self, caller: Caller, *, records: int = 0, size: int = 0) -> None:
        """Put down what a caller used; size: bytes of messages, in either direction."""
        now = self._clock()
        self._records.take(caller, records, now)
        self._bytes.take(caller, size, now)

    async def pace(self, caller: Caller, size: int) -> None:
        """As used, for a stream, which goes on: return when the debt is worked off."""
        self.used(caller, size=size)
        if (debt_s := self._debt_s(caller)) > 0:
            await asyncio.sleep(debt_s)

    def _debt_s(self, caller: Caller) -> float:
        now = self._clock()
        return max(self._records.debt_s(caller, now), self._bytes.debt_s(caller, now))


class _Bucket:
    """One limit; of each caller it knows until when its rate is used up (GCRA)."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._used_until: dict[Caller, float] = {}

    def take(self, caller: Caller, amount: int, now: float) -> None:
        begin = max(self._used_until.get(caller, now), now)
        self._used_until[caller] = begin + amount / self._per_s

    def debt_s(self, caller: Caller, now: float) -> float:
        return self._used_until.get(caller, now) - now - BURST_S

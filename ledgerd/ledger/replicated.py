"""
What a standby has of this log, and who waits for it.

With standby.wait no reply to an append, no receipt and no checkpoint for the peer to cosign leaves
the node before the standby has on its disk all that is under it. So what is acknowledged, and what
is cosigned, outlives this node's disk (docs/protocol.md, "A standby").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final

import structlog

from ledgerd.ledger.batch import AppendResult
from ledgerd.ledger.call import Call
from ledgerd.ledger.sequencer import Appends
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import NotReadyError, UnavailableError
from ledgerd_client.core.note import parse_note

# How long a call of the standby rests when there is nothing new.
REST_S: Final = 5.0

_log = structlog.get_logger()


class Standby:
    """
    How far the standby has come, as it says itself. Belongs to the event loop.

    held: entries on its disk, under a checkpoint. wait_s: how long who waits for it waits at most;
    None: nobody does. expected: there is to be one all the same. clock gives seconds that only go
    up.
    """

    def __init__(
        self,
        wait_s: float | None,
        *,
        expected: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.held = 0
        self._wait_s = wait_s
        self._expected = expected
        self._clock = clock
        self._began_at = clock()
        self._size = 0
        # By its certificate: there is one, or what is held would be held by no one machine.
        self._who: bytes | None = None
        self._asking = 0
        self._asked_at = -float("inf")
        self._news = asyncio.Event()

    @property
    def is_looked_for(self) -> bool:
        """Whether there should be one: the configuration says so, or it has asked."""
        return self._expected or self._wait_s is not None or self._who is not None

    @property
    def is_here(self) -> bool:
        """Whether it asks for entries, or did a moment ago."""
        return self._asked_within(self._wait_s or REST_S)

    @property
    def away_s(self) -> float:
        """For how long it has not asked; 0 while it is here, and where none is looked for."""
        if self.is_here or not self.is_looked_for:
            return 0.0
        return self._clock() - max(self._asked_at, self._began_at)

    @contextmanager
    def asking(self, who: bytes) -> Iterator[None]:
        """
        Surround a call of the standby's; who: its certificate's digest.

        Raises NotReadyError SECOND_STANDBY while another one follows.
        """
        if who != self._who and self._asked_within(REST_S):
            raise NotReadyError(
                "another standby follows this node, which has one at a time",
                reason="SECOND_STANDBY",
                action="stop one of the two; this one is taken some seconds after the other went",
            )
        if not self.is_looked_for:
            # What is known from its asking alone is forgotten when the node is started anew.
            _log.warning("standby_not_expected", action="set standby.expected = true, and restart")
        self._who = who
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._asked_at = self._clock()

    def _asked_within(self, seconds: float) -> bool:
        return bool(self._asking) or self._clock() - self._asked_at < seconds

    def has(self, size: int) -> None:
        """Take note that so many entries of this log are on its disk."""
        # Not the most that ever were: it may have been made anew since.
        self.held = size
        self._tell()

    def grown(self, size: int) -> None:
        """Take note that the log has so many entries."""
        self._size = size
        self._tell()

    async def rest(self, size: int) -> None:
        """Return when the log has more than so many entries, or after REST_S."""
        await self._until(lambda: self._size > size, REST_S)

    @property
    def refusal(self) -> UnavailableError | None:
        """Why nothing is recorded, STANDBY_AWAY: it is waited for, and does not ask."""
        if self._wait_s is None or self.is_here:
            return None
        return UnavailableError(
            "the standby is away, and nothing is recorded without it",
            reason="STANDBY_AWAY",
            action="try again; operator: start the standby, or set standby.wait = false",
        )

    def check(self) -> None:
        """Raise the refusal, if there is one."""
        if (refusal := self.refusal) is not None:
            raise refusal

    async def wait(self, size: int) -> None:
        """Return when the standby, if it is waited for, has so many; raises UnavailableError."""
        if self._wait_s is None or self.held >= size:
            return
        if not await self._until(lambda: self.held >= size, self._wait_s):
            raise UnavailableError(
                f"the standby has {self.held} entries, not {size}: what was asked for is on this"
                " node's disk alone",
                reason="STANDBY_BEHIND",
                action="send the same record again: the node takes it twice for one",
            )

    async def wait_under(self, checkpoint: bytes) -> None:
        """As wait(), for all that a checkpoint of this log, a note, covers."""
        if self._wait_s is not None:
            await self.wait(Checkpoint.parse(parse_note(checkpoint).text).size)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _until(self, come: Callable[[], bool], seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not come():
                    await self._news.wait()
        return come()


class Replicated:
    """Appends, whose result is given when the standby has it too. Belongs to the event loop."""

    def __init__(self, sequencer: Appends, standby: Standby) -> None:
        self._sequencer = sequencer
        self._standby = standby

    @property
    def refuse(self) -> NotReadyError | None:
        return self._sequencer.refuse

    async def append(self, call: Call) -> AppendResult:
        """As Sequencer.append; raises UnavailableError STANDBY_AWAY or STANDBY_BEHIND."""
        self._standby.check()
        result = await self._sequencer.append(call)
        await self._standby.wait_under(result.checkpoint)
        return result


async def nobody_waits(_: int | bytes) -> None:
    """As Standby.wait and wait_under where there is no standby."""

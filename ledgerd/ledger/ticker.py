"""TICK entries: our own side's deadlines, judged as they pass. The log says when they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ledgerd.ledger.call import Call
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.projections.timers import Timer
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.record import Admitted

_INTERVAL_S: Final = 1.0

_log = structlog.get_logger()


class Ticker:
    """
    Appends a TICK whenever a deadline has passed. Belongs to one event loop.

    What is due lies in the store: a restart, a clock that is set back or a peer that is away
    changes nothing. sign makes an entry of the node's own of a record; clock is in µs.
    """

    def __init__(
        self,
        sign: Callable[..., Admitted],
        reader: Reader,
        sequencer: Sequencer,
        *,
        clock: Callable[[], int],
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self._sign = sign
        self._reader = reader
        self._sequencer = sequencer
        self._clock = clock
        self._interval_s = interval_s

    async def run(self) -> None:
        """Tick for as long as the node runs; while appends are refused, try again later."""
        while True:
            try:
                quiet = await self.step()
            except LedgerError as error:
                _log.warning("tick_refused", reason=error.reason)
                quiet = True
            if quiet:
                await asyncio.sleep(self._interval_s)

    async def step(self) -> bool:
        """Append a TICK if one is due; return False when it moved things on and another is due."""
        if self._sequencer.refuse is not None:
            return True
        timer = self._due()
        if timer is None:
            return True
        tick = self._sign(tick=pb.Tick())
        await self._sequencer.append(Call.of([tick]))
        # What is first still was not judged: another TICK at once would not judge it either.
        return self._due() in {None, timer}

    def _due(self) -> Timer | None:
        timer = self._reader.first_timer()
        return timer if timer is not None and timer.due < self._clock() else None

"""
The one way from the outbox to the node: batches of whatever is due, one in flight at a time.

While a batch is in flight new records collect in the outbox and make the next one, so that many
concurrent calls become few calls on the wire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from ledgerd_client import tracing
from ledgerd_client._calls import Call, Calls, unknown_fate
from ledgerd_client._steps import (
    claim_batch,
    keep_failure,
    keep_outcomes,
    may_be_stored,
    outcome_of,
    release,
    set_aside,
    take_back,
)
from ledgerd_client._time import LONGEST_ASKED_S, Time
from ledgerd_client._view import LogView
from ledgerd_client.core.errors import (
    BusyError,
    LedgerError,
    NotReadyError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.outbox import Outbox, OutboxRecord

logger = logging.getLogger("ledgerd_client")

# How often to look for what becomes of records that another process sends.
_POLL_S = 0.2


class Sender:
    """Drains an outbox. Belongs to one event loop; run() is its only task."""

    def __init__(
        self,
        outbox: Outbox,
        view: LogView,
        time: Time,
        *,
        queued: asyncio.Event,
        recorded: asyncio.Event,
        patience_us: int,
    ) -> None:
        """
        What wakes it is queued; it sets recorded when there are new receipts.

        patience_us: how long a call waits for a record that may be in the log or not.
        """
        self._outbox = outbox
        self._view = view
        self._time = time
        self._patience = patience_us
        self._calls = Calls()
        self._flushes: list[asyncio.Future[None]] = []
        self._wake = queued
        self._recorded = recorded
        self._closing = False
        # Until when (µs) the node has asked to be left alone, and its words.
        self._asked: tuple[int, BusyError] | None = None

    async def settle(self, row: OutboxRecord, *, mine: bool, may_queue: bool) -> Receipt | None:
        """
        Wait for the fate of a record in the outbox: its receipt, or None if it stays queued.

        mine: the record was put for this call, and may be taken back. Raises

        * what the node refused the record for; it is set aside;
        * UnavailableError, NotReadyError, … when nothing was sent: the record is taken back;
        * UnavailableError FATE_UNKNOWN when it may have been stored: it stays queued;
        * VerificationError when the node's answer is false: it stays queued.
        """
        self._check_open()
        call = Call(self._time.now() + self._patience, mine, may_queue)
        self._calls.add(row.record_id, call)
        self._wake.set()
        return await call.fate

    async def flush(self) -> None:
        """Send until nothing is queued; raises what stops the first batch that fails."""
        self._check_open()
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self._wake.set()
        await flushed

    def close(self) -> None:
        """Let run() return once the batch in flight has its answer."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        failures = 0
        why = ""
        try:
            while not self._closing:
                self._wake.clear()
                flushes = list(self._flushes)
                try:
                    wait_s = await self._round()
                except LedgerError as error:
                    failures, why = failures + 1, error.message
                    wait_s = self._time.backoff_s(failures, error)
                    self._end(flushes, error)
                else:
                    failures, why = 0, "other records, or another process, are before it"
                    if wait_s is None:
                        self._end(flushes, None)
                self._give_up_overdue(why)
                if wait_s is None:
                    await self._wake.wait()
                elif wait_s:
                    await self._time.pause(wait_s, self._wake)
        finally:
            self._closing = True
            self._end(list(self._flushes), NotReadyError("the client is closed", reason="CLOSED"))
            self._give_up(lambda _: True, "the client is closed")

    async def _round(self) -> float | None:
        """Send one batch; return how long to wait (s), None when nothing is queued."""
        rows = await asyncio.to_thread(claim_batch, self._outbox)
        if rows:
            await self._send(rows)
            await self._look(self._calls.overdue(self._time.now()))
            return 0
        await self._look([record_id for record_id, _ in self._calls])
        left = await asyncio.to_thread(self._outbox.list, "queued", limit=1)
        if left or self._calls:
            return _POLL_S
        return None

    async def _send(self, rows: Sequence[OutboxRecord]) -> None:
        records = [SignedRecord(row.body, row.key_id, row.signature) for row in rows]
        # Whoever comes later hears of the next attempt.
        present = {call for _, calls in self._calls for call in calls}
        try:
            self._check_asked()
            with tracing.sending(lambda: self._traces(rows), len(rows)):
                outcomes = await self._view.append(records)
        except LedgerError as error:
            self._hear(error)
            if isinstance(error, VerificationError):
                logger.error("the node's answer is false: %s", error.message)  # noqa: TRY400 -- the message says it all
            else:
                logger.warning("%d records are not recorded: %s", len(rows), error.reason)
            await self._not_recorded(rows, error, present)
            raise
        # Durable before any caller hears of it.
        await asyncio.to_thread(keep_outcomes, self._outbox, rows, outcomes)
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, LedgerError):
                logger.warning("record %s is refused: %s", row.record_id.hex(), outcome.reason)
                outcome = set_aside(outcome)  # noqa: PLW2901 -- the same one
            self._calls.tell(row.record_id, outcome)
        self._recorded.set()

    def _traces(self, rows: Sequence[OutboxRecord]) -> list[object]:
        """Of the calls that wait for these."""
        sent = {row.record_id for row in rows}
        return [call.trace for id_, calls in self._calls if id_ in sent for call in calls]

    async def _not_recorded(
        self, rows: Sequence[OutboxRecord], error: LedgerError, present: Collection[Call]
    ) -> None:
        if isinstance(error, VerificationError):
            for row in rows:
                self._calls.tell(row.record_id, error)
        content = isinstance(error, UnavailableError | NotReadyError)
        withdrawn = [
            record_id
            for record_id, calls in self._calls
            if all(call in present and call.mine for call in calls)
            and not (content and any(call.may_queue for call in calls))
        ]
        if content:
            self._calls.tell_where(lambda call: call in present and call.may_queue, None)
        now = self._time.now()
        if may_be_stored(error):
            await asyncio.to_thread(keep_failure, self._outbox, rows, error, now)
            return
        for record_id in withdrawn:
            if await asyncio.to_thread(take_back, self._outbox, record_id, error, now):
                self._calls.tell(record_id, error)
        await asyncio.to_thread(release, self._outbox, rows)

    async def _look(self, record_ids: Sequence[bytes]) -> None:
        """Tell calls what the outbox knows: another process may have sent their record."""
        for record_id in record_ids:
            row = await asyncio.to_thread(self._outbox.get, record_id)
            if (outcome := outcome_of(row)) is not None:
                self._calls.tell(record_id, outcome)

    def _give_up_overdue(self, why: str) -> None:
        now = self._time.now()
        self._give_up(lambda call: call.deadline <= now, why)

    def _give_up(self, wanted: Callable[[Call], bool], why: str) -> None:
        """Let calls go whose record stays queued."""
        self._calls.tell_where(lambda call: call.may_queue and wanted(call), None)
        self._calls.tell_where(wanted, unknown_fate(why))

    def _end(self, flushes: Sequence[asyncio.Future[None]], error: LedgerError | None) -> None:
        for flushed in flushes:
            self._flushes.remove(flushed)
            if flushed.done():  # its caller went away
                continue
            if error is None:
                flushed.set_result(None)
            else:
                flushed.set_exception(error)

    def _check_asked(self) -> None:
        """Raise what the node said, as long as it has asked to be left alone."""
        if self._asked is not None:
            until, error = self._asked
            left_s = (until - self._time.now()) / 1_000_000
            if left_s > 0:
                raise BusyError(
                    error.message, reason=error.reason, action=error.action, retry_after_s=left_s
                )
            self._asked = None

    def _hear(self, error: LedgerError) -> None:
        if isinstance(error, BusyError) and error.retry_after_s and self._asked is None:
            asked_s = min(error.retry_after_s, LONGEST_ASKED_S)
            self._asked = (self._time.now() + int(asked_s * 1_000_000), error)

    def _check_open(self) -> None:
        if self._closing:
            raise NotReadyError("the client is closed", reason="CLOSED")

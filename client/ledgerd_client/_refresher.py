"""Fetches cosigned receipts until every recorded record has one: then the outbox lets it go."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from ledgerd_client._steps import is_own, outcome_of
from ledgerd_client._time import Time
from ledgerd_client._view import LogView
from ledgerd_client.core.errors import LedgerError, NotFoundError, NotReadyError, VerificationError
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.outbox import Outbox, OutboxRecord

logger = logging.getLogger("ledgerd_client")

_PAGE = 100
_QUEUED = "QUEUED"
_NOT_COSIGNED_YET = "NOT_COSIGNED_YET"


class Refresher:
    """Watches an outbox's recorded records. Belongs to one event loop; run() is its own task."""

    def __init__(
        self,
        outbox: Outbox,
        view: LogView,
        time: Time,
        *,
        queued: asyncio.Event,
        recorded: asyncio.Event,
    ) -> None:
        """What wakes it is recorded; it sets queued when a lost record is to be sent again."""
        self._outbox = outbox
        self._view = view
        self._time = time
        self._queued = queued
        self._recorded = recorded
        self._closing = asyncio.Event()

    async def cosigned(self, record_id: bytes) -> Receipt:
        """
        The receipt of a record in the outbox under a checkpoint that the other side cosigned.

        Raises NotReadyError while there is none, what the record was refused for, or NotFoundError
        when it was never in this outbox.
        """
        row = await asyncio.to_thread(self._outbox.get, record_id)
        outcome = outcome_of(row)
        if isinstance(outcome, LedgerError):
            raise outcome
        if outcome is None:
            raise NotReadyError("the record is still queued", reason=_QUEUED)
        return outcome if row.state == "done" else await self._fetch(row, outcome)

    async def look(self) -> None:
        """
        Have all that the node lost queued again; when it returns, none of it is left.

        Raises what keeps the node from telling, and what is wrong with its last false answer.
        """
        wrong: VerificationError | None = None
        after: bytes | None = None
        behind_a_loss: bool | None = None
        list_rows = partial(self._outbox.list, "recorded", limit=_PAGE)
        while rows := await asyncio.to_thread(list_rows, after=after):
            if behind_a_loss is None:
                behind_a_loss = await self._view.has_lost()
            for row in rows:
                try:
                    await self._fetch(row, Receipt.parse(row.receipt or b""))
                except VerificationError as error:
                    wrong = error
                except NotReadyError as error:
                    if error.reason not in {_QUEUED, _NOT_COSIGNED_YET}:
                        raise
                    # But for a LOSS what is younger stands as this one does.
                    if error.reason == _NOT_COSIGNED_YET and not behind_a_loss:
                        return
            after = rows[-1].record_id
        if wrong is not None:
            raise wrong

    def close(self) -> None:
        """Let run() return once the call in flight has its answer."""
        self._closing.set()
        self._recorded.set()

    async def run(self) -> None:
        in_vain = 0
        while not self._closing.is_set():
            self._recorded.clear()
            why: LedgerError | None = None
            try:
                done, left, why = await self._round()
            except LedgerError as error:  # the outbox's
                logger.warning("cosigned receipts are not fetched: %s", error.reason)
                done, left = 0, True
            in_vain = 0 if done else in_vain + 1
            if not left:
                await self._recorded.wait()
            elif in_vain:
                await self._time.pause(self._time.backoff_s(in_vain, why), self._closing)

    async def _round(self) -> tuple[int, bool, LedgerError | None]:
        """
        Go through the oldest records.

        Returns how many were cosigned, whether more wait, and what stopped it, if it was stopped.
        """
        rows = await asyncio.to_thread(self._outbox.uncosigned, _PAGE)
        done = 0
        for row in rows:
            try:
                await self._fetch(row, Receipt.parse(row.receipt or b""))
                done += 1
            except VerificationError as error:
                logger.error("receipt of %s: %s", row.record_id.hex(), error.message)  # noqa: TRY400 -- the message says it all
            except LedgerError as error:
                if error.reason != _QUEUED:
                    # Not cosigned yet, then younger ones are not either; or no node.
                    return done, True, error
            if self._closing.is_set():
                break
        return done, done < len(rows) or len(rows) == _PAGE, None

    async def _fetch(self, row: OutboxRecord, receipt: Receipt) -> Receipt:
        # Under another one's receipt the node does not know it by its id.
        which = row.record_id if is_own(row, receipt) else receipt.index
        try:
            cosigned = await self._view.receipt(which, cosigned=True, known=receipt)
        except (NotFoundError, VerificationError) as error:
            lost = await self._view.was_lost(receipt)
            if isinstance(error, VerificationError) and not lost:
                raise
            # The log only grows but for a LOSS: its entry stands, and is not known by its id.
            what = "record" if lost else "the body of record"
            logger.warning("the node lost %s %s; it is sent again", what, row.record_id.hex())
            await asyncio.to_thread(self._outbox.requeue, row.record_id)
            self._queued.set()
            raise NotReadyError("the record is queued again", reason=_QUEUED) from error
        await asyncio.to_thread(self._outbox.cosigned, row.record_id, cosigned.format())
        return cosigned

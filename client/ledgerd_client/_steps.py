"""What each outcome does to records in the outbox. Blocking: called in threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledgerd_client._kept import KEPT_FILE
from ledgerd_client.core.errors import InputError, LedgerError, RefusedError, UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.outbox import Outbox, OutboxRecord
from ledgerd_client.transport import MAX_REQUEST_BYTES, REPLY_LOST, STANDBY_BEHIND, from_refusal

MAX_RECORDS = 1_000
# Of bodies, key ids and signatures; the message has a dozen bytes more for each record.
MAX_BATCH_BYTES = MAX_REQUEST_BYTES - 16 * MAX_RECORDS

# For how long nobody else sends what one process has claimed; the same for all of them.
_LEASE_US = 30_000_000
# Longer than two transactions take.
_PARKED_US = 5_000_000


def claim_batch(outbox: Outbox) -> list[OutboxRecord]:
    """Claim what goes into one call."""
    rows = outbox.claim(MAX_RECORDS, _LEASE_US)
    size = 0
    for taken, row in enumerate(rows):
        size += len(row.body) + len(row.key_id) + len(row.signature)
        if taken and size > MAX_BATCH_BYTES:
            release(outbox, rows[taken:])
            return rows[:taken]
    return rows


def release(outbox: Outbox, rows: Sequence[OutboxRecord]) -> None:
    """End the claims of records that were certainly not sent."""
    outbox.release([row.record_id for row in rows])


def keep_outcomes(
    outbox: Outbox, rows: Sequence[OutboxRecord], outcomes: Sequence[Receipt | LedgerError]
) -> None:
    """Keep receipts, and set refused records aside."""
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, Receipt):
            ticket = with_receipt(row, outcome)
            encoded = None if ticket is None else ticket.encode()
            outbox.recorded(row.record_id, outcome.format(), encoded)
        else:
            outbox.refused(row.record_id, outcome.reason, outcome.message)


def keep_failure(
    outbox: Outbox, rows: Sequence[OutboxRecord], error: LedgerError, now: int
) -> None:
    """Count an attempt after which the records may be stored; they are due again at once."""
    for row in rows:
        outbox.failed(row.record_id, error.reason, error.message, now)


def may_be_stored(error: LedgerError) -> bool:
    """Whether records may be in the log although sending them ended in error."""
    if isinstance(error, UnavailableError):
        return error.reason in {REPLY_LOST, STANDBY_BEHIND}
    return not isinstance(error, InputError | RefusedError) and error.reason != KEPT_FILE


def take_back(outbox: Outbox, record_id: bytes, error: LedgerError, now: int) -> bool:
    """Drop a record if it was certainly never sent; else leave it queued and return False."""
    # Parked first, so that no other process can claim, send and fail it while we look.
    outbox.failed(record_id, error.reason, error.message, now + _PARKED_US)
    row = outbox.get(record_id)
    # Ours is the only failure; and a claim made since the record was put, whose holder died while
    # sending, would not have ended yet.
    never_sent = row.attempts == 1 and now < row.created_at + _LEASE_US
    if row.state != "queued" or row.claimed_by is not None or not never_sent:
        return False
    outbox.drop(record_id, f"taken back unsent: {error.reason}")
    return True


def is_own(row: OutboxRecord, receipt: Receipt) -> bool:
    """
    Whether a receipt of row is of this very record.

    An accepted ACK said again is not stored again: it gets the receipt of the first one.
    """
    return Header.parse(receipt.header).signature == row.signature


def receipt_of(row: OutboxRecord) -> Receipt | None:
    """The receipt of a record that is in the log; one that the node lost has it no more."""
    if row.receipt is None or row.state not in {"recorded", "done"}:
        return None
    return Receipt.parse(row.receipt)


def outcome_of(row: OutboxRecord) -> Receipt | LedgerError | None:
    """What became of a record; None while it is queued."""
    if (receipt := receipt_of(row)) is not None:
        return receipt
    if row.state == "queued":
        return None
    return set_aside(from_refusal(row.last_reason, row.last_message))


def set_aside(refusal: LedgerError) -> LedgerError:
    """A refusal as a caller is told it, whose record is in the outbox still."""
    refusal.action = (
        "`ledgerctl outbox list` shows the record; mend the cause, then `outbox retry` sends it"
        " again, or `outbox drop` gives it up"
    )
    return refusal


def with_receipt(row: OutboxRecord, receipt: Receipt | None) -> Ticket | None:
    """The ticket of a transfer as it travels: with its receipt, or with the record while queued."""
    if row.ticket is None:
        return None
    ticket = Ticket.parse(row.ticket)
    if receipt is None:
        return ticket
    return replace(ticket, receipt=receipt.format(), body=b"", key_id=b"", signature=b"")

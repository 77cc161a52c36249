"""
The client of an institution: declare, acknowledge, prove.

    async with LedgerClient.from_file("client.toml") as ledger:
        declared = await ledger.declare(
            "batch.csv", recipient="hkbr.12345678", contract_id="SCC-2026-001", subjects=1200,
            purposes=["CreditChecking"], categories=["property"], legal_basis="CN13_2A contract",
        )
    send("batch.csv", declared.ticket.encode())
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Unpack

from ledgerd_client._contract_calls import ContractCalls
from ledgerd_client._drafts import (
    OUTCOMES,
    draft_ack,
    draft_cancel,
    draft_transfer,
    statement_under,
)
from ledgerd_client._results import (
    Acknowledged,
    Cancelled,
    Declared,
    Outcome,
    Submitted,
    TransferView,
)
from ledgerd_client._session import IfUnreachable, Submission
from ledgerd_client._steps import is_own, receipt_of, with_receipt
from ledgerd_client._terms import Changes, Statement, make_terms
from ledgerd_client._tickets import check_ticket
from ledgerd_client._values import Code, to_micros
from ledgerd_client.contracts import Contract
from ledgerd_client.core.errors import FieldError, NotFoundError, NotReadyError, UnavailableError
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.outbox import OutboxRecord
from ledgerd_client.payload import Payload

# How often, at least, a cosignature that is waited for is asked for.
_POLL_S = 2.0


class LedgerClient(ContractCalls):
    """
    An institution's way to the node on its side.

    Belongs to one event loop; calls may be concurrent.

    Every record is signed and durable in the outbox before it is sent, and every answer is verified
    before a call returns. Calls raise LedgerError: InputError for what cannot be stated,
    RefusedError for what the node does not take, UnavailableError when it cannot be asked, and
    VerificationError when it, or a ticket, does not prove what it claims.

    Calls that record something take

    * caller_ref: your own name for it. The same call with the same caller_ref, today or next year,
      returns the first record, ticket and receipt; one that states something else, or another
      payload, raises ConflictError CALLER_REF_REUSED, and one whose transfer was cancelled since
      TRANSFER_CANCELLED. Both are kept as keyed hashes only.
    * if_unreachable: "raise" (UnavailableError, and nothing will be sent later; when a reply was
      lost for good the reason is FATE_UNKNOWN and the record stays queued), or "queue" (return
      with status "queued", and send it when the node is back).
    * occurred_at: when it happened; now by default. Aware of its time zone.

    A call that is cancelled may still be carried out: call again with the same caller_ref to learn.
    """

    async def declare(
        self,
        payload: Payload,
        *,
        occurred_at: datetime | None = None,
        caller_ref: str | None = None,
        if_unreachable: IfUnreachable = "raise",
        **statement: Unpack[Statement],
    ) -> Declared:
        """
        Record that data is about to be sent; do this before sending, and send the ticket with it.

        payload is a path, bytes, a binary file, a callable that opens one, or a mapping of names to
        these; None when nothing is sent (transmission "remote_view"). It is read in a thread and
        never held whole. See Statement for the rest.
        """
        how = self._how(occurred_at, caller_ref, if_unreachable)
        return await self._declare(payload, how, statement)

    async def declare_under(
        self,
        contract: Contract,
        payload: Payload,
        *,
        subjects: int,
        legal_basis: Code,
        occurred_at: datetime | None = None,
        caller_ref: str | None = None,
        if_unreachable: IfUnreachable = "raise",
        **changes: Unpack[Changes],
    ) -> Declared:
        """
        As declare, under a contract of which we are the exporter: what it fixes need not be said.

        Recipient, contract_id, purposes, categories (sensitive ones if there are sensitive
        subjects), means, the transmission if there is only one, and delete_by: so many days from
        occurred_at as the contract lets data be kept, in UTC+8.
        """
        how = self._how(occurred_at, caller_ref, if_unreachable)
        statement = statement_under(contract, how.occurred_at, subjects, legal_basis, changes)
        return await self._declare(payload, how, statement, day_follows="delete_by" not in changes)

    async def acknowledge(
        self,
        ticket: Ticket | bytes,
        payload: Payload,
        *,
        outcome: Outcome | None = None,
        received_subjects: int | None = None,
        reason: str = "",
        received_at: datetime | None = None,
        allow_queued_ticket: bool = False,
        occurred_at: datetime | None = None,
        caller_ref: str | None = None,
        if_unreachable: IfUnreachable = "raise",
    ) -> Acknowledged:
        """
        Check a ticket and what came with it, and record what was received.

        The outcome is "accepted" or "digest_mismatch", as the payload turns out; "partial" and
        "rejected" are yours to say. payload is as in declare, None when nothing arrived.
        received_subjects is by default as many as were declared. An accepted transfer acknowledged
        again is not recorded again: the first record is returned.

        Raises ForbiddenError NOT_RECIPIENT, VerificationError for a ticket that proves nothing (one
        without a receipt, TICKET_QUEUED, is taken only if allow_queued_ticket), and, when outcome
        is left to parts that are missing or have other names, InputError OTHER_PARTS.
        """
        session = self._opened()
        ticket = _parsed(ticket)
        terms = await check_ticket(
            session.view, ticket, session.us, allow_queued=allow_queued_ticket
        )
        how = self._how(occurred_at, caller_ref, if_unreachable)
        draft = draft_ack(
            ticket,
            await session.measure(payload),
            outcome=outcome,
            received_at=to_micros("received_at", received_at) if received_at else how.occurred_at,
            received_subjects=terms.subjects if received_subjects is None else received_subjects,
            reason=reason,
        )
        row, receipt = await session.submit(how, draft)
        record_id = await session.recorded_id(row, receipt)
        outcome = OUTCOMES[draft.outcome]
        return Acknowledged(record_id, row.ref, receipt, outcome, draft.differing_parts)

    async def cancel(
        self,
        ticket: Ticket | bytes,
        reason: str,
        *,
        cause: Code = 0,
        occurred_at: datetime | None = None,
        caller_ref: str | None = None,
        if_unreachable: IfUnreachable = "raise",
    ) -> Cancelled:
        """
        Take back a transfer of one's own that was not sent, or not accepted.

        Said again through the same outbox it is not recorded again: the first record is returned,
        whatever the reason.
        """
        draft = draft_cancel(_parsed(ticket), reason, cause)
        how = self._how(occurred_at, caller_ref, if_unreachable)
        row, receipt = await self._opened().submit(how, draft)
        return Cancelled(row.record_id, row.ref, receipt)

    async def receipt(self, which: bytes | int, *, cosigned: bool = False) -> Receipt:
        """
        A new receipt, under the newest checkpoint, of one of our records: by record_id or index.

        cosigned: under the newest one that the other side's node cosigned; NotReadyError if that
        does not cover the record yet.
        """
        session = self._opened()
        row = await self._find(which) if isinstance(which, bytes) else None
        known: SignedRecord | Receipt | None = None
        if row is not None:
            known = receipt_of(row)
            if known is not None and not is_own(row, known):
                which = known.index
            elif known is None and row.body:
                known = SignedRecord(row.body, row.key_id, row.signature)
        return await session.view.receipt(which, cosigned=cosigned, known=known)

    async def wait_cosigned(self, record: Submitted | bytes, *, timeout_s: float = 60) -> Receipt:
        """
        Wait until the other side's node has cosigned a checkpoint over a record; its new receipt.

        record is what a call returned, or a record_id. Raises NotReadyError or UnavailableError
        when that takes longer than timeout_s; the record is as safe as before.
        """
        session = self._opened()
        record_id = record if isinstance(record, bytes) else record.record_id
        deadline = self._time.now() + int(timeout_s * 1_000_000)
        tries = 0
        while True:
            try:
                if await self._find(record_id) is None:
                    return await session.view.receipt(record_id, cosigned=True)
                return await session.refresher.cosigned(record_id)
            except (NotReadyError, UnavailableError) as error:
                left_s = (deadline - self._time.now()) / 1_000_000
                if left_s <= 0:
                    raise
                asked_s = getattr(error, "retry_after_s", 0.0)
            tries += 1
            pause_s = max(min(self._time.backoff_s(tries), _POLL_S), asked_s)
            await self._time.sleep(min(pause_s, left_s))

    async def transfer(self, ref: bytes) -> TransferView:
        """
        A transfer of ours as the node sees it: both halves, their state, and findings.

        The signatures of the halves are verified; state and findings are the node's word.
        """
        return await self._opened().view.transfer(ref)

    async def _declare(
        self, payload: Payload, how: Submission, statement: Statement, *, day_follows: bool = False
    ) -> Declared:
        session = self._opened()
        terms = make_terms(session.us, await session.peer_origin(), statement)
        draft = draft_transfer(terms, await session.measure(payload), day_follows=day_follows)
        row, receipt = await session.submit(how, draft)
        ticket = with_receipt(row, receipt)
        assert ticket is not None  # noqa: S101 -- a transfer's row has a ticket
        return Declared(row.record_id, row.ref, receipt, ticket)

    async def _find(self, record_id: bytes) -> OutboxRecord | None:
        try:
            return await asyncio.to_thread(self._opened().outbox.get, record_id)
        except NotFoundError:
            return None


def _parsed(ticket: Ticket | bytes) -> Ticket:
    if isinstance(ticket, Ticket):
        return ticket
    if not isinstance(ticket, bytes):
        raise FieldError(
            f"a ticket is a Ticket, or the bytes of its file, not {type(ticket).__name__}",
            action="give what declare() returned as .ticket, or Path(…).read_bytes()",
        )
    return Ticket.parse(ticket)

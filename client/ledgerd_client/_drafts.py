"""Records before they are signed: what a declaration, an acknowledgement and a cancellation say."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._results import Outcome
from ledgerd_client._terms import seal
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import Header
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import read_facts
from ledgerd_client.core.transfer import (
    COMMITMENT_SALT_SIZE,
    NONCE_SIZE,
    Ticket,
    commit_payload,
    parse_terms,
    ref_of,
)
from ledgerd_client.outbox import OutboxRecord
from ledgerd_client.payload import PayloadDigest

_NUMBERS: Mapping[Outcome, pb.Outcome.ValueType] = MappingProxyType({
    "accepted": pb.OUTCOME_ACCEPTED,
    "partial": pb.OUTCOME_PARTIAL,
    "rejected": pb.OUTCOME_REJECTED,
    "digest_mismatch": pb.OUTCOME_DIGEST_MISMATCH,
})  # fmt: skip
OUTCOMES: Mapping[int, Outcome] = MappingProxyType(
    {number: name for name, number in _NUMBERS.items()}
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A record's content. kind names the field of pb.Body that message goes into."""

    kind: str
    message: pb.Transfer | pb.Ack | pb.Cancel
    ref: bytes
    # Of a transfer: still without the record or its receipt.
    ticket: Ticket | None = None
    # Of an ACK: a number of pb.Outcome.
    outcome: int = 0

    def is_said_by(self, row: OutboxRecord) -> bool:
        """Whether a record in the outbox says the same of the same transfer (not a TRANSFER)."""
        if (row.kind, row.ref) != (self.kind, self.ref):
            return False
        if row.receipt is None:
            return read_facts(row.body)[1].outcome == self.outcome
        halves = Header.parse(Receipt.parse(row.receipt).header).halves
        return halves is not None and halves.outcome == self.outcome


def draft_transfer(terms: pb.Terms, payload: PayloadDigest) -> Draft:
    """Commit to a payload under a fresh salt and state the terms."""
    salt = commitment = b""
    if payload.digest:
        salt = secrets.token_bytes(COMMITMENT_SALT_SIZE)
        commitment = commit_payload(salt, payload.digest, parts=payload.manifest is not None)
    encoded = seal(terms, secrets.token_bytes(NONCE_SIZE), commitment)
    ticket = Ticket(encoded, salt, payload.manifest or b"")
    return Draft("transfer", pb.Transfer(terms=encoded), ref_of(parse_terms(encoded)), ticket)


def restates(ticket: Ticket, terms: pb.Terms) -> bool:
    """Whether the ticket's terms are these, payload aside."""
    known = parse_terms(ticket.terms)
    return seal(terms, known.nonce, known.commitment) == ticket.terms


def draft_ack(
    ticket: Ticket,
    payload: PayloadDigest,
    *,
    outcome: Outcome | None,
    received_at: int,
    received_subjects: int,
    reason: str,
) -> Draft:
    """State what was received; outcome None: as the payload turns out. Raises FieldError."""
    terms = parse_terms(ticket.terms)
    received = b""
    if payload.digest:
        received = ticket.recommit(payload.digest, parts=payload.manifest is not None)
    number = _outcome(terms, received, outcome)
    ack = pb.Ack(
        terms=ticket.terms,
        outcome=number,
        received_at=received_at,
        received_subjects=received_subjects,
        received_commitment=received,
        reason=reason,
    )
    return Draft("ack", ack, ref_of(terms), outcome=number)


def draft_cancel(ticket: Ticket, reason: str) -> Draft:
    ref = ref_of(parse_terms(ticket.terms))
    return Draft("cancel", pb.Cancel(terms=ticket.terms, reason=reason), ref)


def _outcome(terms: pb.Terms, received: bytes, said: Outcome | None) -> pb.Outcome.ValueType:
    if said is not None:
        if said not in _NUMBERS:
            raise FieldError(f"outcome: {said!r} is none of {', '.join(_NUMBERS)}")
        return _NUMBERS[said]
    if terms.commitment and not received:
        raise FieldError(
            "the terms name a payload, and none was given",
            action="give what arrived, or say the outcome: partial or rejected",
        )
    return pb.OUTCOME_ACCEPTED if received == terms.commitment else pb.OUTCOME_DIGEST_MISMATCH

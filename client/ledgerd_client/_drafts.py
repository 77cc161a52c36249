"""Records before they are signed: what each call says."""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import get_args

from google.protobuf.message import Message

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._results import Outcome
from ledgerd_client._terms import Changes, Statement, seal
from ledgerd_client._values import Code, code_of, day_of, make
from ledgerd_client.contracts import Contract, Disposal, Filing, Supplement, Termination
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.fields import DIGEST_SIZE
from ledgerd_client.core.transfer import (
    COMMITMENT_SALT_SIZE,
    NONCE_SIZE,
    Ticket,
    commit_payload,
    parse_manifest,
    parse_terms,
    ref_of,
)
from ledgerd_client.events import Correction, Recordable
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
# Of a transfer that is only asked about.
NO_PAYLOAD = PayloadDigest(bytes(DIGEST_SIZE), None, 0)
# Of names in a message.
_MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """A record's content. kind names the field of pb.Body that message goes into."""

    kind: str
    message: Message
    # Empty for what is about no transfer or contract that both sides see.
    ref: bytes
    # What the caller stated, payload included, without what every call makes anew: nonce, salt and
    # times. The same call says the same.
    statement: bytes = field(repr=False)
    # Of a transfer: still without the record or its receipt.
    ticket: Ticket | None = None
    # Of an ACK: a number of pb.Outcome, and the declared parts that are not what arrived.
    outcome: int = 0
    differing_parts: tuple[str, ...] = ()


def draft_transfer(terms: pb.Terms, payload: PayloadDigest, *, day_follows: bool = False) -> Draft:
    """
    Commit to a payload under a fresh salt and state the terms.

    day_follows: delete_by follows from the time of the call, and is no statement of the caller's.
    """
    salt = secrets.token_bytes(COMMITMENT_SALT_SIZE) if payload.digest else b""
    encoded = _seal(terms, secrets.token_bytes(NONCE_SIZE), salt, payload)
    stated = pb.Terms()
    stated.CopyFrom(terms)
    if day_follows:
        stated.ClearField("delete_by")
    statement = _seal(stated, bytes(NONCE_SIZE), bytes(COMMITMENT_SALT_SIZE), payload)
    ticket = Ticket(encoded, salt, payload.manifest or b"")
    ref = ref_of(parse_terms(encoded))
    return Draft("transfer", pb.Transfer(terms=encoded), ref, statement, ticket)


def _seal(terms: pb.Terms, nonce: bytes, salt: bytes, payload: PayloadDigest) -> bytes:
    commitment = b""
    if payload.digest:
        commitment = commit_payload(salt, payload.digest, parts=payload.manifest is not None)
    return seal(terms, nonce, commitment)


def draft_ack(
    ticket: Ticket,
    payload: PayloadDigest,
    *,
    outcome: Outcome | None,
    received_at: int,
    received_subjects: int,
    reason: str,
) -> Draft:
    """
    State what was received; outcome None: as the payload turns out.

    Raises FieldError, and InputError OTHER_PARTS when it is to turn out of parts that are missing
    or have other names.
    """
    terms = parse_terms(ticket.terms)
    declared, arrived = _parts(ticket.manifest), _parts(payload.manifest)
    received = b""
    if payload.digest:
        received = ticket.recommit(payload.digest, parts=payload.manifest is not None)
        if outcome is None:
            _check_names(declared.keys() ^ arrived.keys(), declared)
    number = _outcome(terms, received, outcome)
    ack = make(
        pb.Ack,
        terms=ticket.terms,
        outcome=number,
        received_subjects=received_subjects,
        received_commitment=received,
        reason=reason,
    )
    statement = encode_message(ack)
    ack.received_at = received_at
    differing = tuple(name for name in declared if arrived.get(name) != declared[name])
    return Draft("ack", ack, ref_of(terms), statement, outcome=number, differing_parts=differing)


def draft_cancel(ticket: Ticket, reason: str, cause: Code) -> Draft:
    ref = ref_of(parse_terms(ticket.terms))
    number = code_of("cause", "change_cause", cause)
    cancel = make(pb.Cancel, terms=ticket.terms, reason=reason, cause=number)
    return Draft("cancel", cancel, ref, encode_message(cancel))


def draft_record(what: Recordable) -> Draft:
    """
    State what is recorded of a contract, or a half of a transfer anew.

    All of it is the statement, nonce and matter too: they are the caller's to keep. Raises
    FieldError, PersonalDataError, and InputError for a file that cannot be hashed.
    """
    if not isinstance(what, Recordable):
        raise FieldError(
            f"{type(what).__name__} is nothing to record",
            action=f"give one of {', '.join(kind.__name__ for kind in get_args(Recordable))}",
        )
    message = what.message()
    ref = b""
    if isinstance(what, Correction):
        ref = ref_of(parse_terms(what.ticket.terms))
    elif isinstance(what, Contract):
        ref = what.ref
    elif isinstance(what, Supplement | Filing | Termination | Disposal):
        ref = what.contract.ref
    return Draft(what.KIND, message, ref, encode_message(message))


def statement_under(
    contract: Contract, occurred_at: int, subjects: int, legal_basis: Code, changes: Changes
) -> Statement:
    """What is stated of a transfer under a contract, that happened at a time (µs)."""
    statement: Statement = {
        "recipient": contract.recipient.institution,
        "contract_id": contract.contract_id,
        "subjects": subjects,
        "legal_basis": legal_basis,
        "purposes": contract.purposes,
        "categories": contract.categories,
        "means": contract.means,
        "delete_by": day_of(occurred_at) + timedelta(days=contract.retention_days),
    }
    if changes.get("sensitive_subjects"):
        statement["sensitive_categories"] = contract.sensitive_categories
    if len(contract.transmissions) == 1:
        statement["transmission"] = contract.transmissions[0]
    return {**statement, **changes}


def _parts(manifest: bytes | None) -> dict[str, tuple[bytes, int]]:
    if not manifest:
        return {}
    return {part.name: (part.digest, part.size) for part in parse_manifest(manifest).parts}


def _check_names(odd: Iterable[str], declared: Container[str]) -> None:
    """Other names are a slip at this end sooner than another payload: nobody is accused for it."""
    missing = sorted(name for name in odd if name in declared)
    unknown = sorted(name for name in odd if name not in declared)
    what = [f"missing: {_listed(missing)}"] * bool(missing)
    what += [f"not declared by that name: {_listed(unknown)}"] * bool(unknown)
    if what:
        raise InputError(
            f"these are not the parts that were declared ({'; '.join(what)})",
            reason="OTHER_PARTS",
            action="give every part under the name it was declared by, or say the outcome"
            " (outcome=, --outcome): partial, rejected or digest_mismatch",
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(map(repr, names[:_MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


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

"""
What outlives an erased body, and the order by which it is erased (docs/format.md, "Remains").

Remains are the body without what links it to anything: its salt, free texts, the commitment to the
payload, digests of documents. No rule and no projection reads any of these, so that a log with
remains comes to the same state as the log with the bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import encode_message, parse_message
from ledgerd_client.core.encoding import lp8
from ledgerd_client.core.errors import ChainError, MalformedError, SignatureError
from ledgerd_client.core.fields import DIGEST_SIZE, SALT_SIZE
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.keys import verify
from ledgerd_client.core.record import Facts, read_facts
from ledgerd_client.core.supervision import check_order

_ORDER_TAG: Final = b"ledgerd/erasure/v1\n"

ERASED_FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "Body": ("salt",),
    "Terms": ("commitment", "notice_version"),
    "Ack": ("received_commitment", "reason"),
    "Cancel": ("reason",),
    "Correction": ("reason",),
    "Filing": ("document_digests",),
    "Supplement": ("reason",),
    "Termination": ("reason",),
    "Disposal": ("reason",),
    "Pipia": ("report_digest",),
    "Suspend": ("reason",),
    "Resume": ("reason",),
    "Onward": ("agreement_digest",),
})  # fmt: skip
"""
Fields that remains do not have, by message; of notice_digest in Terms is left that there was one.

The terms of a contract stay byte for byte: their digests are compared with each other for ever.
"""

_WITH_TERMS: Final = frozenset(("transfer", "ack", "cancel", "correction"))
_ZEROS: Final = bytes(DIGEST_SIZE)


def remains_of(body: bytes) -> bytes:
    """
    What is left of an institution's body that parse_body took; of remains the same again.

    A pure function, so that whoever has the body can say whether its remains are these.
    """
    kept = parse_message(pb.Body, body, "body")
    record = kept.WhichOneof("record")
    if record is None:
        raise MalformedError("body holds no record")
    statement: Any = getattr(kept, record)
    _erase(kept)
    _erase(statement)
    if record in _WITH_TERMS:
        terms = parse_message(pb.Terms, statement.terms, "terms")
        _erase(terms)
        if terms.notice_digest:
            terms.notice_digest = _ZEROS
        statement.terms = encode_message(terms)
    return encode_message(kept)


def facts_of_remains(header: Header, remains: bytes) -> Facts:
    """
    The facts of an entry whose body was erased.

    Raises what read_facts raises, and ChainError when this can't be what remains of its body.
    """
    if remains_of(remains) != remains:
        raise ChainError(f"entry {header.index}: what remains still holds what is erased")
    _, facts = read_facts(_such_a_body(remains))
    if header.halves is not None and header.kind != Kind.CONTRACT:
        facts = facts._replace(terms_digest=header.halves.terms_digest)
    if (facts.kind, facts.halves) != (header.kind, header.halves):
        raise ChainError(f"entry {header.index}: what remains is of another entry")
    return facts


def _such_a_body(remains: bytes) -> bytes:
    """A body of which this could remain; it holds zeros where it has to hold something."""
    body = parse_message(pb.Body, remains, "remains")
    body.salt = bytes(SALT_SIZE)
    record = body.WhichOneof("record") or ""
    if record in _WITH_TERMS:
        statement: Any = getattr(body, record)
        terms = parse_message(pb.Terms, statement.terms, "terms")
        if terms.transmission != codes.REMOTE_VIEW:
            terms.commitment = _ZEROS
        statement.terms = encode_message(terms)
        if record == "ack":
            differs = statement.outcome == pb.OUTCOME_DIGEST_MISMATCH
            statement.received_commitment = b"\xff" * DIGEST_SIZE if differs else terms.commitment
    elif record == "pipia":
        body.pipia.report_digest = _ZEROS
    elif record == "onward":
        body.onward.agreement_digest = _ZEROS
    return encode_message(body)


def _erase(message: Any) -> None:
    for field in ERASED_FIELDS.get(message.DESCRIPTOR.name, ()):
        message.ClearField(field)


def order_digest(origin: str, order: bytes) -> bytes:
    """What the authority signs of an encoded ErasureOrder for a log."""
    return _ORDER_TAG + lp8(origin.encode()) + sha256(order).digest()


def open_order(order: bytes, signature: bytes, *, origin: str, authority: bytes) -> pb.ErasureOrder:
    """
    Read an order that this side's authority signed for a log.

    Raises MalformedError, FieldError, and SignatureError NOT_ORDERED.
    """
    read = parse_message(pb.ErasureOrder, order, "erasure order")
    check_order(read)
    try:
        verify(authority, order_digest(origin, order), signature)
    except SignatureError:
        raise SignatureError(
            f"the order is not signed by the authority of {origin} for this log",
            reason="NOT_ORDERED",
            action="submit what `ledgerctl erase order` wrote, at the node of its own side",
        ) from None
    if read.origin != origin:
        raise SignatureError(f"the order is for {read.origin}, not {origin}", reason="NOT_ORDERED")
    return read

"""
Signed records: making one, and deciding whether one may enter a log.

`admit` is the whole of what can be decided about a record without the log: form, fields, author
and signature. What depends on the log (idempotency, the clock, whether the key is good at that
index) is decided in log order by whoever owns the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import KIND_OF_RECORD, encode_message, read_body
from ledgerd_client.core.contract import contract_ref, parse_statement
from ledgerd_client.core.errors import FieldError, ForbiddenError, SignatureError
from ledgerd_client.core.events import check_event
from ledgerd_client.core.fields import SALT_SIZE, check_size
from ledgerd_client.core.header import Halves, Kind, encode_halves, header_tail, signed_bytes
from ledgerd_client.core.keys import KEY_ID_SIZE, SIGNATURE_SIZE, Signs, verify
from ledgerd_client.core.past import CLOCK_AHEAD, check_past
from ledgerd_client.core.transfer import Side, read_terms, transfer_ref
from ledgerd_client.core.usual import read_usual

_WITH_TERMS = frozenset(("transfer", "ack", "cancel", "correction"))
_BY_EXPORTER = frozenset((Kind.TRANSFER, Kind.CANCEL))
# Most records' kind, and Python 3.11 runs a function to look up an enum's member.
_TRANSFER = Kind.TRANSFER


class SignedRecord(NamedTuple):
    """A body and its author's signature, as they are sent and stored."""

    body: bytes
    key_id: bytes
    signature: bytes


class Facts(NamedTuple):
    """What the ledger needs to know of a body. Primitives only: it crosses process borders."""

    kind: int
    author: str
    record_id: bytes
    occurred_at: int
    # Of kinds with halves; empty and 0 otherwise.
    ref: bytes = b""
    terms_digest: bytes = b""
    outcome: int = 0
    counterparty_origin: str = ""
    counterparty: str = ""
    # Of a transfer's halves: see transfer.SharedTerms.
    like: bytes = b""

    @property
    def halves(self) -> Halves | None:
        if not self.ref:
            return None
        return Halves(self.ref, self.terms_digest, self.outcome, self.counterparty_origin)


class Key(NamedTuple):
    """A key, and the index of the entry that admitted it."""

    admitted_at: int
    public: bytes


class Admitted(NamedTuple):
    """
    A record that may enter the log; its signature is good for a key admitted at key_index.

    tail is its header from kind on.
    """

    facts: Facts
    body: bytes
    body_digest: bytes
    key_id: bytes
    key_index: int
    tail: bytes


def make_record_id(now: int, random: bytes) -> bytes:
    """A UUIDv7 (RFC 9562 section 5.7) of a time in µs and 10 random bytes."""
    stamp = (now // 1000).to_bytes(6, "big")
    return stamp + bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F]) + random[3:]


def make_body(
    *, origin: str, author: str, record_id: bytes, occurred_at: int, salt: bytes, **record: object
) -> bytes:
    """Encode a body; record is one of the fields of pb.Body's oneof, say transfer=pb.Transfer()."""
    check_size("salt", salt, SALT_SIZE)
    return encode_message(
        pb.Body(
            origin=origin,
            author=author,
            record_id=record_id,
            occurred_at=occurred_at,
            salt=salt,
            **record,  # type: ignore[arg-type]
        )
    )


def sign_record(body: bytes, key: Signs) -> SignedRecord:
    """
    Check a body as a node would and sign it.

    Raises what read_facts raises, so that nothing is signed that would be refused for its form.
    """
    origin, facts = read_facts(body)
    digest = sha256(body).digest()
    halves = encode_halves(facts.halves)
    message = signed_bytes(origin, facts.kind, digest, key.key_id, halves)
    return SignedRecord(body, key.key_id, key.sign(message))


def sign_admitted(body: bytes, key: Signs, *, key_index: int) -> Admitted:
    """Sign a body for one's own log, where key was admitted at key_index; raises as sign_record."""
    record = sign_record(body, key)
    facts = read_facts(body)[1]
    halves = encode_halves(facts.halves)
    return _admitted(record, facts, sha256(body).digest(), key_index, halves)


def _admitted(
    record: SignedRecord, facts: Facts, digest: bytes, key_index: int, halves: bytes
) -> Admitted:
    tail = header_tail(facts.kind, digest, key_index, record.key_id, record.signature, halves)
    return Admitted(facts, record.body, digest, record.key_id, key_index, tail)


def read_facts(data: bytes) -> tuple[str, Facts]:
    """
    Check a body's form and fields; return its origin and facts.

    Raises MalformedError, FieldError, PersonalDataError, TooLargeError, and ForbiddenError when
    the author is not the party that may state this half.
    """
    usual = read_usual(data)
    if usual is None:
        return read_any(data)
    origin, author, record_id, occurred_at, ref, terms_digest, other, like = usual
    return origin, Facts(
        _TRANSFER, author, record_id, occurred_at, ref, terms_digest, 0, *other, like
    )


def read_any(data: bytes) -> tuple[str, Facts]:
    """As read_facts, which takes a shorter way where it can."""
    body, record = read_body(data)
    kind = KIND_OF_RECORD[record]
    if record in _WITH_TERMS:
        return body.origin, _transfer_facts(body, record, kind)
    if kind == Kind.CONTRACT:
        return body.origin, _contract_facts(body)
    if kind == Kind.RECORD:
        check_event(body)
    return body.origin, Facts(kind, body.author, body.record_id, body.occurred_at)


def _transfer_facts(body: pb.Body, record: str, kind: Kind) -> Facts:
    encoded: bytes = getattr(body, record).terms
    terms, author = read_terms(encoded), body.author
    other = _counterparty(kind, Side(body.origin, author), terms.exporter, terms.recipient)
    return Facts(
        kind, author, body.record_id, body.occurred_at,
        transfer_ref(terms.exporter, terms.nonce), sha256(encoded).digest(),
        _check_ack(body, terms.commitment) if kind == Kind.ACK else 0,
        *other, terms.like,
    )  # fmt: skip


def _contract_facts(body: pb.Body) -> Facts:
    head, terms, outcome = parse_statement(body)
    author = Side(body.origin, body.author)
    other = _counterparty(Kind.CONTRACT, author, head.exporter, head.recipient)
    return Facts(
        Kind.CONTRACT, body.author, body.record_id, body.occurred_at,
        contract_ref(head.exporter, head.nonce), sha256(terms).digest(), outcome, *other,
    )  # fmt: skip


def _counterparty(kind: Kind, author: Side, exporter: Side, recipient: Side) -> Side:
    """The party across the border, if the author is the one that may state this half."""
    if kind == Kind.ACK and author != recipient:
        raise ForbiddenError(
            f"the ticket is for {recipient.institution}, not for {author.institution}",
            reason="NOT_RECIPIENT",
            action="acknowledge only what was sent to you; check which ticket you opened",
        )
    if kind in _BY_EXPORTER and author != exporter:
        raise ForbiddenError(
            f"the terms name {exporter.institution} as exporter, not {author.institution}",
            reason="NOT_EXPORTER",
        )
    if author == exporter:
        return recipient
    if author != recipient:
        raise ForbiddenError("the terms do not name the author", reason="NOT_A_PARTY")
    return exporter


def _check_ack(body: pb.Body, commitment: bytes) -> int:
    ack = body.ack
    check_past("received_at", ack.received_at, body.occurred_at)
    same = ack.received_commitment == commitment
    if ack.outcome == pb.OUTCOME_ACCEPTED and not same:
        raise FieldError("an accepted ACK carries the commitment that was declared")
    if ack.outcome == pb.OUTCOME_DIGEST_MISMATCH and same:
        raise FieldError("the commitment is the one that was declared: there is no mismatch")
    return ack.outcome


def admit(record: SignedRecord, *, origin: str, author: str, keys: Mapping[bytes, Key]) -> Admitted:
    """
    Decide whether a record by author may enter origin's log, but for what the log itself decides.

    keys are all keys that the log ever admitted for author. Raises what read_record and verified
    raise, of which it is made.
    """
    return verified(record, read_record(record, origin=origin, author=author), origin, keys)


def read_record(record: SignedRecord, *, origin: str, author: str) -> Facts:
    """
    Check everything of a record but its signature.

    Raises what read_facts raises, ForbiddenError WRONG_AUTHOR and FieldError WRONG_ORIGIN.
    """
    named_origin, facts = read_facts(record.body)
    if facts.author != author:
        raise ForbiddenError(
            f"the certificate is of {author}, the body by {facts.author}", reason="WRONG_AUTHOR"
        )
    if named_origin != origin:
        raise FieldError(f"the body is for {named_origin}, this is {origin}", reason="WRONG_ORIGIN")
    return facts


def check_clock(facts: Facts, now: int) -> None:
    """
    Refuse a record of the future, and accept any past; now is µs. Raises FieldError CLOCK_AHEAD.

    Apart from admit, because a repeated record gets its receipt whatever the clock says.
    """
    if facts.occurred_at > now + CLOCK_AHEAD:
        raise FieldError(
            "occurred_at is more than 5 minutes ahead of the node's clock",
            reason="CLOCK_AHEAD",
            action="set the clock of the sending machine",
        )


def verified(
    record: SignedRecord, facts: Facts, origin: str, keys: Mapping[bytes, Key]
) -> Admitted:
    """
    Check the signature; facts are the body's own.

    Raises SignatureError, and ForbiddenError KEY_UNKNOWN for a key that is not among keys.
    """
    if not record.signature:
        raise SignatureError("the record is not signed", reason="UNSIGNED")
    check_size("signature", record.signature, SIGNATURE_SIZE)
    key = keys.get(record.key_id)
    if key is None:
        check_size("key_id", record.key_id, KEY_ID_SIZE)
        raise ForbiddenError(
            f"no such key was admitted for {facts.author}",
            reason="KEY_UNKNOWN",
            action="enrol the key with the authority of this side",
        )
    digest = sha256(record.body).digest()
    # As of facts.halves, without making them first.
    halves = encode_halves(facts[4:8] if facts.ref else None)
    message = signed_bytes(origin, facts.kind, digest, record.key_id, halves)
    verify(key.public, message, record.signature)
    return _admitted(record, facts, digest, key.admitted_at, halves)

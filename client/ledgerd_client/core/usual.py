"""
Transfers as most of them are, read without making messages of them.

Under one contract they differ in a few values of known size. A pattern cuts a body's canonical
bytes into these values and the rest, which is looked at once for them all. What does not fit is
left to record.read_any, which alone says what is wrong with a record.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import parse_message
from ledgerd_client.core.errors import FieldError, LedgerError
from ledgerd_client.core.fields import MAX_COUNT, MAX_TIME
from ledgerd_client.core.transfer import Side, check_shared, ref_prefix

_PARTY: Final = rb".[!-~]++\x12.[.0-9A-Za-z]++"
_COUNT: Final = rb"[\x80-\xff]{0,4}[\x01-\x7f]"
# Each piece by its field's tag; a length of two bytes, as those of all usual terms.
_TRANSFER: Final = re.compile(
    rb"\x0a\x10.{16}"  # salt
    rb"(\x12.[!-~]++\x1a.[.0-9A-Za-z]++)\x22\x10"  # origin and author
    rb"(.{6}[\x70-\x7f].[\x80-\xbf].{7})"  # record_id, a UUIDv7
    rb"(\x28[\x80-\xff]{7}[\x01-\x7f])"  # occurred_at
    rb"\x92\x01([\x80-\xff][\x01-\x7f])\x0a([\x80-\xff][\x01-\x7f])"  # transfer, terms
    rb"(\x0a.\x0a" + _PARTY + rb"\x12.\x0a" + _PARTY + rb")\x1a\x10"  # exporter and recipient
    rb"(.{16})"  # nonce
    rb"(\x22.[^\x00-\x1f*]++)\x2a\x20"  # contract_id
    rb".{32}"  # commitment
    rb"((?:\x30" + _COUNT + rb")?(?:\x38" + _COUNT + rb")?"  # subjects
    rb"(?:\x40" + _COUNT + rb")?(?:\x48" + _COUNT + rb")?)"  # sensitive subjects
    rb"([^\x82]*+)"  # what is done with the data, and why
    rb"(?:\x82\x01\x20.{32}(.*+))?",  # notice_digest, and what comes after it
    re.DOTALL,
)

# Where there is no notice_digest, which is 16.
_LATER: Final = frozenset((*range(10, 16), *range(17, 1000)))

# Bytes of a body: twice what is usual, so that what is remembered of strange ones stays small.
_MOST: Final = 1024

M = TypeVar("M", bound=Message)

# origin, author, record_id, occurred_at, ref, terms_digest, the recipient, and Facts.like.
Usual = tuple[str, str, bytes, int, bytes, bytes, Side, bytes]


class _Shared(NamedTuple):
    """What pieces that many transfers share come to; ref_prefix: see transfer.ref_prefix."""

    author: Side
    recipient: Side
    ref_prefix: bytes
    like: bytes


def read_usual(data: bytes) -> Usual | None:
    """Read the body of a TRANSFER; None when it takes a closer look, or is none."""
    if len(data) > _MOST or not (match := _TRANSFER.fullmatch(data)):
        return None
    (
        named, record_id, time, of_transfer, of_terms, parties, nonce, contract, counts, *rest
    ) = match.groups()  # fmt: skip
    shared = _read_shared(named, parties, contract, *rest)
    terms = data[match.start(6) :]
    size = len(terms)
    if shared is None or (_length(of_transfer), _length(of_terms)) != (size + 3, size):
        return None
    occurred_at = pb.Body.FromString(time).occurred_at
    if occurred_at >= MAX_TIME or not _plausible(counts):
        return None
    ref = sha256(shared.ref_prefix + nonce).digest()
    return (
        *shared.author, record_id, occurred_at, ref, sha256(terms).digest(), shared.recipient,
        shared.like,
    )  # fmt: skip


def _length(varint: bytes) -> int:
    return varint[0] & 0x7F | varint[1] << 7


@lru_cache(maxsize=4096)
def _plausible(counts: bytes) -> bool:
    people = pb.Terms.FromString(counts)
    return (
        people.subjects_first_this_year <= people.subjects <= MAX_COUNT
        and people.sensitive_first_this_year <= people.sensitive_subjects <= MAX_COUNT
    )


@lru_cache(maxsize=4096)
def _read_shared(
    named: bytes, parties: bytes, contract: bytes, before: bytes, after: bytes | None
) -> _Shared | None:
    """
    Check the pieces that do not change; None when anything is wrong.

    Each is the one encoding of the fields that the pattern takes it for, and so a body made of
    them and of the other values is the one encoding of all.
    """
    try:
        body = _piece(pb.Body, named, range(2, 4))
        _piece(pb.Terms, parties, range(1, 3))
        _piece(pb.Terms, contract, range(4, 5))
        _piece(pb.Terms, before, _LATER if after is None else range(10, 16))
        _piece(pb.Terms, after or b"", range(17, 1000))
        exporter, recipient, like = check_shared(parties + contract + before + (after or b""))
    except LedgerError:
        return None
    author = Side(body.origin, body.author)
    if author != exporter:
        return None
    return _Shared(author, recipient, ref_prefix(exporter), like)


def _piece(cls: type[M], data: bytes, numbers: Container[int]) -> M:
    message = parse_message(cls, data, "piece")
    if any(field.number not in numbers for field, _ in message.ListFields()):
        raise FieldError("the piece holds other fields")
    return message

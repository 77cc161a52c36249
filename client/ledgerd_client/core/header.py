"""
The header of an entry: a fixed layout, so that there is one spelling (docs/format.md, "Header").

A header is all that the other side of the border ever sees of an entry by an institution.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, Self

from ledgerd_client.core.encoding import lp8
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.keys import ED25519, KEY_ID_SIZE, SIGNATURE_SIZE

VERSION = 1
MAX_ORIGIN_BYTES = 200
MAX_INSTITUTION_BYTES = 64

_GENESIS_TAG = b"ledgerd/genesis/v1\n"
_ENTRY_TAG = b"ledgerd/entry/v1\n"
# The fields up to the signature's length: the chain's four, then the author's five.
_FIXED = struct.Struct(">BQQ32sB32sQ33sH")
_CHAIN = struct.Struct(">BQQ32s")
_REST = struct.Struct(">B32sQ33sH")
_HALVES = struct.Struct(">32s32sBB")
_AFTER_SIGNATURE = _FIXED.size + SIGNATURE_SIZE
_RECORDED_AT = slice(9, 17)
_BODY_DIGEST = slice(_CHAIN.size + 1, _CHAIN.size + 33)
_KEY_ID = slice(_FIXED.size - 2 - KEY_ID_SIZE, _FIXED.size - 2)
_REF = slice(_AFTER_SIGNATURE + 1, _AFTER_SIGNATURE + 33)
_ORIGIN = re.compile(r"[!-*,-~]+")


class Kind(IntEnum):
    """What an entry is, as coarsely as the other side may know it."""

    GENESIS = 0
    KEY = 1
    TRANSFER = 2
    ACK = 3
    CANCEL = 4
    CORRECTION = 5
    ANCHOR = 6
    EVIDENCE = 7
    LOSS = 8
    RECORD = 9
    NODE = 10
    CONTRACT = 11


KINDS_WITH_HALVES = frozenset(
    (Kind.TRANSFER, Kind.ACK, Kind.CANCEL, Kind.CORRECTION, Kind.CONTRACT)
)
KINDS_SHARED_WITH_PEER = frozenset((Kind.GENESIS, Kind.KEY, Kind.ANCHOR, Kind.EVIDENCE, Kind.LOSS))
_OUTCOMES = {Kind.ACK: range(1, 5), Kind.CONTRACT: range(1, 6)}
_NO_OUTCOME = range(1)


class Halves(NamedTuple):
    """What ties an entry to its other half in the other log."""

    ref: bytes
    terms_digest: bytes
    outcome: int
    counterparty_origin: str


@dataclass(frozen=True, slots=True)
class Header:
    """One position of a log. Times are µs since the epoch, UTC."""

    index: int
    recorded_at: int
    previous_leaf_hash: bytes
    kind: Kind
    body_digest: bytes
    key_index: int
    key_id: bytes
    signature: bytes
    halves: Halves | None

    def encode(self) -> bytes:
        return header_bytes(
            self.index, self.recorded_at, self.previous_leaf_hash, self._after_chain()
        )

    def _after_chain(self) -> bytes:
        return header_tail(
            self.kind, self.body_digest, self.key_index, self.key_id, self.signature,
            encode_halves(self.halves),
        )  # fmt: skip

    def signed_bytes(self, origin: str) -> bytes:
        halves = encode_halves(self.halves)
        return signed_bytes(origin, self.kind, self.body_digest, self.key_id, halves)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read one header; raises MalformedError unless data is its one spelling."""
        if len(data) <= _AFTER_SIGNATURE:
            raise MalformedError("header is too short")
        version, index, recorded_at, previous, number, digest, key_index, key_id, length = (
            _FIXED.unpack_from(data)
        )
        if version != VERSION:
            raise MalformedError(f"header version {version} is not known")
        if key_id[0] != ED25519 or length != SIGNATURE_SIZE:
            raise MalformedError("header's signature algorithm is not known")
        try:
            kind = Kind(number)
        except ValueError:
            raise MalformedError(f"header kind {number} is not known") from None
        return cls(
            index, recorded_at, previous, kind, digest, key_index, key_id,
            data[_FIXED.size : _AFTER_SIGNATURE],
            _parse_halves(kind, data[_AFTER_SIGNATURE:]),
        )  # fmt: skip


def _parse_halves(kind: Kind, data: bytes) -> Halves | None:
    has_halves = kind in KINDS_WITH_HALVES
    if data[:1] != bytes([has_halves]):
        raise MalformedError("header has halves where its kind has none, or none where it has")
    if not has_halves:
        if len(data) != 1:
            raise MalformedError("header has bytes left over")
        return None
    if len(data) < 1 + _HALVES.size:
        raise MalformedError("header's halves are cut short")
    ref, terms_digest, outcome, length = _HALVES.unpack_from(data, 1)
    name = data[1 + _HALVES.size :]
    if len(name) != length:
        raise MalformedError("header has bytes left over or missing")
    if outcome not in _OUTCOMES.get(kind, _NO_OUTCOME):
        raise MalformedError(f"outcome {outcome} does not go with kind {kind.name}")
    try:
        origin = name.decode()
    except UnicodeDecodeError:
        raise MalformedError("counterparty origin is not UTF-8") from None
    check_origin(origin)
    return Halves(ref, terms_digest, outcome, origin)


@lru_cache(maxsize=256)
def check_origin(origin: str) -> None:
    """
    Refuse what can't name a log; raises MalformedError.

    Narrower than C2SP signed-note's key names, which exclude Unicode spaces: what those are changes
    with Unicode's versions, and two parties must agree.
    """
    if len(origin) > MAX_ORIGIN_BYTES or not _ORIGIN.fullmatch(origin):
        raise MalformedError(
            "an origin is 1 to 200 printable ASCII characters without space or '+'",
            reason="BAD_ORIGIN",
        )


def header_bytes(index: int, recorded_at: int, previous_leaf_hash: bytes, tail: bytes) -> bytes:
    """Join a place in the chain with a tail made by header_tail."""
    return _CHAIN.pack(VERSION, index, recorded_at, previous_leaf_hash) + tail


def key_id_of(header: bytes) -> bytes:
    """The id of the key that signed an encoded header."""
    return header[_KEY_ID]


def recorded_at_of(header: bytes) -> int:
    """When the entry of an encoded header was recorded, µs."""
    return int.from_bytes(header[_RECORDED_AT], "big")


def body_digest_of(header: bytes) -> bytes:
    """The digest of the body in an encoded header."""
    return header[_BODY_DIGEST]


def ref_of(header: bytes) -> bytes:
    """The ref in an encoded header whose kind has halves."""
    return header[_REF]


def header_tail(
    kind: int,
    body_digest: bytes,
    key_index: int,
    key_id: bytes,
    signature: bytes,
    halves: bytes,
) -> bytes:
    """Everything of a header that does not depend on its place in the chain; see encode_halves."""
    return _REST.pack(kind, body_digest, key_index, key_id, len(signature)) + signature + halves


def signed_bytes(origin: str, kind: int, body_digest: bytes, key_id: bytes, halves: bytes) -> bytes:
    """What the author of an entry signs; halves as encode_halves gives them."""
    return _signed_prefix(origin, kind) + body_digest + key_id + halves


def encode_halves(halves: Halves | tuple[bytes, bytes, int, str] | None) -> bytes:
    """The end of a header, and of what is signed: the halves, or that there are none."""
    if halves is None:
        return b"\x00"
    ref, terms_digest, outcome, counterparty_origin = halves
    return b"\x01" + ref + terms_digest + _said(outcome, counterparty_origin)


# There are two logs.
@lru_cache(maxsize=256)
def _signed_prefix(origin: str, kind: int) -> bytes:
    return _ENTRY_TAG + _name(origin) + bytes((kind,))


@lru_cache(maxsize=256)
def _said(outcome: int, counterparty_origin: str) -> bytes:
    return bytes((outcome,)) + _name(counterparty_origin)


@lru_cache(maxsize=256)
def _name(origin: str) -> bytes:
    return lp8(origin.encode())


def genesis_previous(origin: str) -> bytes:
    """previous_leaf_hash of entry 0."""
    return sha256(_GENESIS_TAG + lp8(origin.encode())).digest()

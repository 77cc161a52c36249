"""
Verify a ledgerd receipt offline, with Python's standard library and `cryptography` alone.

Written from docs/format.md, to be read beside it: [n] is step n of its "Verify a receipt".
"""

import argparse
import base64
import hashlib
import re
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TRUST = re.compile(r"ledgerd-trust/v1\n(origin (\S+)\nauthority \2/authority\+\S+\n(ca \S+\n)+)+")
PIN = re.compile(r"origin (\S+)\nauthority (\S+?)\+([0-9a-f]{8})\+(\S+)\n((?:ca \S+\n)+)")
KEYS = re.compile(r"ledgerd-keys/v1\n(\S+)\n((?:\S+ \S+\n)+)")
RECEIPT = re.compile(r"""c2sp\.org/tlog-proof@v1
extra (?P<header>\S+)
index (?P<index>0|[1-9][0-9]*)
(?P<proof>(\S{44}\n)*)
(?P<text>(?P<origin>\S+)
(?P<size>0|[1-9][0-9]*)
(?P<root>\S{44})
)
(?P<signatures>(\u2014 \S+ \S+\n)+)""")
KINDS = "GENESIS KEY TRANSFER ACK CANCEL CORRECTION ANCHOR EVIDENCE LOSS RECORD NODE CONTRACT"
OUTCOMES = {2: (0,), 3: (1, 2, 3, 4), 4: (0,), 5: (0,), 11: (1, 2, 3, 4, 5)}  # by kind with halves
HEADER = "version index recorded_at previous kind body_digest key_index key_id length signature"
BODY = dict.fromkeys([1, 2, 3, 4, *range(16, 27)], 2) | {5: 0}  # field: protobuf wire type
GENESIS = dict.fromkeys(range(1, 7), 2)
EVENT = dict.fromkeys([3, 4, 5, 6, 10], 2) | dict.fromkeys([1, 2, 7, 8, 9], 0)
ADMIT, ROTATE, REVOKE = 1, 2, 3
P, Y8 = 2**255 - 19, 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
LOW_ORDER = {0, 1, P - 1, Y8, P - Y8}  # y of the points of order 1, 2, 4 and 8


def require(condition: object, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def lp8(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text)
    require(base64.b64encode(raw).decode() == text, f"not canonical base64: {text[:40]!r}")
    return raw


def check_signature(public: bytes, signature: bytes, message: bytes, what: str) -> None:
    points = [int.from_bytes(raw, "little") % 2**255 for raw in (public, signature[:32])]
    sound = points[0] < P and not LOW_ORDER.intersection(points)
    require(
        sound and (len(public), len(signature)) == (32, 64), f"{what}: unsound key or signature"
    )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise ValueError(f"{what}: the signature does not verify") from None


def read_header(raw: bytes) -> SimpleNamespace:
    require(len(raw) >= 190, "header: cut short")
    values = struct.unpack(">BQQ32sB32sQ33sH64s", raw[:189])
    header = SimpleNamespace(**dict(zip(HEADER.split(), values, strict=True)), halves=raw[189:])
    halves, outcomes = header.halves, OUTCOMES.get(header.kind)
    require((header.version, header.key_id[0], header.length) == (1, 1, 64), "header: version")
    if outcomes is None:
        require(header.kind < 11 and halves == b"\0", "header: kind, or bytes left over")
    else:
        require(len(halves) > 67 and len(halves) == 67 + halves[66] <= 267, "header: length")
        require(halves[0] == 1 and halves[65] in outcomes, "header: halves or outcome")
        require(re.fullmatch(r"[^\s+\x00-\x20\x7f]+", halves[67:].decode()), "header: counterparty")
    return header


def read_varint(data: bytes) -> tuple[int, bytes]:
    match = re.match(rb"[\x80-\xff]{0,9}[\x00-\x7f]", data)
    require(match and (match[0][-1] or len(match[0]) == 1), "body: not a minimal varint")
    return sum((byte & 127) << 7 * at for at, byte in enumerate(match[0])), data[match.end() :]


def read_message(data: bytes, wire_types: dict[int, int]) -> dict[int, Any]:
    """Read canonical protobuf: known fields, ascending, each once, no default written out."""
    fields: dict[int, Any] = {}
    while data:
        tag, data = read_varint(data)
        value, data = read_varint(data)
        if tag & 7 == 2:
            require(value <= len(data), "body: cut short")
            value, data = data[:value], data[value:]
        known = wire_types.get(tag >> 3) == tag & 7 and tag >> 3 > max(fields, default=0)
        require(known and value, f"body: field {tag >> 3} is not canonical")
        fields[tag >> 3] = value
    return fields

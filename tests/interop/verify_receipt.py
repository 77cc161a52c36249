"""
Verify a ledgerd receipt offline, with Python's standard library and `cryptography` alone.

Written from docs/format.md, to be read beside it: [n] is step n of its "Verify a receipt". Left
out: step 8, whether an admitted key was possessed, a body canonical, a point of low order.
"""

import argparse
import base64
import re
import struct
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NAME = r"[^\s+\x00-\x1f\x7f]{1,200}"
PIN = rf"(?m)^origin ({NAME})\nauthority \1/authority\+[0-9a-f]{{8}}\+(\S+)$"
KEYS = r"ledgerd-keys/v1\n(\S+)\n((?:\S+ \S+\n)+)"
RECEIPT = (
    r"c2sp\.org/tlog-proof@v1\nextra (\S+)\nindex (0|[1-9][0-9]*)\n((?:[^\s=]{43}=\n)*)\n"
    r"((\S+)\n(0|[1-9][0-9]*)\n(\S+)\n)\n((?:\u2014 \S+ \S+\n)+)"
)
HEADER = "version index time previous kind body_digest key_index key_id length signature"
OUTCOMES = {2: b"\0", 3: b"\1\2\3\4", 4: b"\0", 5: b"\0"}  # allowed, of the kinds with halves
SIGNS = {"authority": (0, 1, 8), "node": (6, 7, 10), 1: (2, 3, 4, 5), 2: ()}  # role: kinds
NUMBER = rb"([\x80-\xff]{0,9}[\x01-\x7f])"  # a protobuf varint: minimal, and never zero
ADMIT, ROTATE, REVOKE = 1, 2, 3


def require(condition: object, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text)
    require(base64.b64encode(raw).decode() == text, f"not canonical base64: {text[:40]!r}")
    return raw


def read_header(raw: bytes) -> SimpleNamespace:
    """[4] Take a header apart."""
    require(len(raw) >= 190, "header: cut short")
    values = struct.unpack(">BQQ32sB32sQ33sH64s", raw[:189])
    header = SimpleNamespace(**dict(zip(HEADER.split(), values, strict=True)), halves=raw[189:])
    fixed = header.version, header.key_id[0], header.length, header.index == 0
    require(fixed == (1, 1, 64, header.kind == 0), "header: version, key, signature or GENESIS")
    if header.kind in OUTCOMES:
        halves = header.halves.ljust(67)
        require(halves[0] == 1 and halves[65] in OUTCOMES[header.kind], "header: halves, outcome")
        require(len(header.halves) == 67 + halves[66] <= 267, "header: length")
        require(re.fullmatch(NAME, halves[67:].decode()), "header: counterparty's origin")
    else:
        require(header.halves == b"\0", "header: halves where none belong, or bytes left over")
    return header


def read_message(data: bytes, numbers: tuple[int, ...] = ()) -> dict:
    """Read a protobuf message whose fields are bytes, but for these numbers."""
    fields = {}
    while match := re.match(NUMBER * 2, data):  # a tag, then a number or a length
        tag, value = (sum((b & 127) << 7 * at for at, b in enumerate(n)) for n in match.groups())
        require(tag & 7 == (0 if tag >> 3 in numbers else 2), "body: a field of another type")
        end = match.end() + (value if tag & 7 else 0)
        fields[tag >> 3] = data[match.end() : end] if tag & 7 else value
        data = data[end:]
    require(not data, "body: malformed")
    return fields


def tree_root(index: int, size: int, leaf: bytes, proof: list[bytes]) -> bytes:
    require(bool(proof) == (size > 1), "inclusion proof: wrong length")
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1  # the largest power of two below size
    if index < left:
        pair = tree_root(index, left, leaf, proof[:-1]) + proof[-1]
    else:
        pair = proof[-1] + tree_root(index - left, size - left, leaf, proof[:-1])
    return sha256(b"\1" + pair).digest()


def admit(log: SimpleNamespace, index: int, holder: bytes, role: object, public: bytes) -> None:
    key_id = b"\1" + sha256(b"ledgerd/key/v1\n\1" + public).digest()
    require(key_id not in log.keys, "key history: a key is admitted twice")
    log.keys[key_id] = SimpleNamespace(
        holder=holder, role=role, public=public, admitted=index, revoked=2**64
    )


def check_author(header: SimpleNamespace, log: SimpleNamespace) -> str:
    """[7] Check who signed an entry; return the name."""
    require(header.key_id in log.keys, "entry: signed by an unknown key")
    key = log.keys[header.key_id]
    good = key.admitted == header.key_index and header.index < key.revoked
    good = good and (header.index > key.admitted or header.index == 0)
    require(good and header.kind in SIGNS[key.role], "entry: its key was not good for it")
    origin = log.origin.encode()
    signed = b"ledgerd/entry/v1\n" + bytes([len(origin)]) + origin + bytes([header.kind])
    signed += header.body_digest + header.key_id + header.halves
    Ed25519PublicKey.from_public_bytes(key.public).verify(header.signature, signed)
    return key.holder.decode()


def read_keys(file: str, pins: dict[str, bytes]) -> SimpleNamespace:
    """[2] Read a key history: GENESIS, and every key with the indexes between which it is good."""
    match = re.fullmatch(KEYS, file)
    require(match and match[1] in pins, "key history: malformed, or its origin is not pinned")
    log, last = SimpleNamespace(origin=match[1], genesis={}, keys={}), -1
    admit(log, 0, b"authority", "authority", pins[log.origin])
    for line in match[2].splitlines():
        raw, body = map(unbase64, line.split(" "))
        header = read_header(raw)
        require(header.kind == (last >= 0) and header.index > last, "key history: not in log order")
        check_author(header, log)
        require(sha256(body).digest() == header.body_digest, "body: not the one that was signed")
        record, last = read_message(body, (5,))[16 + header.kind], header.index
        if header.kind == 0:
            log.genesis = read_message(record)
            admit(log, 0, b"node", "node", log.genesis[2])
            continue
        event = read_message(record, (1, 2, 7, 8, 9))
        action, role, holder, public, old = map(event.get, (1, 2, 3, 4, 6))
        if action in (ROTATE, REVOKE):
            ...

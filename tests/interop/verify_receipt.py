"""
Verify a ledgerd receipt offline, with Python's standard library and `cryptography` alone.

Written from docs/format.md, to be read beside it: [n] is step n of its "Verify a receipt". To be
short it leaves out step 8, keys of a node that were rotated, checks for points of low order and of
spelling, and believes what the authority signed: that a key was possessed, an ended key good.
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

PIN = r"(?m)^origin (\S+)\nauthority \1/authority\+[0-9a-f]{8}\+(\S+)$"
HEADER = "version index time previous kind body_digest key_index key_id length signature"
KINDS = "GENESIS KEY TRANSFER ACK CANCEL CORRECTION ANCHOR EVIDENCE LOSS RECORD NODE CONTRACT"
OUTCOMES = {2: [0], 3: [1, 2, 3, 4], 4: [0], 5: [0], 11: [1, 2, 3, 4, 5]}  # with halves
AUTHORITY, NODE, ROLES = (0, 1, 8), (6, 7, 10), {1: (9, *OUTCOMES), 2: ()}  # the kinds each signs
ADMIT, ROTATE, REVOKE = 1, 2, 3
NUMBER = rb"([\x80-\xff]{0,9}[\x01-\x7f])"  # a protobuf varint: minimal, and never zero


def require(condition: object, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text)
    require(base64.b64encode(raw).decode() == text, f"not canonical base64: {text[:40]!r}")
    return raw


def key_id(public: bytes) -> bytes:
    return b"\1" + sha256(b"ledgerd/key/v1\n\1" + public).digest()


def read_header(raw: bytes) -> SimpleNamespace:  # [4]
    values = struct.unpack(">BQQ32sB32sQ33sH64s", raw[:189])
    header = SimpleNamespace(**dict(zip(HEADER.split(), values, strict=True)), halves=raw[189:])
    sound = header.kind in (*AUTHORITY, *NODE, 9) and header.halves == b"\0"
    if header.kind in OUTCOMES:
        flag, _ref, _terms, outcome, length = struct.unpack(">B32s32sBB", raw[189:256])
        fits = flag == 1 and outcome in OUTCOMES[header.kind] and len(raw) == 256 + length <= 456
        sound = fits and re.fullmatch(r"[^\s+\x00-\x1f\x7f]+", raw[256:].decode())
    fixed = header.version, header.key_id[0], header.length
    require(sound and fixed == (1, 1, 64), "header: not what its version and kind allow")
    return header


def read_message(data: bytes) -> dict:  # protobuf: numbers and bytes by field number
    fields = {}
    while match := re.match(NUMBER * 2, data):  # a tag, then a number or a length
        tag, value = (sum((b & 127) << 7 * at for at, b in enumerate(n)) for n in match.groups())
        end = match.end() + (value if tag & 7 == 2 else 0)
        fields[tag >> 3] = data[match.end() : end] if tag & 7 == 2 else value
        data = data[end:]
    return fields


def check_author(header: SimpleNamespace, log: SimpleNamespace) -> str:  # [7]
    name, kinds, public = log.keys.get((header.key_index, header.key_id), ("nobody", (), b""))
    placed = (header.index > header.key_index) == (header.kind > 0)  # GENESIS alone is entry 0
    good = placed and header.index < log.ended.get(header.key_id, 2**64)
    require(good and header.kind in kinds, f"entry: by a key of {name}, not good for it")
    origin = log.origin.encode()
    signed = b"ledgerd/entry/v1\n" + bytes([len(origin)]) + origin + bytes([header.kind])
    signed += header.body_digest + header.key_id + header.halves
    Ed25519PublicKey.from_public_bytes(public).verify(header.signature, signed)
    return name


def read_keys(file: str, trust: str) -> SimpleNamespace:  # [1, 2]
    pins = {name: unbase64(key)[1:] for name, key in re.findall(PIN, trust)}
    magic, origin, *lines, rest = file.split("\n")
    known = (magic, rest) == ("ledgerd-keys/v1", "") and lines and origin in pins
    require(known, "key history: malformed, or its origin is not pinned")
    keys = {(0, key_id(pins[origin])): ("authority", AUTHORITY, pins[origin])}
    log, last = SimpleNamespace(origin=origin, keys=keys, ended={}, genesis={}), -1
    for raw, body in (map(unbase64, line.split(" ")) for line in lines):
        header = read_header(raw)
        require(header.kind == (last >= 0) and header.index > last, "key history: not in order")
        check_author(header, log)
        require(sha256(body).digest() == header.body_digest, "body: not the one that was signed")
        record, last = read_message(read_message(body)[16 + header.kind]), header.index
        if header.kind == 0:
            log.genesis, keys[0, key_id(record[2])] = record, ("node", NODE, record[2])
        elif record[1] in (ADMIT, ROTATE):  # fields as section 3 numbers them
            keys[last, key_id(record[4])] = (record[3].decode(), ROLES[record[2]], record[4])
        if header.kind == 1 and record[1] in (ROTATE, REVOKE):
            log.ended.setdefault(record[6] if record[1] == ROTATE else key_id(record[4]), last)
    return log


def verify(file: str, logs: dict[str, SimpleNamespace], *, cosigned: bool) -> str:
    head, text, notes = file.split("\n\n")  # [3]
    magic, extra, index, *hashes = head.split("\n")
    (origin, size, root), (*lines, rest) = text.split("\n"), notes.split("\n")
    raw, log, last = unbase64(extra[6:]), logs[origin], int(size) - 1
    header = read_header(raw)
    expected = "c2sp.org/tlog-proof@v1", "extra ", f"index {header.index}", str(last + 1), ""
    require((magic, extra[:6], index, size, rest) == expected, "receipt: malformed")
    peer, signers = log.genesis[5].decode(), {origin: (b"\1", log.genesis[1], 4)}  # [5]
    if peer in logs:
        signers[peer] = (b"\4", logs[peer].genesis[3], 12)
    for dash, name, data in (line.split(" ") for line in lines):
        require(name in signers, f"checkpoint: {name!r} is unknown, or signs twice")
        (kind, public, start), note = signers.pop(name), unbase64(data)
        short = sha256(name.encode() + b"\n" + kind + public).digest()[:4]
        require((dash, note[:4]) == ("\u2014", short), f"checkpoint: not the key of {name}")
        time = f"cosignature/v1\ntime {int.from_bytes(note[4:12])}\n" if start == 12 else ""
        Ed25519PublicKey.from_public_bytes(public).verify(note[start:], f"{time}{text}\n".encode())
    require(origin not in signers and len(lines) >= 1 + cosigned, "checkpoint: a signer is missing")
    proof, node = [unbase64(line) for line in hashes], sha256(b"\0" + raw).digest()  # [6]
    inner = (header.index ^ last).bit_length()  # from this level on, siblings are at the left
    fits = [*map(len, proof)] == [32] * (inner + (header.index >> inner).bit_count())
    require(fits and header.index <= last < 2**63 - 1, "inclusion proof: of another length")
    for level, sibling in enumerate(proof):
        left = level >= inner or header.index >> level & 1
        node = sha256(b"\1" + (sibling + node if left else node + sibling)).digest()
    require(node == unbase64(root), "inclusion proof: leads to another root")
    name, seen = check_author(header, log), "cosigned" if len(lines) > 1 else "not cosigned"
    what = f"{KINDS.split()[header.kind]} {header.index} of {origin} by {name} at {header.time} µs"
    return f"{what}, {seen}, body {header.body_digest.hex()}, halves {header.halves.hex()}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Verify a ledgerd receipt offline.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--keys", type=Path, action="append", required=True)
    parser.add_argument("--require-cosignature", action="store_true")
    options = parser.parse_args()
    try:
        paths = options.receipt, options.trust, *options.keys
        receipt, trust, *histories = (path.read_bytes().decode() for path in paths)
        logs = {log.origin: log for log in (read_keys(file, trust) for file in histories)}
        found = verify(receipt, logs, cosigned=options.require_cosignature)
    except OSError as error:
        parser.error(str(error))
    except (ValueError, LookupError, struct.error, InvalidSignature) as error:
        sys.exit(f"does not verify: {error!r}")
    sys.stdout.write(f"verified: {found}\n")

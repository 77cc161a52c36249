"""
Verify a ledgerd receipt offline, with Python's standard library and `cryptography` alone.

Written from docs/format.md, to be read beside it: [n] is step n of its "Verify a receipt". So as
to be short it believes whatever the authority has signed (possession, canonical bodies, what a
REVOKE names), takes the trust file as it is, looks for no low order, and leaves out step 8.
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
OUTCOMES = {2: [0], 3: [1, 2, 3, 4], 4: [0], 5: [0]}  # of the kinds with halves
AUTHORITY, NODE, INSTITUTION = (0, 1, 8), (6, 7, 10), (2, 3, 4, 5)  # the kinds that each signs
ADMIT, ROTATE, REVOKE = 1, 2, 3
NUMBER = rb"([\x80-\xff]{0,9}[\x01-\x7f])"  # a protobuf varint: minimal, and never zero
FAILURES = (ValueError, LookupError, struct.error, InvalidSignature)


def require(condition: object, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text)
    require(base64.b64encode(raw).decode() == text, f"not canonical base64: {text[:40]!r}")
    return raw


def key_id(public: bytes) -> bytes:
    return b"\1" + sha256(b"ledgerd/key/v1\n\1" + public).digest()


def read_header(raw: bytes) -> SimpleNamespace:
    """[4] Take a header apart."""
    values = struct.unpack(">BQQ32sB32sQ33sH64s", raw[:189])
    header = SimpleNamespace(**dict(zip(HEADER.split(), values, strict=True)), halves=raw[189:])
    fixed = header.version, header.key_id[0], header.length
    require(fixed == (1, 1, 64), "header: of another version, algorithm or length")
    if header.kind not in OUTCOMES:
        require(header.halves == b"\0", "header: halves where none belong, or bytes left over")
        return header
    flag, header.ref, header.terms, outcome, length = struct.unpack(">B32s32sBB", raw[189:256])
    sound = flag == 1 and outcome in OUTCOMES[header.kind] and length == len(raw[256:]) <= 200
    require(sound and re.fullmatch(r"[^\s+\x00-\x1f\x7f]+", raw[256:].decode()), "header: halves")
    return header


def read_message(data: bytes) -> dict:
    """Read a protobuf message whose fields are numbers and bytes."""
    fields = {}
    while match := re.match(NUMBER * 2, data):  # a tag, then a number or a length
        tag, value = (sum((b & 127) << 7 * at for at, b in enumerate(n)) for n in match.groups())
        end = match.end() + (value if tag & 7 == 2 else 0)
        fields[tag >> 3] = data[match.end() : end] if tag & 7 == 2 else value
        data = data[end:]
    return fields


def check_author(header: SimpleNamespace, log: SimpleNamespace) -> str:
    """[7] Check who signed an entry; return the name."""
    name, kinds, public = log.keys[header.key_index, header.key_id]
    placed = (header.index > header.key_index) == (header.kind > 0)  # GENESIS is entry 0
    good = placed and header.index < log.ended.get(header.key_id, 2**64)
    require(good and header.kind in kinds, f"entry: this key of {name} is not good for it")
    origin = log.origin.encode()
    signed = b"ledgerd/entry/v1\n" + bytes([len(origin)]) + origin + bytes([header.kind])
    signed += header.body_digest + header.key_id + header.halves
    Ed25519PublicKey.from_public_bytes(public).verify(header.signature, signed)
    return name


def read_keys(file: str, pins: dict[str, bytes]) -> SimpleNamespace:
    """[2] Read a key history: what each key signs, and at which index it ended."""
    magic, origin, *lines, rest = file.split("\n")
    require((magic, rest) == ("ledgerd-keys/v1", ""), "key history: malformed")
    keys = {(0, key_id(pins[origin])): ("authority", AUTHORITY, pins[origin])}
    log, last = SimpleNamespace(origin=origin, keys=keys, ended={}, genesis={}), -1
    for raw, body in (map(unbase64, line.split(" ")) for line in lines):
        header = read_header(raw)
        in_order = header.kind == (last >= 0) and header.index > last
        require(in_order, "key history: not GENESIS and then KEY entries in log order")
        check_author(header, log)
        require(sha256(body).digest() == header.body_digest, "body: not the one that was signed")
        record, last = read_message(read_message(body)[16 + header.kind]), header.index
        if header.kind == 0:
            log.genesis, keys[0, key_id(record[2])] = record, ("node", NODE, record[2])
            continue
        action, role, name, public = (record[field] for field in (1, 2, 3, 4))
        if action in (ADMIT, ROTATE):
            kinds = INSTITUTION if role == 1 else ()
            keys[last, key_id(public)] = (name.decode(), kinds, public)
        if action in (ROTATE, REVOKE):
            log.ended.setdefault(record[6] if action == ROTATE else key_id(public), last)
    return log


def check_note(text: str, lines: list[str], log, peer) -> bool:
    return


def verify(file: str, logs: dict[str, SimpleNamespace], *, cosigned: bool) -> str:
    """[3] Say what a receipt proves, or raise one of FAILURES."""
    head, text, notes = file.split("\n\n")
    magic, extra, index, *hashes = head.split("\n")
    origin, size, root = text.split("\n")
    raw, log = unbase64(extra[6:]), logs[origin]
    header, last = read_header(raw), int(size) - 1
    said = magic, extra[:6], index, size, notes[-1:]
    need = "c2sp.org/tlog-proof@v1", "extra ", f"index {header.index}", str(last + 1), "\n"
    require(said == need, "receipt: malformed")
    peer = log.genesis[5].decode()
    keys = {origin: (b"\1", log.genesis[1], 4)}  # [5]
    if peer in logs:
        keys[peer] = (b"\4", logs[peer].genesis[3], 12)
    for line in (lines := notes[:-1].split("\n")):
        dash, name, data = line.split(" ")
        (kind, public, start), note = keys.pop(name), unbase64(data)
        short = sha256(name.encode() + b"\n" + kind + public).digest()[:4]
        require((dash, note[:4]) == ("\u2014", short), f"checkpoint: not the key of {name}")
        time = f"cosignature/v1\ntime {int.from_bytes(note[4:12])}\n" if start == 12 else ""
        Ed25519PublicKey.from_public_bytes(public).verify(note[start:], f"{time}{text}\n".encode())
    require(origin not in signers, "checkpoint: its log has not signed it")
    require(not cosigned or ..., "checkpoint: the peer has not cosigned it")  # [9]
    require(header.index <= last < 2**64, "inclusion proof: outside of the tree")  # [6]
    at, node = header.index, sha256(b"\0" + raw).digest()
    for sibling in map(unbase64, hashes):
        require(last > 0 and len(sibling) == 32, "inclusion proof: too long")
        while at == last and at % 2 == 0:  # the last node of its level has no sibling
            at, last = at // 2, last // 2
        node = sha256(b"\1" + (sibling + node if at % 2 else node + sibling)).digest()
        at, last = at // 2, last // 2
    require((last, node) == (0, unbase64(root)), "inclusion proof: leads to another root")
    author = check_author(header, log)
    return f"entry {header.index} of {origin}: kind {header.kind} by {author}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Verify a ledgerd receipt offline.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--keys", type=Path, action="append", required=True)
    parser.add_argument("--require-cosignature", action="store_true")
    options = parser.parse_args()
    try:
        paths = options.receipt, options.trust, *options.keys
        receipt, trust, *histories = (path.read_bytes().decode() for path in paths)
        pins = {origin: unbase64(vkey)[1:] for origin, vkey in re.findall(PIN, trust)}
        logs = {log.origin: log for log in (read_keys(file, pins) for file in histories)}
        found = verify(receipt, logs, cosigned=options.require_cosignature)
    except OSError as error:
        parser.error(str(error))
    except FAILURES as error:
        sys.exit(f"does not verify: {error!r}")
    sys.stdout.write(f"verified: {found}\n")


if __name__ == "__main__":
    main()

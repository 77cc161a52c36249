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

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NAME = r"[^\s+\x00-\x1f\x7f]{1,200}"
PIN = rf"origin ({NAME})\nauthority (\S+?)\+([0-9a-f]{{8}})\+(\S+)\n((?:ca \S+\n)+)"
KEYS = r"ledgerd-keys/v1\n(\S+)\n((?:\S+ \S+\n)+)"
RECEIPT = r"""c2sp\.org/tlog-proof@v1
extra (?P<header>\S+)
index (?P<index>0|[1-9][0-9]*)
(?P<proof>([^\s=]{43}=\n)*)
(?P<checkpoint>(?P<origin>\S+)
(?P<size>0|[1-9][0-9]*)
(?P<root>[^\s=]{43}=)
)
(?P<signatures>(\u2014 \S+ \S+\n)+)"""
HEADER = "version index time previous kind body_digest key_index key_id length signature"
KINDS = "GENESIS KEY TRANSFER ACK CANCEL CORRECTION ANCHOR EVIDENCE LOSS - NODE"
OUTCOMES = {2: [0], 3: [1, 2, 3, 4], 4: [0], 5: [0]}  # the kinds with halves
AUTHORITY, NODE, ROLES = [0, 1, 8], [6, 7, 10], {1: list(OUTCOMES), 2: []}  # who signs what
NUMBER = rb"([\x80-\xff]{0,9}[\x01-\x7f])"  # a protobuf varint: minimal, and never zero
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


def lp8(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def key_id(public: bytes) -> bytes:
    return b"\1" + sha256(b"ledgerd/key/v1\n\1", public)


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text)
    require(base64.b64encode(raw).decode() == text, f"not canonical base64: {text[:40]!r}")
    return raw


def check_signature(public: bytes, signature: bytes, message: bytes, what: str) -> None:
    y, r = (int.from_bytes(raw, "little") % 2**255 for raw in (public, signature[:32]))
    sound = y < P and not LOW_ORDER & {y, r} and (len(public), len(signature)) == (32, 64)
    require(sound, f"{what}: the key or the signature is unsound")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise ValueError(f"{what}: the signature does not verify") from None


def read_header(raw: bytes) -> SimpleNamespace:
    require(len(raw) >= 190, "header: cut short")
    values = struct.unpack(">BQQ32sB32sQ33sH64s", raw[:189])
    header = SimpleNamespace(**dict(zip(HEADER.split(), values, strict=True)), halves=raw[189:])
    require(
        (header.version, header.key_id[0], header.length) == (1, 1, 64),
        "header: version, key or signature",
    )
    if header.kind in OUTCOMES:
        halves = header.halves.ljust(67)
        require(halves[0] == 1 and halves[65] in OUTCOMES[header.kind], "header: halves, outcome")
        require(len(header.halves) == 67 + halves[66] <= 267, "header: length")
        require(re.fullmatch(NAME, halves[67:].decode()), "header: counterparty's origin")
    else:
        fits = header.kind in AUTHORITY + NODE and header.halves == b"\0"
        require(fits, "header: unknown kind, halves where none belong, or bytes left over")
    return header


def read_message(data: bytes, known: dict[int, int]) -> dict:
    """Read canonical protobuf: known fields, ascending, each once, no default written out."""
    fields = {}
    while data:
        match = re.match(NUMBER + NUMBER, data)
        require(match, "body: a number is not minimal, or a default is written out")
        tag, value = (sum((b & 127) << 7 * at for at, b in enumerate(n)) for n in match.groups())
        field, data = tag >> 3, data[match.end() :]
        in_order = known.get(field) == tag & 7 and field > max(fields, default=0)
        require(in_order, "body: a field is unknown or out of order")
        if known[field] == 2:
            require(value <= len(data), "body: cut short")
            value, data = data[:value], data[value:]
        fields[field] = value
    return fields


def tree_root(index: int, size: int, leaf: bytes, proof: list[bytes]) -> bytes:
    require(bool(proof) == (size > 1), "inclusion proof: wrong length")
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1  # the largest power of two below size
    if index < left:
        return sha256(b"\1", tree_root(index, left, leaf, proof[:-1]), proof[-1])
    return sha256(b"\1", proof[-1], tree_root(index - left, size - left, leaf, proof[:-1]))


def read_trust(file: str) -> dict[str, bytes]:
    """[1] The authority's public key of each origin."""
    pins, text = {}, "ledgerd-trust/v1\n"
    for pin in re.finditer(PIN, file):
        key, text = unbase64(pin[4]), text + pin[0]
        short = sha256(pin[2].encode(), b"\n", key)[:4].hex()
        named = (pin[2], pin[3], key[0]) == (pin[1] + "/authority", short, 1)
        require(named and pin[1] > max(pins, default=""), "trust file: verifier key, or order")
        require(all(unbase64(line[3:]) for line in pin[5].splitlines()), "trust file: certificate")
        pins[pin[1]] = key[1:]
    require(pins and text == file, "trust file: malformed")
    return pins


class Log:
    """An origin's keys, by key id, each with the entries between which it is good."""

    def __init__(self, file: str, pins: dict[str, bytes]) -> None:
        """[2] Read a key history: GENESIS, then every KEY entry in log order."""
        match = re.fullmatch(KEYS, file)
        require(match and match[1] in pins, "key history: malformed, or its origin is not trusted")
        self.origin, self.keys, self.genesis, last = match[1], {}, {}, -1
        self.admit(0, "authority", AUTHORITY, pins[self.origin])
        for line in match[2].splitlines():
            raw, body = map(unbase64, line.split(" "))
            header = read_header(raw)
            in_order = header.kind == (last >= 0) and header.index > last
            require(in_order, "key history: not GENESIS and then KEY entries in log order")
            self.check_entry(header, body)
            record = read_message(body, BODY).get(16 + header.kind, b"")
            if header.kind:
                self.decide(header.index, read_message(record, EVENT))
            else:
                self.genesis = read_message(record, GENESIS)
                require(self.genesis.get(4) == pins[self.origin], "GENESIS: another authority")
                require(len({*self.genesis.values()}) == 6, "GENESIS: a key is missing or twice")
                self.admit(0, "node", NODE, self.genesis[2])
            last = header.index

    def admit(self, index: int, author: str, kinds: list[int], public: bytes) -> None:
        require(key_id(public) not in self.keys, "key history: a key is admitted twice")
        self.keys[key_id(public)] = SimpleNamespace(
            author=author, kinds=kinds, public=public, admitted=index, revoked=2**64, bad=2**64
        )

    def decide(self, index: int, event: dict) -> None:
        """Follow what a KEY entry says."""
        action, role, subject, public = (event.get(field, b"") for field in (1, 2, 3, 4))
        known = action in (ADMIT, ROTATE, REVOKE) and role in ROLES and subject
        require(known, "KEY entry: action, role or subject")
        if action != ADMIT:
            old = self.keys.get(event.get(6) if action == ROTATE else key_id(public))
            same = old and (old.author, old.kinds) == (subject.decode(), ROLES[role])
            require(same and old.revoked > index, "KEY entry: revokes what was not a good key")
            old.revoked, old.bad = index, event.get(7, 2**64)
        if action != REVOKE:
            admission = [lp8(self.origin.encode()), lp8(subject), bytes([role]), public]
            digest = sha256(b"ledgerd/admission/v1\n", *admission)
            check_signature(public, event.get(5, b""), digest, "KEY entry: possession")
            self.admit(index, subject.decode(), ROLES[role], public)

    def check_entry(self, header: SimpleNamespace, body: bytes | None) -> SimpleNamespace:
        """[7, 8] Check who signed an entry, and its body if given; return the key."""
        key = self.keys.get(header.key_id)
        require(key and header.kind in key.kinds, "entry: its key is not admitted for its kind")
        good = key.admitted == header.key_index and header.index < key.revoked
        after = header.index > key.admitted if header.kind else header.index == 0
        require(good and after, "entry: its key was not good at its index")
        origin, kind = self.origin.encode(), bytes([header.kind])
        signed = lp8(origin) + kind + header.body_digest + header.key_id + header.halves
        check_signature(key.public, header.signature, b"ledgerd/entry/v1\n" + signed, "entry")
        if body is not None:
            require(sha256(body) == header.body_digest, "body: not the one that was signed")
            said = read_message(body, BODY)
            named = (said.get(2), said.get(3)) == (origin, key.author.encode())
            require(named, "body: names another origin or author")
        return key


def check_note(note: re.Match[str], log: Log, peer: Log | None) -> int | None:
    """[5] Check every signature line of a checkpoint; return the cosignature's time."""
    text, names, cosigned_at = note["checkpoint"], [], None
    for line in note["signatures"].splitlines():
        _, name, data = line.split(" ")
        raw = unbase64(data)
        if name == log.origin:
            kind, public, signature, message = b"\1", log.genesis[1], raw[4:], text
        elif peer and name == peer.origin:
            kind, public, signature = b"\4", peer.genesis[3], raw[12:]
            cosigned_at = int.from_bytes(raw[4:12], "big")
            message = f"cosignature/v1\ntime {cosigned_at}\n{text}"
        else:
            raise ValueError(f"checkpoint: a signature line of {name!r}, who is unknown")
        known = raw[:4] == sha256(name.encode(), b"\n", kind, public)[:4] and name not in names
        require(known, f"checkpoint: {name} signs by an unknown key, or twice")
        check_signature(public, signature, message.encode(), f"checkpoint: {name}")
        names.append(name)
    require(log.origin in names, "checkpoint: its log has not signed it")
    return cosigned_at


def when(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 253402300799), UTC).isoformat()


def verify(file: str, logs: dict[str, Log], body: bytes | None, *, cosigned: bool) -> list[str]:
    """[3 to 9] Say line by line what a receipt proves, or raise ValueError."""
    receipt = re.fullmatch(RECEIPT, file)
    require(receipt and receipt["origin"] in logs, "receipt: malformed, or no keys of its origin")
    log, raw = logs[receipt["origin"]], unbase64(receipt["header"])
    header, size = read_header(raw), int(receipt["size"])
    require(header.index == int(receipt["index"]), "receipt: its index is not the header's")
    cosigned_at = check_note(receipt, log, logs.get(log.genesis[5].decode()))
    require(header.index < size < 2**64, "inclusion proof: outside of the tree")
    proof = [unbase64(line) for line in receipt["proof"].splitlines()]
    root = tree_root(header.index, size, sha256(b"\0", raw), proof)
    require(root == unbase64(receipt["root"]), "inclusion proof: leads to another root")
    key = log.check_entry(header, body)
    require(cosigned_at is not None or not cosigned, "checkpoint: the peer has not cosigned it")
    found = [
        f"entry {header.index} of {log.origin}: {KINDS.split()[header.kind]} by {key.author}",
        f"recorded {when(header.time // 10**6)}, in the tree of size {size}",
        f"body {header.body_digest.hex()}" + (", the file given" if body else ""),
    ]
    if header.kind in OUTCOMES:
        found.append(f"transfer {header.halves[1:33].hex()} with {header.halves[67:].decode()}")
        found.append(f"terms {header.halves[33:65].hex()}, outcome {header.halves[65]}")
    if cosigned_at is None:
        found.append("not cosigned: that this is the only history, the log alone says")
    else:
        found.append(f"cosigned by {log.genesis[5].decode()} {when(cosigned_at)}")
    if header.time >= key.bad:
        found.append(f"but its key was later declared compromised since {when(key.bad // 10**6)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify a ledgerd receipt offline.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--keys", type=Path, action="append", required=True)
    parser.add_argument("--body", type=Path)
    parser.add_argument("--require-cosignature", action="store_true")
    options = parser.parse_args()
    try:
        pins = read_trust(options.trust.read_bytes().decode())
        logs = [Log(path.read_bytes().decode(), pins) for path in options.keys]
        body = options.body.read_bytes() if options.body else None
        receipt = options.receipt.read_bytes().decode()
        by_origin = {log.origin: log for log in logs}
        found = verify(receipt, by_origin, body, cosigned=options.require_cosignature)
    except OSError as error:
        parser.error(str(error))
    except ValueError as error:
        sys.stdout.write(f"does not verify: {error}\n")
        return 1
    sys.stdout.write("verified\n" + "".join(f"  {line}\n" for line in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

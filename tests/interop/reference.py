"""
A second implementation of docs/format.md that shares no code with the product.

It makes the signed bytes; `verify_receipt.py`, the third, checks them. Nothing is tuned for
speed: each function is the sentence of the page that it follows. `format_vectors.py` writes
tests/vectors/format.json with it.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LOG, COSIGNER = 0x01, 0x04


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def lp8(text: str) -> bytes:
    return number(len(text.encode()), 1) + text.encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


# Keys


@dataclass(frozen=True, slots=True)
class Signer:
    """A throw-away key; nothing here can write its secret down."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        return b"\x01" + digest(b"ledgerd/key/v1\n", b"\x01", self.public)

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)


# Entries


@dataclass(frozen=True, slots=True)
class Halves:
    ref: bytes
    terms_digest: bytes
    outcome: int
    counterparty_origin: str


def encode_halves(halves: Halves | None) -> bytes:
    if halves is None:
        return b"\x00"
    outcome = number(halves.outcome, 1)
    origin = lp8(halves.counterparty_origin)
    return b"\x01" + halves.ref + halves.terms_digest + outcome + origin


def signed_bytes(
    origin: str, kind: int, body: bytes, key_id: bytes, halves: Halves | None
) -> bytes:
    head = b"ledgerd/entry/v1\n" + lp8(origin) + number(kind, 1)
    return head + digest(body) + key_id + encode_halves(halves)


@dataclass(frozen=True, slots=True)
class Header:
    index: int
    recorded_at: int
    previous_leaf_hash: bytes
    kind: int
    body_digest: bytes
    key_index: int
    key_id: bytes
    signature: bytes
    halves: Halves | None = None

    def encode(self) -> bytes:
        head = number(1, 1) + number(self.index, 8) + number(self.recorded_at, 8)
        chain = self.previous_leaf_hash + number(self.kind, 1) + self.body_digest
        key = number(self.key_index, 8) + self.key_id
        signature = number(len(self.signature), 2) + self.signature
        return head + chain + key + signature + encode_halves(self.halves)


def genesis_link(origin: str) -> bytes:
    return digest(b"ledgerd/genesis/v1\n", lp8(origin))


def transfer_ref(origin: str, institution: str, nonce: bytes) -> bytes:
    return digest(b"ledgerd/transfer-ref/v1\n", lp8(origin), lp8(institution), nonce)


def contract_ref(origin: str, institution: str, nonce: bytes) -> bytes:
    return digest(b"ledgerd/contract-ref/v1\n", lp8(origin), lp8(institution), nonce)


def commitment(salt: bytes, payload: bytes) -> bytes:
    return digest(b"ledgerd/payload/v1\n", salt, digest(payload))


def commitment_to_parts(salt: bytes, manifest: bytes) -> bytes:
    return digest(b"ledgerd/payload-parts/v1\n", salt, digest(manifest))


def admission_digest(origin: str, subject: str, role: int, public: bytes) -> bytes:
    return digest(b"ledgerd/admission/v1\n", lp8(origin), lp8(subject), number(role, 1), public)


def history_digest(placed: Iterable[tuple[int, bytes]]) -> bytes:
    """Of (index, body digest) of each entry before."""
    parts = (number(index, 8) + body for index, body in placed)
    return digest(b"ledgerd/history/v1\n", *parts)


def authority_digest(origin: str, previous: bytes, public: bytes, history: bytes) -> bytes:
    return digest(b"ledgerd/authority/v1\n", lp8(origin), previous, public, history)


def uuid7(micros: int) -> bytes:
    tail = bytearray(os.urandom(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return number(micros // 1000, 6) + bytes(tail)


# RFC 6962, sections 2.1 to 2.1.2, over leaf hashes


def leaf_hash(entry: bytes) -> bytes:
    return digest(b"\x00", entry)


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else digest()
    k = _split(len(leaves))
    return digest(b"\x01", root(leaves[:k]), root(leaves[k:]))


def inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*inclusion(index, leaves[:k]), root(leaves[k:])]
    return [*inclusion(index - k, leaves[k:]), root(leaves[:k])]


def consistency(old: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = _split(len(leaves))
    if old <= k:
        return [*consistency(old, leaves[:k], whole=whole), root(leaves[k:])]
    return [*consistency(old - k, leaves[k:], whole=False), root(leaves[:k])]


def range_proof(first: int, end: int, leaves: Sequence[bytes]) -> list[bytes]:
    if end <= 0 or first >= len(leaves):
        return [root(leaves)]
    if first <= 0 and end >= len(leaves):
        return []
    k = _split(len(leaves))
    return [*range_proof(first, end, leaves[:k]), *range_proof(first - k, end - k, leaves[k:])]


# Notes


def note_key_id(name: str, kind: int, public: bytes) -> bytes:
    return digest(name.encode(), b"\n", number(kind, 1), public)[:4]


def vkey(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{note_key_id(name, kind, public).hex()}+{b64(number(kind, 1) + public)}"


def checkpoint_text(origin: str, leaves: Sequence[bytes]) -> str:
    return f"{origin}\n{len(leaves)}\n{b64(root(leaves))}\n"


def log_line(name: str, signer: Signer, text: str) -> str:
    key_id = note_key_id(name, LOG, signer.public)
    return f"\u2014 {name} {b64(key_id + signer.sign(text.encode()))}\n"


def cosignature_line(name: str, signer: Signer, text: str, seconds: int) -> str:
    key_id = note_key_id(name, COSIGNER, signer.public)
    signature = signer.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
    return f"\u2014 {name} {b64(key_id + number(seconds, 8) + signature)}\n"


# Files


def receipt_file(header: bytes, index: int, proof: Sequence[bytes], note: str) -> str:
    hashes = "".join(b64(item) + "\n" for item in proof)
    return f"c2sp.org/tlog-proof@v1\nextra {b64(header)}\nindex {index}\n{hashes}\n{note}"


def key_history_file(origin: str, entries: Sequence[tuple[bytes, bytes]]) -> str:
    lines = [f"{b64(header)} {b64(body)}\n" for header, body in entries]
    return f"ledgerd-keys/v1\n{origin}\n" + "".join(lines)


def trust_file(pins: Mapping[str, tuple[bytes, Sequence[bytes]]]) -> str:
    """Pins is origin -> (authority's public key, CA certificates in DER)."""
    out = "ledgerd-trust/v1\n"
    for origin in sorted(pins, key=str.encode):
        authority, certificates = pins[origin]
        out += f"origin {origin}\nauthority {vkey(origin + '/authority', LOG, authority)}\n"
        out += "".join(f"ca {b64(der)}\n" for der in certificates)
    return out


def fingerprint(file: str) -> str:
    text = digest(file.encode())[:16].hex()
    return " ".join(text[at : at + 4] for at in range(0, 32, 4))


def fork_evidence_file(one: str, other: str, root: bytes = b"", proof: Sequence[bytes] = ()) -> str:
    """Two notes, the smaller size first; root and proof when the sizes differ."""
    notes = sorted((one, other), key=lambda note: (int(note.split("\n")[1]), note.encode()))
    head = f"root {b64(root)}\n" if root else ""
    head += "".join(f"hash {b64(item)}\n" for item in proof)
    return f"ledgerd-evidence/v1\n{head}" + "".join(map(_note_of_evidence, notes))


def evidence_entry(position: int, header: bytes, proof: Sequence[bytes], body: bytes = b"") -> str:
    hashes = "".join(f"hash {b64(item)}\n" for item in proof)
    return f"entry {position} {b64(header)}\n{hashes}" + (f"body {b64(body)}\n" if body else "")


def entry_evidence_file(wrong: str, entries: Sequence[str], note: str) -> str:
    head = f"ledgerd-entry-evidence/v1\nwrong {wrong}\n"
    return head + "".join(entries) + _note_of_evidence(note)


def _note_of_evidence(note: str) -> str:
    return f"note {len(note.encode())}\n{note}"

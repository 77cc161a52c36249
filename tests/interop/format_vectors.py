"""
Write tests/vectors/format.json: two small logs, and everything that docs/format.md defines.

    cd tests && python -m interop.format_vectors > vectors/format.json

Every run makes new keys and forgets them, so the file is made once and kept. After making it
anew, paste what `python -m interop.worked_example` prints into docs/format.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from interop import reference as ref
from interop.reference import Halves, Signer

START = 1_785_718_800_000_000  # 2026-08-03T01:00:00Z in µs
MINUTE = 60_000_000
KINDS = "GENESIS KEY TRANSFER ACK CANCEL CORRECTION ANCHOR EVIDENCE LOSS RECORD NODE".split()
ADMIT, ROTATE, REVOKE = 1, 2, 3
INSTITUTION, REGULATOR = 1, 2
EXPORTER = "uscc.91440300MA5EXMPL0A"
RECIPIENT = "hkbr.76543210"

ABOUT = {
    "conventions": "Bytes are lower-case hex; files and notes are text, to be taken as UTF-8; times are µs since the epoch, UTC.",
    "trust": "The trust file over both origins, its SHA-256, its fingerprint, and the CA certificates in it (DER).",
    "logs": "Two logs, mainland first. Each: public keys and verifier keys; entries; roots by size from 0; checkpoints by size from 1; proofs; the key history file at the last size.",
    "logs[].entries[]": "record and fields are the body's content by names of body.proto (fields of the record only); signer is the author; public_key is the signer's.",
    "logs[].checkpoints[]": "text is what is signed; note carries the log's signature, cosigned_note the peer's cosignature too.",
    "logs[].proofs": "inclusion at the last size by index; consistency and range proofs at several sizes.",
    "transfers": "Terms with ref, digest, salt, payload or parts, commitment and tickets. payload and parts[].content are what was sent.",
    "admissions": "Admission digests of the keys admitted in both logs, with the proof of possession.",
    "receipts": "Receipt files; all verify under trust and both key histories. cosigned says whether the peer's cosignature is on it.",
    "encodings": "Canonical bytes of messages that no entry above carries.",
    "refuse": "What must be refused, each with the reason. layer: 'syntax' is refused by any reader of the format, 'trust' only under the trust file and the key histories.",
}


@dataclass(frozen=True, slots=True)
class Entry:
    header: ref.Header
    raw: bytes
    body: bytes
    record: str
    fields: Mapping[str, Any]
    author: str
    public: bytes
    record_id: bytes
    salt: bytes
    occurred_at: int


@dataclass(slots=True)
class Log:
    """A log with all its keys: what a node and its authority hold together."""

    origin: str
    log: Signer = field(default_factory=Signer)
    entry: Signer = field(default_factory=Signer)
    cosigner: Signer = field(default_factory=Signer)
    authority: Signer = field(default_factory=Signer)
    entries: list[Entry] = field(default_factory=list)

    @property
    def leaves(self) -> list[bytes]:
        return [ref.leaf_hash(entry.raw) for entry in self.entries]

    def make(
        self,
        kind: int,
        record: str,
        fields: Mapping[str, Any],
        *,
        author: str,
        signer: Signer,
        key_index: int = 0,
        halves: Halves | None = None,
        index: int | None = None,
        origin: str | None = None,
    ) -> Entry:
        """An entry for the end of the log, or for index; nothing is appended."""
        at = len(self.entries) if index is None else index
        time = START + at * MINUTE
        salt, record_id = os.urandom(16), ref.uuid7(time - 1_500_000)
        head = {"salt": salt, "origin": self.origin, "author": author, "record_id": record_id}
        occurred = {"occurred_at": time - 1_500_000}
        body = ref.encode("body", head | occurred | {record: ref.encode(record, fields)})
        signed = ref.signed_bytes(origin or self.origin, kind, body, signer.key_id, halves)
        header = ref.Header(
            index=at,
            recorded_at=time,
            previous_leaf_hash=self.leaves[at - 1] if at else ref.genesis_link(self.origin),
            kind=kind,
            body_digest=ref.digest(body),
            key_index=key_index,
            key_id=signer.key_id,
            signature=signer.sign(signed),
            halves=halves,
        )
        return Entry(
            header=header,
            raw=header.encode(),
            body=body,
            record=record,
            fields=fields,
            author=author,
            public=signer.public,
            record_id=record_id,
            salt=salt,
            occurred_at=time - 1_500_000,
        )

    def append(self, kind: int, record: str, fields: Mapping[str, Any], **more: Any) -> Entry:
        self.entries.append(self.make(kind, record, fields, **more))
        return self.entries[-1]

    def by_authority(self, kind: int, record: str, fields: Mapping[str, Any]) -> Entry:
        return self.append(kind, record, fields, author="authority", signer=self.authority)

    def by_node(self, kind: int, record: str, fields: Mapping[str, Any]) -> Entry:
        return self.append(kind, record, fields, author="node", signer=self.entry)

    def admission(self, subject: str, role: int, key: Signer) -> dict[str, Any]:
        digest = ref.admission_digest(self.origin, subject, role, key.public)
        named = {"role": role, "subject": subject, "public_key": key.public}
        return named | {"possession": key.sign(digest)}

    def text(self, size: int) -> str:
        return ref.checkpoint_text(self.origin, self.leaves[:size])

    def note(self, size: int, cosigner: Log | None = None) -> str:
        text = self.text(size)
        lines = ref.log_line(self.origin, self.log, text)
        if cosigner:
            seconds = (START + size * MINUTE) // 1_000_000 + 5
            lines += ref.cosignature_line(cosigner.origin, cosigner.cosigner, text, seconds)
        return f"{text}\n{lines}"

    def receipt(self, index: int, size: int, cosigner: Log | None = None) -> str:
        proof = ref.inclusion(index, self.leaves[:size])
        return ref.receipt_file(self.entries[index].raw, index, proof, self.note(size, cosigner))

    def key_history(self) -> str:
        keys = [(entry.raw, entry.body) for entry in self.entries if entry.header.kind in (0, 1)]
        return ref.key_history_file(self.origin, keys)

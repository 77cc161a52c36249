"""
Write tests/vectors/format.json: two small logs, and everything that docs/format.md defines.

    cd tests && python -m interop.format_vectors > vectors/format.json

Every run makes new keys and forgets them, so the file is made once and kept. After making it
anew, paste what `python -m interop.worked_example` prints into docs/format.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from interop import bad_files, bad_receipts, bundles, lies, rotation
from interop import reference as ref
from interop.protobuf import encode
from interop.scenario import (
    EXPORTER,
    INSTITUTION,
    RECIPIENT,
    REGULATOR,
    START,
    Deal,
    Entry,
    Log,
    Scenario,
    build,
    contract_terms,
)

SOURCE = (
    "Made by tests/interop/format_vectors.py with tests/interop/reference.py, an implementation"
    " of docs/format.md that shares no code with the product. The keys were made for this file"
    " and forgotten; nothing here opens or signs anything."
)
KEYS_OF_THIS_FILE = {
    "conventions": "Bytes are lower-case hex; files, notes and names are text (UTF-8); times are µs since the epoch, UTC.",
    "trust": "file: the trust file over both origins; sha256 and fingerprint of it; ca: each origin's certificate (DER).",
    "logs": "Two logs, mainland first: origin, peer_origin, keys (public, and as verifier keys), entries, roots (by size, from 0), checkpoints, proofs, key_history (a file).",
    "logs[].entries[]": "Every part of an entry. body_fields is what all bodies have, record and record_fields what this one says, by the names of body.proto; bytes in them are hex. signer_key is public.",
    "logs[].checkpoints[]": "By size, from 1. text is what is signed; note has the log's signature, cosigned_note the peer's too, made at cosigned_at (seconds).",
    "logs[].proofs": "Leaf's sibling first: inclusion of every entry at the last size, consistency old -> new, and range proofs of [first, end) in the tree of size.",
    "deals": "Terms: fields, bytes, ref, terms_digest; salt, and payload or parts with their manifest, that open the commitment; tickets (bytes) with a receipt, or while it is queued.",
    "admissions": "Key, subject and role with the admission digest and its signature by the key (possession).",
    "receipts": "Receipt files of every entry at the last size, and of the first transfer at size 4. All verify under trust and both key histories; cosigned says whether the peer's cosignature is on it.",
    "contract": "What both parties state of one contract: its ref, and the terms of each statement with fields, bytes and terms_digest. A filing's terms are the contract's.",
    "encodings": "Canonical bytes of messages that no entry carries.",
    "bundles": "Dispute bundles (files) that verify under trust, and the state that each comes to.",
    "evidence": "Evidence (files) that verifies under the mainland log's key history: fork, or the claim of an entry.",
    "rotation": "Two other logs, in which each key of the mainland's node and its authority is rotated, a certificate revoked, a tail given up by LOSS and a replaced log key said to be stolen: trust (a file that pins the authority's second key), logs (origin, key_history, and the index and body_digest of its entries with the history_digest of all of them), digests (what the authority's second key signed), receipts (files), a bundle (file) of a matched transfer, evidence (files) against the mainland's log, and refuse: receipts, evidence and key_histories.",
    "refuse": "What must be refused, and why: headers, bodies (of a TRANSFER), terms, manifests; key_histories, trust_files, bundles and evidence (text); receipts (text). In receipts, layer 'syntax' is refused by whoever reads the file, 'verify' only by whoever verifies it under trust and both key histories.",
}


def jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def entry_of(entry: Entry) -> dict[str, Any]:
    header = {name: getattr(entry.header, name) for name in ref.Header.__slots__}
    if entry.header.halves:
        halves = entry.header.halves
        header["halves"] = {name: getattr(halves, name) for name in ref.Halves.__slots__}
    return {
        **header,
        "header": entry.raw,
        "leaf_hash": ref.leaf_hash(entry.raw),
        "signed_bytes": entry.signed,
        "signer_key": entry.public,
        "body": entry.body,
        "body_fields": entry.common,
        "record": entry.record,
        "record_fields": entry.fields,
    }


def log_of(log: Log, peer: Log) -> dict[str, Any]:
    size = len(log.entries)
    kinds = {"log": ref.LOG, "cosigner": ref.COSIGNER}
    vkeys = {
        name: ref.vkey(log.origin, kind, getattr(log, name).public) for name, kind in kinds.items()
    }
    vkeys["authority"] = ref.vkey(log.origin + "/authority", ref.LOG, log.authority.public)
    names = ("log", "entry", "cosigner", "authority")
    return {
        "origin": log.origin,
        "peer_origin": peer.origin,
        "keys": {name: getattr(log, name).public for name in names},
        "vkeys": vkeys,
        "entries": [entry_of(entry) for entry in log.entries],
        "roots": [ref.root(log.leaves[:at]) for at in range(size + 1)],
        "checkpoints": [checkpoint_of(log, peer, at) for at in range(1, size + 1)],
        "proofs": proofs_of(log.leaves),
        "key_history": log.key_history(),
    }


def checkpoint_of(log: Log, peer: Log, size: int) -> dict[str, Any]:
    leaves = log.leaves[:size]
    return {
        "size": size,
        "text": ref.checkpoint_text(log.origin, leaves),
        "note": log.note(leaves),
        "cosigned_note": log.note(leaves, peer),
        "cosigned_at": log.cosigned_at(size),
    }


def proofs_of(leaves: list[bytes]) -> dict[str, Any]:
    sizes = sorted({1, 2, 3, 4, 7, len(leaves)})
    ends = [
        (0, 1),
        (0, 3),
        (1, 2),
        (2, 5),
        (3, 7),
        (4, 8),
        (0, 8),
        (5, 6),
        (6, 13),
        (12, 13),
        (0, 13),
    ]
    return {
        "inclusion": [
            {"index": at, "size": len(leaves), "proof": ref.inclusion(at, leaves)}
            for at in range(len(leaves))
        ],
        "consistency": [
            {"old": old, "new": new, "proof": ref.consistency(old, leaves[:new])}
            for new in sizes
            for old in range(1, new + 1)
        ],
        "range": [
            {
                "first": first,
                "end": end,
                "size": size,
                "proof": ref.range_proof(first, end, leaves[:size]),
            }
            for size in sizes
            for first, end in ends
            if end <= size
        ],
    }


def deal_of(deal: Deal, tickets: Mapping[str, bytes]) -> dict[str, Any]:
    parts = [
        {"name": name, "content": content, "size": len(content), "digest": ref.digest(content)}
        for name, content in deal.parts.items()
    ]
    return {
        "fields": {**deal.fields, "commitment": deal.commitment},
        "terms": deal.terms,
        "ref": deal.ref,
        "terms_digest": ref.digest(deal.terms),
        "salt": deal.salt,
        "payload": deal.payload,
        "parts": parts,
        "manifest": deal.manifest,
        "commitment": deal.commitment,
        "tickets": tickets,
    }


def deals_of(world: Scenario) -> dict[str, Any]:
    made = {}
    for name, index in {"single": 3, "parts": 6, "viewing": 8}.items():
        deal, entry = world.deals[name], world.mainland.entries[index]
        opened = {"terms": deal.terms, "salt": deal.salt, "manifest": deal.manifest}
        receipt = {"receipt": world.mainland.receipt(index, index + 1)}
        signed = {"key_id": entry.header.key_id, "signature": entry.header.signature}
        tickets = {
            "with_receipt": encode("ticket", {**opened, **receipt}),
            "queued": encode("ticket", {**opened, "body": entry.body, **signed}),
        }
        made[name] = {"index": index, **deal_of(deal, tickets)}
    corrected = world.deals["parts, corrected"]
    return {**made, "parts, corrected": {"index": 7, **deal_of(corrected, {})}}


def contract_of(world: Scenario) -> dict[str, Any]:
    statements = world.statements
    return {
        "ref": world.contract_ref,
        "terms": [
            {
                "what": name,
                "fields": {**world.contract_head, **fields},
                "bytes": statements[name],
                "terms_digest": ref.digest(statements[name]),
            }
            for name, fields in contract_terms().items()
        ],
    }


def admissions_of(world: Scenario) -> list[dict[str, Any]]:
    named = [
        (world.mainland, EXPORTER, INSTITUTION, world.exporter),
        (world.mainland, EXPORTER, INSTITUTION, world.exporter_next),
        (world.hongkong, RECIPIENT, INSTITUTION, world.recipient),
        (world.hongkong, "reg.example", REGULATOR, world.regulator),
    ]
    return [
        {
            "origin": log.origin,
            **log.admission(role, subject, key),
            "digest": ref.admission_digest(log.origin, subject, role, key.public),
        }
        for log, subject, role, key in named
    ]


def receipts_of(world: Scenario) -> list[dict[str, Any]]:
    mainland, hongkong = world.mainland, world.hongkong
    made = []
    for log, peer in ((mainland, hongkong), (hongkong, mainland)):
        last = len(log.entries)
        wanted = [(at, last, True) for at in range(last)] + [
            (3, 4, False),
            (3, 4, True),
            (0, 1, False),
        ]
        for index, size, cosigned in wanted:
            file = log.receipt(index, size, peer if cosigned else None)
            made.append(
                {
                    "origin": log.origin,
                    "index": index,
                    "size": size,
                    "cosigned": cosigned,
                    "file": file,
                }
            )
    return made


def encodings_of() -> dict[str, Any]:
    loss = {
        "size": 300,
        "log_key": ref.Signer().public,
        "root": ref.digest(b"root"),
        "cosigner_key": ref.Signer().public,
        "log_possession": bytes(64),
        "cosigner_possession": bytes(64),
    }
    closed = {
        "finding_id": ref.digest(b"finding"),
        "rule": "K15.unacknowledged",
        "severity": 1,
        "closed": True,
    }
    about = {"contract_id": "GBA-2026-0042", "matter": ref.digest(b"matter")[:16]}
    notice = encode("notice", {"authority": 1, "at": START})
    made = {
        "loss": loss,
        "finding": {**closed, "institution": EXPORTER, "contract_id": "A-1", "numbers": [0, 300]},
        "rule_set": {
            "version": "1",
            "digest": ref.digest(b"law"),
            "law": "2026.1",
            "agree_within": 5,
        },
        "contract_side": {"ciio": True, "total_subjects_band": 4, "authorised_on": 20260801},
        "resume": {"contract_id": "GBA-2026-0042", "at": START, "reason": "agreed"},
        "onward": {**about, "third_party": RECIPIENT, "told": True, "purposes": [2, 7]},
        "incident": {
            "matter": about["matter"],
            "contract_ids": ["A-1", "GBA-2026-0042"],
            "discovered_at": START,
            "grade": 2,
            "notices": [notice, notice],
        },
        "consent_change": {**about, "change": 1, "subjects": 4, "from_date": 20260801},
    }
    return {
        name: {"fields": fields, "bytes": encode(name, fields)} for name, fields in made.items()
    }


def rotation_of(made: rotation.Rotated) -> dict[str, Any]:
    mainland = made.mainland
    succession = next(
        e for e in mainland.entries if e.fields.get("role") == rotation.AUTHORITY_ROLE
    )
    logs = [
        {
            "origin": log.origin,
            "key_history": log.key_history(),
            "entries": [{"index": at, "body_digest": body} for at, body in log.placed()],
            "history_digest": ref.history_digest(log.placed()),
        }
        for log in (mainland, made.hongkong)
    ]
    named = {name: succession.fields[name] for name in ("previous_key_id", "public_key")}
    past = succession.fields["history_digest"]
    return {
        "trust": made.trust,
        "logs": logs,
        "digests": {
            **named,
            "history_digest": past,
            "digest": ref.authority_digest(mainland.origin, *named.values(), past),
            "possession": succession.fields["possession"],
        },
        "receipts": [{"what": what, "file": file} for what, file in rotation.receipts(made)],
        "bundle": bundles.dumps(bundles.bundle(made.world, "single", [3], [], [5], "matched")),
        "evidence": [{"what": what, "file": file} for what, file in rotation.evidence(made)],
        "refuse": {
            "receipts": cases(rotation.bad_receipts(made)),
            "evidence": cases(rotation.bad_evidence(made)),
            "key_histories": cases(rotation.bad_histories(made)),
        },
    }


def cases(made: Iterable[bad_receipts.Case], key: str = "value", **more: str) -> list[Any]:
    return [{"reason": reason, **more, key: value} for reason, value in made]


def refuse_of(world: Scenario) -> dict[str, Any]:
    return {
        "headers": cases(bad_receipts.headers(world)),
        "bodies": cases(bad_files.bodies(world)),
        "terms": cases(bad_files.terms(world)),
        "manifests": cases(bad_files.manifests(world)),
        "key_histories": cases(bad_files.key_histories(world)),
        "trust_files": cases(bad_files.trust_files(world)),
        "bundles": cases(bundles.bad_bundles(world)),
        "evidence": cases(lies.nothing(world)),
        "receipts": [
            *cases(bad_receipts.receipt_files(world), layer="syntax"),
            *cases(bad_receipts.unproven_receipts(world), layer="verify"),
            *cases(bad_receipts.dishonest_receipts(world), layer="verify"),
        ],
    }


def vectors(world: Scenario) -> dict[str, Any]:
    mainland, hongkong = world.mainland, world.hongkong
    trust = world.trust()
    return {
        "source": SOURCE,
        "keys_of_this_file": KEYS_OF_THIS_FILE,
        "trust": {
            "file": trust,
            "sha256": ref.digest(trust.encode()),
            "fingerprint": ref.fingerprint(trust),
            "ca": world.certificates,
        },
        "logs": [log_of(mainland, hongkong), log_of(hongkong, mainland)],
        "deals": deals_of(world),
        "admissions": admissions_of(world),
        "receipts": receipts_of(world),
        "contract": contract_of(world),
        "encodings": encodings_of(),
        "bundles": [
            {"what": what, "state": state, "file": file}
            for what, state, file in bundles.bundles(world)
        ],
        "evidence": [{"claim": claim, "file": file} for claim, file in lies.evidence(world)],
        "rotation": rotation_of(rotation.build()),
        "refuse": refuse_of(world),
    }


if __name__ == "__main__":
    json.dump(jsonable(vectors(build())), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")

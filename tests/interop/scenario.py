"""Two small logs that hold one of everything; the test vectors are written from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from interop import reference as ref
from interop.protobuf import encode
from interop.reference import Halves, Signer

START = 1_785_718_800_000_000  # 2026-08-03T01:00:00Z in µs
SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000
GENESIS, KEY, TRANSFER, ACK, CANCEL, CORRECTION, ANCHOR, EVIDENCE, LOSS = range(9)
RECORD, NODE, CONTRACT = range(9, 12)
ADMIT, ROTATE, REVOKE = 1, 2, 3
INSTITUTION, REGULATOR = 1, 2
EXPORTER, RECIPIENT = "uscc.91440300MA5EXMPLXX", "hkbr.76543210"
TERMS_OF = {
    "contract": "contract_terms",
    "supplement": "contract_terms",
    "termination": "termination_terms",
    "disposal": "disposal_terms",
}


@dataclass(frozen=True, slots=True)
class Entry:
    header: ref.Header
    raw: bytes
    body: bytes
    signed: bytes
    record: str
    fields: Mapping[str, Any]
    common: Mapping[str, Any]
    public: bytes


@dataclass(slots=True)
class Log:
    """A log with all its keys: what a node and its authority hold together."""

    origin: str
    start: int
    log: Signer = field(default_factory=Signer)
    entry: Signer = field(default_factory=Signer)
    cosigner: Signer = field(default_factory=Signer)
    authority: Signer = field(default_factory=Signer)
    entries: list[Entry] = field(default_factory=list)

    @property
    def leaves(self) -> list[bytes]:
        return [ref.leaf_hash(entry.raw) for entry in self.entries]

    def time(self, index: int) -> int:
        return self.start + index * MINUTE

    def make(
        self,
        kind: int,
        record: str,
        fields: Mapping[str, Any],
        author: str,
        signer: Signer,
        *,
        key_index: int = 0,
        halves: Halves | None = None,
        index: int | None = None,
        signed_for: str | None = None,
    ) -> Entry:
        """An entry for the end of the log, or for an index below; nothing is appended."""
        at = len(self.entries) if index is None else index
        occurred_at = self.time(at) - 1_500_000
        common = {
            "salt": os.urandom(16),
            "origin": self.origin,
            "author": author,
            "record_id": ref.uuid7(occurred_at),
            "occurred_at": occurred_at,
        }
        # As a list: a tick is there although it is empty.
        body = encode("body", {**common, record: [encode(record, fields)]})
        signed = ref.signed_bytes(signed_for or self.origin, kind, body, signer.key_id, halves)
        header = ref.Header(
            index=at,
            recorded_at=self.time(at),
            previous_leaf_hash=self.leaves[at - 1] if at else ref.genesis_link(self.origin),
            kind=kind,
            body_digest=ref.digest(body),
            key_index=key_index,
            key_id=signer.key_id,
            signature=signer.sign(signed),
            halves=halves,
        )
        raw = header.encode()
        return Entry(header, raw, body, signed, record, fields, common, signer.public)

    def append(self, *arguments: Any, **options: Any) -> Entry:
        self.entries.append(self.make(*arguments, **options))
        return self.entries[-1]

    def by_authority(self, kind: int, record: str, fields: Mapping[str, Any]) -> Entry:
        return self.append(kind, record, fields, "authority", self.authority)

    def by_node(self, kind: int, record: str, fields: Mapping[str, Any]) -> Entry:
        return self.append(kind, record, fields, "node", self.entry)

    def admission(self, role: int, subject: str, key: Signer) -> dict[str, Any]:
        """The fields of a KEY entry that name a key and prove its possession."""
        digest = ref.admission_digest(self.origin, subject, role, key.public)
        named = {"role": role, "subject": subject, "public_key": key.public}
        return named | {"possession": key.sign(digest)}

    def cosigned_at(self, size: int) -> int:
        return self.time(size - 1) // SECOND + 5

    def note(self, leaves: list[bytes], cosigner: Log | None = None) -> str:
        text = ref.checkpoint_text(self.origin, leaves)
        lines = ref.log_line(self.origin, self.log, text)
        if cosigner:
            seconds = self.cosigned_at(len(leaves))
            lines += ref.cosignature_line(cosigner.origin, cosigner.cosigner, text, seconds)
        return f"{text}\n{lines}"

    def receipt(self, index: int, size: int, cosigner: Log | None = None) -> str:
        leaves = self.leaves[:size]
        proof = ref.inclusion(index, leaves)
        return ref.receipt_file(self.entries[index].raw, index, proof, self.note(leaves, cosigner))

    def key_history(self) -> str:
        keys = [(entry.raw, entry.body) for entry in self.entries if entry.header.kind <= KEY]
        return ref.key_history_file(self.origin, keys)


@dataclass(frozen=True, slots=True)
class Deal:
    """The terms of one transfer, and what opens their commitment."""

    fields: Mapping[str, Any]
    salt: bytes = b""
    payload: bytes = b""
    parts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def manifest(self) -> bytes:
        described = [
            {"name": name, "size": len(content), "digest": ref.digest(content)}
            for name, content in self.parts.items()
        ]
        return encode("manifest", {"parts": [encode("part", part) for part in described]})

    @property
    def commitment(self) -> bytes:
        if self.parts:
            return ref.commitment_to_parts(self.salt, self.manifest)
        return ref.commitment(self.salt, self.payload) if self.salt else b""

    @property
    def terms(self) -> bytes:
        parties = {side: encode("party", self.fields[side]) for side in ("exporter", "recipient")}
        return encode("terms", {**self.fields, **parties, "commitment": self.commitment})

    @property
    def ref(self) -> bytes:
        exporter = self.fields["exporter"]
        return ref.transfer_ref(exporter["origin"], exporter["institution"], self.fields["nonce"])

    def halves(self, counterparty: Log, outcome: int = 0) -> Halves:
        return Halves(self.ref, ref.digest(self.terms), outcome, counterparty.origin)


@dataclass(slots=True)
class Scenario:
    mainland: Log = field(default_factory=lambda: Log("gba.example/mainland", START))
    hongkong: Log = field(default_factory=lambda: Log("gba.example/hongkong", START + MINUTE // 2))
    exporter: Signer = field(default_factory=Signer)
    exporter_next: Signer = field(default_factory=Signer)
    exporter_last: Signer = field(default_factory=Signer)
    recipient: Signer = field(default_factory=Signer)
    regulator: Signer = field(default_factory=Signer)
    deals: dict[str, Deal] = field(default_factory=dict)
    contract_nonce: bytes = field(default_factory=lambda: os.urandom(16))
    certificates: dict[str, bytes] = field(default_factory=dict)

    @property
    def contract_head(self) -> dict[str, Any]:
        return {
            "exporter": {"origin": self.mainland.origin, "institution": EXPORTER},
            "recipient": {"origin": self.hongkong.origin, "institution": RECIPIENT},
            "nonce": self.contract_nonce,
            "contract_id": "GBA-2026-0042",
        }

    @property
    def contract_ref(self) -> bytes:
        return ref.contract_ref(self.mainland.origin, EXPORTER, self.contract_nonce)

    @property
    def statements(self) -> dict[str, bytes]:
        """The terms of all that is stated of the contract; a filing's are the contract's."""
        head = self.contract_head
        parties = {side: encode("party", head[side]) for side in ("exporter", "recipient")}
        return {
            name: encode(TERMS_OF[name], {**head, **parties, **fields})
            for name, fields in contract_terms().items()
        }

    def party(self, log: Log) -> tuple[str, Signer, int]:
        """The institution of a log at the end of the story: id, key, and where it was admitted."""
        if log is self.mainland:
            return EXPORTER, self.exporter_last, 13
        return RECIPIENT, self.recipient, 1

    def trust(self) -> str:
        logs = {log.origin: log for log in (self.mainland, self.hongkong)}
        return ref.trust_file(
            {
                origin: (log.authority.public, [self.certificates[origin]])
                for origin, log in logs.items()
            }
        )


def build() -> Scenario:
    world = Scenario()
    mainland, hongkong = world.mainland, world.hongkong
    world.certificates = {log.origin: certificate(log) for log in (mainland, hongkong)}
    world.deals = deals(world)
    open_log(mainland, hongkong, world.exporter, {"subject": EXPORTER, "place": 440300})
    open_log(hongkong, mainland, world.recipient, {"subject": RECIPIENT, "place": 810000})
    one = world.deals["single"]
    mainland.append(
        TRANSFER,
        "transfer",
        {"terms": one.terms},
        EXPORTER,
        world.exporter,
        key_index=1,
        halves=one.halves(hongkong),
    )
    anchor(mainland, hongkong)
    acknowledge(world, one, 1, {"received_subjects": 1200, "received_commitment": one.commitment})
    anchor(hongkong, mainland)
    rotate_and_correct(world)
    close(world)
    agree_on_a_contract(world)
    return world


def open_log(log: Log, peer: Log, key: Signer, named: dict[str, Any]) -> None:
    """Entries 0 to 2: GENESIS, the institution's KEY, and the rules."""
    log.by_authority(
        GENESIS,
        "genesis",
        {
            "log_key": log.log.public,
            "entry_key": log.entry.public,
            "cosigner_key": log.cosigner.public,
            "authority_key": log.authority.public,
            "peer_origin": peer.origin,
            "peer_authority_key": peer.authority.public,
        },
    )
    public = {"place": named["place"], "sector": 1, "name": f"Example {named['place']} Ltd"}
    admission = log.admission(INSTITUTION, named["subject"], key)
    log.by_authority(KEY, "key_event", {"action": ADMIT, **admission, **public})
    rules = {"version": "2026-08", "digest": ref.digest(b"the dated data of the rules\n")}
    within = {"acknowledge_within": DAY, "correct_within": 3 * DAY, "record_within": DAY // 24}
    log.by_node(NODE, "rule_set", {**rules, **within})


def anchor(log: Log, peer: Log) -> None:
    checkpoint = peer.note(peer.leaves, log).encode()
    at = log.time(len(log.entries)) - 2 * SECOND
    fields = {"peer_origin": peer.origin, "checkpoint": checkpoint, "fetched_at": at}
    log.by_node(ANCHOR, "anchor", fields)


def acknowledge(world: Scenario, deal: Deal, outcome: int, received: dict[str, Any]) -> None:
    log = world.hongkong
    at = {"received_at": log.time(len(log.entries)) - 20 * SECOND}
    log.append(
        ACK,
        "ack",
        {"terms": deal.terms, "outcome": outcome, **at, **received},
        RECIPIENT,
        world.recipient,
        key_index=1,
        halves=deal.halves(world.mainland, outcome),
    )


def rotate_and_correct(world: Scenario) -> None:
    """Mainland 5 to 7, Hong Kong 5 and 6: a new key, a transfer in parts, and its correction."""
    mainland, two = world.mainland, world.deals["parts"]
    admission = mainland.admission(INSTITUTION, EXPORTER, world.exporter_next)
    replaced = {"previous_key_id": world.exporter.key_id}
    mainland.by_authority(KEY, "key_event", {"action": ROTATE, **admission, **replaced})
    signed = {"key_index": 5, "halves": two.halves(world.hongkong)}
    by = (EXPORTER, world.exporter_next)
    transfer = mainland.append(TRANSFER, "transfer", {"terms": two.terms}, *by, **signed)
    admission = world.hongkong.admission(REGULATOR, "reg.example", world.regulator)
    term = {"valid_from": START, "valid_until": START + 365 * DAY}
    grant = encode("grant", {"places": [810000], "sectors": [1, 3], **term})
    world.hongkong.by_authority(KEY, "key_event", {"action": ADMIT, **admission, "grant": [grant]})
    other = ref.commitment(two.salt, b"something else arrived")
    reason = {"received_commitment": other, "reason": "part two differs"}
    acknowledge(world, two, 4, {"received_subjects": 80, **reason})
    corrected = world.deals["parts, corrected"]
    fields = {"terms": corrected.terms, "corrects": transfer.common["record_id"]}
    signed = {"key_index": 5, "halves": corrected.halves(world.hongkong)}
    mainland.append(CORRECTION, "correction", {**fields, "reason": "recounted"}, *by, **signed)


def close(world: Scenario) -> None:
    """Mainland 8 to 12: a remote viewing taken back, a finding, evidence, and a revocation."""
    mainland, three = world.mainland, world.deals["viewing"]
    signed = {"key_index": 5, "halves": three.halves(world.hongkong)}
    by = (EXPORTER, world.exporter_next)
    mainland.append(TRANSFER, "transfer", {"terms": three.terms}, *by, **signed)
    fields = {"terms": three.terms, "reason": "not needed"}
    mainland.append(CANCEL, "cancel", fields, *by, **signed)
    places = [(mainland.origin, 6), (world.hongkong.origin, 6)]
    records = [encode("record_ref", {"origin": origin, "index": at}) for origin, at in places]
    finding = {"finding_id": os.urandom(32), "rule": "K15.mismatched", "severity": 3}
    about = {"records": records, "rule_set": 2, "ref": world.deals["parts"].ref}
    mainland.by_node(NODE, "finding", {**finding, **about})
    bundle = ref.digest(b"an evidence bundle\n")
    accused = {"accused_origin": world.hongkong.origin, "bundle_digest": bundle}
    mainland.by_node(EVIDENCE, "evidence", accused)
    key = {"role": INSTITUTION, "subject": EXPORTER, "public_key": world.exporter_next.public}
    since = {"compromised_since": mainland.time(8)}
    mainland.by_authority(KEY, "key_event", {"action": REVOKE, **key, **since})


def agree_on_a_contract(world: Scenario) -> None:
    """Mainland 13 to 18, Hong Kong 7 to 13: a contract from its halves to its end, and records."""
    mainland, hongkong = world.mainland, world.hongkong
    admission = mainland.admission(INSTITUTION, EXPORTER, world.exporter_last)
    public = {"place": 440300, "sector": 1, "name": "Example 440300 Ltd"}
    mainland.by_authority(KEY, "key_event", {"action": ADMIT, **admission, **public})
    terms, report = world.statements["contract"], ref.digest(b"an assessment\n")
    about = {"contract_id": "GBA-2026-0042"}
    assessed = {"report_digest": report, "completed_on": 20260801, "conclusion": 1}
    state(world, mainland, "contract", 1, {"terms": terms})
    state(world, hongkong, "contract", 1, {"terms": terms})
    record(world, mainland, "pipia", {**about, **assessed, "keep_until": 20290801})
    filed = {"authority": 1, "filed_on": 20260803, "result": 2, "filing_no": "example 1"}
    state(world, mainland, "filing", 2, {"terms": terms, **filed})
    matter, reason = {"matter": os.urandom(16)}, {"reason": "added a purpose"}
    access = {"requester": 4, "territory": 810000, "received_at": hongkong.time(8)}
    record(world, hongkong, "gov_access", {**about, **matter, **access, "disclosed": False})
    state(world, hongkong, "supplement", 3, {"terms": world.statements["supplement"], **reason})
    record(world, hongkong, "suspend", {**about, "at": hongkong.time(9), "cause": 1})
    state(world, mainland, "termination", 4, {"terms": world.statements["termination"]})
    state(world, hongkong, "disposal", 5, {"terms": world.statements["disposal"]})
    for log in (mainland, hongkong):
        log.by_node(NODE, "tick", {})


def state(world: Scenario, log: Log, name: str, outcome: int, fields: Mapping[str, Any]) -> None:
    """One party's half of what both state of the contract."""
    peer = world.hongkong if log is world.mainland else world.mainland
    halves = Halves(
        world.contract_ref, ref.digest(world.statements[name.replace("filing", "contract")]),
        outcome, peer.origin,
    )  # fmt: skip
    author, signer, key_index = world.party(log)
    log.append(CONTRACT, name, fields, author, signer, key_index=key_index, halves=halves)


def record(world: Scenario, log: Log, name: str, fields: Mapping[str, Any]) -> None:
    author, signer, key_index = world.party(log)
    log.append(RECORD, name, fields, author, signer, key_index=key_index)


def contract_terms() -> dict[str, dict[str, Any]]:
    """What both parties state of one contract, by what it is."""
    document = ref.digest(b"the signed contract\n")
    places = {"exporter_place": 440300, "recipient_place": 810000, "storage_places": [810000]}
    roles = {"exporter_sector": 1, "recipient_sector": 1, "exporter_role": 1, "recipient_role": 1}
    days = {"signed_on": 20260801, "effective_on": 20260803, "expires_on": 20290802}
    codes = {"purposes": [2], "means": [3, 5], "categories": [1, 4, 13], "subject_types": [1]}
    scale = {"planned_scale": 50_000, "retention_days": 365, "transmissions": [1, 5]}
    extra = {"sensitive_categories": [5], "third_parties": ["hkbr.00000001"], "zone": 2}
    law = {"document_digest": document, "mechanism": 1, "direction": 1}
    contract = {**law, **places, **roles, **days, **codes, **scale, **extra}
    amended = {"version": 1, "purposes": [2, 7], "list_ref": "example list"}
    certified = {"done_at": START, "certificate_digest": ref.digest(b"a certificate\n")}
    return {
        "contract": contract,
        "supplement": {**contract, **amended},
        "termination": {"terminated_on": 20260810, "cause": 1, "method": 2},
        "disposal": {"method": 2, **certified, "due_by": 20260810, "transfers": 2, "subjects": 81},
    }


def deals(world: Scenario) -> dict[str, Deal]:
    def fields(**more: Any) -> dict[str, Any]:
        return {
            "exporter": {"origin": world.mainland.origin, "institution": EXPORTER},
            "recipient": {"origin": world.hongkong.origin, "institution": RECIPIENT},
            "nonce": os.urandom(16),
            "contract_id": "GBA-2026-0042",
            "subjects": 1200,
            "subjects_first_this_year": 300,
            "purposes": [2, 7],
            "categories": [1, 4, 13],
            "legal_basis": 1,
            "consent_form": 3,
            "notice_digest": ref.digest(b"notice to customers\n"),
            "notice_version": "3.1",
            "exemption": 1,
            "protections": [1, 3],
            "transmission": 1,
            "delete_by": 20291231,
            **more,
        }

    parts = {"accounts.csv": b"account;balance\n1;100\n", "报表.csv": b"month;total\n8;100\n"}
    sensitive = {"sensitive_subjects": 80, "sensitive_categories": [5], "minors_present": True}
    two = fields(
        subjects=80, subjects_first_this_year=60, consent_form=5, onward_declared=True, **sensitive
    )
    two_salt = os.urandom(32)
    return {
        "single": Deal(fields(), os.urandom(32), payload=b"customer;score\n1;700\n"),
        "parts": Deal(two, two_salt, parts=parts),
        "parts, corrected": Deal({**two, "subjects": 81}, two_salt, parts=parts),
        "viewing": Deal(fields(transmission=5)),
    }


def certificate(log: Log) -> bytes:
    """A self-signed CA certificate in DER; its key is forgotten."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{log.origin} throw-away CA")])
    begin = datetime(2026, 8, 1, tzinfo=UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=365))
    ca = x509.BasicConstraints(ca=True, path_length=0)
    signed = builder.add_extension(ca, critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)

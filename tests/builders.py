"""
What tests build logs of: both sides of a border, their keys, signed records, tiny logs in memory.

A `Log` plays node and authority of its side at once and checks nothing, so that it can also be made
to hold what no node would take. Entry i is recorded i minutes after START.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.admission import admission_digest, authority_digest
from ledgerd_client.core.body import AUTHORITY, NODE
from ledgerd_client.core.chain import Replay
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures, cosign, sign_checkpoint
from ledgerd_client.core.header import (
    Halves,
    Header,
    Kind,
    encode_halves,
    genesis_previous,
    signed_bytes,
)
from ledgerd_client.core.history import HISTORY_KINDS, KeyHistory
from ledgerd_client.core.keys import SigningKey, Signs
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import make_body, make_record_id, read_facts
from ledgerd_client.core.transfer import commit_payload

START = 1_785_718_800_000_000  # 2026-08-03T01:00:00Z, µs
MINUTE = 60_000_000
MAINLAND, HONG_KONG = "gba.example/mainland", "gba.example/hongkong"
EXPORTER, RECIPIENT = "uscc.91440300MA5EXMPLXX", "hkbr.76543210"
SHENZHEN, HONG_KONG_PLACE, BANK = 440300, 810000, 1
KEYS_OF_NODE = {
    pb.ROLE_LOG: "log_key",
    pb.ROLE_ENTRY: "entry_key",
    pb.ROLE_COSIGNER: "cosigner_key",
    pb.ROLE_AUTHORITY: "authority",
}
PAYLOAD = b"customer;score\n1;700\n"
# To read everything, from 2020 until 2099.
WHOLE = pb.Grant(valid_from=1_577_836_800_000_000, valid_until=4_070_908_800_000_000)
CHINA_TIME = timezone(timedelta(hours=8))
# Two of which the index of digests knows the same eight bytes (projections.ordinals).
ALIKE = [bytes.fromhex(begin) + bytes(24) for begin in ("1fe2f32aea5142b5", "cad736cd91eb7403")]


def at(text: str) -> int:
    """µs of a time in UTC+8: "2026-02-27 23:59:59.999999", or a day's first µs."""
    moment = datetime.fromisoformat(text).replace(tzinfo=CHINA_TIME)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def new_key() -> SigningKey:
    return SigningKey(os.urandom(32))


def new_body(origin: str, author: str, at: int = START, **record: Any) -> bytes:
    """A body with a fresh salt and record id; record is one field of pb.Body's oneof."""
    return make_body(
        origin=origin,
        author=author,
        record_id=make_record_id(at, os.urandom(10)),
        occurred_at=at,
        salt=os.urandom(16),
        **record,
    )


@dataclass(frozen=True, slots=True)
class Institution:
    """An institution, its key, and the entry that admitted it."""

    origin: str
    id: str
    key: SigningKey
    admitted_at: int

    @property
    def party(self) -> pb.Party:
        return pb.Party(origin=self.origin, institution=self.id)

    def body(self, at: int = START, **record: Any) -> bytes:
        return new_body(self.origin, self.id, at, **record)


@dataclass(slots=True)
class Log:
    """One side: a log, its node's keys and its authority's."""

    origin: str
    log_key: SigningKey = field(default_factory=new_key)
    entry_key: SigningKey = field(default_factory=new_key)
    cosigner_key: SigningKey = field(default_factory=new_key)
    authority: SigningKey = field(default_factory=new_key)
    entries: list[tuple[bytes, bytes]] = field(default_factory=list)
    # Role: the entry that put the key above in force; GENESIS where there is none.
    admitted: dict[int, int] = field(default_factory=dict)

    def header(
        self,
        kind: int,
        body: bytes,
        key: SigningKey,
        *,
        key_index: int = 0,
        halves: Halves | None = None,
        **changes: Any,
    ) -> Header:
        """A signed header for the end of the log; changes are made to it after signing."""
        digest, size = sha256(body).digest(), len(self.entries)
        stated = signed_bytes(self.origin, kind, digest, key.key_id, encode_halves(halves))
        fields = {
            "index": size,
            "recorded_at": START + size * MINUTE,
            "previous_leaf_hash": self.last_leaf,
            "kind": Kind(kind),
            "body_digest": digest,
            "key_index": key_index,
            "key_id": key.key_id,
            "signature": key.sign(stated),
            "halves": halves,
        }
        return Header(**{**fields, **changes})

    def append(self, header: Header, body: bytes) -> int:
        self.entries.append((header.encode(), body))
        return len(self.entries) - 1

    def add(self, body: bytes, key: SigningKey, key_index: int = 0) -> int:
        """Append a body that read_facts takes, signed by key; return its index."""
        _, facts = read_facts(body)
        halves = facts.halves
        return self.append(
            self.header(facts.kind, body, key, key_index=key_index, halves=halves), body
        )

    def record(self, author: Institution, **record: Any) -> int:
        return self.add(author.body(self.now, **record), author.key, author.admitted_at)

    def by_authority(self, **record: Any) -> int:
        body = new_body(self.origin, AUTHORITY, self.now, **record)
        return self.add(body, self.authority, self.admitted.get(pb.ROLE_AUTHORITY, 0))

    def by_node(self, **record: Any) -> int:
        body = new_body(self.origin, NODE, self.now, **record)
        return self.add(body, self.entry_key, self.admitted.get(pb.ROLE_ENTRY, 0))

    def genesis(self, peer: Log) -> pb.Genesis:
        return pb.Genesis(
            log_key=self.log_key.public,
            entry_key=self.entry_key.public,
            cosigner_key=self.cosigner_key.public,
            authority_key=self.authority.public,
            peer_origin=peer.origin,
            peer_authority_key=peer.authority.public,
        )

    def admission(self, subject: str, key: SigningKey, **changes: Any) -> pb.KeyEvent:
        """An ADMIT event with proof of possession, then changed."""
        role = changes.get("role", pb.ROLE_INSTITUTION)
        of_role: dict[str, Any] = {}
        if role == pb.ROLE_INSTITUTION:
            of_role = {"place": SHENZHEN, "sector": BANK}
        elif changes.get("action") != pb.KEY_ACTION_REVOKE:
            of_role = {"grant": WHOLE}
        fields = {
            "action": pb.KEY_ACTION_ADMIT,
            "role": role,
            "subject": subject,
            "public_key": key.public,
            "possession": key.sign(admission_digest(self.origin, subject, role, key.public)),
            **of_role,
        }
        return pb.KeyEvent(**{**fields, **changes})

    def rotation(self, old: Institution, key: SigningKey, **changes: Any) -> pb.KeyEvent:
        fields = {"action": pb.KEY_ACTION_ROTATE, "previous_key_id": old.key.key_id, **changes}
        return self.admission(old.id, key, **fields)

    def revocation(self, of: Institution, **changes: Any) -> pb.KeyEvent:
        fields = {"action": pb.KEY_ACTION_REVOKE, "possession": b"", **changes}
        return self.admission(of.id, of.key, **fields)

    def key_of(self, role: int) -> SigningKey:
        return getattr(self, KEYS_OF_NODE[role])

    def node_rotation(self, role: int, key: Signs, **changes: Any) -> pb.KeyEvent:
        """A ROTATE event of a key of the node or authority with proof of possession, changed."""
        subject = "authority" if role == pb.ROLE_AUTHORITY else "node"
        previous, digest = self.key_of(role).key_id, b""
        stated = admission_digest(self.origin, subject, role, key.public)
        if role == pb.ROLE_AUTHORITY:
            digest = self.history().history_digest
            stated = authority_digest(self.origin, previous, key.public, digest)
        fields = {
            "action": pb.KEY_ACTION_ROTATE,
            "role": role,
            "subject": subject,
            "public_key": key.public,
            "possession": key.sign(stated),
            "previous_key_id": previous,
            "history_digest": digest,
        }
        return pb.KeyEvent(**{**fields, **changes})

    def rotate(self, role: int, **changes: Any) -> int:
        """Rotate a key of the node or authority: what follows is signed by the new one."""
        key = new_key()
        index = self.by_authority(key_event=self.node_rotation(role, key, **changes))
        setattr(self, KEYS_OF_NODE[role], key)
        self.admitted[role] = index
        return index

    def disowning(self, key: SigningKey, **changes: Any) -> pb.KeyEvent:
        """What says of a log key that others had it too, then changed."""
        fields = {
            "action": pb.KEY_ACTION_REVOKE,
            "role": pb.ROLE_LOG,
            "subject": "node",
            "public_key": key.public,
            "compromised_since": START,
        }
        return pb.KeyEvent(**{**fields, **changes})

    def loss(self, **changes: Any) -> pb.Loss:
        """A LOSS at the end of the log, with new keys, then changed."""
        log_key, cosigner = changes.pop("keys", (new_key(), new_key()))
        size = len(self.entries)
        of = {
            role: admission_digest(self.origin, "node", role, key.public)
            for role, key in ((pb.ROLE_LOG, log_key), (pb.ROLE_COSIGNER, cosigner))
        }
        fields = {
            "size": size,
            "root": merkle.root(node_of(self.leaves), size),
            "log_key": log_key.public,
            "log_possession": log_key.sign(of[pb.ROLE_LOG]),
            "cosigner_key": cosigner.public,
            "cosigner_possession": cosigner.sign(of[pb.ROLE_COSIGNER]),
        }
        return pb.Loss(**{**fields, **changes})

    def lose(self) -> int:
        """Declare a loss here: what follows is signed by new keys."""
        self.log_key, self.cosigner_key = keys = new_key(), new_key()
        index = self.by_authority(loss=self.loss(keys=keys))
        self.admitted |= {pb.ROLE_LOG: index, pb.ROLE_COSIGNER: index}
        return index

    def admit(self, subject: str, key: SigningKey | None = None, **changes: Any) -> Institution:
        key = key or new_key()
        event = self.admission(subject, key, **changes)
        return Institution(self.origin, subject, key, self.by_authority(key_event=event))

    @property
    def now(self) -> int:
        return START + len(self.entries) * MINUTE

    @property
    def last_leaf(self) -> bytes:
        """What the next header names as the one before."""
        if not self.entries:
            return genesis_previous(self.origin)
        return merkle.leaf_hash(self.entries[-1][0])

    @property
    def leaves(self) -> list[bytes]:
        return [merkle.leaf_hash(header) for header, _ in self.entries]

    def checkpoint(
        self,
        size: int | None = None,
        *,
        cosigner: Log | None = None,
        also: Iterable[SigningKey] = (),
    ) -> bytes:
        """Signed by the log's key, and also by others of its own."""
        leaves = self.leaves[:size]
        root = merkle.root(node_of(leaves), len(leaves))
        signers = (Signer(self.origin, ED25519, key) for key in (self.log_key, *also))
        checkpoint = Checkpoint(self.origin, len(leaves), root)
        note = sign_checkpoint(checkpoint, *signers)
        if cosigner is None:
            return note
        witness = Signer(cosigner.origin, COSIGNATURE_V1, cosigner.cosigner_key)
        return add_signatures(note, [cosign(checkpoint, witness, self.now // 1_000_000)])

    def receipt(
        self, index: int, size: int | None = None, *, cosigner: Log | None = None
    ) -> Receipt:
        leaves = self.leaves[:size]
        proof = merkle.inclusion_proof(node_of(leaves), index, len(leaves))
        return Receipt(
            self.entries[index][0], tuple(proof), self.checkpoint(size, cosigner=cosigner)
        )

    @property
    def key_entries(self) -> list[tuple[bytes, bytes]]:
        return [entry for entry in self.entries if Header.parse(entry[0]).kind in HISTORY_KINDS]

    def history(self) -> KeyHistory:
        return KeyHistory.of(self.origin, self.authority.public, self.key_entries)

    def replay(self) -> Replay:
        """A replay at its start, for which every body digest is new once."""
        seen: dict[bytes, int] = {}

        def claim(digest: bytes, index: int) -> bool:
            return seen.setdefault(digest, index) == index

        return Replay.start(KeyHistory(self.origin, self.authority.public), claim)


@dataclass(slots=True)
class Border:
    """Two logs, each with GENESIS at 0 and one institution admitted at 1."""

    mainland: Log
    hong_kong: Log
    exporter: Institution
    recipient: Institution

    def terms(self, **changes: Any) -> pb.Terms:
        """Terms of a transfer of PAYLOAD that no rule objects to, then changed."""
        fields = {
            "exporter": self.exporter.party,
            "recipient": self.recipient.party,
            "nonce": os.urandom(16),
            "contract_id": "GBA-2026-0042",
            "commitment": commit_payload(bytes(32), sha256(PAYLOAD).digest(), parts=False),
            "subjects": 1200,
            "subjects_first_this_year": 300,
            "purposes": [2, 7],
            "categories": [1, 7],
            "legal_basis": 1,
            "consent_form": 3,
            "exemption": 1,
            "protections": [1],
            "transmission": 1,
        }
        return pb.Terms(**{**fields, **changes})

    def transfer(self, **changes: Any) -> pb.Transfer:
        return pb.Transfer(terms=self.terms(**changes).SerializeToString(deterministic=True))

    def ack(self, transfer: pb.Transfer, **changes: Any) -> pb.Ack:
        """An accepted ACK of a transfer, then changed."""
        fields = {
            "terms": transfer.terms,
            "outcome": pb.OUTCOME_ACCEPTED,
            "received_at": START,
            "received_subjects": 1200,
            "received_commitment": pb.Terms.FromString(transfer.terms).commitment,
        }
        return pb.Ack(**{**fields, **changes})


def new_border() -> Border:
    mainland, hong_kong = Log(MAINLAND), Log(HONG_KONG)
    mainland.by_authority(genesis=mainland.genesis(hong_kong))
    hong_kong.by_authority(genesis=hong_kong.genesis(mainland))
    exporter = mainland.admit(EXPORTER)
    recipient = hong_kong.admit(RECIPIENT, place=HONG_KONG_PLACE)
    return Border(mainland, hong_kong, exporter, recipient)


def node_of(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    """The nodes of complete subtrees, as merkle's proofs ask for them."""

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return merkle.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node

"""The log of a node in memory: real entries, tree, keys and signatures, and no disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle, ranges
from ledgerd_client.core.admission import admission_digest
from ledgerd_client.core.body import AUTHORITY, parse_body
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures, cosign, sign_checkpoint
from ledgerd_client.core.errors import (
    ConflictError,
    FieldError,
    NotReadyError,
)
from ledgerd_client.core.header import Header, Kind, genesis_previous, header_bytes
from ledgerd_client.core.history import HISTORY_KINDS, KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer, parse_note
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import (
    Admitted,
    Key,
    check_clock,
    make_body,
    make_record_id,
    read_facts,
    sign_record,
    verified,
)


class MemoryLog:
    """
    An append-only log under a throw-away authority. now gives µs since the epoch, UTC.

    Entries are checked as by a real log; nothing is durable.
    """

    def __init__(self, origin: str, now: Callable[[], int]) -> None:
        self.origin = origin
        self.authority, self.cosigner = _new_key(), _new_key()
        self.history = KeyHistory(origin, self.authority.public)
        self.headers: list[bytes] = []
        self.bodies: list[bytes] = []
        # Of the newest entry, µs.
        self.last_time = 0
        # The newest checkpoint with the peer's cosignature, and its size.
        self.cosigned = b""
        self.cosigned_size = 0
        self._log_key, self._entry_key = _new_key(), _new_key()
        self._leaves: list[bytes] = []
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._found: dict[tuple[str, bytes], int] = {}
        self.now = now

    @property
    def size(self) -> int:
        return len(self.headers)

    def found(self, peer: MemoryLog) -> None:
        """Write GENESIS."""
        genesis = pb.Genesis(
            log_key=self._log_key.public,
            entry_key=self._entry_key.public,
            cosigner_key=self.cosigner.public,
            authority_key=self.authority.public,
            peer_origin=peer.origin,
            peer_authority_key=peer.authority.public,
        )
        self.append(self._by_authority(genesis=genesis))

    def admit_key(self, institution: str, key: SigningKey, place: int) -> None:
        """Write the KEY entry by which the authority admits a key."""
        role = pb.ROLE_INSTITUTION
        digest = admission_digest(self.origin, institution, role, key.public)
        event = pb.KeyEvent(
            action=pb.KEY_ACTION_ADMIT,
            role=role,
            subject=institution,
            public_key=key.public,
            possession=key.sign(digest),
            place=place,
            sector=1,
            name=institution,
        )
        self.append(self._by_authority(key_event=event))

    def revoke_key(self, institution: str, public: bytes) -> None:
        """Write the KEY entry after which a key signs nothing."""
        event = pb.KeyEvent(
            action=pb.KEY_ACTION_REVOKE,
            role=pb.ROLE_INSTITUTION,
            subject=institution,
            public_key=public,
            place=440300,
            sector=1,
        )
        self.append(self._by_authority(key_event=event))

    def keys_of(self, institution: str) -> dict[bytes, Key]:
        """Every key ever admitted for an institution."""
        keys = self.history.of_subject(pb.ROLE_INSTITUTION, institution)
        return {key_id: Key(key.admitted_at, key.public) for key_id, key in keys}

    def append(self, item: Admitted) -> int:
        """Add an entry; return its index. Raises what only the log can know against it."""
        now = max(self.now(), self.last_time)
        check_clock(item.facts, now)
        previous = self._leaves[-1] if self._leaves else genesis_previous(self.origin)
        raw = header_bytes(self.size, now, previous, item.tail)
        header = Header.parse(raw)
        if header.kind in HISTORY_KINDS:
            body = parse_body(item.body)
            self.history.check(header, body)
            self.history.apply(header, body, raw=(raw, item.body))
        else:
            self.history.institution_key(item.key_id, item.key_index, self.size)
        self._found[item.facts.author, item.facts.record_id] = self.size
        self.add(header, item.body)
        return self.size - 1

    def add(self, header: Header, body: bytes) -> None:
        """Add an entry unchecked: for logs that lie."""
        raw = header.encode()
        self.last_time = header.recorded_at
        self._leaves.append(merkle.leaf_hash(raw))
        self.headers.append(raw)
        self.bodies.append(body)

    def find(self, author: str, record_id: bytes) -> int | None:
        return self._found.get((author, record_id))

    def find_same(self, item: Admitted) -> int | None:
        """
        The index of a record that is in the log already; an accepted ACK may have another id.

        Raises ConflictError for a record_id with other bytes.
        """
        index = self.find(item.facts.author, item.facts.record_id)
        if index is not None:
            if self.bodies[index] != item.body:
                raise ConflictError(
                    "this record_id is in the log with other bytes", reason="RECORD_ID_REUSED"
                )
            return index
        if item.facts.kind != Kind.ACK or item.facts.outcome != pb.OUTCOME_ACCEPTED:
            return None
        for header in map(Header.parse, self.headers):
            if header.kind == Kind.ACK and header.halves == item.facts.halves:
                return header.index
        return None

    def checkpoint(self) -> bytes:
        """The newest checkpoint, signed."""
        head = Checkpoint(self.origin, self.size, merkle.root(self._node, self.size))
        return sign_checkpoint(head, Signer(self.origin, ED25519, self._log_key))

    def cosign(self, peer: MemoryLog) -> None:
        """Let the peer's node cosign the newest checkpoint."""
        note = self.checkpoint()
        signer = Signer(peer.origin, COSIGNATURE_V1, peer.cosigner)
        checkpoint = Checkpoint.parse(parse_note(note).text)
        signature = cosign(checkpoint, signer, self.now() // 1_000_000)
        self.cosigned, self.cosigned_size = add_signatures(note, [signature]), checkpoint.size

    def receipt(self, index: int, *, cosigned: bool = False) -> Receipt:
        """Raises NotReadyError when no cosigned checkpoint covers the entry."""
        note, size = self.checkpoint(), self.size
        if cosigned:
            note, size = self.cosigned, self.cosigned_size
        if index >= size:
            raise NotReadyError("no cosigned checkpoint covers it yet", reason="NOT_COSIGNED_YET")
        proof = merkle.inclusion_proof(self._node, index, size)
        return Receipt(self.headers[index], tuple(proof), note)

    def range_proof(self, first: int) -> list[bytes]:
        """Of the entries from first to the end, in the newest tree; none for no entries."""
        if first == self.size:
            return []
        return ranges.range_proof(self._node, first, self.size, self.size)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        return merkle.inclusion_proof(self._node, index, self._check_size(size))

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        return merkle.consistency_proof(self._node, old, self._check_size(new))

    def _check_size(self, size: int) -> int:
        if size > self.size:
            raise FieldError(f"the log has {self.size} entries", reason="BEYOND_THE_END")
        return size

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            return self._leaves[index]
        if (level, index) not in self._nodes:
            left = self._node(level - 1, 2 * index)
            right = self._node(level - 1, 2 * index + 1)
            self._nodes[level, index] = merkle.node_hash(left, right)
        return self._nodes[level, index]

    def _by_authority(self, **record: object) -> Admitted:
        now = self.now()
        body = make_body(
            origin=self.origin,
            author=AUTHORITY,
            record_id=make_record_id(now, os.urandom(10)),
            occurred_at=now,
            salt=os.urandom(16),
            **record,
        )
        facts = read_facts(body)[1]
        keys = {self.authority.key_id: Key(0, self.authority.public)}
        return verified(sign_record(body, self.authority), facts, self.origin, keys)


def _new_key() -> SigningKey:
    return SigningKey(os.urandom(32))

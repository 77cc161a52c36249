"""Two real ledgers, one on each side, in one process: what tests of the ledger write to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from builders import (
    EXPORTER,
    HONG_KONG,
    HONG_KONG_PLACE,
    MAINLAND,
    RECIPIENT,
    START,
    Border,
    Institution,
    Log,
    new_body,
    new_key,
)

from ledgerd.ledger.audit import Auditor, Report
from ledgerd.ledger.batch import Outcome
from ledgerd.ledger.founding import found_ledger
from ledgerd.ledger.own_entry import sign_own
from ledgerd.ledger.peer_log import PeerHalf, PeerLog
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.writer import Item, Writer
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.store.base import Store
from ledgerd.store.memory import MemoryStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.chain import check_signatures
from ledgerd_client.core.checkpoint import (
    Checkpoint,
    add_signatures,
    cosign,
    open_checkpoint,
    sign_checkpoint,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.record import (
    Admitted,
    Key,
    admit,
    make_record_id,
    read_facts,
    sign_record,
    verified,
)

RULES = make_rule_set(acknowledge_within=24 * HOUR, correct_within=72 * HOUR)

# A finding as both nodes know it: rule, and the records as (origin, index).
Found = tuple[str, frozenset[tuple[str, int]]]


class Clock:
    """Time as a test sets it, µs."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def advance(self, hours: float) -> None:
        self.now += round(hours * HOUR)


class OtherStore:
    """A PeerLog that reads the other node's store."""

    def __init__(self) -> None:
        self.node: Node | None = None

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterator[PeerHalf]:
        assert self.node is not None
        for raw in self.node.reader.headers(start, stop - start, stop):
            header = Header.parse(raw)
            if header.halves and header.halves.counterparty_origin == counterparty_origin:
                key = self.node.history().find(header.key_id)
                assert key is not None
                yield PeerHalf(header, key.subject)

    def root(self, size: int) -> bytes:
        assert self.node is not None
        return self.node.reader.root(size)

    def verified_history(self) -> KeyHistory:
        assert self.node is not None
        return self.node.history()


class Node:
    """A ledger: GENESIS at 0, the rule set at 1. `log` lends it its side's keys, and no more."""

    def __init__(
        self,
        log: Log,
        peer: Log,
        clock: Clock,
        *,
        store: Store | None = None,
        peer_log: PeerLog | None = None,
        rules: pb.RuleSet = RULES,
    ) -> None:
        self.log = log
        self.peer = peer
        self.clock = clock
        self.store: Store = store or MemoryStore(instance=os.urandom(16))
        self.peer_log: PeerLog = peer_log or OtherStore()
        self.log_key = Signer(log.origin, ED25519, log.log_key)
        found_ledger(
            self.store,
            sign_record(self.genesis(), log.authority),
            rules,
            log_key=self.log_key,
            entry_key=log.entry_key,
            cosigner=log.cosigner_key.public,
            authority=log.authority.public,
            clock=clock,
            random=os.urandom,
        )
        self.writer = self.new_writer(self.store)

    def genesis(self) -> bytes:
        genesis = self.log.genesis(self.peer)
        return new_body(self.log.origin, AUTHORITY, self.clock(), genesis=genesis)

    def new_writer(self, store: Store, peer_log: PeerLog | None = None) -> Writer:
        return Writer(
            store,
            log_key=self.log_key,
            entry_key=self.log.entry_key,
            authority=self.log.authority.public,
            peer_log=peer_log or self.peer_log,
            clock=self.clock,
            random=os.urandom,
        )

    # -- records, as they leave admission ---------------------------------------------------

    def by(self, author: Institution, at: int | None = None, **record: Any) -> Admitted:
        """A record by an institution; at: when it says that it happened."""
        signed = sign_record(author.body(at or self.clock(), **record), author.key)
        keys = {author.key.key_id: Key(author.admitted_at, author.key.public)}
        return admit(signed, origin=self.log.origin, author=author.id, keys=keys)

    def by_authority(self, **record: Any) -> Admitted:
        body = new_body(self.log.origin, AUTHORITY, self.clock(), **record)
        signed = sign_record(body, self.log.authority)
        keys = {signed.key_id: Key(0, self.log.authority.public)}
        return verified(signed, read_facts(body)[1], self.log.origin, keys)

    def by_node(self, **record: Any) -> Admitted:
        return sign_own(self.log.entry_key, self.log.origin, self.clock(), os.urandom, **record)

    def open_own(self, note: bytes) -> Checkpoint:
        """A checkpoint of this log, by its key."""
        return open_checkpoint(note, log=(self.log_key.verifier,)).checkpoint

    def anchor(self, size: int, fetched_at: int | None = None) -> Admitted:
        """An anchor of the peer's checkpoint of a size, cosigned."""
        fetched_at = fetched_at or self.clock()
        checkpoint = Checkpoint(self.peer.origin, size, self.peer_log.root(size))
        note = sign_checkpoint(checkpoint, Signer(self.peer.origin, ED25519, self.peer.log_key))
        cosigner = Signer(self.log.origin, COSIGNATURE_V1, self.log.cosigner_key)
        note = add_signatures(note, [cosign(checkpoint, cosigner, fetched_at // 1_000_000)])
        anchor = pb.Anchor(peer_origin=self.peer.origin, checkpoint=note, fetched_at=fetched_at)
        return self.by_node(anchor=anchor)

    # -- writing ----------------------------------------------------------------------------

    def append(self, *items: Item) -> list[Outcome]:
        """One call, in one commit."""
        return self.writer.commit([items])[0].outcomes

    def place(self, item: Item) -> int:
        """Append a record that must be taken; return its index."""
        outcome = self.append(item)[0]
        assert isinstance(outcome, int), outcome
        return outcome

    def enrol(self, subject: str, key: SigningKey | None = None, **changes: Any) -> Institution:
        key = key or new_key()
        event = self.log.admission(subject, key, **changes)
        index = self.place(self.by_authority(key_event=event))
        return Institution(self.log.origin, subject, key, index)

    # -- reading ----------------------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        return Reader(self.store)

    @property
    def size(self) -> int:
        return self.reader.head().size

    def history(self) -> KeyHistory:
        return self.writer.machine.history

    def header(self, index: int) -> Header:
        return Header.parse(self.reader.entry(index)[0])

    def body(self, index: int) -> pb.Body:
        return pb.Body.FromString(self.reader.entry(index)[1])

    def findings(self, start: int = 0) -> list[pb.Finding]:
        """Every FINDING entry from start on."""
        bodies = [self.body(index) for index in range(start, self.size)]
        return [body.finding for body in bodies if body.HasField("finding")]

    def standing(self) -> set[Found]:
        """The findings that were opened and not closed since."""
        standing: dict[bytes, Found] = {}
        for finding in self.findings():
            if finding.closed:
                del standing[finding.finding_id]
            else:
                assert finding.finding_id not in standing, "opened twice"
                records = frozenset((record.origin, record.index) for record in finding.records)
                standing[finding.finding_id] = (finding.rule, records)
        return set(standing.values())

    def audit(self) -> Report:
        """The oracle: raises AuditError unless the store is what its log says."""
        return self.auditor().run()

    def auditor(self, store: Store | None = None, authority: bytes = b"") -> Auditor:
        return Auditor(
            store or self.store,
            MemoryStore(instance=bytes(16)),
            origin=self.log.origin,
            authority=authority or self.log.authority.public,
            peer_log=self.peer_log,
            check_signatures=check_signatures,
            progress=lambda _done, _total: None,
        )


class World:
    """Both sides of a border, each with one institution."""

    def __init__(
        self,
        *,
        store: Store | None = None,
        rules: pb.RuleSet = RULES,
        exporter: str = EXPORTER,
        recipient: str = RECIPIENT,
    ) -> None:
        self.clock = Clock()
        mainland, hong_kong = Log(MAINLAND), Log(HONG_KONG)
        self.mainland = Node(mainland, hong_kong, self.clock, store=store, rules=rules)
        self.hong_kong = Node(hong_kong, mainland, self.clock, rules=rules)
        for node, other in (
            (self.mainland, self.hong_kong),
            (self.hong_kong, self.mainland),
        ):
            assert isinstance(node.peer_log, OtherStore)
            node.peer_log.node = other
        self.exporter = self.mainland.enrol(exporter)
        self.recipient = self.hong_kong.enrol(recipient, place=HONG_KONG_PLACE)
        self._border = Border(mainland, hong_kong, self.exporter, self.recipient)

    def terms(self, **changes: Any) -> pb.Transfer:
        """Terms of a transfer as a half carries them; another nonce is another transfer."""
        return self._border.transfer(**changes)

    # -- halves, as they leave admission ----------------------------------------------------

    def transfer(self, terms: pb.Transfer | None = None, at: int | None = None) -> Admitted:
        return self.mainland.by(self.exporter, at, transfer=terms or self.terms())

    def cancel(self, terms: pb.Transfer) -> Admitted:
        return self.mainland.by(self.exporter, cancel=pb.Cancel(terms=terms.terms))

    def ack(self, terms: pb.Transfer, **changes: Any) -> Admitted:
        return self.hong_kong.by(self.recipient, ack=self._border.ack(terms, **changes))

    def correction(self, node: Node, terms: pb.Transfer) -> Admitted:
        author = self.exporter if node is self.mainland else self.recipient
        # Of no record: nothing looks for the one that a CORRECTION corrects.
        corrects = make_record_id(self.clock(), os.urandom(10))
        return node.by(author, correction=pb.Correction(terms=terms.terms, corrects=corrects))

    # -- what both nodes do ------------------------------------------------------------------

    def anchor(self, *nodes: Node) -> None:
        """Each node anchors the other's log as it stands now."""
        for node in nodes or (self.mainland, self.hong_kong):
            other = self.hong_kong if node is self.mainland else self.mainland
            node.place(node.anchor(other.size))

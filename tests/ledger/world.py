"""Two real ledgers, one on each side, in one process: what tests of the ledger write to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from builders import EXPORTER, HONG_KONG, MAINLAND, RECIPIENT, START, Border, Institution, Log
from builders import new_body, new_key

from ledgerd.ledger.audit import Auditor, Report
from ledgerd.ledger.founding import found_ledger
from ledgerd.ledger.machine import PeerHalf, PeerLog
from ledgerd.ledger.reader import Reader, TransferAnswer
from ledgerd.ledger.writer import AppendResult, Item, Outcome, Writer, sign_own
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.store.base import Store
from ledgerd.store.memory import MemoryStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.chain import check_signatures
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.header import Header
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import Admitted, Key, SignedRecord, admit, read_facts
from ledgerd_client.core.record import sign_record, verified
from ledgerd_client.core.transfer import ref_of
from ledgerd.store.tables import Table

RULES = make_rule_set(acknowledge_within=24 * HOUR, correct_within=72 * HOUR)


class Clock:
    """Time as a test sets it, µs."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class OtherStore:
    """The peer's log, read where it stands."""

    def __init__(self) -> None:
        self.node: Node | None = None

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterator[PeerHalf]:
        assert self.node is not None
        for raw in self.node.reader.headers(start, stop - start, stop):
            header = Header.parse(raw)
            if header.halves and header.halves.counterparty_origin == counterparty_origin:
                key = self.node.writer.machine.history.find(header.key_id)
                assert key is not None
                yield PeerHalf(header, key.subject)


class Node:
    """A ledger with GENESIS at 0 and the rule set at 1. `log` only holds the side's keys."""

    def __init__(
        self,
        log: Log,
        peer: Log,
        clock: Clock,
        *,
        store: Store | None = None,
        peer_log: PeerLog | None = None,
    ) -> None:
        self.log = log
        self.clock = clock
        self.store: Store = store or MemoryStore(instance=os.urandom(16))
        self.peer_log: PeerLog = peer_log or OtherStore()
        genesis = new_body(log.origin, AUTHORITY, clock(), genesis=log.genesis(peer))
        found_ledger(
            self.store,
            sign_record(genesis, log.authority),
            RULES,
            log_key=Signer(log.origin, ED25519, log.log_key),
            entry_key=log.entry_key,
            cosigner=log.cosigner_key.public,
            authority=log.authority.public,
            clock=clock,
            random=os.urandom,
        )
        self.writer = self.new_writer(self.store)

    def new_writer(self, store: Store) -> Writer:
        return Writer(
            store,
            log_key=Signer(self.log.origin, ED25519, self.log.log_key),
            entry_key=self.log.entry_key,
            authority=self.log.authority.public,
            peer_log=self.peer_log,
            clock=self.clock,
            random=os.urandom,
        )

    @property
    def reader(self) -> Reader:
        return Reader(self.store)

    @property
    def size(self) -> int:
        return self.reader.head().size

    def body(self, index: int) -> pb.Body:
        return pb.Body.FromString(self.reader.entry(index)[1])

    def header(self, index: int) -> Header:
        return Header.parse(self.reader.entry(index)[0])

    # -- records ----------------------------------------------------------------------------

    def by_authority(self, **record: Any) -> Admitted:
        signed = sign_record(
            new_body(self.log.origin, AUTHORITY, self.clock(), **record), self.log.authority
        )
        _, facts = read_facts(signed.body)
        keys = {signed.key_id: Key(0, self.log.authority.public)}
        return verified(signed, facts, self.log.origin, keys)

    def by_node(self, **record: Any) -> Admitted:
        return sign_own(self.log.entry_key, self.log.origin, self.clock(), os.urandom, **record)

    def by(self, author: Institution, at: int | None = None, **record: Any) -> Admitted:
        """A record that passed admission; at: when it occurred."""
        return admitted(sign_record(author.body(at or self.clock(), **record), author.key), author)

    def admission(self, subject: str, key: SigningKey, **changes: Any) -> Admitted:
        return self.by_authority(key_event=self.log.admission(subject, key, **changes))

    def anchor_of(self, peer: Node, fetched_at: int | None = None, size: int = 0) -> Admitted:
        """An anchor of the peer's present checkpoint, or of another size in an unsigned note."""
        note = peer.reader.head().checkpoint
        if size:
            note = peer.log.checkpoint_of(size)
        return self.by_node(
            anchor=pb.Anchor(
                peer_origin=peer.log.origin, checkpoint=note, fetched_at=fetched_at or self.clock()
            )
        )

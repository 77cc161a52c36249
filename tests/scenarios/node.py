"""One side's ledger: the daemon's own writer and store in a directory, and the story's clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from builders import Log
from scenarios.names import INSTITUTIONS, Institution, derive
from scenarios.records import ORIGINS, Event, micros

from ledgerd.config import Rules
from ledgerd.init import rule_set_of
from ledgerd.ledger.founding import found_ledger
from ledgerd.ledger.own_entry import sign_own
from ledgerd.ledger.peer_log import PeerHalf
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.writer import Item, Writer
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import AUTHORITY, BY_INSTITUTIONS
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures, cosign, sign_checkpoint
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.record import (
    Admitted,
    Key,
    make_body,
    make_record_id,
    read_facts,
    sign_admitted,
    sign_record,
    verified,
)

FOUNDED = micros(date(2025, 12, 1))
_MAP_SIZE = 1 << 36


class Clock:
    """The story's time, µs."""

    def __init__(self) -> None:
        self.now = FOUNDED

    def __call__(self) -> int:
        return self.now


class OtherStore:
    """A PeerLog that reads the other node's store; keys: of its key entries as they stand."""

    def __init__(self) -> None:
        self.reader: Reader
        self.keys: Callable[[], KeyHistory]

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterator[PeerHalf]:
        for raw in self.reader.headers(start, stop - start, stop):
            header = Header.parse(raw)
            if header.halves and header.halves.counterparty_origin == counterparty_origin:
                key = self.keys().find(header.key_id)
                assert key is not None
                yield PeerHalf(header, key.subject)

    def root(self, size: int) -> bytes:
        return self.reader.root(size)

    def verified_history(self) -> KeyHistory:
        return self.keys()


def log_of(side: str) -> Log:
    keys = ("log_key", "entry_key", "cosigner_key", "authority")
    return Log(ORIGINS[side], **{name: _key(f"{side} {name}") for name in keys})


def _key(label: str) -> SigningKey:
    return SigningKey(derive(label, 32))


class Node:
    """One side's ledger in a directory: found there, or gone on with."""

    def __init__(self, side: str, other: str, directory: Path, clock: Clock) -> None:
        self.side, self.clock = side, clock
        self.log, self.peer = log_of(side), log_of(other)
        self.log_key = Signer(self.log.origin, ED25519, self.log.log_key)
        self.peer_log = OtherStore()
        path = directory / side
        if not path.exists():
            self._found(path)
        self.store = LmdbStore.open(path, map_size=_MAP_SIZE)
        self.reader = Reader(self.store)
        self.writer = self._writer(self.store)
        self.keys = self._admit()

    def history(self) -> KeyHistory:
        return self.writer.machine.history

    @property
    def size(self) -> int:
        return self.writer.head.size

    def _found(self, path: Path) -> None:
        unfinished = path.with_suffix(".new")
        store = LmdbStore.create(unfinished, instance=derive(self.side, 16), map_size=_MAP_SIZE)
        genesis = self._by_authority(genesis=self.log.genesis(self.peer))
        found_ledger(
            store,
            genesis,
            rule_set_of(Rules()),
            log_key=self.log_key,
            entry_key=self.log.entry_key,
            cosigner=self.log.cosigner_key.public,
            authority=self.log.authority.public,
            clock=self.clock,
            random=os.urandom,
        )
        self._writer(store).commit([[self._admission(who) for who in self._members]])
        store.close()
        unfinished.rename(path)

    @property
    def _members(self) -> list[Institution]:
        return [who for who in INSTITUTIONS if who.side == self.side]

    def _admission(self, who: Institution) -> Admitted:
        event = self.log.admission(
            who.id, who.key, place=who.place, sector=who.sector, name=who.name, group=who.group
        )
        signed = self._by_authority(key_event=event)
        keys = {signed.key_id: Key(0, self.log.authority.public)}
        return verified(signed, read_facts(signed.body)[1], self.log.origin, keys)

    def _by_authority(self, **record: Any) -> Any:
        body = make_body(
            origin=self.log.origin, author=AUTHORITY, occurred_at=FOUNDED,
            record_id=make_record_id(FOUNDED, os.urandom(10)), salt=os.urandom(16), **record,
        )  # fmt: skip
        return sign_record(body, self.log.authority)

    def _writer(self, store: LmdbStore) -> Writer:
        return Writer(
            store,
            log_key=self.log_key,
            entry_key=self.log.entry_key,
            authority=self.log.authority.public,
            peer_log=self.peer_log,
            clock=self.clock,
            random=os.urandom,
        )

    def _admit(self) -> dict[str, tuple[SigningKey, int]]:
        """Each member's key, and the index that admitted it: they follow GENESIS and RULESET."""
        return {who.id: (who.key, 2 + turn) for turn, who in enumerate(self._members)}

    # -- what is written -------------------------------------------------------------------------

    def record(self, event: Event) -> Admitted:
        """An event as it leaves admission; its signature was not checked again."""
        key, admitted_at = self.keys[event.author.id]
        body = make_body(
            origin=self.log.origin,
            author=event.author.id,
            record_id=event.record_id,
            occurred_at=event.occurred_at,
            salt=derive(f"salt {event.seed}", 16),
            **{event.kind: event.message},
        )
        return sign_admitted(body, key, key_index=admitted_at)

    def append(self, items: list[Item]) -> None:
        outcomes = self.writer.commit([items])[0].outcomes
        refused = [outcome for outcome in outcomes if not isinstance(outcome, int)]
        assert not refused, refused[0]

    def tick(self) -> None:
        self._append_own(tick=pb.Tick())

    def anchor(self, size: int) -> None:
        """Take up the peer's log up to a size, and judge what is due: in as many steps as it takes."""
        now, root = self.clock(), self.peer_log.root(size)
        checkpoint = Checkpoint(self.peer.origin, size, root)
        note = sign_checkpoint(checkpoint, Signer(self.peer.origin, ED25519, self.peer.log_key))
        cosigner = Signer(self.log.origin, COSIGNATURE_V1, self.log.cosigner_key)
        note = add_signatures(note, [cosign(checkpoint, cosigner, now // 1_000_000)])
        anchor = pb.Anchor(peer_origin=self.peer.origin, checkpoint=note, fetched_at=now)
        while True:
            self._append_own(anchor=anchor)
            deadline = self.reader.next_deadline()
            overdue = deadline is not None and deadline < now
            if self.reader.anchor().taken_up >= size and not overdue:
                return

    def _append_own(self, **record: Any) -> None:
        now = self.clock()
        item = sign_own(self.log.entry_key, self.log.origin, now, os.urandom, **record)
        self.append([item])

    def count_of_institutions(self) -> int:
        """Entries that institutions stated: how far of the story this log has come."""
        found = 0
        for start in range(0, self.size, 1000):
            headers = self.reader.headers(start, 1000, self.size)
            found += sum(Header.parse(raw).kind in BY_INSTITUTIONS for raw in headers)
        return found

    def index_of(self, event: Event) -> int | None:
        with suppress(NotFoundError):
            return self.reader.find(event.author.id, event.record_id)
        return None

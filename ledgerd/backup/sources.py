"""
Where a backup comes from: a node's log, and its peer's as it was replayed, in pages.

Each page is read from a snapshot of its own, so that no page of the store is held for long; the log
only grows, and what is erased meanwhile is given as erased.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Protocol

from ledgerd.backup.files import OWN, PEER
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.tree import frontier
from ledgerd.peer.notes import parse_known
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.peer.stored import stored_replica
from ledgerd.projections.erased import ErasedBody, find_erased
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import StoreError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import Frontier
from ledgerd_client.core.trust import Trust

_PAGE: Final = 500
_PAGE_BYTES: Final = 4 << 20


class SourceLog(Protocol):
    """A log to back up, up to a checkpoint (note); name: OWN or PEER."""

    name: str
    origin: str
    note: bytes

    @property
    def end(self) -> Checkpoint:
        """The checkpoint, read."""

    def history(self) -> KeyHistory: ...

    def edge(self, size: int) -> Frontier:
        """The right edge of its tree at an earlier size."""

    def pages(self, first: int, stop: int) -> Iterator[list[pb.FollowedEntry]]:
        """Its entries."""

    def moves_on(self) -> bool:
        """Whether it has come to a later checkpoint, because the one before does not suffice."""


class OwnLog:
    """The node's own log, and the erasures that were met in its pages."""

    name = OWN

    def __init__(self, store: Store, origin: str, authority: bytes) -> None:
        self.origin = origin
        self.note = Reader(store).head().checkpoint
        self.erased: dict[int, ErasedBody] = {}
        self._store = store
        self._authority = authority
        self._awaits = 0

    @property
    def end(self) -> Checkpoint:
        return parse_known(self.note).checkpoint

    def history(self) -> KeyHistory:
        return Keyring(self._store, self.origin, self._authority).history

    def edge(self, size: int) -> Frontier:
        with self._store.snapshot() as snapshot:
            return frontier(snapshot, size)

    def moves_on(self) -> bool:
        """Where bodies were gone already that an entry beyond the end erased."""
        if self._awaits < self.end.size:
            return False
        self.note = Reader(self._store).head().checkpoint
        return True

    def pages(self, first: int, stop: int) -> Iterator[list[pb.FollowedEntry]]:
        while first < stop:
            page = self._page(first, min(first + _PAGE, stop))
            yield page
            first += len(page)

    def _page(self, first: int, stop: int) -> list[pb.FollowedEntry]:
        page: list[pb.FollowedEntry] = []
        size = 0
        with self._store.snapshot() as snapshot:
            for key, header in snapshot.scan(Table.HEADERS, u64(first), u64(stop)):
                page.append(self._entry(snapshot, key, header))
                size += page[-1].ByteSize()
                if size >= _PAGE_BYTES:
                    break
        if not page:
            raise StoreError(f"header {first} is missing", reason="NO_HEADER")
        return page

    def _entry(self, snapshot: Snapshot, key: bytes, header: bytes) -> pb.FollowedEntry:
        body = snapshot.get(Table.BODIES, key)
        if body is not None:
            if Header.parse(header).kind == Kind.NODE:
                self._take_erasure(int.from_bytes(key, "big"), body)
            return pb.FollowedEntry(header=header, body=body)
        erased = find_erased(snapshot, int.from_bytes(key, "big"))
        if erased is None:  # lost: an entry behind the LOSS says so
            return pb.FollowedEntry(header=header)
        self._awaits = max(self._awaits, erased.erasure)
        return pb.FollowedEntry(header=header, remains=erased.remains, erased_by=erased.erasure)

    def _take_erasure(self, index: int, body: bytes) -> None:
        for each in body_pb2.Body.FromString(body).erasure.remains:
            self.erased[each.index] = ErasedBody(index, each.body)


class PeersLog:
    """The peer's log as far as the node has replayed it."""

    name = PEER

    def __init__(self, store: Store, replica: Replica) -> None:
        self.origin = replica.origin
        self.note = replica.newest()[1]
        self._store = store
        self._replica = replica

    @property
    def end(self) -> Checkpoint:
        return parse_known(self.note).checkpoint

    def history(self) -> KeyHistory:
        return self._replica.verified_history()

    def edge(self, size: int) -> Frontier:
        with self._store.snapshot() as snapshot:
            return frontier(snapshot, size)

    def moves_on(self) -> bool:
        return False

    def pages(self, first: int, stop: int) -> Iterator[list[pb.FollowedEntry]]:
        for start in range(first, stop, _PAGE):
            yield [
                pb.FollowedEntry(header=header, body=body)
                for header, body in self._replica.entries(start, min(start + _PAGE, stop))
            ]


def peers_log(path: Path, own: OwnLog, trust: Trust, stack: ExitStack) -> PeersLog | None:
    """The replica in a node's directory; None before anything was replayed."""
    try:
        store = LmdbStore.open(path, readonly=True)
    except StoreError as error:
        if error.reason != "NO_STORE":
            raise
        return None
    peer_store = stack.enter_context(closing(PeerStore(store)))
    origin = own.history().need_genesis().peer_origin
    replica = stored_replica(peer_store, origin, trust.authority(origin))
    return PeersLog(store, replica) if replica.verified else None

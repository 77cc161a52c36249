"""A node of the law world as whoever follows it sees it, honest or not; and a mirror of it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.law_world import LawWorld, at
from ledger.world import Node
from peer.sides import trust_of

from ledgerd.ledger.answers import Answers
from ledgerd.mirror.follower import Follower
from ledgerd.mirror.store import MirrorStore
from ledgerd.store.base import Store
from ledgerd.store.format import FORMAT_KEY
from ledgerd.store.tables import INSTANCE_KEY, Table
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import FieldError, LedgerError, UnavailableError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header
from ledgerd_client.core.remains import order_digest

Rows = dict[Table, list[tuple[bytes, bytes]]]


@dataclass
class Served:
    """A Way to the Mainland's node."""

    law: LawWorld
    page: int = 5
    # What is done to each message of either log's stream.
    change: Callable[[pb.FollowResponse], None] | None = None
    peer_change: Callable[[pb.FollowResponse], None] | None = None
    # After how many messages of the own log's stream it breaks off, and how.
    cut_after: int | None = None
    cut: LedgerError = field(default_factory=lambda: UnavailableError("cut"))
    # What happens at the node once it has shown its checkpoint.
    meanwhile: Callable[[], None] = lambda: None
    # What is shown of either log, in place of all of it.
    shown: int | None = None
    peer_shown: int | None = None
    starts: list[int] = field(default_factory=list)

    async def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        own = not request.origin
        node = self.law.mainland if own else self.law.hong_kong
        shown = self.shown if own else self.peer_shown
        size = node.size if shown is None else shown
        if request.start > size:
            raise FieldError("beyond", reason="BEYOND_THE_END")
        if own:
            self.starts.append(request.start)
        for number, message in enumerate(self._messages(node, request.start, size, own=own)):
            if own and number == self.cut_after:
                raise self.cut
            change = self.change if own else self.peer_change
            if change is not None:
                change(message)
            yield message
            if own and number == 0:
                happens, self.meanwhile = self.meanwhile, lambda: None
                happens()

    def _messages(
        self, node: Node, start: int, size: int, *, own: bool
    ) -> Iterator[pb.FollowResponse]:
        yield pb.FollowResponse(checkpoint=note_at(node, size), first=start)
        for first in range(start, size, self.page):
            entries = entries_of(node, first, min(first + self.page, size), own=own)
            yield pb.FollowResponse(first=first, entries=entries)


def note_at(node: Node, size: int) -> bytes:
    """The checkpoint that the node signed at a size; b"" for none."""
    return note_of(node, size, node.reader.root(size)) if size else b""


def note_of(node: Node, size: int, root: bytes) -> bytes:
    """Whatever a node signs."""
    return sign_checkpoint(Checkpoint(node.log.origin, size, root), node.log_key)


def with_note(note: bytes) -> Callable[[pb.FollowResponse], None]:
    def change(message: pb.FollowResponse) -> None:
        if message.checkpoint:
            message.checkpoint = note

    return change


def entries_of(node: Node, start: int, stop: int, *, own: bool) -> list[pb.FollowedEntry]:
    answers = Answers(node.store, node.open_own)
    entries = []
    while start < stop:
        for each in answers.stretch(start, stop, ()):
            shared = own or Header.parse(each.header).kind in KINDS_SHARED_WITH_PEER
            entries.append(
                pb.FollowedEntry(
                    header=each.header,
                    body=each.body if shared else b"",
                    remains=each.remains,
                    erased_by=each.erased_by,
                )
            )
            start += 1
    return entries


@dataclass
class Mirror:
    """A mirror of the Mainland's node, and the node."""

    directory: Path
    law: LawWorld
    served: Served
    told: list[tuple[int, int]] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[MirrorStore, Follower]]:
        store = MirrorStore(self.directory, self.law.mainland.log.origin, os.urandom)
        try:
            follower = Follower(
                store,
                self.served,
                trust_of(self.law.mainland.log, self.law.hong_kong.log),
                check=check,
                progress=lambda done, total: self.told.append((done, total)),
            )
            try:
                yield store, follower
            finally:
                await follower.close()
        finally:
            store.close()

    async def step(self) -> int:
        """One round, by a mirror that is opened for it; entries that it shows afterwards."""
        async with self.open() as (_, follower):
            await follower.step()
            return follower.head.size

    async def shown(self) -> int:
        """Entries that it shows."""
        async with self.open() as (_, follower):
            return follower.head.size

    async def rows(self) -> Rows:
        async with self.open() as (store, _):
            return rows_of(store.log)


def rows_of(store: Store) -> Rows:
    """Everything in a store, but what is its own alone."""
    with store.snapshot() as snapshot:
        rows = {table: list(snapshot.scan(table)) for table in Table}
    own = {INSTANCE_KEY, FORMAT_KEY, b"mirrored", b"anchored"}
    rows[Table.META] = [(key, value) for key, value in rows[Table.META] if key not in own]
    return rows


async def check(checks: list[SignatureCheck]) -> None:
    check_signatures(checks)


def differing(ours: Rows, node: Node) -> list[str]:
    """Tables that are not the node's, byte for byte."""
    theirs = rows_of(node.store)
    return [table for table in Table if ours[table] != theirs[table]]


def erase(law: LawWorld, index: int) -> None:
    """As the node does on the authority's order, when the time has come."""
    law.clock.now = at("2029-09-02", "12:00:00")
    order = encode_message(
        body_pb2.ErasureOrder(
            origin=law.mainland.log.origin,
            order_id=os.urandom(16),
            institution=law.exporter.id,
            indexes=[index],
            reason="kept long enough",
            ordered_at=law.clock(),
        )
    )
    signature = law.mainland.log.authority.sign(order_digest(law.mainland.log.origin, order))
    erasure = law.mainland.reader.erasure(order, signature)
    law.mainland.place(law.mainland.by_node(erasure=erasure))

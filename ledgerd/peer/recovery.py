"""
What a node that has lost its store gets back: its own log, out of its peer's replica.

Headers come verbatim, and are replayed as any peer's log is. Bodies that the peer never had come
from copies of the store and from the institutions that wrote them (docs/protocol.md, "Start,
restore, recover").
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from ledgerd.peer.awaited import LEFT_KEY, Awaited
from ledgerd.peer.notes import Known, parse_known
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.replay import Page
from ledgerd.peer.replica import Check, Replica
from ledgerd.peer.store import PeerStore
from ledgerd.peer.submit import newest_cosigned, put_newest_cosigned
from ledgerd.projections.erased import ErasedBody
from ledgerd.projections.lost import find_returned
from ledgerd.store.base import Store, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2, service_pb2
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ChainError,
    ForbiddenError,
    NotFoundError,
    NotReadyError,
    TrustError,
)
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.trust import Trust

_PAGE: Final = 1000
# By one call of an institution that asks what it is to return.
_LOOKED_THROUGH: Final = 50_000

_Listed: TypeAlias = service_pb2.ListHeadersResponse | service_pb2.ListReplicaResponse


class Held(NamedTuple):
    """
    An entry of the own log as it is here.

    body: b"" if it is missing; erased: what remains. lost: a LOSS before has given up the body,
    which may have come back since.
    """

    header: bytes
    body: bytes
    erased: ErasedBody | None = None
    lost: bool = False


class Recovery:
    """
    Both logs as far as they are back, in a directory. Belongs to the event loop.

    own: this node's log, up to what its peer cosigned; peer: the peer's own, by which the anchors
    in it are verified.
    """

    def __init__(
        self,
        directory: Path,
        *,
        origin: str,
        trust: Trust,
        check: Check,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        quota: int,
    ) -> None:
        """Take up what the directory holds, or make it; raises StoreError."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._trust = trust
        self._check = check
        self._clock = clock
        self.own_store = PeerStore.open(directory / "own", quota=quota, random=random)
        self.peer_store = PeerStore.open(directory / "peer", quota=quota, random=random)
        self.own = self._replica(self.own_store, origin)
        self.peer: Replica | None = None
        # Counted and found once, until more is here.
        self._missing: Counter[str] | None = None
        self._erased: dict[int, ErasedBody] | None = None
        self._lost: list[tuple[int, int]] | None = None
        if self.own.history.genesis is not None:
            self._meet_peer()

    def close(self) -> None:
        self.own_store.close()
        self.peer_store.close()

    def _replica(self, store: PeerStore, origin: str) -> Replica:
        authority = self._trust.authority(origin)
        return Replica(store, origin, authority, check=self._check, clock=self._clock)

    def _meet_peer(self) -> Replica:
        if self.peer is None:
            peer_origin = self.own.history.need_genesis().peer_origin
            self.peer = self._replica(self.peer_store, peer_origin)
        return self.peer

    @property
    def base(self) -> bytes:
        """The checkpoint that is come back to, with the peer's cosignature; b"" before it is."""
        with self.own_store.snapshot() as snapshot:
            return newest_cosigned(snapshot)

    # -- headers ----------------------------------------------------------------------------

    async def fetch(self, client: PeerClient) -> None:
        """
        Bring both logs up to what the peer shows of them.

        Raises NotReadyError NOTHING_COSIGNED or PEER_BEHIND, TrustError for a checkpoint that the
        peer's node has not cosigned, and what a replay raises. What was verified stays, unless the
        peer itself has come back by a LOSS since, and shows another end of its log.
        """
        async with aclosing(client.list_replica(self.own.size)) as messages:
            note = await self._come_up(self.own, messages)
        peer = self._meet_peer()
        try:
            await self._fetch_peer(client, peer)
        except ChainError as error:
            if peer.verified is None or error.reason != ChainError.default_reason:
                raise
            await self._begin_anew(peer, peer.verified)
            await self._fetch_peer(client, peer)
        opened = open_log_checkpoint(note, self.own.history, self._meet_peer().verified_history())
        if not opened.cosigned:
            raise TrustError("the peer has not cosigned the checkpoint that it shows of this log")
        await self.own_store.run(self._keep, note)
        self._erased = self._lost = self._missing = None

    async def _fetch_peer(self, client: PeerClient, peer: Replica) -> None:
        async with aclosing(client.list_headers(peer.size)) as messages:
            await self._come_up(peer, messages)

    async def _begin_anew(self, peer: Replica, left: Known) -> None:
        """Forget the peer's log; if no LOSS has ended it, our witness meets what we have seen."""
        awaited = Awaited(self.peer_store, peer, LEFT_KEY)
        await self.peer_store.run(awaited.keep, left)
        await peer.go_back(None)

    async def asked_again(self, client: PeerClient) -> int:
        """How many entries of this log the peer says, now, that it has cosigned."""
        async with aclosing(client.list_replica(self.own.size)) as messages:
            first = await anext(messages, None)
        return parse_known(first.checkpoint).size if first and first.checkpoint else 0

    async def _come_up(self, replica: Replica, messages: AsyncIterator[_Listed]) -> bytes:
        first = await anext(messages, None)
        if first is None or not first.checkpoint:
            raise NotReadyError(
                f"the peer has nothing of {replica.origin}: there is nothing to come back to",
                reason="NOTHING_COSIGNED",
                action="ask the authority for a new log, under a new origin",
            )
        target = parse_known(first.checkpoint, self._clock())
        shorter = target.size <= replica.verified_size
        if shorter and replica.root(target.size) != target.checkpoint.root:
            raise ChainError(f"the peer shows another log of {replica.origin} than before")
        if target.size < replica.verified_size:
            raise NotReadyError(
                f"the peer shows {target.size} entries of {replica.origin}, it showed"
                f" {replica.verified_size}",
                reason="PEER_BEHIND",
                action="wait until the peer is what it was before",
            )
        if target.size > replica.verified_size:
            async with aclosing(_pages(replica.size, first, messages, target.size)) as pages:
                await replica.follow(pages, target)
        return first.checkpoint

    def _keep(self, note: bytes) -> None:
        with self.own_store.write() as transaction:
            put_newest_cosigned(transaction, note)

    # -- bodies -----------------------------------------------------------------------------

    async def take_bodies(self, copy: Store, *, by_node: bool) -> int:
        """
        Take the bodies that are missing here out of a copy of the store; how many it had.

        by_node: only what the node itself wrote. It comes first, from every copy: what was erased
        stands there, and no older copy brings it back.
        """
        taken = 0
        for start in range(0, self.own.verified_size, _PAGE):
            taken += await self.own_store.run(self._take_page, copy, start, by_node)
        self._missing = None
        if by_node:
            self._erased = self._lost = None
        return taken

    def _take_page(self, copy: Store, start: int, by_node: bool) -> int:
        wanted = [
            header
            for header in self.missing(start, start + _PAGE)
            if not by_node or header.kind == Kind.NODE
        ]
        taken = 0
        with copy.snapshot() as theirs, self.own_store.write() as transaction:
            for header in wanted:
                body = theirs.get(Table.BODIES, u64(header.index)) or find_returned(
                    theirs, header.index
                )
                if body is not None and sha256(body).digest() == header.body_digest:
                    transaction.put(Table.BODIES, u64(header.index), body)
                    taken += 1
        return taken

    async def forget_erased(self) -> None:
        """Delete bodies that were erased and came before the ERASURE that says so."""
        await self.own_store.run(self._forget_erased)

    def _forget_erased(self) -> None:
        with self.own_store.write() as transaction:
            for index in self.erased():
                transaction.delete(Table.BODIES, u64(index))

    async def give_back(self, institution: str, body: bytes) -> None:
        """
        Take a body from whom wrote it; one that is here already is as good.

        Raises NotFoundError NOT_IN_LOG or ERASED, ForbiddenError OTHERS_RECORD.
        """
        missing = self._count()
        if await self.own_store.run(self._give_back, institution, body):
            missing[institution] -= 1

    def _give_back(self, institution: str, body: bytes) -> bool:
        with self.own_store.write() as transaction:
            header = self._header_of(transaction, sha256(body).digest())
            if self.author(header) != institution:
                raise ForbiddenError(
                    f"entry {header.index} is not by {institution}", reason="OTHERS_RECORD"
                )
            if header.index in self.erased():
                raise NotFoundError(f"the body of entry {header.index} was erased", reason="ERASED")
            is_new = transaction.get(Table.BODIES, u64(header.index)) is None
            transaction.put(Table.BODIES, u64(header.index), body)
            return is_new

    def _header_of(self, transaction: Transaction, digest: bytes) -> Header:
        place = transaction.get(Table.RECORDS, digest)
        if place is None or int.from_bytes(place, "big") >= self.own.verified_size:
            raise NotFoundError(
                "no entry that is left has this body",
                reason="NOT_IN_LOG",
                action="send it as a new record when the node serves again",
            )
        return Header.parse(transaction.get(Table.HEADERS, place) or b"")

    def author(self, header: Header) -> str:
        """The institution whose key signed an entry, "" for none."""
        key = self.own.history.find(header.key_id)
        return key.subject if key is not None else ""

    def missing(self, start: int = 0, stop: int | None = None) -> Iterator[Header]:
        """Headers of entries from start on whose bodies are missing, and were not erased."""
        erased, size = self.erased(), self.own.verified_size
        stop = size if stop is None else min(stop, size)
        for index, (raw, body) in enumerate(self.own.entries(start, stop), start):
            if not body and index not in erased:
                yield Header.parse(raw)

    async def list_missing(self, institution: str, start: int) -> tuple[list[int], int]:
        """
        Entries of an institution's from start on whose bodies are missing, and where to go on.

        At most a page, out of so many entries as are looked through at once; 0: that was all.
        """
        return await self.own_store.run(self._list_missing, institution, start)

    def _list_missing(self, institution: str, start: int) -> tuple[list[int], int]:
        stop = start + _LOOKED_THROUGH
        theirs = (
            header.index
            for header in self.missing(start, stop)
            if self.author(header) == institution
        )
        found = list(islice(theirs, _PAGE))
        if len(found) == _PAGE:
            stop = found[-1] + 1
        return found, stop if stop < self.own.verified_size else 0

    def missing_by_author(self) -> Counter[str]:
        """How many bodies are missing of each institution, and of "", the node itself."""
        return +self._count()

    def missing_of(self, institution: str) -> int:
        """How many bodies of an institution's are missing."""
        return self._count()[institution]

    def _count(self) -> Counter[str]:
        if self._missing is None:
            self._missing = Counter(map(self.author, self.missing()))
        return self._missing

    def erased(self) -> dict[int, ErasedBody]:
        """What remains of erased bodies, by index, as the ERASUREs say that are here."""
        if self._erased is None:
            self._erased = dict(self._find_erased())
        return self._erased

    def _find_erased(self) -> Iterator[tuple[int, ErasedBody]]:
        for index, said in self._said_by_node():
            for each in said.erasure.remains:
                yield each.index, ErasedBody(index, each.body)

    def _is_lost(self, index: int) -> bool:
        """Whether a LOSS before this recovery has given up a body, as far as that is here."""
        if self._lost is None:
            ranges = (each for _, said in self._said_by_node() for each in said.lost_bodies.ranges)
            self._lost = sorted((each.first, each.end) for each in ranges)
        place = bisect_right(self._lost, (index, self.own.verified_size))
        return place > 0 and index < self._lost[place - 1][1]

    def _said_by_node(self) -> Iterator[tuple[int, body_pb2.Body]]:
        for index, (raw, body) in enumerate(self.own.entries(0, self.own.verified_size)):
            if body and Header.parse(raw).kind == Kind.NODE:
                yield index, body_pb2.Body.FromString(body)

    def entries(self, start: int, stop: int) -> Iterator[Held]:
        """The own log's, start <= index < stop; none of an erased body but what remains."""
        erased = self.erased()
        for index, (raw, body) in enumerate(self.own.entries(start, stop), start):
            held = b"" if index in erased else body
            yield Held(raw, held, erased.get(index), self._is_lost(index))


async def _pages(
    start: int, first: _Listed, messages: AsyncIterator[_Listed], size: int
) -> AsyncGenerator[Page, None]:
    message: _Listed | None = first
    while message is not None:
        headers = list(message.headers)
        if headers:
            if message.first != start or start + len(headers) > size:
                raise ChainError(f"the peer sent {len(headers)} headers from {message.first} on")
            start += len(headers)
            shared = {each.index: each.body for each in message.bodies}
            yield Page(headers, shared)
        message = await anext(messages, None)

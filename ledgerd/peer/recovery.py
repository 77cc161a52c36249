"""
What a node that has lost its store gets back: its own log, out of its peer's replica.

Headers come verbatim, and are replayed as any peer's log is (docs/protocol.md, "Start, restore,
recover").
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

from ledgerd.peer.awaited import LEFT_KEY, Awaited
from ledgerd.peer.bodies import Bodies
from ledgerd.peer.notes import Known, parse_known
from ledgerd.peer.ports import PeerClient
from ledgerd.peer.replay import Page
from ledgerd.peer.replica import Check, Replica
from ledgerd.peer.store import PeerStore
from ledgerd.peer.submit import newest_cosigned, put_newest_cosigned
from ledgerd_client._proto import service_pb2
from ledgerd_client.core.errors import (
    ChainError,
    NotReadyError,
    TrustError,
)
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.trust import Trust

# Told how many entries are done, of how many.
Progress: TypeAlias = Callable[[int, int], None]

_Listed: TypeAlias = service_pb2.ListHeadersResponse | service_pb2.ListReplicaResponse


def unwatched(done: int, total: int) -> None:
    """The Progress of what nobody waits for."""


class Recovery:
    """
    Both logs as far as they are back, in a directory. Belongs to the event loop.

    own: this node's log, up to what its peer cosigned, and its bodies; peer: the peer's own log, by
    which the anchors in it are verified.
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
        self.bodies = Bodies(self.own_store, self.own)
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

    async def fetch(self, client: PeerClient, progress: Progress = unwatched) -> None:
        """
        Bring both logs up to what the peer shows of them.

        Raises NotReadyError NOTHING_COSIGNED or PEER_BEHIND, TrustError for a checkpoint that the
        peer's node has not cosigned, and what a replay raises. What was verified stays, unless the
        peer itself has come back by a LOSS since, and shows another end of its log.
        """
        async with aclosing(client.list_replica(self.own.size)) as messages:
            note = await come_up(self.own, messages, self._clock(), progress)
        peer = self._meet_peer()
        try:
            await self._fetch_peer(client, peer, progress)
        except ChainError as error:
            if peer.verified is None or error.reason != ChainError.default_reason:
                raise
            await self._begin_anew(peer, peer.verified)
            await self._fetch_peer(client, peer, progress)
        opened = open_log_checkpoint(note, self.own.history, self._meet_peer().verified_history())
        if not opened.cosigned:
            raise TrustError("the peer has not cosigned the checkpoint that it shows of this log")
        await self.own_store.run(self._keep, note)
        self.bodies.look_again()

    async def _fetch_peer(self, client: PeerClient, peer: Replica, progress: Progress) -> None:
        async with aclosing(client.list_headers(peer.size)) as messages:
            await come_up(peer, messages, self._clock(), progress)

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

    def _keep(self, note: bytes) -> None:
        with self.own_store.write() as transaction:
            put_newest_cosigned(transaction, note)


async def come_up(
    replica: Replica,
    messages: AsyncIterator[_Listed],
    fetched_at: int = 0,
    progress: Progress = unwatched,
) -> bytes:
    """
    Bring a replica up to what the peer lists; return the checkpoint that it showed first.

    Raises NotReadyError NOTHING_COSIGNED or PEER_BEHIND, and what a replay raises.
    """
    first = await anext(messages, None)
    if first is None or not first.checkpoint:
        raise NotReadyError(
            f"the peer has nothing of {replica.origin}: there is nothing to come back to",
            reason="NOTHING_COSIGNED",
            action="ask the authority for a new log, under a new origin",
        )
    target = parse_known(first.checkpoint, fetched_at)
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
        come = _pages(replica.size, first, messages, target.size, progress)
        async with aclosing(come) as pages:
            await replica.follow(pages, target)
    return first.checkpoint


async def _pages(
    start: int, first: _Listed, messages: AsyncIterator[_Listed], size: int, progress: Progress
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
            progress(start, size)
        message = await anext(messages, None)

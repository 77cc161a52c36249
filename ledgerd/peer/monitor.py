"""
The monitor: follows the peer's log, checks everything, and cosigns what it has replayed.

A failure (anything that somebody else than the peer could have made) means no cosignature yet: it
is raised, and the next round tries again. A contradiction is evidence, for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.peer.accusations import Accusations
from ledgerd.peer.anchors import Anchors
from ledgerd.peer.notes import Known, open_known
from ledgerd.peer.ports import PeerClient, Standing
from ledgerd.peer.replay import Page
from ledgerd.peer.replica import Replica
from ledgerd.peer.witness import Witness
from ledgerd_client._proto import body_pb2, service_pb2
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.errors import ChainError, TrustError, UnavailableError
from ledgerd_client.core.history import KeyHistory


class Monitor:
    """Belongs to the event loop. clock gives µs; a round's fetch takes fetch_s seconds at most."""

    def __init__(
        self,
        client: PeerClient,
        replica: Replica,
        witness: Witness,
        anchors: Anchors,
        accusations: Accusations,
        standing: Standing,
        sequencer: Sequencer,
        *,
        origin: str,
        authority: bytes,
        clock: Callable[[], int],
        fetch_s: float,
    ) -> None:
        """The origin is of our own log; the authority's key that of the peer's."""
        self._client = client
        self._replica = replica
        self._witness = witness
        self._anchors = anchors
        self._accusations = accusations
        self._standing = standing
        self._sequencer = sequencer
        self._origin = origin
        self._authority = authority
        self._clock = clock
        self._fetch_s = fetch_s

    async def step(self) -> bool:
        """
        One round: record evidence, fetch and replay, cosign, anchor. False: anchor on at once.

        Raises LedgerError when something failed; what came before it stays.
        """
        await self._accusations.record(self._sequencer)
        await self._fetch()
        await self._witness.cosign_largest()
        await self._accusations.record(self._sequencer)
        return await self._anchors.step()

    async def _fetch(self) -> None:
        # Before it is asked: whatever the peer recorded until then is under what it answers.
        asked_at = self._clock()
        try:
            async with (
                asyncio.timeout(self._fetch_s),
                aclosing(self._client.list_headers(self._replica.size)) as messages,
            ):
                await self._take(messages, asked_at)
        except TimeoutError:
            raise UnavailableError(
                "the peer's headers took too long; the next round goes on from here"
            ) from None

    async def _take(
        self, messages: AsyncIterator[service_pb2.ListHeadersResponse], asked_at: int
    ) -> None:
        first = await anext(messages, None)
        if first is None:
            raise UnavailableError("the peer sent nothing")
        known = open_known(first.checkpoint, self._history(first), asked_at)
        await self._witness.compare(known)
        if known.size <= self._replica.verified_size:
            self._replica.seen_again(known)
        else:
            async with aclosing(self._pages(first, messages, known)) as pages:
                await self._replica.follow(pages, known)
        if self._replica.verified is not None:
            self._client.known_checkpoint = self._replica.verified.note

    def _history(self, first: service_pb2.ListHeadersResponse) -> KeyHistory:
        """The keys that may sign the peer's checkpoint; at the very start, from its GENESIS."""
        if self._replica.history.genesis is not None:
            return self._replica.history
        if not first.headers or not first.bodies or first.first != 0:
            raise ChainError("the peer's log does not begin with a GENESIS")
        entry = (first.headers[0], first.bodies[0].body)
        history = KeyHistory.of(self._replica.origin, self._authority, [entry])
        named = history.need_genesis().peer_origin
        if named != self._origin:
            raise TrustError(f"the log {history.origin} has {named} as its peer, not us")
        return history

    async def _pages(
        self,
        first: service_pb2.ListHeadersResponse,
        messages: AsyncIterator[service_pb2.ListHeadersResponse],
        known: Known,
    ) -> AsyncGenerator[Page, None]:
        """The messages as pages, once what they are about is right."""
        expected = self._replica.size
        message: service_pb2.ListHeadersResponse | None = first
        while message is not None:
            count = len(message.headers)
            if count:
                if message.first != expected or count > SHARED_PAGE_HEADERS:
                    raise ChainError(f"the peer sent {count} headers from {message.first} on")
                expected += count
                if expected > known.size:
                    raise ChainError("the peer sent more headers than its checkpoint covers")
                bodies = {shared.index: shared.body for shared in message.bodies}
                for body in bodies.values():
                    self._look_for_us(parse_body(body))
                yield Page(list(message.headers), bodies)
            message = await anext(messages, None)

    def _look_for_us(self, body: body_pb2.Body) -> None:
        """Our own signature on a tree that we don't hold stops us, before any of it is verified."""
        if body.WhichOneof("record") == "anchor" and body.anchor.peer_origin == self._origin:
            self._standing.shown(body.anchor.checkpoint)

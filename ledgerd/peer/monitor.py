"""
The monitor: follows the peer's log, checks everything, and cosigns what it has replayed.

A failure (anything that somebody else than the peer could have made) means no cosignature yet: it
is raised, and the next round tries again. A contradiction is evidence, for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.peer.accusations import Accusations
from ledgerd.peer.anchors import Anchors
from ledgerd.peer.inquest import Heard, Inquest
from ledgerd.peer.mentions import Mentions
from ledgerd.peer.notes import Known, open_known, parse_known
from ledgerd.peer.ports import PeerClient, Standing
from ledgerd.peer.replay import Page, Suspect
from ledgerd.peer.replica import Replica
from ledgerd.peer.witness import Witness
from ledgerd_client._proto import body_pb2, service_pb2
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.errors import (
    ChainError,
    ForkError,
    InputError,
    LedgerError,
    StoreError,
    TrustError,
    UnavailableError,
    VerificationError,
)


class Monitor:
    """Belongs to the event loop. clock gives µs; a round's fetch takes fetch_s seconds at most."""

    def __init__(
        self,
        client: PeerClient,
        replica: Replica,
        witness: Witness,
        anchors: Anchors,
        accusations: Accusations,
        inquest: Inquest,
        mentions: Mentions,
        standing: Standing,
        sequencer: Sequencer,
        *,
        origin: str,
        clock: Callable[[], int],
        fetch_s: float,
        asked_at: Callable[[Replica], int] | None = None,
        brought: Callable[[], Awaitable[tuple[int, Sequence[bytes]]]] | None = None,
    ) -> None:
        """
        Origin is that of our own log.

        asked_at: when what is replayed was asked for (µs), where that is not when it is fetched; 0
        for what nobody knows to be new. brought: hashes of all headers that the client has, and the
        first one's index, where these may begin before what it is asked for.
        """
        self._brought = brought
        self._asked_at = asked_at
        self._client = client
        self._replica = replica
        self._witness = witness
        self._anchors = anchors
        self._accusations = accusations
        self._inquest = inquest
        self._mentions = mentions
        # What the round before failed for.
        self._suspect: Suspect | None = None
        # What this round's headers must come to, once its signature is checked.
        self._target: Known | None = None
        self._standing = standing
        self._sequencer = sequencer
        self._origin = origin
        self._clock = clock
        self._fetch_s = fetch_s
        self._fetching = asyncio.Lock()
        # How many entries the peer says that its log has.
        self.shown_size = 0

    async def step(self) -> bool:
        """
        One round: record evidence, fetch and replay, cosign, anchor. False: anchor on at once.

        Raises LedgerError when something failed; what came before it stays.
        """
        await self._accusations.record(self._sequencer)
        for note in self._mentions.take():
            await self._witness.look_at(note)
        async with self._fetching:
            await self._fetch()
            if self._replica.verified is not None:
                self._client.known_checkpoint = self._replica.verified.note
            await self._witness.cosign_largest()
        if self._is_new():
            self._standing.heard()
        await self._accusations.record(self._sequencer)
        return await self._anchors.step()

    async def settled(self) -> bytes:
        """
        Return the largest checkpoint that is cosigned, once no more is on its way; b"" for none.

        After this, more is cosigned only of what the peer shows from now on.
        """
        async with self._fetching:
            await self._witness.cosign_largest()
            return self._witness.cosigned()

    def _is_new(self) -> bool:
        """Whether the peer's log is here as it was when we asked, or later."""
        if self._asked_at is None:
            return True
        asked_at = self._asked_at(self._replica)
        self._replica.seen_at(asked_at)
        return asked_at > 0

    async def _fetch(self) -> None:
        self._target = None
        # Before it is asked: whatever the peer recorded until then is under what it answers.
        asked_at = self._clock() if self._asked_at is None else 0
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
        except (InputError, VerificationError) as error:
            await self._examine(error.reason)
            raise

    async def _examine(self, reason: str) -> None:
        """
        Look whether headers don't verify because the signed tree is another than was replayed.

        Raises ForkError if it is. Where the peer does not show it, its checkpoint is kept.
        """
        known, verified = self._target, self._replica.verified
        if known is None or verified is None or known.size <= verified.size:
            return
        try:
            proofs = await self._client.prove(verified.size, known.size)
            await self._witness.compare_proof(known, *proofs)
        except (ForkError, StoreError):
            raise
        except LedgerError:
            await self._witness.keep_refused(known, reason)

    async def _take(
        self, messages: AsyncIterator[service_pb2.ListHeadersResponse], asked_at: int
    ) -> None:
        first = await anext(messages, None)
        if first is None:
            raise UnavailableError("the peer sent nothing")
        try:
            await self._heed(first, messages, asked_at)
        except (ChainError, TrustError):
            await self._give_up(first.checkpoint)
            raise

    async def _give_up(self, note: bytes) -> None:
        """
        Go back to what is cosigned, when the peer shows a key that we don't know.

        A LOSS may have put it in force, below what was replayed and not cosigned. What we go back
        from is remembered: if there is no LOSS, it contradicts what comes now.
        """
        verified, cosigned = self._replica.verified, self._witness.cosigned()
        if verified is None or verified.size <= self._witness.cosigned_size:
            return
        with suppress(TrustError):
            open_known(note, self._replica.history)
            return
        if await self._witness.leave(verified):
            await self._replica.go_back(parse_known(cosigned) if cosigned else None)

    async def _heed(
        self,
        first: service_pb2.ListHeadersResponse,
        messages: AsyncIterator[service_pb2.ListHeadersResponse],
        asked_at: int,
    ) -> None:
        self._target = known = self._opened(first, asked_at)
        if known is not None:
            await self._witness.compare(known)
            if self._brought is not None and known.size > self._replica.verified_size:
                await self._witness.compare_headers(known, *await self._brought())
        target = known or parse_known(first.checkpoint, asked_at)
        self.shown_size = target.size
        if target.size <= self._replica.verified_size:
            self._replica.seen_again(target)
            return
        target = target._replace(note=first.checkpoint)
        async with aclosing(self._pages(first, messages, target)) as pages:
            if not await self._follow(pages, target, is_signed=known is not None):
                return
        if known is None and self._replica.verified is not None:
            await self._witness.compare(self._replica.verified)

    async def _follow(self, pages: AsyncIterator[Page], target: Known, *, is_signed: bool) -> bool:
        """Replay; False when it ended in evidence. The entry that failed last is asked about."""
        suspect, self._suspect = self._suspect, None
        if suspect is None or not is_signed or self._accusations.latched:
            heard, heeded = None, pages
        else:
            heard = Heard(suspect, self._replica.verified_size)
            heeded = heard.listen(pages)
        try:
            await self._replica.follow(heeded, target, before=self._witness.remembered_size)
        except LedgerError:
            self._suspect = self._replica.suspect
            if heard is None:
                raise
            async for _ in heeded:
                pass  # to the end of the stream: only the whole of it has the root
            if not await self._inquest.hold(heard, target):
                raise
            return False
        return True

    def _opened(self, first: service_pb2.ListHeadersResponse, asked_at: int) -> Known | None:
        """The peer's checkpoint; None when only what comes with it may bring the key."""
        history, note = self._replica.history, first.checkpoint
        if history.genesis is None:
            self._meet(first)
            return None
        try:
            return open_known(note, history, asked_at)
        except TrustError:
            named = parse_known(note)
            if (
                named.checkpoint.origin != history.origin
                or named.size <= self._replica.verified_size
            ):
                raise
            return None

    def _meet(self, first: service_pb2.ListHeadersResponse) -> None:
        """Look at the GENESIS that the peer's log begins with: it must be our peer's."""
        if not first.headers or not first.bodies or first.first != 0:
            raise ChainError("the peer's log does not begin with a GENESIS")
        named = parse_body(first.bodies[0].body).genesis.peer_origin
        if named != self._origin:
            raise TrustError(f"the log {self._replica.origin} has {named} as its peer, not us")

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
            # Only the first may be empty: it has the checkpoint to bring.
            if message.headers or message is not first:
                self._check_page(message, expected)
                expected += len(message.headers)
                if expected > known.size:
                    raise ChainError("the peer sent more headers than its checkpoint covers")
                bodies = {shared.index: shared.body for shared in message.bodies}
                for body in bodies.values():
                    self._look_for_us(parse_body(body))
                yield Page(list(message.headers), bodies)
            message = await anext(messages, None)

    def _check_page(self, message: service_pb2.ListHeadersResponse, expected: int) -> None:
        count = len(message.headers)
        if message.first != expected or not 0 < count <= SHARED_PAGE_HEADERS:
            raise ChainError(f"the peer sent {count} headers from {message.first} on")
        if len(message.bodies) > count:
            raise ChainError("the peer sent more bodies than headers")

    def _look_for_us(self, body: body_pb2.Body) -> None:
        """Our own signature on a tree that we don't hold stops us, before any of it is verified."""
        if body.WhichOneof("record") == "anchor" and body.anchor.peer_origin == self._origin:
            self._standing.shown(body.anchor.checkpoint)

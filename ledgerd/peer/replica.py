"""
The peer's log, replayed: its headers, shared bodies, tree and keys, as far as they verify.

Pages are committed as soon as their signatures are checked, but only the root under a signed
checkpoint shows that they are the peer's log, in this order. Until then they are provisional:
nobody is shown them, and if the root turns out to be another, they are cut off again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final

from ledgerd.ledger.head import Head
from ledgerd.ledger.peer_log import PeerHalf
from ledgerd.ledger.tree import NodeCache, Nodes
from ledgerd.peer.notes import Known, open_known, parse_known
from ledgerd.peer.replay import Page, PageReplay, Staged, Suspect, grown
from ledgerd.peer.rewind import cut_tail, regrown
from ledgerd.peer.store import PeerStore
from ledgerd.projections.registry import load_history, newest_key_header
from ledgerd.store.tables import Table
from ledgerd_client.core import merkle
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.chain import SignatureCheck
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ChainError,
    InputError,
    RefusedError,
    SignatureError,
    StoreError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.past import CLOCK_AHEAD

Check = Callable[[list[SignatureCheck]], Awaitable[None]]

# The peer sent less than its checkpoint covers: all of it was replayed.
HEADERS_CUT: Final = "HEADERS_CUT"

# Headers read in one snapshot, or cut off in one transaction.
_PAGE: Final = 1000
_FETCHED_KEY: Final = b"fetched_at"


class Replica:
    """
    One peer's log. A PeerLog: what reads may be called in any thread, the rest on the event loop.

    verified: the newest checkpoint that the replay has reached, None before the first. history: the
    log's keys, provisional ones too; replaced whole, never changed. suspect: the entry for which
    follow() failed the last time, if it was an entry.
    """

    def __init__(
        self,
        store: PeerStore,
        origin: str,
        authority: bytes,
        *,
        check: Check,
        clock: Callable[[], int],
    ) -> None:
        """
        Take up what the store holds; authority is the key that the trust file pins for origin.

        check raises SignatureError when a signature in its list fails.
        """
        self.origin = origin
        self.verified: Known | None = None
        self.suspect: Suspect | None = None
        self._authority = authority
        self._store = store
        self._check = check
        self._clock = clock
        self._nodes: NodeCache = {}
        self._replay: PageReplay | None = None
        self._head = Head.empty(origin)
        self.history = KeyHistory(origin, authority)
        self.take_up()

    def take_up(self) -> None:
        """Take over what the store holds; another process may have grown it."""
        with self._store.snapshot() as snapshot:
            self._head = Head.find(snapshot) or Head.empty(self.origin)
            known = self.history.entries[-1][0] if self.history.entries else b""
            if newest_key_header(snapshot) != known:
                self.history = load_history(snapshot, self.origin, self._authority)
            if self._head.checkpoint:
                fetched_at = int.from_bytes(snapshot.get(Table.META, _FETCHED_KEY) or b"", "big")
                self.verified = parse_known(self._head.checkpoint, fetched_at)

    @property
    def size(self) -> int:
        """Entries held, provisional ones too: the next to be fetched."""
        return self._head.size

    @property
    def verified_size(self) -> int:
        """Entries under a checkpoint: what may be shown and relied on."""
        return self.verified.size if self.verified else 0

    # -- reading --------------------------------------------------------------------------

    def root(self, size: int) -> bytes:
        """The root of the verified tree at a size; raises UnavailableError beyond it."""
        if size > self.verified_size:
            raise replay_behind(size, self.verified_size)
        with self._store.snapshot() as snapshot:
            return merkle.root(Nodes(snapshot.get, self._nodes), size)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Between two sizes up to verified_size."""
        with self._store.snapshot() as snapshot:
            return merkle.consistency_proof(Nodes(snapshot.get, self._nodes), old, new)

    def parting(
        self, first: int, leaves: Sequence[bytes], known: Known
    ) -> tuple[bytes, list[bytes]] | None:
        """
        What shows that known, a larger checkpoint, is over another tree than the verified one.

        leaves: hashes of headers from first on, which come to known; the root of that tree at
        verified_size, and the consistency proof from there. None where they agree with what is
        verified, or come to something else.
        """
        size = self.verified_size
        with self._store.snapshot() as snapshot:
            ours = Nodes(snapshot.get, self._nodes)
            if all(ours(0, i) == leaf for i, leaf in zip(range(first, size), leaves, strict=False)):
                return None
            theirs = regrown(snapshot, self._head.size, first, leaves)
            end = first + len(leaves)
            if (end, merkle.root(theirs, end)) != (known.size, known.checkpoint.root):
                return None
            return merkle.root(theirs, size), merkle.consistency_proof(theirs, size, end)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof of an entry in the verified tree of a size; raises as root() does."""
        if size > self.verified_size:
            raise replay_behind(size, self.verified_size)
        with self._store.snapshot() as snapshot:
            return merkle.inclusion_proof(Nodes(snapshot.get, self._nodes), index, size)

    def newest(self) -> tuple[int, bytes]:
        """Size and note of the verified checkpoint; (0, b"") before the first."""
        return (self.verified.size, self.verified.note) if self.verified else (0, b"")

    def verified_history(self) -> KeyHistory:
        """The keys of verified entries; no GENESIS before the first checkpoint."""
        entries = self.history.entries
        count = bisect_left(entries, self.verified_size, key=lambda raw: Header.parse(raw[0]).index)
        if count == len(entries):
            return self.history
        return grown(KeyHistory(self.origin, self._authority), entries[:count])

    def headers(self, start: int, stop: int) -> Iterator[Header]:
        """Headers of verified entries, start <= index < stop, in a snapshot for each page."""
        for raw, _ in self.entries(start, stop):
            yield Header.parse(raw)

    def entries(self, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
        """As headers(), each with the body that the peer shares, b"" if it doesn't."""
        stop = min(stop, self.verified_size)
        for first in range(start, stop, _PAGE):
            page = u64(first), u64(min(first + _PAGE, stop))
            with self._store.snapshot() as snapshot:
                bodies = dict(snapshot.scan(Table.BODIES, *page))
                headers = list(snapshot.scan(Table.HEADERS, *page))
            yield from ((raw, bodies.get(key, b"")) for key, raw in headers)

    def shared(self, start: int) -> Iterator[tuple[int, bytes]]:
        """The bodies that the peer shares, of verified entries from start on, each by its index."""
        stop = self.verified_size
        for first in range(start, stop, _PAGE):
            page = u64(first), u64(min(first + _PAGE, stop))
            with self._store.snapshot() as snapshot:
                bodies = list(snapshot.scan(Table.BODIES, *page))
            yield from ((int.from_bytes(key, "big"), body) for key, body in bodies)

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterator[PeerHalf]:
        """
        Implement PeerLog.

        Raises UnavailableError when the replay has not come so far, or its store fails: that
        refuses one anchor, and never stops the ledger.
        """
        if stop > self.verified_size:
            raise replay_behind(stop, self.verified_size)
        try:
            for header in self.headers(start, stop):
                halves, key = header.halves, self.history.find(header.key_id)
                if halves is None or key is None or header.kind not in BY_INSTITUTIONS:
                    continue
                if halves.counterparty_origin == counterparty_origin:
                    yield PeerHalf(header, key.subject)
        except StoreError as error:
            raise UnavailableError(f"the replica: {error.message}", reason="REPLICA") from error

    # -- growing --------------------------------------------------------------------------

    async def follow(
        self, pages: AsyncIterator[Page], target: Known, *, before: int | None = None
    ) -> None:
        """
        Replay pages from size on, up to target.

        Its signatures are checked when the replay is there: the pages themselves may bring the key.
        before: the size that we cosigned last, beyond which a rotation needs both keys' signatures.
        Afterwards it is verified, without lines by strangers. Raises UnavailableError when the
        pages end too early or the store is full: what was replayed is kept, and the next call goes
        on from there. Whatever else is wrong leaves the replica as it was when it last reached a
        checkpoint.
        """
        # Kept again below if all goes well; otherwise the next call starts from the store.
        kept, self._replay, self.suspect = self._replay, None, None
        replay = kept if kept is not None else await self._store.run(self._load)
        try:
            await self._take(replay, pages)
            await self._store.run(self._reach, replay, target, before)
        except (InputError, VerificationError, RefusedError):
            self.suspect = replay.suspect
            await self._store.run(self._rewind)
            raise
        self._replay = replay

    async def go_back(self, known: Known | None) -> None:
        """Cut off what was verified beyond an earlier checkpoint, and not relied on; None: all."""
        self._replay = None
        await self._store.run(self.cut_back, known)

    def cut_back(self, known: Known | None) -> None:
        """As go_back(), by whoever has the store to itself."""
        self._stand_at(known)
        # Of the tree that is given up.
        self._nodes.clear()
        self._rewind()

    def seen_again(self, known: Known) -> None:
        """Note that the peer's newest checkpoint is still the verified one; in memory only."""
        if not known.fetched_at or self.verified is None:
            return
        if self.verified.checkpoint == known.checkpoint:
            self.verified = self.verified._replace(fetched_at=known.fetched_at)

    def seen_at(self, fetched_at: int) -> None:
        """Note that the peer had no more than is verified at a time (µs); in memory only."""
        if self.verified is not None and self.verified.fetched_at < fetched_at:
            self.verified = self.verified._replace(fetched_at=fetched_at)

    async def _take(self, replay: PageReplay, pages: AsyncIterator[Page]) -> None:
        """Check one page's signatures while the one before is stored and the next replayed."""
        checking: asyncio.Task[Staged] | None = None
        try:
            async for page in pages:
                latest = self._clock() + CLOCK_AHEAD
                staged = await self._store.run(replay.stage, page, latest)
                before, checking = checking, asyncio.create_task(self._checked(replay, staged))
                if before is not None:
                    await self._store.run(self._commit, replay, await before)
            if checking is not None:
                await self._store.run(self._commit, replay, await checking)
        finally:
            if checking is not None:
                checking.cancel()
                await asyncio.gather(checking, return_exceptions=True)

    async def _checked(self, replay: PageReplay, staged: Staged) -> Staged:
        try:
            await self._check(staged.checks)
        except SignatureError:
            await asyncio.to_thread(replay.blame, staged)
            raise
        return staged

    # -- in the writing thread --------------------------------------------------------------

    def _load(self) -> PageReplay:
        with self._store.snapshot() as snapshot:
            return PageReplay.load(snapshot, self.origin, self._authority)

    def _commit(self, replay: PageReplay, staged: Staged) -> None:
        if (full := self._store.full) is not None:
            raise full
        head = Head(staged.end, staged.last_time, staged.last_leaf, self._head.checkpoint)
        with self._store.write() as transaction:
            replay.put(transaction, staged)
            head.put(transaction)
        self._head = head
        if staged.keys:
            self.history = grown(self.history, staged.keys)

    def _reach(self, replay: PageReplay, target: Known, before: int | None) -> None:
        """Compare the replay with the checkpoint that it should have come to."""
        if replay.size < target.size:
            raise UnavailableError(
                f"the peer sent {replay.size} of {target.size} headers",
                reason=HEADERS_CUT,
                action="the next round goes on from here; of files, carry the next",
            )
        if (replay.size, replay.root()) != (target.size, target.checkpoint.root):
            raise ChainError(
                f"the peer's headers do not hash to its checkpoint of {target.size} entries",
                reason="BAD_ROOT",
            )
        self._stand_at(open_known(target.note, self.history, target.fetched_at, before=before))

    def _stand_at(self, known: Known | None) -> None:
        head = self._head._replace(checkpoint=known.note if known else b"")
        with self._store.write() as transaction:
            head.put(transaction)
            transaction.put(Table.META, _FETCHED_KEY, u64(known.fetched_at if known else 0))
        self._head, self.verified = head, known

    def _rewind(self) -> None:
        """Cut off what is provisional."""
        while self._head.size > self.verified_size:
            size = max(self.verified_size, self._head.size - _PAGE)
            with self._store.write() as transaction:
                head = cut_tail(transaction, self._head, size, self.origin)
            self._head = head
        with self._store.snapshot() as snapshot:
            self.history = load_history(snapshot, self.origin, self._authority)


def replay_behind(wanted: int, held: int) -> UnavailableError:
    """What is said to whoever asks for more than is replayed."""
    return UnavailableError(
        f"the replay has reached {held} entries, not {wanted}",
        reason="REPLAY_BEHIND",
        action="try again in a moment",
    )

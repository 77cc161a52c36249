"""
Following a log: each entry is verified, applied and stored, as an audit of a live node would.

Entries are committed as they come, but only the root under the node's signed checkpoint shows that
they are its log, and only the ERASURE that what is said to remain of a body does. Until both have
come nobody is shown them; then the Head moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeVar, TypeVarTuple, Unpack

from ledgerd.ledger.head import Head
from ledgerd.ledger.peer_log import NoPeerLog, PeerLog
from ledgerd.ledger.verifying import AuditError, Given, LogVerifier
from ledgerd.mirror.parting import why_parted
from ledgerd.mirror.peers_log import PeersLog
from ledgerd.mirror.store import Anchored, MirrorStore
from ledgerd.mirror.stream import Way, first_note, judge
from ledgerd.peer.notes import Known, open_known, parse_known
from ledgerd.peer.replica import Check
from ledgerd.projections.erased import erased_from
from ledgerd.projections.registry import load_history
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.chain import SignatureCheck
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ForkError,
    InputError,
    NotReadyError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import recorded_at_of
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.trust import Trust

Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class Follower:
    """
    Follows one log into a MirrorStore. Belongs to the event loop that it was made on.

    check raises SignatureError when a signature in its list fails; progress(done, total) is told of
    entries, those of the peer's log among them.
    """

    def __init__(
        self,
        store: MirrorStore,
        way: Way,
        trust: Trust,
        *,
        check: Check,
        progress: Callable[[int, int], None],
        at_once: int = 0,
    ) -> None:
        """
        at_once: up to so many entries are committed together with the checkpoint over them, or not
        at all: what a standby holds is then what a checkpoint covers.
        """
        self._at_once = at_once
        self.peer: PeersLog | None = None
        self._awaits = 0
        # How many entries the node has shown.
        self._shown = 0
        self._store = store
        self._way = way
        self._trust = trust
        self._authority = trust.authority(store.origin)
        self._check = check
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._writer = ThreadPoolExecutor(1, "mirror-writer")
        self._verifier: LogVerifier | None = None
        with store.log.snapshot() as snapshot:
            self.head = Head.find(snapshot) or Head.empty(store.origin)
            self._held = store.held(snapshot)
            self._anchored = store.anchored(snapshot)
            erased = erased_from(snapshot, self._held.size)
            self._awaits = max((each.erasure for _, each in erased), default=0)
            history = load_history(snapshot, store.origin, self._authority)
        if history.genesis is not None:
            self.peer = self._meet_peer(history)

    @property
    def checkpoint(self) -> bytes:
        """The newest checkpoint whose root came out, a note; b"" before the first."""
        return self.head.checkpoint

    @property
    def cosigned(self) -> bytes:
        """The newest checkpoint here that the peer has anchored, with its cosignature, or b""."""
        return self._anchored.note

    @property
    def held(self) -> int:
        """Entries of both logs, provisional ones too."""
        return self._held.size + (self.peer.replica.size if self.peer else 0)

    @property
    def size(self) -> int:
        """Entries of the log itself, provisional ones too."""
        return self._held.size

    @property
    def behind(self) -> int:
        """How many entries more the node has shown by its newest checkpoint."""
        return max(0, self._shown - self._held.size)

    async def step(self) -> None:
        """
        Come up to the node's newest checkpoint, of its peer's log first.

        Where bodies below it were erased by entries beyond it, on to one that covers these: till
        they come, what is said to remain of those bodies is the node's word.

        Raises VerificationError for what is not as it should be, and says whether the node has
        signed two histories (ForkError) or given up an end (ROLLED_BACK): what came before it is
        kept, and the Head stays where the last root came out. Raises UnavailableError and
        RefusedError as the
        node does, InputError GRANT_TOO_NARROW, and BusyError DISK_FULL, before it asks for anything
        if it can; the next step then goes on from here.
        """
        try:
            await self._come_up()
            while self._awaits:
                await self._come_up()
        except ForkError:
            raise
        except VerificationError as error:
            why = await why_parted(self._way, self._store, self.head, self._authority)
            if why is None:
                raise
            raise why from error

    async def _come_up(self) -> None:
        self._store.check_room()
        request = pb.FollowRequest(start=self._held.size)
        async with aclosing(self._way.follow(request)) as stream:
            target = self._target(await self._newest(stream))
            self._shown = target.size
            with_peer = False
            async with aclosing(self._batches(stream, target)) as batches:
                async for batch in batches:
                    if not with_peer:
                        # The node's anchors up to target are of what it shows of its peer by now.
                        await self._follow_peer(batch[0])
                        with_peer = True
                    await self._run(self._take, batch, target)
                    self._progress(self.held, self.held + target.size - self._held.size)
        if self._held.size < target.size:
            raise UnavailableError(f"the node sent {self._held.size} of {target.size} entries")
        if target.note != self.head.checkpoint:
            await self._run(self._reach, target)

    async def close(self) -> None:
        """Let the writing thread end what it was given."""
        # It may be waiting for this loop to check signatures.
        await self._run(lambda: None)
        self._writer.shutdown()

    # -- the log itself ---------------------------------------------------------------------

    async def _newest(self, stream: AsyncIterator[pb.FollowResponse]) -> bytes:
        try:
            return await first_note(stream)
        except InputError as error:
            if error.reason != "BEYOND_THE_END":
                raise
            raise self._rolled_back(error.message) from error

    def _rolled_back(self, shown: str) -> VerificationError:
        return VerificationError(
            f"the node showed {self._held.size} entries before, and now: {shown}",
            reason="ROLLED_BACK",
        )

    def _target(self, note: bytes) -> Known:
        """The checkpoint to come up to, whose signature is checked when its root is."""
        target = judge("the node's checkpoint", lambda: parse_known(note))
        if target.checkpoint.origin != self._store.origin:
            raise VerificationError(f"the node shows a checkpoint of {target.checkpoint.origin}")
        if target.size < self._held.size:
            raise self._rolled_back(f"{target.size}")
        if self._awaits and target.size <= self._awaits:
            # It shows only what is committed, and a body is gone with its ERASURE's commit.
            raise AuditError(
                f"bodies are said to be erased by entry {self._awaits}, and there are only"
                f" {target.size} entries"
            )
        return target

    async def _batches(
        self, stream: AsyncIterator[pb.FollowResponse], target: Known
    ) -> AsyncGenerator[list[Given], None]:
        """What the node sends, cut where nothing is due: where the time changes, and at target."""
        waiting: list[Given] = []
        size = self._held.size
        async for message in stream:
            if message.first != size and message.entries:
                raise VerificationError(f"the node sent entry {message.first}, not {size}")
            waiting += map(_given, message.entries)
            size += len(message.entries)
            if size > target.size:
                raise VerificationError("the node sent more entries than its checkpoint covers")
            if size < target.size and target.size - self._held.size <= self._at_once:
                continue
            cut = len(waiting) if size == target.size else _cut(waiting)
            if cut:
                yield waiting[:cut]
                del waiting[:cut]

    async def _follow_peer(self, first: Given) -> None:
        if self.peer is None:
            genesis = [first[:2]]
            self.peer = self._meet_peer(
                judge(
                    "the node's GENESIS",
                    lambda: KeyHistory.of(
                        self._store.origin, self._authority, genesis, partial=True
                    ),
                )
            )
        await self.peer.step()

    def _take(self, batch: Sequence[Given], target: Known) -> None:
        """In the writing thread: verify, apply and commit."""
        verifier, self._verifier = self._verifier or self._load(), None
        first = verifier.replay.size
        size = sum(len(given.header) + len(given.body) for given in batch)
        with self._store.write(size) as transaction:
            rows = [(u64(index), given) for index, given in enumerate(batch, first)]
            transaction.put_many(Table.HEADERS, ((key, given.header) for key, given in rows))
            transaction.put_many(
                Table.BODIES, ((key, given.body) for key, given in rows if not given.erased_by)
            )
            try:
                checks = verifier.take(transaction, batch)
            except NotReadyError as error:
                raise UnavailableError(
                    f"the node shows too little of its peer's log: {error.message}",
                    reason="REPLAY_BEHIND",
                ) from error
            verifier.check_nothing_due()
            self._check_signatures(checks)
            replay = verifier.replay
            held = Head(replay.size, replay.last_time, replay.last_leaf, b"")
            self._store.hold(transaction, held)
            head, anchored = self.head, self._anchored
            if replay.size == target.size and len(batch) <= self._at_once and not verifier.awaits:
                head, anchored = self._arrive(transaction, verifier, held, target)
        self._verifier, self._held, self._awaits = verifier, held, verifier.awaits
        self.head, self._anchored = head, anchored

    def _reach(self, target: Known) -> None:
        """In the writing thread: compare with the checkpoint that it should have come to."""
        self._verifier = verifier = self._verifier or self._load()
        with self._store.write() as transaction:
            head, anchored = self._arrive(transaction, verifier, self._held, target)
        self.head, self._anchored = head, anchored

    def _arrive(
        self, transaction: Transaction, verifier: LogVerifier, held: Head, target: Known
    ) -> tuple[Head, Anchored]:
        """Move the Head to a checkpoint, if what is held hashes to it, and none is awaited."""
        replay = verifier.replay
        known = judge("the node's checkpoint", lambda: open_known(target.note, replay.history))
        if known.checkpoint.root != replay.tree.root():
            raise AuditError(
                f"the entries do not hash to the node's checkpoint of {known.size} entries",
                reason="BAD_ROOT",
            )
        if verifier.awaits:
            return self.head, self._anchored
        head, anchored = held._replace(checkpoint=known.note), self._anchored
        if self.peer is not None:
            anchored = self.peer.compare(transaction, replay.history, known.note, anchored)
        self._store.put_anchored(transaction, anchored)
        head.put(transaction)
        return head, anchored

    def _load(self) -> LogVerifier:
        peer_log: PeerLog = self.peer.replica if self.peer else NoPeerLog()
        with self._store.log.snapshot() as snapshot:
            held = self._store.held(snapshot)
            return LogVerifier.load(snapshot, self._store.origin, self._authority, peer_log, held)

    def _check_signatures(self, checks: list[SignatureCheck]) -> None:
        checking = asyncio.run_coroutine_threadsafe(self._checked(checks), self._loop)
        checking.result()

    async def _checked(self, checks: list[SignatureCheck]) -> None:
        await self._check(checks)

    def _meet_peer(self, history: KeyHistory) -> PeersLog:
        """By the GENESIS of the log, which its authority signed."""
        origin = history.need_genesis().peer_origin
        authority = self._trust.authority(origin)
        return PeersLog(self._store.peer, self._way, origin, authority, self._check)

    async def _run(self, function: Callable[[Unpack[Ts]], R], *args: *Ts) -> R:
        return await self._loop.run_in_executor(self._writer, function, *args)


def _given(entry: pb.FollowedEntry) -> Given:
    if entry.withheld:
        raise InputError(
            "the node withholds bodies: the grant does not cover them",
            reason="GRANT_TOO_NARROW",
            action="ask the authority for a grant without places, sectors and kinds",
        )
    if entry.erased_by:
        return Given(entry.header, entry.remains, entry.erased_by)
    return Given(entry.header, entry.body)


def _cut(entries: Sequence[Given]) -> int:
    """How many precede the newest time, whose entries may not all have come yet."""
    cut = len(entries) - 1
    newest = recorded_at_of(entries[-1].header) if entries else 0
    while cut > 0 and recorded_at_of(entries[cut - 1].header) == newest:
        cut -= 1
    return max(cut, 0)

"""The peer side of a node: everything that follows the peer and shows it this log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from ledgerd.ledger.committer import RESERVE_BYTES
from ledgerd.ledger.head import Head
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.replicated import nobody_waits
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.workers import Workers
from ledgerd.peer.accusations import Accusations
from ledgerd.peer.anchors import Anchored, Anchors, newest_anchor
from ledgerd.peer.courier import CarriedPeer
from ledgerd.peer.inquest import Inquest
from ledgerd.peer.mentions import Mentions
from ledgerd.peer.monitor import Monitor
from ledgerd.peer.ports import PeerClient, Standing
from ledgerd.peer.replica import Replica
from ledgerd.peer.rounds import Rounds
from ledgerd.peer.spent import Spent, spent_error
from ledgerd.peer.store import REPLICA_FULL, PeerStore
from ledgerd.peer.submit import OwnCosigned, Submitter
from ledgerd.peer.witness import Witness
from ledgerd.store.base import Room
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.errors import LedgerError, StoreError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import Signer
from ledgerd_client.core.record import Admitted
from ledgerd_client.core.trust import Trust

_SECOND: Final = 1_000_000
# Between two rounds, however often they are woken.
_GAP_S: Final = 0.05
# Below this many, a second worker costs more than it saves.
_MIN_CHUNK: Final = 64

_log = structlog.get_logger()


class PeerStatus(NamedTuple):
    """
    How things stand with the peer; sizes in entries, times in µs.

    shown_size: what the peer says that its log has; 0 before it was asked. spent: the cosigner key
    signs nothing more. failures: rounds that failed since the start; reason: why the newest round
    failed, "" if it went well.
    """

    shown_size: int
    replayed_size: int
    cosigned_size: int
    own_cosigned_size: int
    fetched_at: int
    replica_full: bool
    latched: bool
    spent: bool
    failures: int
    reason: str


class PeerSide:
    """
    Composes replica, witness, monitor, anchors and submission. Made and used on one event loop.

    peer_log exists from the start, before the sequencer's writer does. Order: make the sequencer,
    make this, start the sequencer, start(); at the end stop(), stop the sequencer, close().
    """

    def __init__(
        self,
        data: Path,
        *,
        origin: str,
        peer_origin: str,
        trust: Trust,
        keys: Callable[[], KeyHistory],
        cosigner: Signer,
        sign: Callable[..., Admitted],
        sign_body: Callable[[bytes], Admitted],
        reader: Reader,
        sequencer: Sequencer,
        workers: Workers,
        standing: Standing,
        client: PeerClient,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        quota: int,
        ledger_reserve: int = RESERVE_BYTES,
        anchor_interval_s: float,
        poll_interval_s: float,
        fetch_timeout_s: float = 60,
        replicated: Callable[[int], Awaitable[None]] = nobody_waits,
        on_fatal: Callable[[StoreError], None] = lambda _error: None,
        carried: CarriedPeer | None = None,
    ) -> None:
        """
        Open `data`/peer, or make it; evidence goes to `data`/evidence.

        keys: our own log's; sign makes an entry of our own of a record, sign_body of a body made
        earlier. quota: bytes that the replica may take; ledger_reserve: what the sequencer keeps
        free on the disk. on_fatal is called when a commit of that store failed: the process must
        end. carried: the client, where it is one of files. Raises StoreError, TrustError,
        VerificationError.
        """
        self._reader = reader
        self._workers = workers
        self._standing = standing
        self._store = store = PeerStore.open(
            data / "peer",
            quota=quota,
            random=random,
            ledger_reserve=ledger_reserve,
            on_fatal=on_fatal,
        )
        if store.is_new:
            # At the first start that is as it should be; later a witness has lost its memory.
            _log.warning("peer_store_made", path=str(data / "peer"))
        authority = trust.authority(peer_origin)
        self.replica = Replica(store, peer_origin, authority, check=self._check, clock=clock)
        self.accusations = Accusations(
            store,
            data / "evidence",
            accused=peer_origin,
            origin=origin,
            sign_body=sign_body,
            clock=clock,
            random=random,
        )
        self._spent = Spent(data)
        self.witness = Witness(
            store,
            self.replica,
            self.accusations,
            cosigner,
            clock=clock,
            wake=self.wake,
            spent=self._spent_key,
        )
        self._cosigner = cosigner
        self.own_cosigned = OwnCosigned(store, self.replica, reader, keys, clock)
        self._anchors = Anchors(
            store,
            self.replica,
            self.witness,
            sign=sign,
            reader=reader,
            sequencer=sequencer,
            interval=int(anchor_interval_s * _SECOND),
        )
        self._mentions = Mentions()
        self.monitor = Monitor(
            client,
            self.replica,
            self.witness,
            self._anchors,
            self.accusations,
            Inquest(store, self.replica, self.accusations),
            self._mentions,
            standing,
            sequencer,
            origin=origin,
            clock=clock,
            fetch_s=fetch_timeout_s,
            asked_at=carried.asked_at if carried else None,
            brought=carried.brought if carried else None,
        )
        self.submitter = Submitter(
            client, reader, standing, self.own_cosigned, keys=keys, replicated=replicated
        )
        if self.replica.verified is not None:
            client.known_checkpoint = self.replica.verified.note
        timing = {"gap": _GAP_S, "idle": poll_interval_s}
        self._carried = carried
        self._following = Rounds("monitor", self.follow, random=random, **timing)
        self._submitting = Rounds("submit", self.submitter.step, random=random, **timing)
        self._tasks: list[asyncio.Task[None]] = []

    def status(self) -> PeerStatus:
        """At this moment, in any thread."""
        verified, rounds = self.replica.verified, (self._following, self._submitting)
        full = self._store.full
        return PeerStatus(
            shown_size=self.monitor.shown_size,
            replayed_size=self.replica.verified_size,
            cosigned_size=self.witness.cosigned_size,
            own_cosigned_size=self.own_cosigned.size,
            fetched_at=verified.fetched_at if verified else 0,
            replica_full=full is not None and full.reason == REPLICA_FULL,
            latched=self.accusations.latched,
            spent=self._spent.key() == self._cosigner.verifier.public,
            failures=sum(one.failures for one in rounds),
            reason=next((one.error.reason for one in rounds if one.error is not None), ""),
        )

    def room(self) -> Room:
        """How much of the store of replica and witness is in use; in any thread."""
        return self._store.store.room()

    async def start(self) -> None:
        """Begin to follow the peer; the sequencer runs already."""
        await self.prepare()
        self._tasks = [
            asyncio.create_task(rounds.run()) for rounds in (self._following, self._submitting)
        ]

    async def prepare(self) -> None:
        """
        Hold this node to what the disk remembers of both logs, before anybody is asked.

        Our own past: what the peer cosigned of it. The peer's, when what was cosigned of it is not
        known any more: what was anchored.
        """
        self._standing.shown(self.own_cosigned.newest())
        if self._has_forgotten():
            self._spent.spend(self._cosigner.verifier.public)
            anchored = await asyncio.to_thread(newest_anchor, self._reader)
            if anchored is not None:
                await self._anchors.resume(Anchored(anchored.size, anchored.fetched_at))
                await self.witness.resume(anchored)
            _log.error("cosigner_spent", reason="COSIGNER_SPENT", message=spent_error().message)
        self._spent_key()
        self._spent.keep(self._store.instance)

    def _spent_key(self) -> bytes:
        """The key that cosigns nothing more; in the store's thread, before each cosignature."""
        present = self._cosigner.verifier.public
        if self._standing.is_rolled_back and self._spent.key() != present:
            # The disk was put back, and with it perhaps what the witness knew.
            self._spent.spend(present)
        return self._spent.key()

    def _has_forgotten(self) -> bool:
        """Whether the witness has cosigned more than it knows: what is anchored was cosigned."""
        anchored = self._reader.anchor().size
        of_another = not self._spent.is_of(self._store.instance)
        return of_another or anchored > self.witness.cosigned_size

    async def follow(self) -> bool:
        """One round of the monitor; what was carried here is answered, whatever came of it."""
        try:
            done = await self.monitor.step()
        except LedgerError as error:
            await self._reply(error)
            raise
        await self._reply(None)
        return done

    async def _reply(self, error: LedgerError | None) -> None:
        if self._carried is not None:
            await self.monitor.settled()
            await self._carried.reply(self.witness.vouched(), self.witness.seen(), error)

    async def stop(self) -> None:
        """End the rounds; what the store was given to write is still written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Close the store, once nobody reads the replica any more."""
        self._store.close()

    def cosign_by(self, cosigner: Signer) -> None:
        """Cosign the peer's log by another key from now on."""
        self._cosigner = cosigner
        self.witness.cosign_by(cosigner)

    def on_commit(self, head: Head) -> None:
        """Call after each commit of our own log."""
        self._submitting.wake()

    def wake(self) -> None:
        """Look at the peer now, not at the next poll."""
        self._following.wake()

    def mentioned(self, caller: Hashable, note: bytes) -> None:
        """A checkpoint of the peer that a caller has seen; looked at in a coming round."""
        self._mentions.add(caller, note)

    async def _check(self, checks: list[SignatureCheck]) -> None:
        size = max(_MIN_CHUNK, -(-len(checks) // self._workers.count))
        parts = [checks[i : i + size] for i in range(0, len(checks), size)]
        await asyncio.gather(*(self._workers.run(check_signatures, part) for part in parts))

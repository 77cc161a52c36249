"""The parts of one node: how they are made of each other, and what follows from what."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from itertools import chain
from typing import Final

import structlog

from ledgerd.api.evidence import EvidenceDesk
from ledgerd.api.identity import Identities
from ledgerd.api.ledger import Log
from ledgerd.api.limits import Rates
from ledgerd.api.peer_client import PeerClient
from ledgerd.api.roles import Access
from ledgerd.api.server import Server, Services
from ledgerd.api.status import StatusDesk
from ledgerd.api.tailing import Desk
from ledgerd.api.threads import InThread
from ledgerd.background import Background
from ledgerd.config import Config, Tls
from ledgerd.credentials import NodeFiles, NodeTls, certificate_ends
from ledgerd.ledger.admission import Admission
from ledgerd.ledger.answers import Answers
from ledgerd.ledger.checker import Checker
from ledgerd.ledger.committer import Committed
from ledgerd.ledger.edge import check_edge
from ledgerd.ledger.head import follows_another, is_standby
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.query_log import QueryLog
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.replicated import Replicated, Standby
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.standing import Standing, losses_end
from ledgerd.ledger.tally import Tally
from ledgerd.ledger.ticker import Ticker
from ledgerd.ledger.workers import Workers
from ledgerd.observe.metrics import Metrics
from ledgerd.observe.notify import Notifier
from ledgerd.observe.status import describe
from ledgerd.observe.troubles import troubles
from ledgerd.observe.vitals import OPEN, CertificateEnd
from ledgerd.observe.watching import Watch
from ledgerd.peer.carried import CarriedPeer, Exchange
from ledgerd.peer.node import PeerSide
from ledgerd.signing import LiveKeys, OwnEntries
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd.writing import WriterProcess, Writing
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import LedgerError, NotReadyError, StoreError
from ledgerd_client.core.opening import open_log_checkpoint

# In the node's data directory: what regulators asked while nothing was appended.
SPOOL_FILE: Final = "queries.spool"
_SAMPLE_INTERVAL_S: Final = 1.0
# Threads that answer what takes a while to read, and those of regulators: what they ask may take
# long, and nobody else waits for it.
_READERS: Final = 4
_REGULATORS: Final = 2

_log = structlog.get_logger()


def now() -> int:
    """µs since the epoch, UTC."""
    return time.time_ns() // 1000


class Node:
    """
    The parts of one node, and what follows from a commit or a change of its standing.

    What must be ended enters the stack when it is started. Belongs to the event loop.
    """

    def __init__(
        self,
        config: Config,
        stack: AsyncExitStack,
        background: Background,
        notifier: Notifier,
        *,
        throwaway: bool,
    ) -> None:
        """Open whatever lies on the disk; raises LedgerError when it does not fit together."""
        self.config = config
        self._tls = config.tls
        self._tls_made_at = NodeTls.made_at(config.tls)
        # What a reload could not take over, each with the reason.
        self.not_taken: Sequence[str] = ()
        lock = stack.enter_context(DirectoryLock(config.data))
        # Only the writer's process writes it.
        self.store = stack.enter_context(
            closing(LmdbStore.open(config.store, map_size=config.limits.map_size, readonly=True))
        )
        with self.store.snapshot() as snapshot:
            # Before any key is missed: the one that signs must not come to a standby.
            if follows_another(snapshot):
                raise is_standby()
        self.files = files = NodeFiles.load(config, throwaway=throwaway)
        self._shown = files.tls
        self.reader = Reader(self.store)
        self.keyring = Keyring(self.store, config.origin, files.trust.authority(config.origin))
        with self.store.snapshot() as snapshot:
            check_edge(snapshot, self.keyring.history)
        self.genesis = self.keyring.history.need_genesis()
        history = self.keyring.history
        self.keys = files.keys.in_force(history)
        self.own_entries = OwnEntries(
            config.origin,
            self.keys.entry,
            history.key_in_force(body_pb2.ROLE_ENTRY).admitted_at,
            clock=now,
            random=os.urandom,
        )
        self.metrics = Metrics()
        self.standing = Standing(
            config.data,
            self.reader,
            self.store.instance,
            self._open_own,
            on_change=self._standing_changed,
            least=lambda: losses_end(self.keyring.history),
        )
        self._server: Server | None = None
        # Why nobody can be told how the node stands; "" if they are.
        self._untold = ""
        self._stack = stack
        self._background = background
        self._notifier = notifier
        self.workers = Workers(config.limits.workers)
        stack.push_async_callback(self.workers.close)
        writer = WriterProcess(self._writing(lock))
        wait = config.standby
        self.standby = Standby(wait.wait_s if wait.wait else None)
        self.sequencer = Sequencer(
            writer,
            on_commit=self._committed,
            on_fatal=background.fail,
        )
        self.query_log = self._make_query_log()
        carried = config.peer.exchange
        self.exchange = Exchange(carried) if carried is not None else None
        self.client = self._make_client()
        stack.push_async_callback(self.client.close)
        self.peer = self._make_peer()
        stack.callback(self.peer.close)
        self._size = self.reader.head().size
        self.watch = self._make_watch()
        self.live_keys = LiveKeys(
            config,
            self.keys,
            history,
            own=self.own_entries,
            hold=writer.hold,
            cosign_by=self.peer.cosign_by,
        )

    @property
    def status(self) -> str:
        """One line for the service manager."""
        return describe(
            self.config.origin, self.watch.vitals(), self.reader.open_findings(), self.not_taken
        )

    async def start(self) -> int:
        """Start them, each after what it needs; returns the port that callers reach."""
        await self.workers.start()
        head = await self.sequencer.start()
        self._stack.push_async_callback(self.standing.write_mark)
        self._stack.push_async_callback(self.sequencer.stop)
        self._size = head.size
        self.standing.start()
        if self.exchange is not None and self.standing.is_unconfirmed:
            self.exchange.forget()
        self.standby.grown(head.size)
        self._stack.push_async_callback(self.query_log.stop)
        self._stack.push_async_callback(self.peer.stop)
        await self.peer.start()
        # Before the server, and so until its last call is done: the watchdog watches over that too.
        for coroutine in (
            self.standing.keep_mark(),
            self._notifier.keep_alive(lambda: self.sequencer.stalled_s),
            self._sample(),
            self._make_ticker().run(),
            self.query_log.run(),
        ):
            self._background.start(coroutine)
        self._stack.push_async_callback(self._background.stop)
        return await self._start_server()

    async def _start_server(self) -> int:
        config, trust = self.config, self.files.trust
        own, peers = (trust[o].certificates for o in (config.origin, self.genesis.peer_origin))
        # Its threads read the store: they are gone before it is closed.
        readers = self._stack.enter_context(ThreadPoolExecutor(_READERS, "reader"))
        in_thread = InThread(readers)
        regulators = self._stack.enter_context(ThreadPoolExecutor(_REGULATORS, "regulator"))
        access = Access(
            self.keyring,
            operators=config.operators,
            peer=config.peer.id,
            clock=now,
            last_time=lambda: self.reader.head().last_time,
            peer_keys=lambda: self.peer.replica.history,
        )
        self._server = server = Server(
            Services(
                log=Log(
                    origin=config.origin,
                    peer_origin=self.genesis.peer_origin,
                    reader=self.reader,
                    keyring=self.keyring,
                    admission=Admission(config.origin, self.workers),
                    sequencer=Replicated(self.sequencer, self.standby),
                    replicated=self.standby.wait,
                    own_cosigned=self.peer.own_cosigned,
                    witness=self.peer.witness,
                    checker=Checker(self.store, lambda: self.keyring.history, clock=now),
                ),
                desk=self._make_desk(access, InThread(regulators)),
                access=access,
                identities=Identities(config.spiffe_id, own, config.peer_spiffe_id, peers),
                standing=self.standing,
                metrics=self.metrics,
                in_thread=in_thread,
                clock=now,
                sign=self.own_entries.sign,
                prepare=self.live_keys.prepare,
                evidence=EvidenceDesk(self.peer.accusations, self.peer.witness.refused, in_thread),
                status=StatusDesk(config.origin, self.genesis.peer_origin, self.watch, in_thread),
                heard=self.peer.mentioned,
                settled=self.peer.monitor.settled,
                connection_age_s=config.timing.connection_age_s,
                rates=Rates(
                    records_per_s=config.limits.records_per_second,
                    bytes_per_s=config.limits.bytes_per_second,
                ),
                standby=self.standby,
            )
        )
        self._tell()
        port = await server.start(
            config.listen,
            certificate=self.files.tls.certificate,
            key=self.files.tls.key,
            authorities=chain(own, peers),
        )
        self._stack.push_async_callback(server.stop, config.timing.drain_s)
        if config.metrics_listen is not None:
            self.metrics.watched = self.watch
            self._stack.enter_context(self.metrics.serve(config.metrics_listen))
        return port

    def _open_own(self, note: bytes) -> Checkpoint:
        return open_log_checkpoint(note, self.keyring.history).checkpoint

    # -- composing ------------------------------------------------------------------------

    def _make_peer(self) -> PeerSide:
        config, files = self.config, self.files
        return PeerSide(
            config.data,
            origin=config.origin,
            peer_origin=self.genesis.peer_origin,
            trust=files.trust,
            keys=lambda: self.keyring.history,
            cosigner=self.keys.cosigner_signer,
            sign=self.own_entries.sign,
            sign_body=self.own_entries.sign_body,
            reader=self.reader,
            sequencer=self.sequencer,
            workers=self.workers,
            standing=self.standing,
            client=self.client,
            clock=now,
            random=os.urandom,
            quota=config.limits.replica_quota_bytes,
            anchor_interval_s=config.timing.anchor_interval_s,
            poll_interval_s=config.timing.poll_interval_s,
            fetch_timeout_s=config.timing.fetch_timeout_s,
            replicated=self.standby.wait,
            asked=self.client.asked_at if isinstance(self.client, CarriedPeer) else None,
            ledger_reserve=config.limits.reserve_bytes,
            on_fatal=self._background.fail,
        )

    def _make_watch(self) -> Watch:
        return Watch(
            config=self.config,
            store=self.store,
            reader=self.reader,
            sequencer=self.sequencer,
            peer=self.peer,
            standing=self.standing,
            tally=Tally(self.store),
            standby=self.standby,
            history=lambda: self.keyring.history,
            in_flight=lambda: self._server.in_flight_bytes if self._server else 0,
            clock=now,
            certificates=self._certificate_ends(self.files.tls),
        )

    def _certificate_ends(self, tls: NodeTls) -> tuple[CertificateEnd, ...]:
        peer_origin = self.genesis.peer_origin
        return certificate_ends(self.files.trust, tls, self.config.origin, peer_origin)

    def _make_query_log(self) -> QueryLog:
        return QueryLog(
            self.sequencer,
            self.config.data / SPOOL_FILE,
            sign=self.own_entries.sign,
            sign_body=self.own_entries.sign_body,
            clock=now,
        )

    def _make_desk(self, access: Access, in_thread: InThread) -> Desk:
        return Desk(
            origin=self.config.origin,
            peer_origin=self.genesis.peer_origin,
            answers=Answers(self.store, self._open_own),
            replica=self.peer.replica,
            grants=access,
            recorder=self.query_log,
            in_thread=in_thread,
            suspect=self.standing.shown,
        )

    def _make_ticker(self) -> Ticker:
        return Ticker(self.own_entries.sign, self.reader, self.sequencer, clock=now)

    def _make_client(self) -> PeerClient | CarriedPeer:
        if self.exchange is not None:
            return CarriedPeer(self.exchange, lambda: self.standing.is_unconfirmed)
        return PeerClient.connect(
            self.config.peer.endpoint,
            authorities=self.files.trust[self.genesis.peer_origin].certificates,
            certificate=self.files.tls.certificate,
            key=self.files.tls.key,
            timeout_s=self.config.timing.call_timeout_s,
        )

    def _writing(self, lock: DirectoryLock) -> Writing:
        config, files, peer_origin = self.config, self.files, self.genesis.peer_origin
        return Writing(
            lock=lock,
            store=config.store,
            map_size=config.limits.map_size,
            reserve_bytes=config.limits.reserve_bytes,
            log_key=self.keys.log_signer,
            entry_key=self.keys.entry,
            coming=self.keys.coming,
            retired=self.keys.retired,
            authority=self.keyring.history.authority,
            peer_store=config.peer_store,
            peer_map_size=config.limits.replica_quota_bytes,
            peer_origin=peer_origin,
            peer_authority=files.trust.authority(peer_origin),
        )

    # -- following ------------------------------------------------------------------------

    def _committed(self, committed: Committed) -> None:
        head = committed.head
        self.metrics.committed(head.size - self._size, committed.seconds, committed.sync_seconds)
        self._size = head.size
        self.standing.grown(head.size)
        self.keyring.refresh()
        self.live_keys.follow(self.keyring.history)
        self.peer.on_commit(head)
        self.standby.grown(head.size)

    def _standing_changed(self, refusal: NotReadyError | None) -> None:
        self.sequencer.refuse = refusal
        self.metrics.appends_state.state(refusal.reason if refusal else OPEN)
        self._tell()
        if refusal is None:
            _log.info("appends_taken")
        else:
            _log.error("appends_refused", reason=refusal.reason, message=refusal.message)

    def _vouch(self, exchange: Exchange) -> None:
        """Say what we vouch for of the peer's log, for the next file that goes there."""
        try:
            exchange.vouch(self.peer.witness.vouched())
        except StoreError as error:
            _log.warning("not_vouched", error=error.message)

    async def _sample(self) -> None:
        """Do once a second what no event tells of."""
        while True:
            if self._server is not None:
                self._server.cut()
                await self._follow_certificate()
            self._tell()
            if self.exchange is not None:
                await asyncio.to_thread(self._vouch, self.exchange)
            if self.standing.refusal is None:
                self.live_keys.settle(self.peer.own_cosigned.size)
            await asyncio.sleep(_SAMPLE_INTERVAL_S)

    def _tell(self) -> None:
        """Have health checks and the service manager told how the node stands."""
        untold = ""
        try:
            if self._server is not None:
                self._server.tell(troubles(self.watch.vitals()))
            self._notifier.status(self.status)
        except (LedgerError, OSError) as error:
            # A file beside the store: who watches must not stop who works.
            untold = str(error)
            if untold != self._untold:
                _log.warning("standing_unknown", error=untold)
        self._untold = untold

    async def _follow_certificate(self) -> None:
        """Go over to a certificate that was put in the place of ours."""
        if NodeTls.made_at(self._tls) in {(), self._tls_made_at}:
            return
        try:
            await self.take_certificate(self._tls)
        except LedgerError as error:
            _log.warning("certificate_not_taken", reason=error.reason, error=error.message)

    async def take_certificate(self, files: Tls) -> None:
        """
        Serve with the certificate in these files from the next connection on, and call with it.

        Calls that go on keep theirs. Raises as NodeTls.load does, and changes nothing.
        """
        self._tls_made_at = NodeTls.made_at(files)
        tls = NodeTls.load(self.config.model_copy(update={"tls": files}), self.files.trust)
        self._tls = files
        if tls == self._shown:
            return
        self._shown = tls
        if self._server is not None:
            self._server.renew(certificate=tls.certificate, key=tls.key)
        await self.client.renew(certificate=tls.certificate, key=tls.key)
        self.watch.certificates = self._certificate_ends(tls)
        _log.info("certificate_renewed")

"""The parts of one node, and how they are made of each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from itertools import chain
from typing import Final

from ledgerd.api.desk import Desk
from ledgerd.api.evidence import EvidenceDesk
from ledgerd.api.identity import Identities
from ledgerd.api.ledger import Log
from ledgerd.api.limits import Rates
from ledgerd.api.peer_client import PeerClient
from ledgerd.api.roles import Access
from ledgerd.api.server import Server, Services
from ledgerd.api.status import StatusDesk
from ledgerd.api.threads import InThread
from ledgerd.clock import now
from ledgerd.credentials import NodeTls, certificate_ends
from ledgerd.ledger.admission import Admission
from ledgerd.ledger.answers import Answers
from ledgerd.ledger.checker import Checker
from ledgerd.ledger.committer import Committed
from ledgerd.ledger.query_log import QueryLog
from ledgerd.ledger.replicated import Replicated, Standby
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.standing import Standing, losses_end
from ledgerd.ledger.tally import Tally
from ledgerd.ledger.ticker import Ticker
from ledgerd.ledger.workers import Workers
from ledgerd.node.opened import Opened
from ledgerd.observe.metrics import Metrics
from ledgerd.observe.vitals import CertificateEnd
from ledgerd.observe.watching import Watch
from ledgerd.peer.courier import CarriedPeer
from ledgerd.peer.exchange import Exchange
from ledgerd.peer.node import PeerSide
from ledgerd.signing import LiveKeys
from ledgerd.writing import WriterProcess
from ledgerd_client.core.errors import NotReadyError, StoreError

# In the node's data directory: what regulators asked while nothing was appended.
SPOOL_FILE: Final = "queries.spool"
# Threads that answer what takes a while to read, and those of regulators: what they ask may take
# long, and nobody else waits for it.
_READERS: Final = 4
_REGULATORS: Final = 2


class Parts:
    """
    All that a node runs; nothing of it is started yet. Belongs to the event loop.

    What must be closed is closed when the stack is left.
    """

    def __init__(
        self,
        opened: Opened,
        stack: AsyncExitStack,
        *,
        on_commit: Callable[[Committed], None],
        on_standing: Callable[[NotReadyError | None], None],
        on_fatal: Callable[[StoreError], None],
    ) -> None:
        """Tell of commits, of changes of the standing, and of what the process must end for."""
        self.opened = opened
        self._config = config = opened.config
        self._on_fatal = on_fatal
        self.server: Server | None = None
        self.metrics = Metrics()
        self.standing = Standing(
            config.data,
            opened.reader,
            opened.store.instance,
            opened.open_own,
            on_change=on_standing,
            least=lambda: losses_end(opened.keyring.history),
        )
        self.workers = Workers(config.limits.workers)
        stack.push_async_callback(self.workers.close)
        writer = WriterProcess(opened.writing())
        wait = config.standby
        self.standby = Standby(wait.wait_s if wait.wait else None, expected=wait.expected)
        self.sequencer = Sequencer(writer, on_commit=on_commit, on_fatal=on_fatal)
        self.query_log = self._make_query_log()
        carried = config.peer.exchange
        self.exchange = Exchange(carried) if carried is not None else None
        self.client = self._make_client()
        stack.push_async_callback(self.client.close)
        self.peer = self._make_peer()
        stack.callback(self.peer.close)
        self.watch = self._make_watch()
        self.ticker = Ticker(opened.own_entries.sign, opened.reader, self.sequencer, clock=now)
        self.live_keys = LiveKeys(
            config,
            opened.keys,
            opened.keyring.history,
            own=opened.own_entries,
            hold=writer.hold,
            cosign_by=self.peer.cosign_by,
        )

    def make_server(self, stack: AsyncExitStack) -> Server:
        """
        Make what callers reach; once.

        Its threads read the store: they end when the stack is left, before that is closed.
        """
        opened, config = self.opened, self._config
        in_thread = InThread(stack.enter_context(ThreadPoolExecutor(_READERS, "reader")))
        regulators = stack.enter_context(ThreadPoolExecutor(_REGULATORS, "regulator"))
        access = self._make_access()
        self.server = Server(
            Services(
                log=self._make_log(),
                desk=self._make_desk(access, InThread(regulators)),
                access=access,
                identities=self._make_identities(),
                standing=self.standing,
                metrics=self.metrics,
                in_thread=in_thread,
                clock=now,
                sign=opened.own_entries.sign,
                prepare=self.live_keys.prepare,
                evidence=EvidenceDesk(self.peer.accusations, self.peer.witness.refused, in_thread),
                status=StatusDesk(config.origin, opened.peer_origin, self.watch, in_thread),
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
        return self.server

    def tls_authorities(self) -> chain[bytes]:
        """Whose certificates callers may have, DER: both sides'."""
        trust = self.opened.files.trust
        return chain.from_iterable(trust[each].certificates for each in self._origins)

    def certificate_ends(self, tls: NodeTls) -> tuple[CertificateEnd, ...]:
        """When this certificate of the node ends, and those of the authorities of both sides."""
        return certificate_ends(self.opened.files.trust, tls, *self._origins)

    @property
    def _origins(self) -> tuple[str, str]:
        return self._config.origin, self.opened.peer_origin

    def _make_log(self) -> Log:
        opened = self.opened
        return Log(
            origin=self._config.origin,
            peer_origin=opened.peer_origin,
            reader=opened.reader,
            keyring=opened.keyring,
            admission=Admission(self._config.origin, self.workers),
            sequencer=Replicated(self.sequencer, self.standby),
            replicated=self.standby.wait_under,
            own_cosigned=self.peer.own_cosigned,
            witness=self.peer.witness,
            checker=Checker(opened.store, lambda: opened.keyring.history, clock=now),
        )

    def _make_access(self) -> Access:
        config, opened = self._config, self.opened
        return Access(
            opened.keyring,
            operators=config.operators,
            peer=config.peer.id,
            clock=now,
            last_time=lambda: opened.reader.head().last_time,
            peer_keys=lambda: self.peer.replica.history,
        )

    def _make_identities(self) -> Identities:
        config, trust = self._config, self.opened.files.trust
        own, peers = (trust[each].certificates for each in self._origins)
        return Identities(config.spiffe_id, own, config.peer_spiffe_id, peers)

    def _make_desk(self, access: Access, in_thread: InThread) -> Desk:
        opened = self.opened
        return Desk(
            origin=self._config.origin,
            peer_origin=opened.peer_origin,
            answers=Answers(opened.store, opened.open_own),
            replica=self.peer.replica,
            grants=access,
            recorder=self.query_log,
            in_thread=in_thread,
            suspect=self.standing.shown,
        )

    def _make_query_log(self) -> QueryLog:
        return QueryLog(
            self.sequencer,
            self._config.data / SPOOL_FILE,
            sign=self.opened.own_entries.sign,
            sign_body=self.opened.own_entries.sign_body,
            clock=now,
        )

    def _make_client(self) -> PeerClient | CarriedPeer:
        if self.exchange is not None:
            return CarriedPeer(
                self.exchange,
                self.opened.reader,
                origin=self._config.origin,
                peer_origin=self.opened.peer_origin,
                key=lambda: self.opened.own_entries.key,
                is_unconfirmed=lambda: self.standing.is_unconfirmed,
            )
        config, files = self._config, self.opened.files
        return PeerClient.connect(
            config.peer.endpoint,
            authorities=files.trust[self.opened.peer_origin].certificates,
            certificate=files.tls.certificate,
            key=files.tls.key,
            timeout_s=config.timing.call_timeout_s,
        )

    def _make_peer(self) -> PeerSide:
        config, opened = self._config, self.opened
        return PeerSide(
            config.data,
            origin=config.origin,
            peer_origin=opened.peer_origin,
            trust=opened.files.trust,
            keys=lambda: opened.keyring.history,
            cosigner=opened.keys.cosigner_signer,
            sign=opened.own_entries.sign,
            sign_body=opened.own_entries.sign_body,
            reader=opened.reader,
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
            carried=self.client if isinstance(self.client, CarriedPeer) else None,
            ledger_reserve=config.limits.reserve_bytes,
            on_fatal=self._on_fatal,
        )

    def _make_watch(self) -> Watch:
        opened = self.opened
        return Watch(
            config=self._config,
            store=opened.store,
            reader=opened.reader,
            sequencer=self.sequencer,
            peer=self.peer,
            standing=self.standing,
            tally=Tally(opened.store),
            standby=self.standby,
            history=lambda: opened.keyring.history,
            in_flight=lambda: self.server.in_flight_bytes if self.server else 0,
            clock=now,
            certificates=self.certificate_ends(opened.files.tls),
        )

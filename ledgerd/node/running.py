"""A node that runs: its parts started in order, and what follows from what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog

from ledgerd.background import Background
from ledgerd.config import Config
from ledgerd.credentials import NodeTls
from ledgerd.ledger.committer import Committed
from ledgerd.node.opened import Opened
from ledgerd.node.parts import Parts
from ledgerd.observe.notify import Notifier
from ledgerd.observe.status import describe
from ledgerd.observe.troubles import troubles
from ledgerd.observe.vitals import OPEN, Vitals
from ledgerd.renewing import Renewal
from ledgerd_client.core.errors import LedgerError, NotReadyError

_SAMPLE_INTERVAL_S: Final = 1.0

_log = structlog.get_logger()


class Node:
    """
    One node, and what follows from a commit or a change of its standing.

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
        # What a reload could not take over, each with the reason.
        self.not_taken: Sequence[str] = ()
        self.opened = opened = Opened.open(config, stack, throwaway=throwaway)
        # Of its TLS certificate; a reload may name others.
        self.renewal = Renewal(
            config.tls,
            opened.files.tls,
            load=lambda files: NodeTls.load(
                config.model_copy(update={"tls": files}), opened.files.trust
            ),
            use=self._use_certificate,
            say=_say_certificate,
        )
        self._size = opened.reader.head().size
        # Why nobody can be told how the node stands; "" if they are.
        self._untold = ""
        self._is_full = False
        self._stack = stack
        self._background = background
        self._notifier = notifier
        self.parts = Parts(
            opened,
            stack,
            on_commit=self._committed,
            on_standing=self._standing_changed,
            on_fatal=background.fail,
        )

    @property
    def status(self) -> str:
        """One line for the service manager."""
        vitals = self.parts.watch.vitals()
        findings = self.opened.reader.open_findings()
        return describe(self.config.origin, vitals, findings, self.not_taken)

    async def start(self) -> int:
        """Start them, each after what it needs; returns the port that callers reach."""
        parts = self.parts
        await parts.workers.start()
        head = await parts.sequencer.start()
        self._stack.push_async_callback(parts.standing.write_mark)
        self._stack.push_async_callback(parts.sequencer.stop)
        self._size = head.size
        parts.standing.start()
        if parts.exchange is not None and parts.standing.is_unconfirmed:
            parts.exchange.forget()
        parts.standby.grown(head.size)
        self._stack.push_async_callback(parts.query_log.stop)
        self._stack.push_async_callback(parts.peer.stop)
        await parts.peer.start()
        # Before the server, and so until its last call is done: the watchdog watches over that too.
        for coroutine in (
            parts.standing.keep_mark(),
            self._notifier.keep_alive(lambda: parts.sequencer.stalled_s),
            self._sample(),
            parts.ticker.run(),
            parts.query_log.run(),
        ):
            self._background.start(coroutine)
        self._stack.push_async_callback(self._background.stop)
        return await self._start_server()

    async def _start_server(self) -> int:
        config, parts, tls = self.config, self.parts, self.opened.files.tls
        server = parts.make_server(self._stack)
        self._tell()
        port = await server.start(
            config.listen,
            certificate=tls.certificate,
            key=tls.key,
            authorities=parts.tls_authorities(),
        )
        self._stack.push_async_callback(server.stop, config.timing.drain_s)
        if config.metrics_listen is not None:
            parts.metrics.watched = parts.watch
            self._stack.enter_context(parts.metrics.serve(config.metrics_listen))
        return port

    # -- following ------------------------------------------------------------------------

    def _committed(self, committed: Committed) -> None:
        head, parts, keyring = committed.head, self.parts, self.opened.keyring
        parts.metrics.committed(head.size - self._size, committed.seconds, committed.sync_seconds)
        self._size = head.size
        parts.standing.grown(head.size)
        keyring.refresh()
        parts.live_keys.follow(keyring.history)
        parts.peer.on_commit(head)
        parts.standby.grown(head.size)

    def _standing_changed(self, refusal: NotReadyError | None) -> None:
        self.parts.sequencer.refuse = refusal
        self.parts.metrics.appends_state.state(refusal.reason if refusal else OPEN)
        self._tell()
        if refusal is None:
            _log.info("appends_taken")
        else:
            _log.error("appends_refused", reason=refusal.reason, message=refusal.message)

    async def _sample(self) -> None:
        """Do once a second what no event tells of."""
        parts = self.parts
        while True:
            if parts.server is not None:
                parts.server.cut()
                await self.renewal.look()
            self._tell()
            if parts.standing.refusal is None:
                parts.live_keys.settle(parts.peer.own_cosigned.size)
            await asyncio.sleep(_SAMPLE_INTERVAL_S)

    def _tell(self) -> None:
        """Have health checks and the service manager told how the node stands."""
        untold, server = "", self.parts.server
        try:
            vitals = self.parts.watch.vitals()
            self._log_room(vitals)
            self.parts.metrics.appends_state.state(vitals.state)
            if server is not None:
                server.tell(troubles(vitals))
            self._notifier.status(self.status)
        except (LedgerError, OSError) as error:
            # A file beside the store: who watches must not stop who works.
            untold = str(error)
            if untold != self._untold:
                _log.warning("standing_unknown", error=untold)
        self._untold = untold

    def _log_room(self, vitals: Vitals) -> None:
        """Log a disk that fills up, and one that has room again: no standing changes by it."""
        if vitals.is_full == self._is_full:
            return
        self._is_full = vitals.is_full
        log = _log.error if vitals.is_full else _log.info
        event = "disk_full" if vitals.is_full else "disk_has_room"
        log(event, free=vitals.disk_free, reserve=vitals.disk_reserve)

    async def _use_certificate(self, tls: NodeTls) -> None:
        """Serve with it from the next connection on, and call with it; calls go on with theirs."""
        parts = self.parts
        if parts.server is not None:
            parts.server.renew(certificate=tls.certificate, key=tls.key)
        await parts.client.renew(certificate=tls.certificate, key=tls.key)
        parts.watch.certificates = parts.certificate_ends(tls)
        _log.info("certificate_renewed")


def _say_certificate(error: LedgerError) -> None:
    _log.error(
        "certificate_not_good", reason=error.reason, error=error.message, action=error.action
    )

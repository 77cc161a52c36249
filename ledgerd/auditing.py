"""`ledgerd audit`: puts the auditor together with a node's files, a scratch store and processes."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from ledgerd.config import Config
from ledgerd.credentials import load_trust
from ledgerd.ledger.audit import Auditor, Report
from ledgerd.ledger.peer_log import NoPeerLog, PeerLog
from ledgerd.peer.store import PeerStore
from ledgerd.peer.stored import stored_replica
from ledgerd.projections.registry import load_history
from ledgerd.store.base import Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.errors import StoreError
from ledgerd_client.core.trust import Trust

# Fewer are checked faster here than they are sent to another process.
_WORTH_SENDING: Final = 200


def audit(config: Config, progress: Callable[[int, int], None]) -> Report:
    """
    Audit the store of a node that does not run; progress(done, total) is in entries.

    The scratch store goes where temporary files go (TMPDIR) and grows as large as the ledger's
    indexes. Raises AuditError for the first thing that is wrong; NotReadyError while the node runs,
    or before it has replayed its peer as far as its anchors; StoreError or InputError when there is
    nothing that could be audited.
    """
    trust = load_trust(config)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(config.data))
        store = stack.enter_context(
            closing(LmdbStore.open(config.store, readonly=True, from_end_to_end=True))
        )
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-audit-")))
        rebuilt = LmdbStore.create(scratch / "store", instance=bytes(16))
        return Auditor(
            store,
            stack.enter_context(closing(rebuilt)),
            origin=config.origin,
            authority=trust.authority(config.origin),
            peer_log=_peer_log(config, trust, store, stack),
            check_signatures=_SignatureChecker(config.limits.workers, stack),
            progress=progress,
        ).run()


def _peer_log(config: Config, trust: Trust, ledger: Store, stack: ExitStack) -> PeerLog:
    """The peer's log as the node has replayed it; nothing, before it ever reached its peer."""
    try:
        store = LmdbStore.open(config.peer_store, readonly=True, from_end_to_end=True)
    except StoreError as error:
        if error.reason != "NO_STORE":
            raise
        return NoPeerLog()
    peer_store = stack.enter_context(closing(PeerStore(store)))
    with ledger.snapshot() as snapshot:
        own = load_history(snapshot, config.origin, trust.authority(config.origin))
    origin = own.need_genesis().peer_origin
    return stored_replica(peer_store, origin, trust.authority(origin))


class _SignatureChecker:
    """Checks a page's signatures on all processors; the processes start when they are needed."""

    def __init__(self, workers: int, stack: ExitStack) -> None:
        self._workers = workers
        self._stack = stack
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, checks: list[SignatureCheck]) -> None:
        if len(checks) < _WORTH_SENDING:
            check_signatures(checks)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(self._workers, context)
            self._pool = self._stack.enter_context(pool)
        share = -(-len(checks) // self._workers)
        parts = [checks[i : i + share] for i in range(0, len(checks), share)]
        for _ in self._pool.map(check_signatures, parts):
            pass

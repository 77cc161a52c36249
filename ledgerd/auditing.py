"""`ledgerd audit`: puts the auditor together with a node's files, a scratch store and processes."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from ledgerd.config import Config
from ledgerd.credentials import load_trust
from ledgerd.ledger.audit import Auditor
from ledgerd.ledger.peer_log import NoPeerLog, PeerLog
from ledgerd.ledger.sampling import Sampler
from ledgerd.ledger.verifying import AuditError
from ledgerd.observe.results import AuditResult
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

Progress = Callable[[int, int], None]


def audit(config: Config, progress: Progress, *, clock: Callable[[], int]) -> str:
    """
    Audit the store of a node that does not run; return what to say of it.

    progress(done, total) is in entries, clock in µs. What came of it is kept (AuditResult).

    The scratch store goes where temporary files go (TMPDIR) and grows as large as the ledger's
    indexes. Raises AuditError for the first thing that is wrong; NotReadyError while the node runs,
    or before it has replayed its peer as far as its anchors; StoreError or InputError when there is
    nothing that could be audited.
    """
    trust = load_trust(config)
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(config.data))
        outcome = stack.enter_context(_kept(config, 0, 1, clock))
        store = stack.enter_context(
            closing(LmdbStore.open(config.store, readonly=True, from_end_to_end=True))
        )
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-audit-")))
        rebuilt = LmdbStore.create(scratch / "store", instance=bytes(16))
        report = Auditor(
            store,
            stack.enter_context(closing(rebuilt)),
            origin=config.origin,
            authority=trust.authority(config.origin),
            peer_log=_peer_log(config, trust, store, stack),
            check_signatures=_SignatureChecker(config.limits.workers, stack),
            progress=progress,
        ).run()
        outcome.entries = outcome.size = report.entries
    return (
        f"{report.entries} entries, {report.findings} findings, root {report.root.hex()}:"
        " everything is as the log says"
    )


def audit_part(config: Config, parts: int, progress: Progress, *, clock: Callable[[], int]) -> str:
    """
    Audit the next of so many parts of a store, which may be served meanwhile; as audit().

    The part is the one after that of the run before; after one that failed, the same again. Holds
    one block of entries in memory. Raises AuditError for the first thing that is wrong.
    """
    authority = load_trust(config).authority(config.origin)
    last = AuditResult.read(config.data)
    known = last is not None and last.parts == parts
    part = (last.part + last.ok) % parts if last is not None and known else 0
    with (
        _kept(config, part, parts, clock) as outcome,
        closing(LmdbStore.open(config.store, readonly=True)) as store,
    ):
        sampler = Sampler(store, origin=config.origin, authority=authority)
        outcome.entries, outcome.size = sampler.run(part, parts, progress)
    return (
        f"{outcome.entries} of {outcome.size} entries, part {part + 1} of {parts}:"
        " what was looked at is as the log says"
    )


def keep_cut_short(config: Config, *, clock: Callable[[], int]) -> StoreError:
    """What an audit found that ended its process: a mapped file without its last pages."""
    error = StoreError(
        "the store's file is shorter than what it says that it holds",
        reason="CUT_SHORT",
        action="keep the file as it is, and restore the newest backup beside it",
    )
    last = AuditResult.read(config.data)
    part, parts = (last.part, last.parts) if last is not None else (0, 1)
    AuditResult(0, clock(), 0, 0, part, parts, error.message).write(config.data)
    return error


class _Outcome:
    entries = 0
    size = 0


@contextmanager
def _kept(config: Config, part: int, parts: int, clock: Callable[[], int]) -> Iterator[_Outcome]:
    """Keep what comes of an audit, unless nothing does: it could not be made."""
    outcome = _Outcome()

    def keep(*, ok: bool, message: str = "") -> None:
        AuditResult(int(ok), clock(), outcome.entries, outcome.size, part, parts, message).write(
            config.data
        )

    try:
        yield outcome
    except (AuditError, StoreError) as error:
        keep(ok=False, message=error.message)
        raise
    keep(ok=True)


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

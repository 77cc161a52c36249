"""
A store made of a backup: every entry is verified and applied once more, as an audit would.

Nothing of a backup is believed: its checkpoint is the log's own, or it is of no use.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from hashlib import sha256
from pathlib import Path

from ledgerd.backup.files import (
    OWN,
    PEER,
    Manifest,
    entry_files,
    find_backup,
    read_entries,
    wrong_origin,
)
from ledgerd.config import Config
from ledgerd.credentials import load_trust
from ledgerd.ledger.head import Head
from ledgerd.ledger.peer_log import NoPeerLog, PeerLog
from ledgerd.ledger.verifying import AuditError, Given, LogVerifier
from ledgerd.peer.notes import open_known, parse_known
from ledgerd.peer.recovery import Progress, unwatched
from ledgerd.peer.replay import Page
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import make_directory
from ledgerd.store.tables import Table
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import InputError, LedgerError, StoreError
from ledgerd_client.core.trust import Trust

Clock = Callable[[], int]
Random = Callable[[int], bytes]


@asynccontextmanager
async def as_store(
    config: Config, copy: Path, *, clock: Clock, random: Random, progress: Progress = unwatched
) -> AsyncIterator[Path]:
    """
    A store that holds what a copy does: the copy itself, or one that is made of a backup.

    The latter lies in the data directory while the block lasts. Raises AuditError for what is not
    as the log says, FieldError WRONG_ORIGIN, InputError NO_STORE, StoreError.
    """
    backup = find_backup(copy, config.origin)
    if backup is None:
        store = _store_in(copy, config.origin)
        make_directory(config.data)
        yield store
        return
    make_directory(config.data)
    scratch = config.data / f"assembly-{sha256(str(backup).encode()).hexdigest()[:16]}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        await assemble(
            backup,
            scratch,
            load_trust(config),
            clock=clock,
            random=random,
            quota=config.limits.replica_quota_bytes,
            map_size=config.limits.map_size,
            progress=progress,
        )
        yield scratch / "store"
    finally:
        shutil.rmtree(scratch)


def _store_in(copy: Path, origin: str) -> Path:
    """The store that a copy is, or that lies in a data directory."""
    path = copy / "store" if (copy / "store").is_dir() else copy
    try:
        with closing(LmdbStore.open(path, readonly=True)) as store:
            held = _origin_of(store)
    except StoreError as error:
        if error.reason != "NO_STORE":
            raise
        raise InputError(
            f"there is neither a backup nor a store in {copy}",
            reason="NO_STORE",
            action="name a backup, or a directory of backups, or a store",
        ) from None
    if held not in {"", origin}:
        raise wrong_origin(f"{path} is the store of {held}, and not of {origin}")
    return path


def _origin_of(store: LmdbStore) -> str:
    """Empty where the store does not say: however damaged, bodies may be taken out of it."""
    try:
        with store.snapshot() as snapshot:
            return parse_known(Head.load(snapshot).checkpoint).checkpoint.origin
    except LedgerError:
        return ""


async def assemble(
    backup: Path,
    scratch: Path,
    trust: Trust,
    *,
    clock: Clock,
    random: Random,
    quota: int,
    map_size: int,
    progress: Progress = unwatched,
) -> None:
    """Make `store` in an empty directory out of a backup; raises as as_store does."""
    manifest = Manifest.read(backup)
    peer_store = PeerStore.open(scratch / "peer", quota=quota, random=random)
    with closing(peer_store):
        peer = await _replay(peer_store, manifest, backup, trust, clock, progress)
        made = LmdbStore.create(scratch / "store", instance=random(16), map_size=map_size)
        with closing(made):
            authority = trust.authority(manifest.origin)
            await asyncio.to_thread(_write, made, manifest, backup, authority, peer, progress)


async def _replay(
    store: PeerStore,
    manifest: Manifest,
    backup: Path,
    trust: Trust,
    clock: Clock,
    progress: Progress,
) -> PeerLog:
    if not manifest.peer_checkpoint:
        return NoPeerLog()
    origin = manifest.peer_origin
    replica = Replica(store, origin, trust.authority(origin), check=_check, clock=clock)
    known = parse_known(manifest.peer_checkpoint)
    await replica.follow(_peers_pages(backup, known.size, progress), known)
    return replica


async def _peers_pages(backup: Path, size: int, progress: Progress) -> AsyncIterator[Page]:
    place = 0
    for entries in _pages(backup, PEER):
        shared = {i: entry.body for i, entry in enumerate(entries, place) if entry.body}
        yield Page([entry.header for entry in entries], shared)
        place += len(entries)
        progress(place, size)


def _write(
    store: LmdbStore,
    manifest: Manifest,
    backup: Path,
    authority: bytes,
    peer: PeerLog,
    progress: Progress,
) -> None:
    """The whole log into an empty store; in one thread, as it is the store's writer."""
    with store.snapshot() as snapshot:
        empty = Head.empty(manifest.origin)
        verifier = LogVerifier.load(snapshot, manifest.origin, authority, peer, empty)
    size = parse_known(manifest.checkpoint).size
    for entries in _pages(backup, OWN):
        given = list(map(_given, entries))
        rows = [(u64(index), each) for index, each in enumerate(given, verifier.replay.size)]
        with store.write() as transaction:
            transaction.put_many(Table.HEADERS, ((key, each.header) for key, each in rows))
            whole = ((k, each.body) for k, each in rows if not (each.erased_by or each.lost))
            transaction.put_many(Table.BODIES, whole)
            check_signatures(verifier.take(transaction, given))
        progress(verifier.replay.size, size)
    verifier.check_nothing_lost()
    verifier.check_nothing_erased()
    replay = verifier.replay
    known = open_known(manifest.checkpoint, replay.history)
    if (known.size, known.checkpoint.root) != (replay.size, replay.tree.root()):
        raise AuditError(f"{backup} does not hash to its checkpoint", reason="BAD_ROOT")
    with store.write() as transaction:
        Head(replay.size, replay.last_time, replay.last_leaf, known.note).put(transaction)


def _pages(backup: Path, log: str) -> Iterator[list[pb.FollowedEntry]]:
    for file in entry_files(backup, log):
        yield from read_entries(file)


def _given(entry: pb.FollowedEntry) -> Given:
    if entry.erased_by:
        return Given(entry.header, entry.remains, entry.erased_by)
    return Given(entry.header, entry.body, lost=not entry.body)


async def _check(checks: list[SignatureCheck]) -> None:
    await asyncio.to_thread(check_signatures, checks)

"""
`ledgerd backup`: what a node needs to come back from, made beside the node while it serves.

Only what is new since the backup before is written; what was written is read back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.backup.files import (
    MANIFEST,
    OWN,
    SUMS,
    UNFINISHED,
    EntryFile,
    Manifest,
    backups_in,
    bad_backup,
    drop,
    entry_files,
    read_entries,
    sums_of,
    write_entries,
)
from ledgerd.backup.sources import OwnLog, SourceLog, peers_log
from ledgerd.config import Config
from ledgerd.credentials import load_trust
from ledgerd.ledger.standing import Standing
from ledgerd.observe.results import BackupResult
from ledgerd.projections.erased import ErasedBody
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import hold
from ledgerd.synced import sync
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import InputError, NotReadyError, StoreError
from ledgerd_client.core.header import Header
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.keyfile import open_private

# Entries in one file.
_FILE: Final = 65_536

Progress = Callable[[int, int], None]


class BackedUp(NamedTuple):
    """The backup that was made: entries in it, and how many of them are new."""

    path: Path
    entries: int
    added: int


def backup(
    config: Config, to: Path, *, keep: int, clock: Callable[[], int], progress: Progress
) -> BackedUp:
    """
    Back a node's ledger up into a new directory below `to`, as write_backup does; it may serve.

    What became of it then stands in its data directory (BackupResult). Raises NotReadyError, and
    leaves the backups that there are, when the store is known to hold less than it did; InputError
    INSIDE_DATA.
    """
    _check_outside(config, to)
    trust = load_trust(config)
    with ExitStack() as stack:
        store = stack.enter_context(closing(LmdbStore.open(config.store, readonly=True)))
        own = OwnLog(store, config.origin, trust.authority(config.origin))
        standing = Standing.found(config.data, store, own.history())
        if standing.is_rolled_back and standing.refusal is not None:
            raise standing.refusal
        made = write_backup(
            to,
            own,
            # Opened after ours: it holds what our anchors rest on.
            peers_log(config.peer_store, own, trust, stack),
            keep=keep,
            clock=clock,
            progress=progress,
        )
    BackupResult(clock(), made.entries, str(made.path)).write(config.data)
    return made


def _check_outside(config: Config, to: Path) -> None:
    """What befalls the data directory must not befall its backups."""
    for inside in (config.data, config.store, config.peer_store):
        if to.resolve().is_relative_to(inside.resolve()):
            raise InputError(
                f"{to} lies in {inside}, which it would back up",
                reason="INSIDE_DATA",
                action="name a directory outside of data, best on another disk",
            )


def write_backup(
    to: Path,
    own: OwnLog,
    peer: SourceLog | None,
    *,
    keep: int,
    clock: Callable[[], int],
    progress: Progress,
) -> BackedUp:
    """
    Make a backup in a new directory below `to`; progress(done, total) is in entries.

    It goes on from this log's newest backup there, whose files it shares, and leaves as many as
    `keep` says; those that hold what was erased since, it removes. Another log's it leaves alone.
    When this returns, everything is on the disk, and was read back: entries hash to the signed
    checkpoint, bodies to their headers. A crash leaves nothing that looks whole.

    Raises NotReadyError ALREADY_SERVED when another process backs up there, StoreError.
    """
    with _directory(to):
        for left in to.glob(f"{UNFINISHED}*"):
            drop(left)
        now = clock()
        name = datetime.fromtimestamp(now / 1_000_000, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        unfinished = to / f"{UNFINISHED}{name}"
        unfinished.mkdir(mode=0o700)
        previous = [each for each in backups_in(to) if Manifest.read(each).origin == own.origin]
        making = _Making(unfinished, previous[-1] if previous else None, progress)
        making.take(own)
        making.apply_erasures(own)
        if peer is not None:
            making.take(peer)
        manifest = Manifest(
            own.origin, own.note, peer.origin if peer else "", peer.note if peer else b"", now
        )
        _write(unfinished / SUMS, sums_of(unfinished).encode())
        _write(unfinished / MANIFEST, manifest.format())
        sync(unfinished)
        made = unfinished.rename(to / name)
        sync(to)
        # They hold bodies that the authority has ordered to be erased.
        outdated = previous if making.erased else previous[: max(0, len(previous) + 1 - keep)]
        for each in outdated:
            drop(each)
        return BackedUp(made, own.end.size, own.end.size - making.kept[OWN])


class _Making:
    """A backup while it is made, beside the one before."""

    def __init__(self, directory: Path, before: Path | None, progress: Progress) -> None:
        # By log, how many entries the one before has of it.
        self.kept: dict[str, int] = {}
        # Whether that one holds bodies that are erased by now.
        self.erased = False
        self._directory = directory
        self._before = before
        self._progress = progress

    def take(self, log: SourceLog) -> None:
        """Link what the one before has of a log, and write the rest, up to its checkpoint."""
        first = self.kept[log.name] = self._link(log)
        edge = log.edge(first)
        while True:
            for start in range(first, log.end.size, _FILE):
                stop = min(start + _FILE, log.end.size)
                file = EntryFile.of(self._directory, log.name, start, stop)
                write_entries(file, log.pages(start, stop))
                edge.extend(_leaves(file))
                self._progress(stop, log.end.size)
            first = edge.size
            if not log.moves_on():
                break
        opened = open_log_checkpoint(log.note, log.history())
        if (edge.size, edge.root()) != (opened.checkpoint.size, opened.checkpoint.root):
            raise bad_backup("the entries that were written do not hash to the log's checkpoint")

    def apply_erasures(self, log: OwnLog) -> None:
        """Take out of files what was erased since: a backup brings no body back."""
        for file in entry_files(self._directory, OWN):
            gone = {i: each for i, each in log.erased.items() if file.first <= i < file.stop}
            if any(_bodies(file, gone)):
                self.erased = self.erased or file.first < self.kept[OWN]
                without = file._replace(path=file.path.with_name(f"{UNFINISHED}{file.path.name}"))
                write_entries(without, _without(file, gone))
                for _ in _leaves(without):
                    pass
                without.path.replace(file.path)

    def _link(self, log: SourceLog) -> int:
        """Link the files of the one before, if they are of the same tree; entries in them."""
        if self._before is None:
            return 0
        manifest = Manifest.read(self._before)
        end = manifest.end if log.name == OWN else manifest.peer_end
        if end is None or end.origin != log.origin or end.size > log.end.size:
            return 0
        if log.edge(end.size).root() != end.root:
            return 0
        for file in entry_files(self._before, log.name):
            _link(file.path, self._directory / file.path.name)
        return end.size


def _leaves(file: EntryFile) -> Iterator[bytes]:
    """Read a file back: the leaves of its entries, whose bodies are found to be theirs."""
    for page in read_entries(file):
        for index, entry in enumerate(page):
            header = Header.parse(entry.header)
            if entry.body and sha256(entry.body).digest() != header.body_digest:
                raise bad_backup(f"{file.path}: the body at place {index} of a page is another")
            yield leaf_hash(entry.header)


def _bodies(file: EntryFile, indexes: Iterable[int]) -> Iterator[bytes]:
    """The bodies of some entries that a file holds."""
    wanted, place = set(indexes), file.first
    if not wanted:
        return
    for page in read_entries(file):
        yield from (e.body for i, e in enumerate(page, place) if i in wanted and e.body)
        place += len(page)


def _without(file: EntryFile, gone: dict[int, ErasedBody]) -> Iterator[list[pb.FollowedEntry]]:
    place = file.first
    for page in read_entries(file):
        for index, entry in enumerate(page, place):
            if (erased := gone.get(index)) is not None:
                page[index - place] = pb.FollowedEntry(
                    header=entry.header, remains=erased.remains, erased_by=erased.erasure
                )
        place += len(page)
        yield page


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # a file system without links, or too many of them
        to.touch(mode=0o600)
        shutil.copyfile(path, to)
        sync(to)


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb", opener=open_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _directory(to: Path) -> Iterator[None]:
    """The directory, there and held by this process alone; its errors as ours."""
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        busy = NotReadyError(
            f"another process backs up into {to}",
            reason="ALREADY_SERVED",
            action="let one end before the next begins",
        )
        with hold(to, alone=True, busy=busy):
            yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or to}: {error.strerror}",
            reason="NOT_BACKED_UP",
            action="see to the disk and the directory's permissions, then run it again",
        ) from error

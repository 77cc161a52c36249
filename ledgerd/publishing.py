"""
`ledgerd publish`: a log as files that any web server can serve (C2SP tlog-tiles).

The node may run or not: the store is only read. What is published is entries' headers, hashes and a
checkpoint; a body never is (docs/format.md, "Published logs").
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.config import Config
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.tree import HASH, tile_key
from ledgerd.peer.submit import newest_cosigned
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import hold
from ledgerd.store.tables import Table
from ledgerd.synced import sync
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError, ForkError, NotReadyError, StoreError
from ledgerd_client.core.merkle import Frontier, leaf_hash
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.tiles import WIDTH, Tile, bundle_of, tiles_of

CHECKPOINT: Final = "checkpoint"


class Published(NamedTuple):
    """What a directory holds now: entries, and how many files were written for it."""

    size: int
    files: int


def publish(
    config: Config, out: Path, *, uncosigned: bool, stopped: Callable[[], bool]
) -> Published:
    """
    Bring a directory up to the newest checkpoint of a node's log that its peer cosigned.

    uncosigned: up to the newest one. It goes on from the checkpoint that the directory holds, and
    stopped is asked before each file. When this returns, everything is on the disk; a crash leaves
    the old checkpoint or the new one, and every file that it names.

    Raises NotReadyError NOT_COSIGNED, PUBLISHED_AHEAD or ALREADY_SERVED, FieldError WRONG_ORIGIN
    or NOT_EMPTY, ForkError when the directory holds another tree, StoreError.
    """
    with _directory(out), closing(LmdbStore.open(config.store, readonly=True)) as store:
        note = Reader(store).head().checkpoint if uncosigned else _cosigned(config)
        checkpoint = _read(note)
        _check_own(checkpoint, config.origin, store)
        files = _Files(out)
        known = _published(files, checkpoint, store)
        for tile in tiles_of(checkpoint.size, known):
            if stopped():
                return Published(known, files.written)
            files.put(tile.path, _content(store, tile, known))
        files.sync()
        # Until here nothing of the above may be missing: who reads a checkpoint asks for its tiles.
        if files.get(CHECKPOINT) != note:
            files.put(CHECKPOINT, note)
            files.sync()
        for tile in tiles_of(checkpoint.size, known):
            if tile.width == WIDTH:
                files.drop_partial(tile)
        return Published(checkpoint.size, files.written)


def _cosigned(config: Config) -> bytes:
    try:
        with (
            closing(LmdbStore.open(config.peer_store, readonly=True)) as store,
            store.snapshot() as snapshot,
        ):
            note = newest_cosigned(snapshot)
    except StoreError as error:
        if error.reason != "NO_STORE":
            raise
        note = b""
    if not note:
        raise NotReadyError(
            "the peer has not cosigned this log yet",
            reason="NOT_COSIGNED",
            action="wait until it has, or publish what nobody cosigned with --uncosigned",
        )
    return note


def _read(note: bytes) -> Checkpoint:
    return Checkpoint.parse(parse_note(note).text)


def _check_own(checkpoint: Checkpoint, origin: str, store: Store) -> None:
    """The two stores of a node could be of two backups."""
    if checkpoint.origin != origin or checkpoint.root != Reader(store).root(checkpoint.size):
        raise StoreError(
            f"the checkpoint of size {checkpoint.size} is not of the tree in the store",
            reason="OTHER_TREE",
        )


def _published(files: _Files, new: Checkpoint, store: Store) -> int:
    """How many entries the directory holds whole, all of them ours."""
    note = files.get(CHECKPOINT)
    if note is None:
        files.check_unused()
        return 0
    old = _read(note)
    if old.origin != new.origin:
        raise FieldError(
            f"the directory holds {old.origin}, not {new.origin}",
            reason="WRONG_ORIGIN",
            action="give a directory of its own to each log",
        )
    if old.size > new.size:
        raise NotReadyError(
            f"{old.size} entries are published, and there are {new.size} to publish",
            reason="PUBLISHED_AHEAD",
            action="wait until the log, or its peer, has come so far; if it was restored, recover"
            " it first",
        )
    # Never believed: files of another tree would stand among ours, and caches keep them for ever.
    if old.root != Reader(store).root(old.size):
        raise ForkError(
            f"what is published of {old.origin} at size {old.size} is another tree",
            action="keep both, and tell the authority",
        )
    return old.size


def _content(store: Store, tile: Tile, known: int) -> bytes:
    """A file's content, checked against what it is made of from entry known on."""
    first = tile.number * WIDTH
    with store.snapshot() as snapshot:
        if tile.level is None:
            return bundle_of(_headers(snapshot, first, tile.width))
        content = _stored(snapshot, tile.level, tile.number)[: tile.width * HASH]
        new = max(0, (known >> 8 * tile.level) - first)
        made = _hashes(snapshot, tile.level, first + new, tile.width - new)
        if content[new * HASH :] != b"".join(made):
            raise StoreError(f"{tile.path} is not what its entries hash to", reason="BAD_TILE")
        return content


def _hashes(snapshot: Snapshot, level: int, first: int, count: int) -> Iterator[bytes]:
    """Hashes of a level, each made of the entry or the full tile below it."""
    if not level:
        yield from map(leaf_hash, _headers(snapshot, first, count))
        return
    for number in range(first, first + count):
        below = _stored(snapshot, level - 1, number)
        tree = Frontier()
        tree.extend(below[at : at + HASH] for at in range(0, len(below), HASH))
        yield tree.root()


def _stored(snapshot: Snapshot, level: int, number: int) -> bytes:
    """The hashes of a tile, without what the store keeps beside them."""
    return (snapshot.get(Table.TILES, tile_key(level, number)) or b"")[: WIDTH * HASH]


def _headers(snapshot: Snapshot, first: int, count: int) -> list[bytes]:
    found = snapshot.scan(Table.HEADERS, u64(first), u64(first + count))
    headers = [header for _, header in found]
    if len(headers) != count:
        raise StoreError(f"a header from {first} on is missing", reason="NO_HEADER")
    return headers


class _Files:
    """The files of a directory: each is there whole or not at all, and on the disk after sync()."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed: set[Path] = set()
        self.written = 0

    def get(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def check_unused(self) -> None:
        """Keys or a store must never come to lie where a web server serves."""
        for path in self._directory.iterdir():
            if path.name != "tile" and not path.name.startswith(f".{CHECKPOINT}."):
                raise FieldError(
                    f"{self._directory} holds no published log, but {path.name}",
                    reason="NOT_EMPTY",
                    action="give an empty directory, or one that is not there yet",
                )

    def put(self, name: str, content: bytes) -> None:
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        # A new directory is an entry in its parent.
        self._changed.update(p for p in path.parents if p.is_relative_to(self._directory))
        self.written += 1

    def sync(self) -> None:
        for directory in self._changed:
            sync(directory)
        self._changed.clear()

    def drop_partial(self, tile: Tile) -> None:
        """Remove the partial ones of a tile that is full; readers find the full one (C2SP)."""
        path = self._directory / f"{tile.path}.p"
        if path.exists():
            shutil.rmtree(path)


@contextmanager
def _directory(out: Path) -> Iterator[None]:
    """The directory, there and held by this process alone; its errors as ours."""
    try:
        out.mkdir(exist_ok=True)
        busy = NotReadyError(
            f"another process publishes into {out}",
            reason="ALREADY_SERVED",
            action="let one process publish into a directory",
        )
        with hold(out, alone=True, busy=busy):
            yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or out}: {error.strerror}",
            reason="NOT_PUBLISHED",
            action="see to the disk and the directory's permissions; then run it again, it goes on"
            " where it stopped",
        ) from error

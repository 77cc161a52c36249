"""The ledger's store in LMDB: one directory, one file, one named database for each table."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import lmdb

from ledgerd.store.base import (
    MAX_SNAPSHOTS,
    Room,
    Snapshot,
    Transaction,
    View,
    WriteTurn,
    check_bounds,
    check_key,
    check_keys,
)
from ledgerd.store.format import FORMAT_KEY, check_format, format_value
from ledgerd.store.lock import hold
from ledgerd.store.tables import INSTANCE_KEY, Table
from ledgerd.synced import sync
from ledgerd_client.core.errors import BusyError, LedgerError, StoreError

MAP_SIZE = 1 << 40

_DATA = "data.mdb"
_UNFINISHED = "creating.mdb"
_COMPACTED = "compacting.mdb"

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _store_errors(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let nothing of LMDB's or the system's leave the function but as one of our errors."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except (lmdb.Error, OSError) as error:
            raise _ours(error) from error

    return call


def _ours(error: lmdb.Error | OSError) -> LedgerError:
    if isinstance(error, lmdb.ReadersFullError):
        return BusyError(f"{MAX_SNAPSHOTS} snapshots of the store are open", reason="SNAPSHOTS")
    if isinstance(error, lmdb.MapFullError):
        return StoreError(
            "the store has filled the map that it was opened with",
            reason="MAP_FULL",
            action="start with a larger map size; it costs address space only",
        )
    if isinstance(error, (lmdb.ReadonlyError, PermissionError)):
        return StoreError(
            f"this user may not open the store: {error}",
            action="call this as the user whom the store belongs to",
        )
    if isinstance(error, OSError):
        return StoreError(str(error), action="check the path, its permissions and the disk")
    return StoreError(f"the store failed: {error}")


class LmdbStore:
    """
    The Store that a ledger lives in. See `Store` for what it promises.

    Only one process writes (DirectoryLock); others may open it read-only beside that one, and
    nobody compacts it meanwhile. LMDB
    must not be carried through a fork: start other processes by spawning.
    """

    def __init__(self, path: Path, environment: lmdb.Environment, opened: ExitStack) -> None:
        self._path = path
        self._environment = environment
        # First: a store of another format may have other tables.
        meta = environment.open_db(Table.META.encode(), create=False)
        with environment.begin(meta) as transaction:
            check_format(transaction.get(FORMAT_KEY))
        self._databases = {
            table: environment.open_db(table.encode(), create=False) for table in Table
        }
        self._turn = WriteTurn()
        with self.snapshot() as snapshot:
            instance = snapshot.get(Table.META, INSTANCE_KEY)
        if instance is None:
            raise lmdb.NotFoundError("instance")
        self._instance = instance
        self._opened = opened.pop_all()

    @classmethod
    @_store_errors
    def create(cls, path: Path, *, instance: bytes, map_size: int = MAP_SIZE) -> Self:
        """
        Make an empty store in a directory that is empty or not there yet, and open it.

        When this returns, the store is on the disk; a crash before that leaves nothing that
        `open` would take for one. Raises StoreError "STORE_EXISTS" when the directory holds
        anything.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        if found := sorted(entry.name for entry in path.iterdir()):
            raise _exists(path, found)
        _make(path, instance)
        return cls.open(path, map_size=map_size)

    @classmethod
    @_store_errors
    def open(
        cls,
        path: Path,
        *,
        map_size: int = MAP_SIZE,
        readonly: bool = False,
        from_end_to_end: bool = False,
    ) -> Self:
        """
        Open a store that `create` made; `map_size` is the most it may grow to, in bytes.

        from_end_to_end: how it will be read, for the kernel to read ahead.

        Raises StoreError "NO_STORE" when there is none, STORE_TOO_NEW or STORE_TOO_OLD when it is
        of another format, and leaves the directory as it is; NotReadyError ALREADY_SERVED while it
        is compacted.
        """
        # Looked at first: LMDB begins a new store in an empty directory, and in an empty file.
        data = path / _DATA
        if not (data.is_file() and data.stat().st_size):
            raise _no_store(f"there is no store in {path}")
        with ExitStack() as opened:
            opened.enter_context(hold(data.resolve().parent))
            environment = opened.enter_context(
                _environment(path, map_size=map_size, readonly=readonly, readahead=from_end_to_end)
            )
            try:
                return cls(path, environment, opened)
            except lmdb.NotFoundError:
                raise _no_store(f"{path} holds an LMDB file, but not of a ledger") from None

    @staticmethod
    @_store_errors
    def compact(path: Path) -> tuple[int, int]:
        """
        Write the store of a directory anew without what was deleted from it, and swap it in.

        Returns the sizes of the old file and the new one, in bytes. When this returns, the new one
        is on the disk; a crash before that leaves the old one or the new one. Raises NotReadyError
        ALREADY_SERVED while anybody has it open, by whatever path, and StoreError, "NO_STORE" when
        there is none; the old one then stays.
        """
        LmdbStore.open(path, readonly=True).close()
        # Where the file is, and not a link to it.
        path = (path / _DATA).resolve().parent
        data, compacted = path / _DATA, path / _COMPACTED
        # Whoever opened the old file would write on into it, and the new one have none of that.
        with hold(path, alone=True):
            before = data.stat().st_size
            try:
                _copy_pages(path, compacted)
                compacted.rename(data)
            except BaseException:
                compacted.unlink(missing_ok=True)
                raise
            sync(path)
            return before, data.stat().st_size

    @classmethod
    @_store_errors
    def copy(cls, source: Path, path: Path, *, instance: bytes) -> None:
        """
        Copy the store of a directory, which may be open, to one that is not there yet.

        The copy is an instance of its own. When this returns, it is on the disk. Raises StoreError,
        NO_STORE when there is none to copy.
        """
        cls.open(source, readonly=True).close()
        path.mkdir(mode=0o700)
        _copy_pages(source, path / _DATA)
        with closing(cls.open(path)) as store, store.write() as transaction:
            transaction.put(Table.META, INSTANCE_KEY, instance)
        for directory in (path, path.absolute().parent):
            sync(directory)

    @property
    def instance(self) -> bytes:
        return self._instance

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        transaction = self._begin(write=False)
        view = _LmdbSnapshot(transaction, self._databases)
        try:
            yield view
        finally:
            view.end()
            transaction.abort()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self._turn.transaction():
            transaction = self._begin(write=True)
            view = _LmdbTransaction(transaction, self._databases)
            try:
                yield view
            except BaseException:
                transaction.abort()
                raise
            finally:
                view.end()
            # The point of no return. A crash before LMDB has synced its meta page leaves the
            # state before this transaction, a crash after it the state with it.
            with self._turn.commit():
                transaction.commit()

    @_store_errors
    def free_bytes(self) -> int:
        disk = os.statvfs(self._path)
        info = self._environment.info()
        used = (info["last_pgno"] + 1) * self._environment.stat()["psize"]
        return min(disk.f_bavail * disk.f_frsize, max(info["map_size"] - used, 0))

    @_store_errors
    def room(self) -> Room:
        info, main = self._environment.info(), self._environment.stat()
        transaction = self._begin(write=False)
        try:
            tables = [transaction.stat(database) for database in self._databases.values()]
        finally:
            transaction.abort()
        # Two pages say where the rest is. Those that list the free ones count as free.
        used = 2 + sum(
            stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            for stat in (main, *tables)
        )
        size = main["psize"]
        free = max(info["last_pgno"] + 1 - used, 0)
        return Room(used * size, free * size, info["map_size"])

    def close(self) -> None:
        self._opened.close()

    @_store_errors
    def _begin(self, *, write: bool) -> lmdb.Transaction[bytes]:
        if write:
            # A reader that was killed keeps its slot, and so every page freed since, until
            # somebody looks.
            self._environment.reader_check()
        return self._environment.begin(write=write)


def _no_store(message: str) -> StoreError:
    return StoreError(
        message,
        reason="NO_STORE",
        action="check the path, and whether its disk is mounted; `ledgerd init` is for a new ledger"
        " only",
    )


def _environment(path: Path, *, map_size: int, readonly: bool, readahead: bool) -> lmdb.Environment:
    return lmdb.open(
        os.fspath(path),
        map_size=map_size,
        max_dbs=len(Table),
        max_readers=MAX_SNAPSHOTS,
        mode=0o700,  # LMDB takes the x bits away for its files
        create=False,
        readonly=readonly,
        readahead=readahead,
        # Pages are cleared before use: signing keys lie in the same heap, and the file travels.
        meminit=True,
        # Named, because LMDB_DEFAULT_LIB_VERSION in the environment could choose another format.
        lib_version=0,
    )


def _make(path: Path, instance: bytes) -> None:
    unfinished = path / _UNFINISHED
    unfinished.touch(mode=0o600, exist_ok=False)
    try:
        with (
            lmdb.open(
                os.fspath(unfinished), subdir=False, lock=False, max_dbs=len(Table), lib_version=0
            ) as environment,
            environment.begin(write=True) as transaction,
        ):
            databases = {
                table: environment.open_db(table.encode(), txn=transaction) for table in Table
            }
            transaction.put(INSTANCE_KEY, instance, db=databases[Table.META])
            transaction.put(FORMAT_KEY, format_value(), db=databases[Table.META])
        unfinished.rename(path / _DATA)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    for directory in (path, path.absolute().parent):
        sync(directory)


def _copy_pages(path: Path, copy: Path) -> None:
    """Copy the pages that are in use to a file, which is on the disk afterwards."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(copy, flags, 0o600)
    try:
        with _environment(path, map_size=MAP_SIZE, readonly=True, readahead=True) as environment:
            environment.copyfd(descriptor, compact=True)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: Path, found: list[str]) -> StoreError:
    if found == [_UNFINISHED]:
        message = f"{path} holds the beginning of a store whose making was cut short"
        action = f"delete {path / _UNFINISHED}, in which nothing was ever kept, and try again"
    else:
        message = f"{path} is not empty: it holds {', '.join(found[:3])}"
        action = "give a new directory; an existing ledger is served, never made anew"
    return StoreError(message, reason="STORE_EXISTS", action=action)


class _LmdbSnapshot(View):
    def __init__(
        self,
        transaction: lmdb.Transaction[bytes],
        databases: Mapping[Table, lmdb._Database],
    ) -> None:
        super().__init__()
        self._transaction = transaction
        self._databases = databases

    def end(self) -> None:
        super().end()
        # The binding gives a reader's slot back when the object goes, and not when it ends.
        del self._transaction

    def get(self, table: Table, key: bytes) -> bytes | None:
        self._check_live()
        check_key(key)
        try:
            return self._transaction.get(key, db=self._databases[table])
        except lmdb.Error as error:
            raise _ours(error) from error

    @_store_errors
    def get_many(self, table: Table, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        self._check_live()
        ordered = sorted(keys)
        check_keys(ordered)
        return dict(self._transaction.cursor(self._databases[table]).getmulti(ordered))

    @_store_errors
    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self._check_live()
        check_bounds(start, stop)
        cursor = self._transaction.cursor(self._databases[table])
        return self._watched(table, _walk(cursor, start, stop, reverse=reverse))

    @_store_errors
    def count(self, table: Table) -> int:
        self._check_live()
        return self._transaction.stat(self._databases[table])["entries"]


def _walk(
    cursor: lmdb.Cursor[bytes], start: bytes, stop: bytes | None, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    try:
        if not reverse:
            if cursor.set_range(start):
                yield from takewhile(lambda item: stop is None or item[0] < stop, cursor.iternext())
        # Down from the last key below `stop`, which is before the first that is not below it.
        elif cursor.prev() if stop is not None and cursor.set_range(stop) else cursor.last():
            yield from takewhile(lambda item: item[0] >= start, cursor.iterprev())
    except lmdb.Error as error:
        raise _ours(error) from error


class _LmdbTransaction(_LmdbSnapshot):
    @_store_errors
    def put(self, table: Table, key: bytes, value: bytes) -> None:
        check_key(key)
        database = self._changing(table)
        self._transaction.put(key, value, db=database)

    @_store_errors
    def put_many(self, table: Table, items: Iterable[tuple[bytes, bytes]]) -> None:
        values = dict(items)
        check_keys(values)
        ordered = sorted(values.items(), key=itemgetter(0))
        if ordered:
            database = self._changing(table)
            cursor = self._transaction.cursor(database)
            # Appending fills pages to the brim; otherwise each full one would be cut in half.
            append = not cursor.last() or cursor.key() < ordered[0][0]
            cursor.putmulti(ordered, append=append)

    @_store_errors
    def delete(self, table: Table, key: bytes) -> None:
        check_key(key)
        database = self._changing(table)
        self._transaction.delete(key, db=database)

    def _changing(self, table: Table) -> lmdb._Database:
        self._check_live()
        self._changes[table] += 1
        return self._databases[table]

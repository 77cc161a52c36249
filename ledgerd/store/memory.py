"""A store that lives in memory: for tests, and held to the same contract as the real one."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from ledgerd.store.base import (
    MAX_SNAPSHOTS,
    Room,
    Snapshot,
    Transaction,
    View,
    WriteTurn,
    check_bounds,
    check_key,
    misuse,
)
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import BusyError


class MemoryStore:
    """
    A Store that keeps every promise but the disk's.

    `free` is what `free_bytes` answers; a test may set it at any time.
    """

    def __init__(self, *, instance: bytes, free: int = 1 << 40) -> None:
        self.free = free
        self._instance = instance
        self._tables = {table: _Rows({}) for table in Table}
        self._turn = WriteTurn()
        self._snapshots = threading.BoundedSemaphore(MAX_SNAPSHOTS)
        self._open = True

    @property
    def instance(self) -> bytes:
        return self._instance

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._check_open()
        if not self._snapshots.acquire(blocking=False):
            raise BusyError(f"{MAX_SNAPSHOTS} snapshots of the store are open", reason="SNAPSHOTS")
        view = _MemorySnapshot(self._tables)
        try:
            yield view
        finally:
            view.end()
            self._snapshots.release()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self._turn.transaction():
            self._check_open()
            transaction = _MemoryTransaction(self._tables)
            try:
                yield transaction
            finally:
                transaction.end()
            with self._turn.commit():
                self._tables = transaction.tables

    def free_bytes(self) -> int:
        return self.free

    def room(self) -> Room:
        rows = (row for table in self._tables.values() for row in table.values.items())
        used = sum(len(key) + len(value) for key, value in rows)
        return Room(used, 0, used + self.free)

    def close(self) -> None:
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise misuse("the store is closed")


class _Rows:
    """One state of a table. Whoever shares it reads only."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.values = values
        self._order: list[bytes] | None = None

    def order(self) -> list[bytes]:
        if self._order is None:
            self._order = sorted(self.values)
        return self._order

    def changing(self) -> dict[bytes, bytes]:
        self._order = None
        return self.values


class _MemorySnapshot(View):
    def __init__(self, tables: dict[Table, _Rows]) -> None:
        super().__init__()
        self.tables = tables

    def get(self, table: Table, key: bytes) -> bytes | None:
        self._check_live()
        check_key(key)
        return self.tables[table].values.get(key)

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found = ((key, self.get(table, key)) for key in keys)
        return {key: value for key, value in found if value is not None}

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self._check_live()
        check_bounds(start, stop)
        values, order = self.tables[table].values, self.tables[table].order()
        keys = order[bisect_left(order, start) : None if stop is None else bisect_left(order, stop)]
        ordered = reversed(keys) if reverse else keys
        return self._watched(table, ((key, values[key]) for key in ordered))

    def count(self, table: Table) -> int:
        self._check_live()
        return len(self.tables[table].values)


class _MemoryTransaction(_MemorySnapshot):
    def __init__(self, tables: dict[Table, _Rows]) -> None:
        super().__init__(dict(tables))
        self._committed = tables

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        check_key(key)
        self._changing(table)[key] = value

    def put_many(self, table: Table, items: Iterable[tuple[bytes, bytes]]) -> None:
        added = dict(items)
        for key in added:
            check_key(key)
        if added:
            self._changing(table).update(added)

    def delete(self, table: Table, key: bytes) -> None:
        check_key(key)
        self._changing(table).pop(key, None)

    def _changing(self, table: Table) -> dict[bytes, bytes]:
        self._check_live()
        self._changes[table] += 1
        if self.tables[table] is self._committed[table]:
            self.tables[table] = _Rows(dict(self._committed[table].values))
        return self.tables[table].changing()

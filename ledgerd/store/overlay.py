"""A transaction that nobody commits: what would be in the store, over a snapshot of what is."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge

from ledgerd.store.base import Snapshot, View, check_bounds, check_key, misuse
from ledgerd.store.tables import Table


class Overlay(View):
    """
    A Transaction over a snapshot, which it must not outlive. Its writes go nowhere.

    count() is refused: what a snapshot counts in constant time, this does not know.
    """

    def __init__(self, below: Snapshot) -> None:
        super().__init__()
        self._below = below
        # None: deleted.
        self._written: dict[Table, dict[bytes, bytes | None]] = defaultdict(dict)

    def get(self, table: Table, key: bytes) -> bytes | None:
        self._check_live()
        check_key(key)
        written = self._written[table]
        return written[key] if key in written else self._below.get(table, key)

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found = ((key, self.get(table, key)) for key in keys)
        return {key: value for key, value in found if value is not None}

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self._check_live()
        check_bounds(start, stop)
        written = self._written[table]
        order = sorted(written)
        keys = order[bisect_left(order, start) : None if stop is None else bisect_left(order, stop)]
        if reverse:
            keys.reverse()
        below = (
            (key, value)
            for key, value in self._below.scan(table, start, stop, reverse=reverse)
            if key not in written
        )
        above = ((key, value) for key in keys if (value := written[key]) is not None)
        return self._watched(table, merge(below, above, reverse=reverse))

    def count(self, table: Table) -> int:
        raise misuse(f"an overlay does not count table {table}")

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self._write(table, key, value)

    def put_many(self, table: Table, items: Iterable[tuple[bytes, bytes]]) -> None:
        added = dict(items)
        for key in added:
            check_key(key)
        for key, value in added.items():
            self._write(table, key, value)

    def delete(self, table: Table, key: bytes) -> None:
        self._write(table, key, None)

    def _write(self, table: Table, key: bytes, value: bytes | None) -> None:
        self._check_live()
        check_key(key)
        self._changes[table] += 1
        self._written[table][key] = value

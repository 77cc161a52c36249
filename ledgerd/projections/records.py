"""
Records by their author: the idempotency index, and each author's entries in log order.

RECORDS: lp8(author) ‖ record_id → u64 index ‖ body_digest. AUTHORS: lp8(author) ‖ u64 index → "".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import U64_MAX, lp8, u64


class Known(NamedTuple):
    """Where a record stands that the log holds already."""

    position: int
    body_digest: bytes


class Records:
    """
    The index of one commit: what the transaction will hold once flush() has run.

    Puts are collected, because sorted together they cost a third of what they cost one by one.
    """

    def __init__(self) -> None:
        # Rows as they are stored: those added, and those read ahead.
        self._new: dict[bytes, bytes] = {}
        self._read: dict[bytes, bytes | None] = {}
        self._authored: list[bytes] = []

    def read(self, transaction: Transaction, names: Iterable[tuple[str, bytes]]) -> None:
        """Read at once what find() will be asked for: authors and record ids."""
        keys = {record_key(author, record_id) for author, record_id in names}
        self._read = {**dict.fromkeys(keys), **transaction.get_many(Table.RECORDS, keys)}

    def find(self, transaction: Transaction, author: str, record_id: bytes) -> Known | None:
        key = record_key(author, record_id)
        if key in self._new:
            return _parse(self._new[key])
        if key in self._read:
            return _parse(self._read[key])
        return _parse(transaction.get(Table.RECORDS, key))

    def add(self, author: str, record_id: bytes, index: int, body_digest: bytes) -> None:
        prefix, place = _prefix(author), u64(index)
        self._new[prefix + record_id] = place + body_digest
        self._authored.append(prefix + place)

    def flush(self, transaction: Transaction) -> None:
        transaction.put_many(Table.RECORDS, self._new.items())
        transaction.put_many(Table.AUTHORS, ((key, b"") for key in self._authored))
        self._new.clear()
        self._read.clear()
        self._authored.clear()


def record_key(author: str, record_id: bytes) -> bytes:
    return _prefix(author) + record_id


def find_record(snapshot: Snapshot, author: str, record_id: bytes) -> Known | None:
    return _parse(snapshot.get(Table.RECORDS, record_key(author, record_id)))


def entries_by(snapshot: Snapshot, author: str, start: int, stop: int) -> Iterator[int]:
    """Indexes of author's entries with start <= index < stop, in log order."""
    prefix = _prefix(author)
    for key, _ in snapshot.scan(
        Table.AUTHORS, prefix + u64(start), prefix + u64(min(stop, U64_MAX))
    ):
        yield int.from_bytes(key[-8:], "big")


def newest_by(snapshot: Snapshot, author: str) -> Iterator[int]:
    """Indexes of author's entries, the newest first."""
    prefix = _prefix(author)
    for key, _ in snapshot.scan(
        Table.AUTHORS, prefix + u64(0), prefix + u64(U64_MAX), reverse=True
    ):
        yield int.from_bytes(key[-8:], "big")


@lru_cache(maxsize=4096)
def _prefix(author: str) -> bytes:
    return lp8(author.encode())


def _parse(value: bytes | None) -> Known | None:
    return None if value is None else Known(int.from_bytes(value[:8], "big"), value[8:])

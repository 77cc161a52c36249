"""
Rows as objects: one encoding for all of them, and a cache that outlives the commit.

An encoded row is its values one after the other, each a tag, a length and so many bytes; one value
has one spelling, because an audit compares rows as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from ledgerd.projections.transfer_row import OpenFinding, Position
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table

Value: TypeAlias = "int | str | bytes | tuple[Value, ...]"

_INT: Final = 0
_TEXT: Final = 1
_BYTES: Final = 2
_TUPLE: Final = 3
# Lengths from here on take four bytes more.
_LONG: Final = 0xFF

# Of rows of one sort, encoded: as objects they take some ten times as much.
KEPT_BYTES: Final = 1 << 21
# What a row takes beside what it holds.
_ROW_BYTES: Final = 200


def encode(*values: Value) -> bytes:
    """The bytes of some values; integers of any size and sign, text as UTF-8."""
    return b"".join(map(_encode, values))


def decode(data: bytes) -> tuple[Value, ...]:
    """What encode() was given; only for what it made."""
    values: list[Value] = []
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length == _LONG:
            length, at = int.from_bytes(data[at : at + 4], "big"), at + 4
        values.append(_decode(tag, data[at : at + length]))
        at += length
    return tuple(values)


def _encode(value: Value) -> bytes:
    if isinstance(value, int):
        return _framed(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if isinstance(value, str):
        return _framed(_TEXT, value.encode())
    if isinstance(value, bytes):
        return _framed(_BYTES, value)
    return _framed(_TUPLE, encode(*value))


def _framed(tag: int, data: bytes) -> bytes:
    if len(data) < _LONG:
        return bytes((tag, len(data))) + data
    return bytes((tag, _LONG)) + len(data).to_bytes(4, "big") + data


def _decode(tag: int, data: bytes) -> Value:
    if tag == _INT:
        return int.from_bytes(data, "big", signed=True)
    if tag == _TEXT:
        return data.decode()
    return data if tag == _BYTES else decode(data)


def findings_value(findings: Sequence[OpenFinding]) -> Value:
    """Open findings as a value of a row."""
    return tuple(
        (
            found.finding_id,
            found.rule,
            tuple((int(own), at) for own, at in found.records),
            found.numbers,
        )
        for found in findings
    )


def parse_findings(value: Any) -> list[OpenFinding]:
    """What findings_value() was given."""
    return [
        OpenFinding(
            finding_id, rule, tuple(Position(bool(own), at) for own, at in records), numbers
        )
        for finding_id, rule, records, numbers in value
    ]


class Row(Protocol):
    """One value of a table, as an object that may be changed in place."""

    def encode(self) -> bytes: ...


R = TypeVar("R", bound=Row)


class Rows(Generic[R]):
    """
    Rows of one table as objects: read once, changed in place, put at flush(). A cache across
    commits.

    Belongs to one writer of the table. After a transaction that did not commit, make it anew.
    """

    def __init__(
        self, table: Table, parse: Callable[[bytes], R], *, keep: int = KEPT_BYTES
    ) -> None:
        """keep: rows of so many bytes, as they are encoded, stay in memory after a flush."""
        self._table = table
        self._parse = parse
        self._keep = keep
        self._rows: dict[bytes, R | None] = {}
        self._sizes: dict[bytes, int] = {}
        # In the order of their changes, as a dictionary because a set has none.
        self._changed: dict[bytes, None] = {}
        self.held = 0

    def get(self, transaction: Snapshot, key: bytes) -> R | None:
        """The row; whoever changes it puts it."""
        try:
            return self._rows[key]
        except KeyError:
            value = transaction.get(self._table, key)
            row = self._rows[key] = None if value is None else self._parse(value)
            self._resize(key, 0 if value is None else len(value))
            return row

    def put(self, key: bytes, row: R) -> None:
        self._rows[key] = row
        self._changed[key] = None

    def delete(self, key: bytes) -> None:
        self._rows[key] = None
        self._changed[key] = None

    def flush(self, transaction: Transaction) -> None:
        """
        Put what has changed; before a commit, and before the table is scanned.

        What get() gave before may be another object than what it gives after.
        """
        if self._changed:
            self._put_changed(transaction)
        if self.held <= self._keep:
            return
        # The longest known first: a row that is in use is read again at once.
        for key in list(self._sizes):
            if self.held <= self._keep:
                break
            self.held -= self._sizes.pop(key)
            del self._rows[key]

    def _put_changed(self, transaction: Transaction) -> None:
        rows = [(key, self._rows[key]) for key in self._changed]
        values = [(key, row.encode()) for key, row in rows if row is not None]
        transaction.put_many(self._table, values)
        for key, value in values:
            self._resize(key, len(value))
        for key, row in rows:
            if row is None:
                transaction.delete(self._table, key)
                self._resize(key, 0)
        self._changed.clear()

    def _resize(self, key: bytes, size: int) -> None:
        size += _ROW_BYTES
        self.held += size - self._sizes.get(key, 0)
        self._sizes[key] = size

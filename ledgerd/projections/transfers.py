"""
Transfers by ref: the halves that both logs hold, and what is open about them. Contracts likewise.

TRANSFERS: ref, or "C" ‖ contract_ref, or of a disposal "C" ‖ contract_ref ‖ its terms' digest → the
row below. DEADLINES: u64 due (µs) ‖ that key → "". LEFT: 0xFF ‖ a contract's key ‖ u8 own ‖ u64
position of a half that says again what its author had said before → u8 number ‖ the half that it
took the place of (rules.agreement): a row of TRANSFERS holds the newest of equal halves only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple, Self

from ledgerd.projections.row_keys import contract_row
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import U64_MAX, lp8, u64

# Halves that count: on a transfer, of one log; on a contract, of one author and sort. A transfer
# needs two or three; without a bound, one institution could make a row as long as it likes, and
# every further half has to carry it.
MAX_HALVES: Final = 100

# Of a transfer whose newest halves nobody has judged yet: it stands before every real deadline.
UNJUDGED: Final = 1

# state, due, halves of this log, halves of the peer's, findings, moves
_ROW = struct.Struct(">BQIIHH")
_HALF = struct.Struct(">?BQQ32sB")
# Both, of one half, as most rows are.
_ROW_OF_ONE = struct.Struct(_ROW.format + _HALF.format.lstrip(">"))
_POSITION = struct.Struct(">?Q")
_NUMBER = struct.Struct(">Q")
_MOVE = struct.Struct(">QB")
# In LEFT, above every field of the index.
_REPLACED: Final = b"\xff"


class Position(NamedTuple):
    """A place in one of the two logs."""

    own: bool
    entry: int


class Half(NamedTuple):
    """One half of a transfer. own: in this node's log; otherwise in the peer's."""

    own: bool
    kind: int
    position: int
    recorded_at: int
    terms_digest: bytes
    outcome: int
    # Whose key signed it; and, in an own half that is not lost, whom its terms name across the
    # border.
    institution: str
    counterparty: str

    @property
    def place(self) -> Position:
        return Position(self.own, self.position)

    @property
    def lost(self) -> bool:
        """Whether it is of this log, and all that is left of it is its header."""
        return self.own and not self.counterparty


class OpenFinding(NamedTuple):
    """A finding that stands until its condition is gone."""

    finding_id: bytes
    rule: str
    records: tuple[Position, ...]
    # As it was opened with; what closes it says them again.
    numbers: tuple[int, ...] = ()


class Move(NamedTuple):
    """A transfer was in a state until entry `at` of this log, which put it in another."""

    at: int
    state: int


class Moved(NamedTuple):
    """What an entry has moved: from which state to which, with these halves of this log."""

    old: int
    new: int
    halves: list[int]


@dataclass(slots=True)
class Transfer:
    """
    state is a number of rules.reconcile.State; of a contract, 0 (rules.agreement says what it is).

    due is µs, 0 when nothing is awaited, UNJUDGED when its halves are to be judged first. moves are
    in log order. was: the state that the row was last put with; None of one that never was.
    """

    state: int = 0
    due: int = 0
    halves: list[Half] = field(default_factory=list)
    findings: list[OpenFinding] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    was: int | None = field(default=None, compare=False)

    def state_before(self, size: int) -> int:
        """Its state when the log had so many entries, and it was known already."""
        return next((move.state for move in self.moves if move.at >= size), self.state)

    def own_halves(self) -> list[int]:
        """The indexes of its halves in this log, but for those that are lost."""
        return [half.position for half in self.halves if half.own and not half.lost]

    def encode(self) -> bytes:
        if len(self.halves) == 1 and not (self.findings or self.moves):
            one = self.halves[0]
            row = _ROW_OF_ONE.pack(self.state, self.due, one.own, not one.own, 0, 0, *one[:6])
            return row + _text(one.institution) + _text(one.counterparty)
        own = 0
        parts = [b""]
        for half in self.halves:
            own += half.own
            parts += _packed(half)
        counts = own, len(self.halves) - own, len(self.findings), len(self.moves)
        parts[0] = _ROW.pack(self.state, self.due, *counts)
        for finding in self.findings:
            places = b"".join(_POSITION.pack(*place) for place in finding.records)
            numbers = b"".join(map(u64, finding.numbers))
            parts += (finding.finding_id, _text(finding.rule), lp8(places), lp8(numbers))
        for move in self.moves:
            parts.append(_MOVE.pack(*move))
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        state, due, own, peers, findings, moves = _ROW.unpack_from(data)
        reader = _Reader(data, _ROW.size)
        return cls(
            state,
            due,
            [reader.half() for _ in range(own + peers)],
            [
                OpenFinding(reader.bytes(32), reader.text(), reader.positions(), reader.numbers())
                for _ in range(findings)
            ],
            [Move(*reader.take(_MOVE)) for _ in range(moves)],
            was=state,
        )


class Transfers:
    """
    The rows that one commit changes: what the transaction will hold once flush() has run.

    They are collected for the same reason as Records. at: the index of the entry that is applied.
    """

    at: int = 0

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._read: dict[bytes, bytes | None] = {}
        # Key of DEADLINES, and whether it is to be there.
        self._deadlines: dict[bytes, bool] = {}
        # By key: a transfer that moves twice at one entry has moved once.
        self._moved: dict[bytes, Moved] = {}
        # Rows of LEFT.
        self._replaced: dict[bytes, bytes] = {}

    def read(self, transaction: Transaction, refs: Iterable[bytes]) -> None:
        """Read at once the rows that get() will be asked for."""
        wanted = set(refs)
        self._read = {**dict.fromkeys(wanted), **transaction.get_many(Table.TRANSFERS, wanted)}

    def get(self, transaction: Transaction, ref: bytes) -> Transfer:
        """The transfer of ref, or an empty one."""
        value = self._row(transaction, ref)
        return Transfer() if value is None else Transfer.parse(value)

    def with_room(self, transaction: Transaction, ref: bytes, *, own: bool) -> Transfer | None:
        """
        As get(), but None when no further half of that log is kept.

        There is then one more than MAX_HALVES of it. To learn that costs nothing, however long the
        row is.
        """
        value = self._row(transaction, ref)
        if value is None:
            return Transfer()
        _, _, owns, peers, *_ = _ROW.unpack_from(value)
        return None if (owns if own else peers) > MAX_HALVES else Transfer.parse(value)

    def put(self, ref: bytes, transfer: Transfer, old_due: int) -> None:
        """Take a row and move its deadline; old_due is the one that get() gave, 0 for none."""
        if transfer.was is not None and transfer.was != transfer.state:
            self._move(ref, transfer, transfer.was)
        self._rows[ref] = transfer.encode()
        if transfer.due != old_due:
            if old_due:
                self._deadlines[u64(old_due) + ref] = False
            if transfer.due:
                self._deadlines[u64(transfer.due) + ref] = True

    def keep(self, key: bytes, taken: Position, number: int, earlier: Half) -> None:
        """Keep a half of a contract whose place in the row another one took."""
        value = bytes((number,)) + b"".join(_packed(earlier))
        self._replaced[_replaced_key(key, taken)] = value

    def _move(self, ref: bytes, transfer: Transfer, old: int) -> None:
        transfer.was = transfer.state
        if not transfer.moves or transfer.moves[-1].at != self.at:
            transfer.moves.append(Move(self.at, old))
        earlier = self._moved.get(ref)
        first = old if earlier is None else earlier.old
        self._moved[ref] = Moved(first, transfer.state, transfer.own_halves())

    def take_moves(self) -> list[Moved]:
        """What has moved since this was last asked."""
        if not self._moved:
            return []
        moved = [each for each in self._moved.values() if each.old != each.new]
        self._moved.clear()
        return moved

    def overdue(self, transaction: Transaction, until: int, most: int) -> list[bytes]:
        """Refs whose deadline is before until (µs), earliest first, at most so many."""
        self.flush(transaction)
        rows = transaction.scan(Table.DEADLINES, b"", u64(until))
        return [key[8:] for key, _ in islice(rows, most)]

    def _row(self, transaction: Transaction, ref: bytes) -> bytes | None:
        if ref in self._rows:
            return self._rows[ref]
        if ref in self._read:
            return self._read[ref]
        return transaction.get(Table.TRANSFERS, ref)

    def flush(self, transaction: Transaction) -> None:
        transaction.put_many(Table.TRANSFERS, self._rows.items())
        awaited = [(key, b"") for key, there in self._deadlines.items() if there]
        transaction.put_many(Table.DEADLINES, awaited)
        for key, there in self._deadlines.items():
            if not there:
                transaction.delete(Table.DEADLINES, key)
        if self._replaced:
            transaction.put_many(Table.LEFT, self._replaced.items())
        self._rows.clear()
        self._read.clear()
        self._deadlines.clear()
        self._replaced.clear()


def count_own(row: bytes) -> int:
    """How many halves of this log an encoded row has."""
    own: int = _ROW.unpack_from(row)[2]
    return own


def state_of_row(row: bytes) -> int:
    """The state of an encoded row."""
    return row[0]


def get_transfer(snapshot: Snapshot, ref: bytes) -> Transfer | None:
    value = snapshot.get(Table.TRANSFERS, ref)
    return None if value is None else Transfer.parse(value)


def disposals_of(snapshot: Snapshot, ref: bytes) -> Iterator[Transfer]:
    """The disposals under a contract, in no order that means anything."""
    start = contract_row(ref)
    for _, value in snapshot.scan(Table.TRANSFERS, start + b"\0", start + b"\xff" * 33):
        yield Transfer.parse(value)


def replaced_since(
    snapshot: Snapshot, key: bytes, since: Position
) -> Iterator[tuple[Position, int, Half]]:
    """Of a contract, the halves of one log from a position on, newest first; and as by keep()."""
    bounds = (_replaced_key(key, since._replace(entry=entry)) for entry in (since.entry, U64_MAX))
    for each, value in snapshot.scan(Table.LEFT, *bounds, reverse=True):
        taken = Position(since.own, int.from_bytes(each[-8:], "big"))
        yield taken, value[0], _Reader(value, 1).half()


def next_deadline(snapshot: Snapshot) -> int | None:
    """The earliest deadline, µs; None when nothing is awaited."""
    for key, _ in snapshot.scan(Table.DEADLINES):
        return int.from_bytes(key[:8], "big")
    return None


def _replaced_key(key: bytes, taken: Position) -> bytes:
    return _REPLACED + key + _POSITION.pack(*taken)


def _packed(half: Half) -> tuple[bytes, bytes, bytes]:
    return _HALF.pack(*half[:6]), _text(half.institution), _text(half.counterparty)


@lru_cache(maxsize=4096)
def _text(text: str) -> bytes:
    return lp8(text.encode())


class _Reader:
    """Reads what this module wrote; the store is audited as a whole, not here."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._offset = offset

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        values = layout.unpack_from(self._data, self._offset)
        self._offset += layout.size
        return values

    def half(self) -> Half:
        return Half(*(*self.take(_HALF), self.text(), self.text()))

    def bytes(self, size: int) -> bytes:
        self._offset += size
        return self._data[self._offset - size : self._offset]

    def text(self) -> str:
        return self.bytes(self.bytes(1)[0]).decode()

    def positions(self) -> tuple[Position, ...]:
        packed = self.bytes(self.bytes(1)[0])
        return tuple(Position(*values) for values in _POSITION.iter_unpack(packed))

    def numbers(self) -> tuple[int, ...]:
        packed = self.bytes(self.bytes(1)[0])
        return tuple(number for (number,) in _NUMBER.iter_unpack(packed))

"""
Transfers by ref: the halves that both logs hold, and what is open about them. Contracts likewise.

TRANSFERS: ref, or "C" ‖ contract_ref, or of a disposal "C" ‖ contract_ref ‖ its terms' digest →
transfer_row. DEADLINES: u64 due (µs) ‖ that key → "". LEFT: 0xFF ‖ a contract's key ‖ u8 own ‖ u64
position of a half that says again what its author had said before → u8 number ‖ the half that it
took the place of (rules.agreement): a row of TRANSFERS holds the newest of equal halves only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from ledgerd.projections.row_keys import contract_row
from ledgerd.projections.transfer_row import (
    MAX_HALVES,
    POSITION,
    ROW,
    Half,
    Move,
    Position,
    Transfer,
    pack_half,
    read_half,
)
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import U64_MAX, u64

# In LEFT, above every field of the index.
_REPLACED: Final = b"\xff"


class Moved(NamedTuple):
    """What an entry has moved: from which state to which, with these halves of this log."""

    old: int
    new: int
    halves: list[int]


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
        _, _, owns, peers, *_ = ROW.unpack_from(value)
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
        value = bytes((number,)) + b"".join(pack_half(earlier))
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
        yield taken, value[0], read_half(value, 1)


def next_deadline(snapshot: Snapshot) -> int | None:
    """The earliest deadline, µs; None when nothing is awaited."""
    for key, _ in snapshot.scan(Table.DEADLINES):
        return int.from_bytes(key[:8], "big")
    return None


def _replaced_key(key: bytes, taken: Position) -> bytes:
    return _REPLACED + key + POSITION.pack(*taken)

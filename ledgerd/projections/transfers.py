"""
Transfers by ref: the halves that both logs hold, and what is open about them. Contracts likewise.

TRANSFERS: u64 place, in the order in which they became known → ref ‖ transfer_row. ORDINALS: which
place is a ref's. HALVES: u64 index of an own half that is in a row → u64 place. AGREEMENTS: "C" ‖
contract_ref, or of a disposal "C" ‖ contract_ref ‖ its terms' digest → transfer_row. DEADLINES: u64
due (µs) ‖ ref, or that key → "". LEFT: 0xFF ‖ that key ‖ u8 own ‖ u64 position of a half that says
again what its author had said before → u8 number ‖ the half that it took the place of
(rules.agreement): a row of AGREEMENTS holds the newest of equal halves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from ledgerd.projections.ordinals import Ordinals, find_places
from ledgerd.projections.row_keys import contract_row, is_contract
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
_REF: Final = 32
_Item: TypeAlias = tuple[bytes, bytes]
# A row and its place; None of a contract's. No NamedTuple, because one is made for each record.
_Row: TypeAlias = tuple[int | None, bytes]


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
        self._ordinals = Ordinals()
        self._rows: dict[bytes, _Row] = {}
        self._read: dict[bytes, _Row | None] = {}
        # Rows of HALVES.
        self._halves: dict[bytes, bytes] = {}
        # Key of DEADLINES, and whether it is to be there.
        self._deadlines: dict[bytes, bool] = {}
        # By key: a transfer that moves twice at one entry has moved once.
        self._moved: dict[bytes, Moved] = {}
        # Rows of LEFT.
        self._replaced: dict[bytes, bytes] = {}

    def load(self, snapshot: Snapshot) -> None:
        """Go on where the stored rows end."""
        self._ordinals = Ordinals.load(snapshot)

    def let_go(self) -> None:
        """
        Give back what load() took; nothing else may be called afterwards.

        What it is a part of may have to wait for a collection, and this is large.
        """
        self._ordinals = Ordinals()

    def read(self, transaction: Transaction, refs: Iterable[bytes]) -> None:
        """Read at once the rows that get() will be asked for."""
        self._read = self._find(transaction, set(refs))

    def get(self, transaction: Transaction, ref: bytes) -> Transfer:
        """The transfer of ref, or an empty one."""
        found = self._row(transaction, ref)
        return Transfer() if found is None else _parse(found)

    def with_room(self, transaction: Transaction, ref: bytes, *, own: bool) -> Transfer | None:
        """
        As get(), but None when no further half of that log is kept.

        There is then one more than MAX_HALVES of it. To learn that costs nothing, however long the
        row is.
        """
        found = self._row(transaction, ref)
        if found is None:
            return Transfer()
        _, _, owns, peers, *_ = ROW.unpack_from(found[1])
        return None if (owns if own else peers) > MAX_HALVES else _parse(found)

    def put(self, ref: bytes, transfer: Transfer, old_due: int) -> None:
        """Take a row and move its deadline; old_due is the one that get() gave, 0 for none."""
        if transfer.was is not None and transfer.was != transfer.state:
            self._move(ref, transfer, transfer.was)
        if transfer.place is None and not is_contract(ref):
            transfer.place = self._ordinals.add(ref)
        if transfer.place is not None:
            newest = transfer.halves[-1]
            if newest.own and newest.position == self.at:
                self._halves[u64(self.at)] = u64(transfer.place)
        self._rows[ref] = transfer.place, transfer.encode()
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

    def _row(self, transaction: Transaction, ref: bytes) -> _Row | None:
        if ref in self._rows:
            return self._rows[ref]
        if ref in self._read:
            return self._read[ref]
        return self._find(transaction, (ref,))[ref]

    def _find(self, transaction: Transaction, refs: Collection[bytes]) -> dict[bytes, _Row | None]:
        rows: dict[bytes, _Row | None] = dict.fromkeys(refs)
        contracts = [key for key in refs if is_contract(key)]
        for key, row in transaction.get_many(Table.AGREEMENTS, contracts).items():
            rows[key] = None, row
        places = self._ordinals.find(transaction, [ref for ref in refs if not is_contract(ref)])
        for key, value in transaction.get_many(Table.TRANSFERS, map(u64, places)).items():
            if value[:_REF] in rows:
                rows[value[:_REF]] = int.from_bytes(key, "big"), value[_REF:]
        return rows

    def flush(self, transaction: Transaction) -> None:
        stored = self._ordinals.flush(transaction)
        known, new, agreed = list[_Item](), list[_Item](), list[_Item]()
        for ref, (place, row) in self._rows.items():
            if place is None:
                agreed.append((ref, row))
            else:
                (known if place < stored else new).append((u64(place), ref + row))
        transaction.put_many(Table.AGREEMENTS, agreed)
        # Apart: what comes after all that is stored fills its pages.
        transaction.put_many(Table.TRANSFERS, known)
        transaction.put_many(Table.TRANSFERS, new)
        transaction.put_many(Table.HALVES, self._halves.items())
        awaited = [(key, b"") for key, there in self._deadlines.items() if there]
        transaction.put_many(Table.DEADLINES, awaited)
        for key, there in self._deadlines.items():
            if not there:
                transaction.delete(Table.DEADLINES, key)
        if self._replaced:
            transaction.put_many(Table.LEFT, self._replaced.items())
        self._rows.clear()
        self._read.clear()
        self._halves.clear()
        self._deadlines.clear()
        self._replaced.clear()


def get_transfer(snapshot: Snapshot, ref: bytes) -> Transfer | None:
    """The transfer of ref, or contract of that key (row_keys); None of an unknown one."""
    row = find_row(snapshot, ref)
    return None if row is None else Transfer.parse(row)


def find_row(snapshot: Snapshot, ref: bytes) -> bytes | None:
    """As get_transfer(), as it is kept."""
    if is_contract(ref):
        return snapshot.get(Table.AGREEMENTS, ref)
    for place in find_places(snapshot, ref):
        value = snapshot.get(Table.TRANSFERS, u64(place)) or b""
        if value[:_REF] == ref:
            return value[_REF:]
    return None


def row_of_half(snapshot: Snapshot, index: int) -> bytes | None:
    """The row of the transfer in which an own entry counts as a half; None where it does not."""
    place = snapshot.get(Table.HALVES, u64(index))
    value = None if place is None else snapshot.get(Table.TRANSFERS, place)
    return None if value is None else value[_REF:]


def disposals_of(snapshot: Snapshot, ref: bytes) -> Iterator[Transfer]:
    """The disposals under a contract, in no order that means anything."""
    start = contract_row(ref)
    for _, value in snapshot.scan(Table.AGREEMENTS, start + b"\0", start + b"\xff" * 33):
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


def _parse(found: _Row) -> Transfer:
    place, row = found
    transfer = Transfer.parse(row)
    transfer.place = place
    return transfer


def _replaced_key(key: bytes, taken: Position) -> bytes:
    return _REPLACED + key + POSITION.pack(*taken)

"""
Postings: which entries have a value in a field, in blocks of 4,096 entries.

INDEX: u8 field ‖ lp8(value) ‖ u32 block → postings: fewer than 256 as ascending u16 offsets, from
256 on a bitmap of 512 bytes, little-endian. LEFT: u8 field ‖ u8 value ‖ u32 block ‖ u64 at →
postings of those that had that value until entry `at` (STATE and STANDING only, whose values
change); by block before time, so that who looks at one block reads nothing of the others. INDEX
also: 0xFE ‖ u64 index of a FINDING → u64 index of the entry that closed it; 0xFF ‖ lp8(author) ‖
contract_id → what its author's newest statement says of a contract (`Stated`).
"""

from __future__ import annotations

import enum
import struct
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Self

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import U64_MAX, lp8, u64

BLOCK: Final = 4096
# From here on a bitmap is not longer than a list.
_BITMAP_FROM: Final = 256
_BITMAP_BYTES: Final = BLOCK // 8
_BLOCK_NUMBER: Final = struct.Struct(">I")
_BLOCK_AND_TIME: Final = struct.Struct(">IQ")
_OFFSET: Final = struct.Struct(">H")
_PAST_ANY_BLOCK: Final = b"\xff" * 5
# Blocks that stay in memory: some 700 bytes each.
_KEPT: Final = 4096

_CLOSED_BY: Final = b"\xfe"
_STATED: Final = b"\xff"


class Field(enum.IntEnum):
    """What entries are found by. Numbers are codes; institutions, contracts and rules are text."""

    KIND = 1
    INSTITUTION = 2
    COUNTERPARTY = 3
    CONTRACT = 4
    DIRECTION = 5
    PLACE = 6
    SECTOR = 7
    CATEGORY = 8
    SENSITIVE = 9
    PURPOSE = 10
    MECHANISM = 11
    RULE = 12
    SEVERITY = 13
    STATE = 14
    STANDING = 15
    # The place of the other party of the contract, as its author has stated it.
    OTHER_PLACE = 16


def code(number: int) -> bytes:
    return number.to_bytes(4, "big")


def text(value: str) -> bytes:
    return value.encode()


def posting(field: Field, value: bytes) -> bytes:
    """The key of a value's postings, but for the block."""
    return bytes((field,)) + lp8(value)


class _Added(NamedTuple):
    """Some entries of a block, in both spellings; offset: of the only one, else None."""

    listed: bytes
    bits: int
    offset: int | None


class _Block:
    """One block of a value, as it is stored; what is to be added is collected."""

    __slots__ = ("bitmap", "coming", "key", "listed")

    def __init__(self, key: bytes, value: bytes) -> None:
        self.key = key
        self.coming: list[_Added] = []
        # Of the two the one that is not in use is empty.
        self.listed, self.bitmap = b"", bytearray()
        self._store(value)

    def remove(self, offset: int) -> None:
        self._store(_spelled(_bits(self.encode()) & ~(1 << offset)))

    def encode(self) -> bytes:
        """Add what was collected; return how it is stored."""
        coming, self.coming = self.coming, []
        if self.bitmap:
            self._mark(coming)
        elif coming:
            self._append(coming)
        return bytes(self.bitmap) or self.listed

    def _store(self, value: bytes) -> None:
        full = len(value) == _BITMAP_BYTES
        self.listed, self.bitmap = (b"", bytearray(value)) if full else (value, bytearray())

    def _append(self, coming: list[_Added]) -> None:
        listed = coming[0].listed
        if len(coming) > 1:
            listed = _merged(b"".join([each.listed for each in coming]))
        follows = listed[:2] > self.listed[-2:]
        self.listed = self.listed + listed if follows else _merged(self.listed + listed)
        if len(self.listed) >= _BITMAP_BYTES:
            self._store(_bits_of(_offsets(self.listed)).to_bytes(_BITMAP_BYTES, "little"))

    def _mark(self, coming: list[_Added]) -> None:
        if len(coming) == 1 and (offset := coming[0].offset) is not None:
            self.bitmap[offset >> 3] |= 1 << (offset & 7)
            return
        bits = int.from_bytes(self.bitmap, "little")
        for each in coming:
            bits |= each.bits
        self.bitmap[:] = bits.to_bytes(_BITMAP_BYTES, "little")


def _offsets(listed: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(listed) // 2}H", listed)


def _list(offsets: Sequence[int]) -> bytes:
    return struct.pack(f">{len(offsets)}H", *offsets)


def _merged(listed: bytes) -> bytes:
    return _list(sorted(set(_offsets(listed))))


def _bits(value: bytes) -> int:
    if len(value) == _BITMAP_BYTES:
        return int.from_bytes(value, "little")
    return _bits_of(_offsets(value))


def _spelled(bits: int) -> bytes:
    if bits.bit_count() >= _BITMAP_FROM:
        return bits.to_bytes(_BITMAP_BYTES, "little")
    return _list(list(offsets_of(bits)))


def _bits_of(offsets: Iterable[int]) -> int:
    bitmap = bytearray(_BITMAP_BYTES)
    for offset in offsets:
        bitmap[offset >> 3] |= 1 << (offset & 7)
    return int.from_bytes(bitmap, "little")


def _added(offsets: Sequence[int]) -> _Added:
    first, count = offsets[0], len(offsets)
    if count == 1:
        return _Added(_OFFSET.pack(first), 1 << first, first)
    # A call's records stand in a row, as a rule.
    in_a_row = offsets[-1] - first == count - 1
    bits = ((1 << count) - 1) << first if in_a_row else _bits_of(offsets)
    return _Added(_list(offsets), bits, None)


def offsets_of(bits: int, *, reverse: bool = False) -> Iterator[int]:
    """The bits that are set, ascending or descending; each is found when it is asked for."""
    while bits:
        offset = (bits if reverse else bits & -bits).bit_length() - 1
        yield offset
        bits ^= 1 << offset


class Postings:
    """
    The blocks that one commit changes; those in use stay in memory across commits.

    Belongs to one writer of the table. After a transaction that did not commit, make it anew.
    """

    def __init__(self) -> None:
        self._blocks: dict[bytes, _Block] = {}
        # The blocks of those that were last added to together, so that they are not looked up.
        self._together: dict[tuple[bytes, ...], tuple[int, list[_Block]]] = {}
        # In the order of their changes, as a dictionary because a set has none.
        self._changed: dict[_Block, None] = {}
        # By key of LEFT. What an entry moves, it moves in one commit.
        self._left: dict[bytes, int] = defaultdict(int)

    def add(
        self, transaction: Transaction, names: tuple[bytes, ...], indexes: Sequence[int]
    ) -> None:
        """Add entries, each above the one before, to some postings, named as posting() does."""
        start = 0
        while start < len(indexes):
            number = indexes[start] // BLOCK
            stop = bisect_left(indexes, (number + 1) * BLOCK, start)
            added = _added([index % BLOCK for index in indexes[start:stop]])
            for block in self._blocks_of(transaction, names, number):
                if not block.coming:
                    self._changed[block] = None
                block.coming.append(added)
            start = stop

    def move(
        self, transaction: Transaction, field: Field, old: int, new: int, index: int, at: int
    ) -> None:
        """Have an entry go from a value that it was posted under to another, with entry `at`."""
        number, offset = divmod(index, BLOCK)
        left = self._block(transaction, posting(field, code(old)), number)
        left.remove(offset)
        self._changed[left] = None
        self.add(transaction, (posting(field, code(new)),), (index,))
        self._left[_left_key(field, old, number, at)] |= 1 << offset

    def flush(self, transaction: Transaction) -> None:
        """Put what has changed."""
        rows = [(block.key, block.encode()) for block in self._changed]
        transaction.put_many(Table.INDEX, (row for row in rows if row[1]))
        for key, value in rows:
            if not value:
                transaction.delete(Table.INDEX, key)
        if self._left:
            left = [(key, _spelled(bits)) for key, bits in self._left.items()]
            transaction.put_many(Table.LEFT, left)
        self._changed.clear()
        self._left.clear()
        if max(len(self._blocks), len(self._together)) > _KEPT:
            # The longest known first: one that is in use is read again at once.
            spare = max(0, len(self._blocks) - _KEPT // 2)
            for key in list(islice(self._blocks, spare)):
                del self._blocks[key]
            self._together.clear()

    def _blocks_of(
        self, transaction: Transaction, names: tuple[bytes, ...], number: int
    ) -> list[_Block]:
        together = self._together.get(names)
        if together is None or together[0] != number:
            blocks = [self._block(transaction, name, number) for name in names]
            together = self._together[names] = number, blocks
        return together[1]

    def _block(self, transaction: Transaction, name: bytes, number: int) -> _Block:
        key = name + _BLOCK_NUMBER.pack(number)
        block = self._blocks.get(key)
        if block is None:
            value = transaction.get(Table.INDEX, key) or b""
            block = self._blocks[key] = _Block(key, value)
        return block


def bits(snapshot: Snapshot, field: Field, value: bytes, block: int) -> int:
    """The entries of a block that have a value: bit i for entry block · BLOCK + i."""
    key = posting(field, value) + _BLOCK_NUMBER.pack(block)
    return _bits(snapshot.get(Table.INDEX, key) or b"")


def blocks_with(
    snapshot: Snapshot, field: Field, value: bytes, blocks: range
) -> Iterator[tuple[int, int]]:
    """Of blocks in a row, those where an entry has a value, each with the bits of these."""
    name = posting(field, value)
    bounds = (name + _BLOCK_NUMBER.pack(block) for block in (blocks.start, blocks.stop))
    for key, posted in snapshot.scan(Table.INDEX, *bounds):
        yield _BLOCK_NUMBER.unpack(key[-4:])[0], _bits(posted)


def next_block(
    snapshot: Snapshot, field: Field, value: bytes, start: int, *, reverse: bool
) -> int | None:
    """The nearest block from start on, or down from it, where an entry has a value."""
    name = posting(field, value)
    bounds = name + _BLOCK_NUMBER.pack(start), name + _PAST_ANY_BLOCK
    if reverse:
        bounds = name, name + _BLOCK_NUMBER.pack(start + 1)
    for key, _ in snapshot.scan(Table.INDEX, *bounds, reverse=reverse):
        number: int = _BLOCK_NUMBER.unpack(key[-4:])[0]
        return number
    return None


def left_since(
    snapshot: Snapshot, field: Field, value: int, block: int, size: int
) -> Iterator[tuple[int, int]]:
    """(at, bits) of a block's entries that left a value at an entry from size on, in log order."""
    bounds = (_left_key(field, value, block, at) for at in (size, U64_MAX))
    for key, left in snapshot.scan(Table.LEFT, *bounds):
        yield int.from_bytes(key[-8:], "big"), _bits(left)


def next_left(
    snapshot: Snapshot, field: Field, value: int, blocks: range, size: int, *, reverse: bool
) -> int | None:
    """The first of some blocks, or the last, that entries have left since a size."""
    low, high = blocks.start, blocks.stop
    while low < high:
        first = _left_key(field, value, low, 0 if reverse else size)
        rows = snapshot.scan(Table.LEFT, first, _left_key(field, value, high, 0), reverse=reverse)
        found = next(iter(rows), None)
        if found is None:
            return None
        block, at = map(int, _BLOCK_AND_TIME.unpack_from(found[0], 2))
        if at >= size:
            return block
        # Upwards it is the block's oldest row, and newer ones may follow; downwards its newest.
        low, high = (low, block) if reverse else (block, high)
    return None


def _left_key(field: Field, value: int, block: int, at: int) -> bytes:
    return bytes((field, value)) + _BLOCK_AND_TIME.pack(block, at)


class Stated(NamedTuple):
    """What the newest statement of a contract says: its mechanism, the other party's place."""

    mechanism: int
    place: int

    @classmethod
    def of(cls, snapshot: Snapshot, contract: bytes) -> Self | None:
        """By the key of a row of CONTRACTS; None before it was stated."""
        value = snapshot.get(Table.INDEX, _STATED + contract)
        if value is None:
            return None
        return cls(int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big"))

    def put(self, transaction: Transaction, contract: bytes) -> None:
        transaction.put(Table.INDEX, _STATED + contract, code(self.mechanism) + code(self.place))


def put_closed_by(transaction: Transaction, finding: int, closed_by: int) -> None:
    transaction.put(Table.INDEX, _CLOSED_BY + u64(finding), u64(closed_by))


def closed_by(snapshot: Snapshot, finding: int, size: int) -> int:
    """The entry that closed a FINDING entry when the log had so many entries; 0: it stood."""
    index = int.from_bytes(snapshot.get(Table.INDEX, _CLOSED_BY + u64(finding)) or b"", "big")
    return index if index < size else 0

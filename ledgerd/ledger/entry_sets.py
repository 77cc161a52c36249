"""
Sets of entries as bits of blocks, as they were when the log had so many entries.

A set is gone through block by block, in either direction; each call reads its caller's snapshot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Final, Protocol

from ledgerd.ledger.indexer import STANDS
from ledgerd.projections.postings import BLOCK, Field, bits, code, left_since, next_block, next_left
from ledgerd.rules.reconcile import State
from ledgerd.store.base import Snapshot

# Fields whose values change, and the values that an entry may leave.
CHANGING: Final[Mapping[Field, Sequence[int]]] = MappingProxyType(
    {Field.STATE: tuple(State), Field.STANDING: (STANDS,)}
)


def bits_at(
    snapshot: Snapshot, field: Field, values: Iterable[bytes], block: int, size: int
) -> list[int]:
    """Of each value, the entries of a block that had it when the log had so many entries."""
    now = [bits(snapshot, field, value, block) for value in values]
    if field not in CHANGING:
        return now
    left, had = _left(snapshot, field, block, size)
    return [each & ~left | had[value] for each, value in zip(now, values, strict=True)]


def _left(
    snapshot: Snapshot, field: Field, block: int, size: int
) -> tuple[int, Mapping[bytes, int]]:
    """The entries of a block that have changed since a size; those that had each value then."""
    rows = [
        (at, code(value), gone)
        for value in CHANGING[field]
        for at, gone in left_since(snapshot, field, value, block, size)
    ]
    left, had = 0, defaultdict[bytes, int](int)
    # What an entry left first, it had.
    for _, value, gone in sorted(rows):
        had[value] |= gone & ~left
        left |= gone
    return left, had


class EntrySet(Protocol):
    """A set of entries, as bits of blocks."""

    def seek(self, block: int) -> int | None:
        """The nearest block from one on, or down from it, that may hold any."""

    def bits(self, block: int) -> int: ...


class Posted:
    """Entries that have any of some values in a field, as of a size."""

    def __init__(
        self,
        snapshot: Snapshot,
        field: Field,
        values: frozenset[bytes],
        size: int,
        *,
        reverse: bool,
    ) -> None:
        self._snapshot = snapshot
        self._field = field
        self._size = size
        self._reverse = reverse
        # Of each value, the block that was found last.
        self._at: dict[bytes, int | None] = dict.fromkeys(values, -1)
        self._sought = False

    def seek(self, block: int) -> int | None:
        for value, at in self._at.items():
            if not self._sought or (at is not None and self._is_behind(at, block)):
                self._at[value] = self._next(value, block)
        self._sought = True
        return _nearest((at for at in self._at.values() if at is not None), reverse=self._reverse)

    def bits(self, block: int) -> int:
        values = [value for value, at in self._at.items() if at == block]
        return union(bits_at(self._snapshot, self._field, values, block, self._size))

    def _next(self, value: bytes, block: int) -> int | None:
        where, reverse = (self._snapshot, self._field), self._reverse
        posted = next_block(*where, value, block, reverse=reverse)
        number = int.from_bytes(value, "big")
        if number not in CHANGING.get(self._field, ()):
            return posted
        # Of those that are nearer.
        if reverse:
            nearer = range(0 if posted is None else posted + 1, block + 1)
        else:
            nearer = range(block, self._size // BLOCK + 1 if posted is None else posted)
        left = next_left(*where, number, nearer, self._size, reverse=reverse)
        return posted if left is None else left

    def _is_behind(self, at: int, block: int) -> bool:
        return at > block if self._reverse else at < block


class Listed:
    """Entries that are listed."""

    def __init__(self, indexes: Iterable[int], *, reverse: bool) -> None:
        self._bits: dict[int, int] = defaultdict(int)
        self._reverse = reverse
        for index in indexes:
            self._bits[index // BLOCK] |= 1 << index % BLOCK

    def seek(self, block: int) -> int | None:
        ahead = (each for each in self._bits if (each <= block if self._reverse else each >= block))
        return _nearest(ahead, reverse=self._reverse)

    def bits(self, block: int) -> int:
        return self._bits[block]


def _nearest(blocks: Iterable[int], *, reverse: bool) -> int | None:
    return max(blocks, default=None) if reverse else min(blocks, default=None)


def union(sets: Iterable[int]) -> int:
    """The bits that are in any of some sets."""
    return reduce(or_, sets, 0)

"""
Which entries match, from postings: block by block, each clause an OR of values, all of them ANDed.

An answer is a function of the search and its size: what has changed since is taken back by the log
of what left its value when. Each call reads one snapshot of its caller's and keeps none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from operator import or_
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from ledgerd.ledger.indexer import STANDS
from ledgerd.ledger.law_reader import need
from ledgerd.projections.findings import findings_on
from ledgerd.projections.postings import (
    BLOCK,
    Field,
    bits,
    code,
    left_since,
    next_block,
    next_left,
    offsets_of,
)
from ledgerd.projections.transfers import get_transfer
from ledgerd.rules.reconcile import State
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core.header import recorded_at_of

# Fields whose values change, and the values that an entry may leave.
_CHANGING: Final[Mapping[Field, Sequence[int]]] = MappingProxyType(
    {Field.STATE: tuple(State), Field.STANDING: (STANDS,)}
)


# Entries that one page of states or findings passes: a third of a second where each has changed by
# itself since, and some ms where anchors changed a thousand at once.
MOST_PASSED: Final = 32 * BLOCK


class Clause(NamedTuple):
    """Entries that have any of some values in a field."""

    field: Field
    values: frozenset[bytes]


class Search(NamedTuple):
    """
    Entries of first <= index < end that meet every clause, as of a size; end is at most the size.

    refs: halves of these transfers in this log, and findings about them; none: of any or none.
    """

    clauses: tuple[Clause, ...]
    refs: tuple[bytes, ...]
    first: int
    end: int
    size: int
    newest_first: bool


class Found(NamedTuple):
    """Indexes in the search's order; next: the match after them, None when that was all."""

    indexes: list[int]
    next: int | None


class FoundBlock(NamedTuple):
    """Matches of a block: bit i for entry block · BLOCK + i."""

    block: int
    bits: int


def bits_at(
    snapshot: Snapshot, field: Field, values: Iterable[bytes], block: int, size: int
) -> list[int]:
    """Of each value, the entries of a block that had it when the log had so many entries."""
    now = [bits(snapshot, field, value, block) for value in values]
    if field not in _CHANGING:
        return now
    left, had = _left(snapshot, field, block, size)
    return [each & ~left | had[value] for each, value in zip(now, values, strict=True)]


def _left(
    snapshot: Snapshot, field: Field, block: int, size: int
) -> tuple[int, Mapping[bytes, int]]:
    """The entries of a block that have changed since a size; those that had each value then."""
    rows = [
        (at, code(value), gone)
        for value in _CHANGING[field]
        for at, gone in left_since(snapshot, field, value, block, size)
    ]
    left, had = 0, defaultdict[bytes, int](int)
    # What an entry left first, it had.
    for _, value, gone in sorted(rows):
        had[value] |= gone & ~left
        left |= gone
    return left, had


def find(snapshot: Snapshot, search: Search, start: int | None, count: int) -> Found:
    """
    The first matches, at most so many; start: where to go on, a `next`, or None.

    It reads what it finds and, of each block of 4,096 entries that it passes, the postings of its
    clauses; of states and findings at a size before the newest, also those of the block that have
    changed since.
    """
    matches = list(islice(_matches(snapshot, search, start), count + 1))
    return Found(matches[:count], matches[count] if len(matches) > count else None)


def find_page(snapshot: Snapshot, search: Search, start: int | None, count: int) -> Found:
    """
    As find(), but by states and findings it passes so many entries at most, and then says `next`.

    So no page takes long, whatever has changed since the search's size; one may be short, or empty.
    Where it ends follows from search and start alone.
    """
    if not any(clause.field in _CHANGING for clause in search.clauses):
        return find(snapshot, search, start, count)
    if search.newest_first:
        top = search.end if start is None else start + 1
        near = search._replace(first=max(search.first, top - MOST_PASSED))
        beyond, more = near.first - 1, near.first > search.first
    else:
        bottom = search.first if start is None else start
        near = search._replace(end=min(search.end, bottom + MOST_PASSED))
        beyond, more = near.end, near.end < search.end
    found = find(snapshot, near, start, count)
    return found._replace(next=beyond) if found.next is None and more else found


def find_block(snapshot: Snapshot, search: Search, block: int) -> FoundBlock | None:
    """The nearest block with matches, from one on in the search's order; None: there is none."""
    for found in _blocks(_sources(snapshot, search), search, block):
        return found
    return None


def covers(snapshot: Snapshot, clauses: Iterable[Clause], index: int) -> bool:
    """Whether an entry meets clauses of fields whose values don't change."""
    block, bit = index // BLOCK, 1 << index % BLOCK
    return all(
        any(bits(snapshot, clause.field, value, block) & bit for value in clause.values)
        for clause in clauses
    )


def first_at(snapshot: Snapshot, time: int, size: int) -> int:
    """The first of so many entries recorded at a time (µs) or later; size if there is none."""

    def recorded_at(index: int) -> int:
        return recorded_at_of(need(snapshot, Table.HEADERS, index))

    return bisect_left(range(size), time, key=recorded_at)


class _Source(Protocol):
    """A set of entries, as bits of blocks."""

    def seek(self, block: int) -> int | None:
        """The nearest block from one on, or down from it, that may hold any."""

    def bits(self, block: int) -> int: ...


class _Posted:
    """Entries that meet a clause, as of a size."""

    def __init__(self, snapshot: Snapshot, clause: Clause, size: int, *, reverse: bool) -> None:
        self._snapshot = snapshot
        self._field, self._values = clause
        self._size = size
        self._reverse = reverse
        # Of each value, the block that was found last.
        self._at: dict[bytes, int | None] = dict.fromkeys(clause.values, -1)
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
        if number not in _CHANGING.get(self._field, ()):
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


class _Listed:
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


def _sources(snapshot: Snapshot, search: Search) -> list[_Source]:
    reverse = search.newest_first
    # What costs most is looked at last, and not where the others have nothing.
    clauses = sorted(search.clauses, key=lambda clause: clause.field in _CHANGING)
    sources: list[_Source] = [
        _Posted(snapshot, clause, search.size, reverse=reverse) for clause in clauses
    ]
    if search.refs:
        indexes = (index for ref in search.refs for index in _about(snapshot, ref))
        sources.insert(0, _Listed(indexes, reverse=reverse))
    return sources


def _about(snapshot: Snapshot, ref: bytes) -> Iterator[int]:
    transfer = get_transfer(snapshot, ref)
    if transfer is not None:
        yield from transfer.own_halves()
    yield from findings_on(snapshot, ref)


def _matches(snapshot: Snapshot, search: Search, start: int | None) -> Iterator[int]:
    if start is not None and search.newest_first:
        search = search._replace(end=start + 1)
    elif start is not None:
        search = search._replace(first=start)
    if search.first >= search.end:
        return
    sources = _sources(snapshot, search)
    begin = (search.end - 1 if search.newest_first else search.first) // BLOCK
    for block, matching in _blocks(sources, search, begin):
        for offset in offsets_of(matching, reverse=search.newest_first):
            yield block * BLOCK + offset


def _blocks(sources: list[_Source], search: Search, begin: int) -> Iterator[FoundBlock]:
    """Each block with matches, from one block on."""
    step = -1 if search.newest_first else 1
    first, last = search.first // BLOCK, (search.end - 1) // BLOCK
    block: int | None = begin
    while block is not None and first <= block <= last:
        reached = _meet(sources, block)
        if reached == block:
            matching = _within(search, block)
            for source in sources:
                matching = matching and matching & source.bits(block)
            if matching:
                yield FoundBlock(block, matching)
            reached = block + step
        block = reached


def _meet(sources: list[_Source], block: int) -> int | None:
    """The block itself if every source has it, or the nearest that is worth trying."""
    for source in sources:
        found = source.seek(block)
        if found != block:
            return found
    return block


def _within(search: Search, block: int) -> int:
    """The entries of a block that are in the search's range."""
    base = block * BLOCK
    low = max(search.first - base, 0)
    high = min(search.end - base, BLOCK)
    return ((1 << high) - 1) & ~((1 << low) - 1) if high > low else 0

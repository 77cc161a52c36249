"""
Which entries match, from postings: block by block, each clause an OR of values, all of them ANDed.

An answer is a function of the search and its size: what has changed since is taken back by the log
of what left its value when. Each call reads one snapshot of its caller's and keeps none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import islice
from operator import or_
from typing import Final, NamedTuple, Protocol

from ledgerd.ledger.law_reader import need
from ledgerd.projections.findings import findings_on
from ledgerd.projections.postings import (
    BLOCK,
    Field,
    bits,
    code,
    left_since,
    next_block,
    offsets_of,
)
from ledgerd.projections.transfers import get_transfer
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core.header import recorded_at_of

# Fields whose values change.
CHANGING: Final = (Field.STATE, Field.STANDING)


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


class Past:
    """
    What entries had as of a size in the fields whose values change.

    Good for the snapshots of one answer, each newer than the last.
    """

    def __init__(self, size: int) -> None:
        self._read_to = dict.fromkeys(CHANGING, size)
        # By field and block: the bits of entries that have left their value since; of those that
        # had a value.
        self._left: dict[tuple[Field, int], int] = defaultdict(int)
        self._had: dict[tuple[Field, bytes], dict[int, int]] = defaultdict(dict)

    def catch_up(self, snapshot: Snapshot, field: Field) -> None:
        """Read what has changed since the last snapshot, in a field where anything does."""
        if field not in CHANGING:
            return
        for at, index, value in left_since(snapshot, field, self._read_to[field]):
            self._read_to[field] = at + 1
            block, bit = index // BLOCK, 1 << index % BLOCK
            # What an entry left first, it had.
            if not self._left[field, block] & bit:
                self._left[field, block] |= bit
                had = self._had[field, code(value)]
                had[block] = had.get(block, 0) | bit

    def bits(self, snapshot: Snapshot, field: Field, value: bytes, block: int) -> int:
        """The entries of a block that had a value, in any field; a snapshot caught up with."""
        now = bits(snapshot, field, value, block)
        if field not in CHANGING:
            return now
        return now & ~self._left[field, block] | self._had[field, value].get(block, 0)

    def blocks(self, field: Field, value: bytes) -> Iterable[int]:
        """Where entries had a value that they have left since."""
        return self._had[field, value].keys()


def find(snapshot: Snapshot, search: Search, start: int | None, count: int) -> Found:
    """
    The first matches, at most so many; start: where to go on, a `next`, or None.

    What it costs does not depend on the log's size, but on the entries found and, for a size before
    the newest, on the states and findings that have changed since.
    """
    matches = list(islice(_matches(snapshot, search, start), count + 1))
    return Found(matches[:count], matches[count] if len(matches) > count else None)


def find_block(snapshot: Snapshot, search: Search, block: int, past: Past) -> FoundBlock | None:
    """
    The nearest block with matches, from one on in the search's order; None when there is none.

    past: of the search's size, the same for each block.
    """
    for found in _blocks(_sources(snapshot, search, past), search, block):
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
    """Entries that meet a clause, at the size of past."""

    def __init__(self, snapshot: Snapshot, clause: Clause, past: Past, *, reverse: bool) -> None:
        self._snapshot = snapshot
        self._field, self._values = clause
        self._reverse = reverse
        self._past = past
        past.catch_up(snapshot, clause.field)
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
        return union(
            self._past.bits(self._snapshot, self._field, value, block)
            for value, at in self._at.items()
            if at == block
        )

    def _next(self, value: bytes, block: int) -> int | None:
        reverse = self._reverse
        posted = next_block(self._snapshot, self._field, value, block, reverse=reverse)
        known = [] if posted is None else [posted]
        left = self._past.blocks(self._field, value)
        known += [each for each in left if not self._is_behind(each, block)]
        return _nearest(known, reverse=reverse)

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


def _sources(snapshot: Snapshot, search: Search, past: Past) -> list[_Source]:
    reverse = search.newest_first
    sources: list[_Source] = [
        _Posted(snapshot, clause, past, reverse=reverse) for clause in search.clauses
    ]
    if search.refs:
        indexes = (index for ref in search.refs for index in _about(snapshot, ref))
        sources.append(_Listed(indexes, reverse=reverse))
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
    sources = _sources(snapshot, search, Past(search.size))
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
                matching &= source.bits(block)
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

"""
Which entries match, from postings: block by block, each clause an OR of values, all of them ANDed.

An answer is a function of the search and its size: what has changed since is taken back by the log
of what left its value when. Each call reads one snapshot of its caller's and keeps none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from ledgerd.ledger.entry_sets import CHANGING, EntrySet, Listed, Posted
from ledgerd.ledger.law_reader import need
from ledgerd.projections.findings import findings_on
from ledgerd.projections.postings import (
    BLOCK,
    Field,
    bits,
    offsets_of,
)
from ledgerd.projections.transfers import get_transfer
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core.header import recorded_at_of

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
    if not any(clause.field in CHANGING for clause in search.clauses):
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


def _sources(snapshot: Snapshot, search: Search) -> list[EntrySet]:
    reverse = search.newest_first
    # What costs most is looked at last, and not where the others have nothing.
    clauses = sorted(search.clauses, key=lambda clause: clause.field in CHANGING)
    sources: list[EntrySet] = [
        Posted(snapshot, *clause, search.size, reverse=reverse) for clause in clauses
    ]
    if search.refs:
        indexes = (index for ref in search.refs for index in _about(snapshot, ref))
        sources.insert(0, Listed(indexes, reverse=reverse))
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


def _blocks(sources: list[EntrySet], search: Search, begin: int) -> Iterator[FoundBlock]:
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


def _meet(sources: list[EntrySet], block: int) -> int | None:
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

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.ledger.search import Clause, Found, Search, find
from ledgerd.projections.postings import (
    BLOCK,
    Field,
    Postings,
    bits,
    code,
    left_since,
    next_block,
    offsets_of,
    posting,
)
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table

ONE = posting(Field.KIND, code(1))


class Posted:
    """A store, and postings that are flushed after each step."""

    def __init__(self) -> None:
        self.store = MemoryStore(instance=os.urandom(16))
        self.postings = Postings()

    def add(self, *indexes: int, name: bytes = ONE) -> None:
        with self.store.write() as transaction:
            self.postings.add(transaction, (name,), indexes)
            self.postings.flush(transaction)

    def move(self, index: int, at: int, old: int = 1, new: int = 2) -> None:
        with self.store.write() as transaction:
            self.postings.move(transaction, Field.KIND, old, new, index, at)
            self.postings.flush(transaction)

    def rows(self, table: Table = Table.INDEX) -> dict[bytes, bytes]:
        with self.store.snapshot() as snapshot:
            return dict(snapshot.scan(table))

    def block(self, number: int = 0) -> bytes:
        return self.rows()[ONE + number.to_bytes(4, "big")]


class TestSpelling:
    def test_few_are_a_list_of_offsets(self) -> None:
        posted = Posted()
        posted.add(3, 4095)
        assert posted.block().hex() == "00030fff"

    def test_255_are_a_list(self) -> None:
        posted = Posted()
        posted.add(*range(255))
        assert len(posted.block()) == 510

    def test_256_are_a_bitmap(self) -> None:
        posted = Posted()
        posted.add(*range(255))
        posted.add(4095)
        assert posted.block() == b"\xff" * 31 + b"\x7f" + bytes(479) + b"\x80"

    def test_a_bitmap_becomes_a_list_when_one_leaves(self) -> None:
        posted = Posted()
        posted.add(*range(256))
        posted.move(0, at=300)
        assert posted.block() == b"".join(offset.to_bytes(2, "big") for offset in range(1, 256))

    def test_a_block_that_all_have_left_is_no_row(self) -> None:
        posted = Posted()
        posted.add(7)
        posted.move(7, at=300)
        assert list(posted.rows()) == [posting(Field.KIND, code(2)) + bytes(4)]

    def test_a_commit_may_go_over_the_end_of_a_block(self) -> None:
        posted = Posted()
        posted.add(BLOCK - 1, BLOCK, BLOCK + 1)
        assert (posted.block(0).hex(), posted.block(1).hex()) == ("0fff", "00000001")

    @given(st.sets(st.integers(0, BLOCK - 1), min_size=1), st.randoms())
    def test_there_is_one_spelling_whatever_the_commits(
        self, indexes: set[int], chance: random.Random
    ) -> None:
        at_once, apart = Posted(), Posted()
        at_once.add(*sorted(indexes))
        shuffled = chance.sample(sorted(indexes), len(indexes))
        cuts = sorted({0, chance.randrange(len(indexes)), len(indexes)})
        for start, end in pairwise(cuts):
            apart.add(*sorted(shuffled[start:end]))
            apart.postings = Postings() if chance.random() < 0.5 else apart.postings
        assert apart.block() == at_once.block()


class TestReading:
    def test_what_was_added_is_there(self) -> None:
        posted = Posted()
        posted.add(0, 9, BLOCK + 2)
        with posted.store.snapshot() as snapshot:
            read = [list(offsets_of(bits(snapshot, Field.KIND, code(1), at))) for at in (0, 1, 2)]
        assert read == [[0, 9], [2], []]

    def test_offsets_come_in_either_order(self) -> None:
        assert list(offsets_of(0b10011, reverse=True)) == [4, 1, 0]

    @pytest.mark.parametrize(
        ("start", "reverse", "found"),
        [(0, False, 1), (1, False, 1), (2, False, 5), (6, False, None),
         (9, True, 5), (5, True, 5), (4, True, 1), (0, True, None)],
    )  # fmt: skip
    def test_the_next_block(self, start: int, reverse: bool, found: int | None) -> None:
        posted = Posted()
        posted.add(BLOCK, 5 * BLOCK)
        # Its neighbours in the table.
        posted.add(3 * BLOCK, name=posting(Field.KIND, code(0)))
        posted.add(3 * BLOCK, name=posting(Field.KIND, code(2)))
        with posted.store.snapshot() as snapshot:
            block = next_block(snapshot, Field.KIND, code(1), start, reverse=reverse)
        assert block == found

    def test_who_left_is_told_since_an_entry(self) -> None:
        posted = Posted()
        posted.add(1, 2)
        posted.move(1, at=10)
        posted.move(2, at=20)
        with posted.store.snapshot() as snapshot:
            assert list(left_since(snapshot, Field.KIND, 11)) == [(20, 2, 1)]


SIZE = 3 * BLOCK + 100
INDEXES = st.sets(
    st.one_of(st.integers(0, SIZE - 1), st.sampled_from([0, BLOCK - 1, BLOCK, SIZE - 1])),
    max_size=30,
)
VALUES = st.dictionaries(st.sampled_from(range(4)), INDEXES, max_size=4)


class TestFinding:
    """Values that are spread over a few blocks, found by sets and by postings."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.tuples(VALUES, VALUES),
        st.tuples(st.sets(st.integers(0, 4), min_size=1), st.sets(st.integers(0, 4), min_size=1)),
        st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)),
        st.booleans(),
        st.integers(1, 7),
    )
    def test_pages_are_what_sets_say(
        self,
        posted: tuple[dict[int, set[int]], ...],
        asked: tuple[set[int], ...],
        bounds: tuple[int, int],
        newest_first: bool,
        count: int,
    ) -> None:
        fields = (Field.PURPOSE, Field.CATEGORY)
        store = Posted()
        wanted = set(range(*bounds))
        clauses = []
        for field, values, of in zip(fields, posted, asked, strict=True):
            for value, indexes in values.items():
                if indexes:
                    store.add(*sorted(indexes), name=posting(field, code(value)))
            wanted &= set().union(*(values.get(value, set()) for value in of))
            clauses.append(Clause(field, frozenset(map(code, of))))
        search = Search(tuple(clauses), (), *bounds, SIZE, newest_first)
        assert pages(store.store, search, count) == sorted(wanted, reverse=newest_first)

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_without_a_clause_everything_is_found(self, newest_first: bool) -> None:
        search = Search((), (), 4090, 4100, SIZE, newest_first)
        found = pages(Posted().store, search, 4)
        assert found == sorted(range(4090, 4100), reverse=newest_first)


def pages(store: MemoryStore, search: Search, count: int) -> list[int]:
    """What a search finds, asked for page by page."""
    found: list[int] = []
    page = Found([], None)
    while True:
        with store.snapshot() as snapshot:
            page = find(snapshot, search, page.next, count)
        assert len(page.indexes) == count or page.next is None
        found += page.indexes
        if page.next is None:
            return found

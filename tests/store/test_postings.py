from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.ledger import search
from ledgerd.ledger.search import Clause, Found, Search, find, find_page
from ledgerd.projections.postings import (
    BLOCK,
    Field,
    Postings,
    bits,
    code,
    left_since,
    next_block,
    next_left,
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

    def move(
        self, *indexes: int, at: int, old: int = 1, new: int = 2, field: Field = Field.KIND
    ) -> None:
        with self.store.write() as transaction:
            for index in indexes:
                self.postings.move(transaction, field, old, new, index, at)
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

    def test_who_left_is_told_since_a_size(self) -> None:
        posted = Posted()
        posted.add(1, 2, 3)
        posted.move(1, at=10)
        posted.move(2, 3, at=20)
        with posted.store.snapshot() as snapshot:
            assert list(left_since(snapshot, Field.KIND, 1, 0, 11)) == [(20, 0b1100)]
            assert list(left_since(snapshot, Field.KIND, 1, 1, 0)) == []

    @pytest.mark.parametrize(
        ("blocks", "size", "reverse", "found"),
        [(range(9), 0, False, 1), (range(2, 9), 0, False, 5), (range(9), 21, False, 5),
         (range(9), 31, False, None), (range(6, 9), 0, False, None), (range(2, 5), 0, False, None),
         (range(10), 0, True, 5), (range(5), 0, True, 1), (range(10), 31, True, None),
         (range(5), 20, True, 1), (range(5), 21, True, None), (range(1), 0, True, None),
         (range(2, 5), 0, True, None), (range(5, 5), 0, True, None)],
    )  # fmt: skip
    def test_the_next_block_that_was_left(
        self, blocks: range, size: int, reverse: bool, found: int | None
    ) -> None:
        posted = Posted()
        posted.add(BLOCK, BLOCK + 1, 5 * BLOCK)
        posted.move(BLOCK, at=10)
        posted.move(BLOCK + 1, at=20)
        posted.move(5 * BLOCK, at=30)
        # Its neighbours in the table.
        posted.add(3 * BLOCK, name=posting(Field.KIND, code(0)))
        posted.move(3 * BLOCK, at=40, old=0)
        posted.move(3 * BLOCK, at=50, old=2, new=0)
        with posted.store.snapshot() as snapshot:
            assert next_left(snapshot, Field.KIND, 1, blocks, size, reverse=reverse) == found


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


class TestFindingThen:
    """States of a few entries that change one after the other, over a few blocks."""

    @settings(max_examples=200, deadline=None)
    @given(
        INDEXES.map(sorted).filter(bool),
        st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 1, 2])), max_size=30),
        st.integers(0, 31),
        st.sets(st.sampled_from([0, 1, 2, 255]), min_size=1),
        st.booleans(),
    )
    def test_pages_are_what_was_so_at_the_size(
        self,
        entries: list[int],
        changes: list[tuple[int, int]],
        known: int,
        asked: set[int],
        newest_first: bool,
    ) -> None:
        posted = Posted()
        posted.add(*entries, name=posting(Field.STATE, code(0)))
        state = dict.fromkeys(entries, 0)
        then = dict(state)
        for number, (which, new) in enumerate(changes):
            index = entries[which % len(entries)]
            if state[index] != new:
                old, at = state[index], SIZE + number
                posted.move(index, at=at, old=old, new=new, field=Field.STATE)
            state[index] = new
            then = dict(state) if number < known else then
        clause = Clause(Field.STATE, frozenset(map(code, asked)))
        search = Search((clause,), (), 0, SIZE, SIZE + known, newest_first)
        wanted = sorted((i for i, each in then.items() if each in asked), reverse=newest_first)
        assert pages(posted.store, search, 3) == wanted


class TestAPageOfStates:
    """Is cut after so many entries, so that none takes long."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "MOST_PASSED", BLOCK + 10)

    def posted(self) -> Posted:
        posted = Posted()
        posted.add(5, BLOCK + 9, BLOCK + 10, SIZE - 1, name=posting(Field.STATE, code(0)))
        return posted

    def wanted(self, *, newest_first: bool, field: Field = Field.STATE) -> Search:
        clause = Clause(field, frozenset((code(0),)))
        return Search((clause,), (), 0, SIZE, SIZE, newest_first)

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_all_is_found_in_the_end(self, newest_first: bool) -> None:
        found: list[int] = []
        start: int | None = None
        with self.posted().store.snapshot() as snapshot:
            while True:
                page = find_page(snapshot, self.wanted(newest_first=newest_first), start, 10)
                found += page.indexes
                if (start := page.next) is None:
                    break
        assert found == sorted([5, BLOCK + 9, BLOCK + 10, SIZE - 1], reverse=newest_first)

    @pytest.mark.parametrize(
        ("newest_first", "page"),
        [(False, Found([5, BLOCK + 9], BLOCK + 10)),
         (True, Found([SIZE - 1], SIZE - BLOCK - 11))],
    )  # fmt: skip
    def test_it_says_where_to_go_on(self, newest_first: bool, page: Found) -> None:
        with self.posted().store.snapshot() as snapshot:
            assert find_page(snapshot, self.wanted(newest_first=newest_first), None, 10) == page

    def test_a_full_one_goes_on_at_the_next_match(self) -> None:
        with self.posted().store.snapshot() as snapshot:
            page = find_page(snapshot, self.wanted(newest_first=False), None, 1)
        assert page == Found([5], BLOCK + 9)

    def test_one_of_what_never_changes_is_not_cut(self) -> None:
        posted = Posted()
        posted.add(SIZE - 1, name=posting(Field.KIND, code(0)))
        with posted.store.snapshot() as snapshot:
            page = find_page(snapshot, self.wanted(newest_first=False, field=Field.KIND), None, 10)
        assert page == Found([SIZE - 1], None)


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

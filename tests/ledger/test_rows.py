"""Rows of what the law looks at: one encoding, and a cache that outlives the commit."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.projections.contracts import (
    Change,
    Contract,
    Ended,
    Filed,
    Version,
    contract_key,
    parse_contract_key,
)
from ledgerd.projections.counters import Counter, Group
from ledgerd.projections.matters import Matter
from ledgerd.projections.obligations import Obligation, days_of, obligation_key
from ledgerd.projections.rows import Rows, decode, encode
from ledgerd.projections.sent import Again, Sent
from ledgerd.projections.terms import scope_of
from ledgerd.projections.timers import CONTRACT, Timers, next_timer
from ledgerd.projections.transfer_row import Half, Move, OpenFinding, Position, Transfer
from ledgerd.projections.usage import Usage
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table

POSITIONS = st.integers(-1, 2**63)
COUNTS = st.integers(0, 2**63)
DAYS = st.integers(0, 100_000)
TEXTS = st.text(max_size=300)
NAMES = st.text(max_size=50)
DIGESTS = st.binary(min_size=32, max_size=32)
BYTES = st.integers(0, 255)
PAIRS = st.tuples(COUNTS, COUNTS)
FOUND = st.lists(
    st.builds(
        OpenFinding,
        st.binary(min_size=32, max_size=32),
        TEXTS,
        st.lists(st.builds(Position, st.booleans(), COUNTS), max_size=3).map(tuple),
        st.lists(COUNTS, max_size=3).map(tuple),
    ),
    max_size=3,
)
SAID = st.tuples(DAYS, POSITIONS)
VERSIONS = st.builds(Version, POSITIONS, COUNTS, st.binary(), st.binary(), st.binary())
ROWS = st.one_of(
    st.builds(
        Transfer,
        BYTES,
        COUNTS,
        st.lists(
            st.builds(Half, st.booleans(), BYTES, COUNTS, COUNTS, DIGESTS, BYTES, NAMES, NAMES),
            max_size=3,
        ),
        st.lists(st.builds(OpenFinding, DIGESTS, NAMES, st.just(()), st.just(())), max_size=2),
        st.lists(st.builds(Move, COUNTS, BYTES), max_size=2),
    ),
    st.builds(
        Contract,
        st.binary(),
        st.booleans(),
        st.lists(VERSIONS, max_size=3),
        st.lists(st.builds(Filed, COUNTS, TEXTS, st.binary(), DAYS, DAYS, SAID, SAID), max_size=3),
        st.lists(st.tuples(POSITIONS, DAYS, DAYS), max_size=3),
        st.lists(st.builds(Change, COUNTS, POSITIONS, st.booleans()), max_size=3),
        st.none() | st.builds(Ended, POSITIONS, COUNTS, DAYS, DAYS),
        st.lists(POSITIONS, max_size=3),
        st.integers(-1, 2**40),
        COUNTS,
        FOUND,
    ),
    st.builds(
        Usage,
        POSITIONS,
        POSITIONS,
        COUNTS,
        COUNTS,
        COUNTS,
        st.integers(0, 2**320),
        st.tuples(POSITIONS, POSITIONS, POSITIONS),
        POSITIONS,
        st.tuples(DAYS, COUNTS, COUNTS, POSITIONS),
        COUNTS,
        COUNTS,
        st.dictionaries(DAYS, PAIRS, max_size=3),
    ),
    st.builds(Counter, PAIRS, PAIRS, FOUND),
    st.builds(
        Group,
        st.dictionaries(TEXTS, st.dictionaries(st.binary(), POSITIONS, max_size=3), max_size=3),
        FOUND,
    ),
    st.builds(Matter, TEXTS, POSITIONS, st.binary(), COUNTS, COUNTS, FOUND),
    st.builds(Sent, COUNTS, st.binary()),
    st.builds(Again, COUNTS, COUNTS, COUNTS),
    st.builds(Obligation, POSITIONS, COUNTS, COUNTS, COUNTS, COUNTS, FOUND),
)
VALUES = st.recursive(
    st.integers() | TEXTS | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
)


class TestARow:
    @given(ROWS)
    def test_is_read_as_it_was_put(self, row: Any) -> None:
        assert type(row).parse(row.encode()) == row

    @given(ROWS)
    def test_has_one_encoding(self, row: Any) -> None:
        assert type(row).parse(row.encode()).encode() == row.encode()

    @given(st.lists(VALUES).map(tuple))
    def test_is_made_of_values_that_read_back(self, values: Any) -> None:
        assert decode(encode(*values)) == values


class TestAContractKey:
    def test_names_author_and_contract(self) -> None:
        key = contract_key("hkbr.12345678", "GBA-2026-0042")
        assert parse_contract_key(key) == ("hkbr.12345678", "GBA-2026-0042")


class TestAScope:
    @pytest.mark.parametrize(
        ("place", "bit"), [(0, 5), (1, 64 + 5), (2, 128 + 5), (3, 192 + 5), (4, 256 + 5)]
    )
    def test_gives_each_list_its_own_bits(self, place: int, bit: int) -> None:
        lists: list[tuple[int, ...]] = [()] * 5
        lists[place] = (5,)
        assert scope_of(*lists) == 1 << bit


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(instance=os.urandom(16))


class TestRows:
    def test_are_put_at_the_flush(self, memory: MemoryStore) -> None:
        rows = Rows(Table.MATTERS, Matter.parse)
        with memory.write() as transaction:
            rows.put(b"k", Matter("incident", 7, b"body"))
            rows.flush(transaction)
            assert Rows(Table.MATTERS, Matter.parse).get(transaction, b"k") == Matter(
                "incident", 7, b"body"
            )

    def test_are_the_same_object_until_then(self, memory: MemoryStore) -> None:
        rows = Rows(Table.MATTERS, Matter.parse)
        row = Matter("incident", 7, b"body")
        with memory.write() as transaction:
            rows.put(b"k", row)
            assert rows.get(transaction, b"k") is row

    def test_that_are_deleted_are_gone(self, memory: MemoryStore) -> None:
        rows = Rows(Table.MATTERS, Matter.parse)
        with memory.write() as transaction:
            rows.put(b"k", Matter("incident", 7, b"body"))
            rows.flush(transaction)
            rows.delete(b"k")
            rows.flush(transaction)
            assert transaction.get(Table.MATTERS, b"k") is None

    def test_beyond_the_kept_ones_are_read_again(self, memory: MemoryStore) -> None:
        rows = Rows(Table.MATTERS, Matter.parse, keep=1)
        with memory.write() as transaction:
            for key in (b"a", b"b"):
                rows.put(key, Matter("incident", 7, key))
            rows.flush(transaction)
            found = [rows.get(transaction, key) for key in (b"a", b"b")]
        assert [row.body for row in found if row] == [b"a", b"b"]

    def test_that_were_only_read_are_forgotten_too_the_oldest_first(
        self, memory: MemoryStore
    ) -> None:
        stored = Matter("incident", 7, bytes(1000)).encode()
        rows = Rows(Table.MATTERS, Matter.parse, keep=2000)
        with memory.write() as transaction:
            transaction.put_many(Table.MATTERS, [(b"a", stored), (b"b", stored)])
            first = [rows.get(transaction, key) for key in (b"a", b"b")]
            rows.flush(transaction)
            again = [rows.get(transaction, key) for key in (b"b", b"a")]
        assert (again[0] is first[1], again[1] is first[0]) == (True, False)

    def test_are_kept_by_their_bytes(self, memory: MemoryStore) -> None:
        rows = Rows(Table.MATTERS, Matter.parse, keep=10_000)
        with memory.write() as transaction:
            for number in range(100):
                rows.put(bytes([number]), Matter("incident", 7, bytes(1000)))
            rows.flush(transaction)
        assert 8_000 < rows.held <= 10_000

    def test_that_shrink_or_go_are_held_as_what_is_left(self, memory: MemoryStore) -> None:
        rows = Rows(Table.MATTERS, Matter.parse)
        with memory.write() as transaction:
            rows.put(b"a", Matter("incident", 7, bytes(1000)))
            rows.flush(transaction)
            rows.put(b"a", Matter("incident", 7, b""))
            rows.flush(transaction)
        assert rows.held < 500


class TestObligations:
    def test_of_a_contract_are_found_by_its_days_in_order(self, memory: MemoryStore) -> None:
        contract, longer = contract_key("hkbr.1", "A"), contract_key("hkbr.1", "A\0\0\0\1")
        with memory.write() as transaction:
            for key in (contract, longer):
                for day in (20_000, 0, 300):
                    transaction.put(Table.OBLIGATIONS, obligation_key(key, day), b"")
            assert list(days_of(transaction, contract)) == [0, 300, 20_000]


class TestTimers:
    def test_are_due_before_a_time_earliest_first(self, memory: MemoryStore) -> None:
        timers = Timers()
        for at in (30, 10, 20):
            timers.move(CONTRACT, str(at).encode(), 0, at)
        with memory.write() as transaction:
            assert timers.due(transaction, 30, 10) == [(CONTRACT, b"10"), (CONTRACT, b"20")]

    def test_that_move_stand_once(self, memory: MemoryStore) -> None:
        timers = Timers()
        timers.move(CONTRACT, b"k", 0, 10)
        with memory.write() as transaction:
            timers.flush(transaction)
            timers.move(CONTRACT, b"k", 10, 50)
            assert timers.due(transaction, 100, 10) == [(CONTRACT, b"k")]

    def test_the_next_of_them_is_the_earliest(self, memory: MemoryStore) -> None:
        timers = Timers()
        timers.move(CONTRACT, b"k", 0, 50)
        timers.move(CONTRACT, b"j", 0, 40)
        with memory.write() as transaction:
            timers.flush(transaction)
            assert next_timer(transaction) == (40, bytes([CONTRACT]) + b"j")

    def test_without_any_there_is_no_next(self, memory: MemoryStore) -> None:
        with memory.snapshot() as snapshot:
            assert next_timer(snapshot) is None

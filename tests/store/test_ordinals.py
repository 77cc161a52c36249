"""The index of digests by the order in which they came: nothing missed, little written."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from builders import ALIKE

from ledgerd.projections.ordinals import EPOCH, Ordinals, count_of, cut_ordinals, find_places
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.memory import MemoryStore
from ledgerd.store.overlay import Overlay
from ledgerd.store.tables import Table

# Around all that happens at some count.
COUNTS = [1, 1000, EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH, 2 * EPOCH + 1500]
# One more than the epochs that a group's filter is of, and a part of the next.
MANY = 65 * EPOCH + 700


def digests(count: int, seed: int = 0) -> list[bytes]:
    drawn = random.Random(seed).randbytes(32 * count)
    return [drawn[at : at + 32] for at in range(0, len(drawn), 32)]


def store() -> MemoryStore:
    return MemoryStore(instance=bytes(16))


def grow(into: Store, came: Sequence[bytes], commit: int = 5_000) -> Ordinals:
    """Add digests to what a store holds, so many in a commit."""
    with into.snapshot() as snapshot:
        ordinals = Ordinals.load(snapshot)
    for start in range(0, len(came), commit):
        with into.write() as transaction:
            for digest in came[start : start + commit]:
                ordinals.add(digest)
            ordinals.flush(transaction)
    return ordinals


def grown(came: Sequence[bytes], commit: int = 5_000) -> MemoryStore:
    into = store()
    grow(into, came, commit)
    return into


def rows(of: Store) -> dict[bytes, bytes]:
    with of.snapshot() as snapshot:
        return dict(snapshot.scan(Table.ORDINALS))


def missed(of: Store, came: Sequence[bytes], sample: Iterable[int]) -> list[int]:
    """Places at which neither a writer that was just started, nor a reader, finds the digest."""
    with of.snapshot() as snapshot:
        ordinals = Ordinals.load(snapshot)
        # With the first that it puts it takes up what is stored.
        transaction = Overlay(snapshot)
        ordinals.add(bytes(32))
        ordinals.flush(transaction)
        places = list(sample)
        found = {*ordinals.find(transaction, [came[place] for place in places])}
        return [
            place
            for place in places
            if place not in found or place not in find_places(snapshot, came[place])
        ]


class TestFinding:
    @pytest.mark.parametrize("count", COUNTS)
    def test_every_digest_is_found_at_its_place(self, count: int) -> None:
        came = digests(count)
        assert missed(grown(came), came, range(0, count, 1 + count // 3_000)) == []

    def test_the_writer_finds_what_it_has_put_itself(self) -> None:
        came = digests(2 * EPOCH + 10)
        into = store()
        ordinals = grow(into, came)
        with into.snapshot() as snapshot:
            assert {*range(len(came))} <= {*ordinals.find(snapshot, came)}

    def test_places_are_given_in_order(self) -> None:
        into = grown(digests(5))
        with into.snapshot() as snapshot:
            ordinals = Ordinals.load(snapshot)
        assert [ordinals.add(digest) for digest in digests(3, seed=1)] == [5, 6, 7]

    def test_of_strangers_hardly_any_is_looked_for(self) -> None:
        """Of each epoch one in 400, by the filter; and what is there has none of their prefixes."""
        into, asked = store(), CountingGets()
        ordinals = grow(into, digests(3 * EPOCH))
        strangers = digests(20_000, seed=1)
        with into.snapshot() as snapshot:
            asked.of = snapshot
            assert ordinals.find(asked, strangers) == []
            assert [*find_places(snapshot, strangers[0])] == []
        assert asked.keys < 3 * len(strangers) / 300

    @pytest.mark.parametrize(
        ("first", "second"),
        [(3, 4), (3, 3 + EPOCH), (3, 2 * EPOCH + 1), (2 * EPOCH + 1, 2 * EPOCH + 3)],
        ids=["in one epoch", "in two", "in a full one and the open one", "in the open one"],
    )
    def test_of_one_prefix_both_are_found(self, first: int, second: int) -> None:
        """Who may choose a digest finds two of one prefix in minutes."""
        came = digests(2 * EPOCH + 5)
        came[first], came[second] = ALIKE
        into = grown(came)
        assert missed(into, came, [first, second]) == []
        with into.snapshot() as snapshot:
            assert {first, second} <= {*find_places(snapshot, came[first])}
            assert {first, second} <= {
                *Ordinals.load(snapshot).find(snapshot, came[first : first + 1])
            }

    def test_digests_that_begin_alike_are_not_looked_for_together(self) -> None:
        """The peer's log may have any for a ref: each would cost what all before it come to."""
        came = [bytes(8) + digest[8:] for digest in digests(EPOCH + 1000)]
        with grown(came).snapshot() as snapshot:
            found = Ordinals.load(snapshot).find(snapshot, [came[3], came[EPOCH + 3]])
        assert sorted(found) == [3, EPOCH + 3]

    def test_to_look_into_it_takes_up_nothing(self) -> None:
        """A check of what would be found is one of many, and beside the writer."""
        came, asked = digests(EPOCH + 1000), CountingGets()
        with grown(came).snapshot() as snapshot:
            asked.of = snapshot
            found = Ordinals.load(asked).find(asked, [came[3], came[EPOCH + 3]])
        assert (sorted(found), asked.scans) == ([3, EPOCH + 3], 0)

    def test_nothing_is_found_in_nothing(self) -> None:
        with store().snapshot() as snapshot:
            assert count_of(snapshot) == 0
            assert [*find_places(snapshot, bytes(32))] == []
            assert Ordinals.load(snapshot).find(snapshot, [bytes(32)]) == []


class TestPutting:
    @pytest.mark.parametrize("commit", [1_000, 7_001, EPOCH, 3 * EPOCH])
    def test_what_is_stored_does_not_depend_on_the_commits(self, commit: int) -> None:
        came = digests(2 * EPOCH + 1100)
        assert rows(grown(came, commit)) == rows(grown(came, 333))

    def test_a_writer_that_starts_goes_on_where_the_one_before_it_stood(self) -> None:
        came = digests(2 * EPOCH + 1100)
        into = store()
        for start in range(0, len(came), 2_500):
            grow(into, came[start : start + 2_500])
        assert rows(into) == rows(grown(came))

    def test_what_is_not_put_changes_nothing(self) -> None:
        into = grown(digests(10))
        before = rows(into)
        with into.write() as transaction:
            assert Ordinals.load(transaction).flush(transaction) == 10
        assert rows(into) == before

    def test_flush_says_how_many_there_were(self) -> None:
        into = store()
        with into.write() as transaction:
            ordinals = Ordinals.load(transaction)
            for digest in digests(7):
                ordinals.add(digest)
            assert ordinals.flush(transaction) == 0
            ordinals.add(bytes(32))
            assert ordinals.flush(transaction) == 7


class TestCutting:
    """A replica may have to give up its end."""

    @pytest.mark.parametrize("left", [0, 1, 1500, EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH + 3])
    def test_it_is_then_as_it_was(self, left: int) -> None:
        came = digests(2 * EPOCH + 1500)
        into = grown(came)
        cut(into, came, left)
        assert rows(into) == (rows(grown(came[:left])) or {b"\1": bytes(8)})

    def test_and_grows_again_as_if_nothing_had_been(self) -> None:
        came, others = digests(2 * EPOCH + 1500), digests(EPOCH, seed=1)
        into = grown(came)
        cut(into, came, 1700)
        grow(into, others)
        assert rows(into) == rows(grown(came[:1700] + others))


def cut(into: Store, came: Sequence[bytes], left: int) -> None:
    with into.write() as transaction:
        cut_ordinals(transaction, left, came[left // EPOCH * EPOCH : left])


@pytest.fixture(scope="module")
def came() -> list[bytes]:
    return digests(MANY)


@pytest.fixture(scope="module")
def large(came: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LmdbStore]:
    path: Path = tmp_path_factory.mktemp("ordinals") / "store"
    with closing(LmdbStore.create(path, instance=bytes(16))) as into:
        grow(into, came, 50_000)
        yield into


class TestAMillion:
    """More than one filter: each is of 64 epochs."""

    def test_every_digest_is_found_at_its_place(self, large: LmdbStore, came: list[bytes]) -> None:
        assert missed(large, came, range(0, MANY, 997)) == []

    def test_a_commit_writes_no_more_than_in_a_small_one(
        self, large: LmdbStore, came: list[bytes]
    ) -> None:
        few = grown(came[: EPOCH + 700])
        new = digests(100, seed=2)
        assert written(large, new) < 1.2 * written(few, new)

    def test_cut_back_into_the_first_filter(self, large: LmdbStore, came: list[bytes]) -> None:
        cut(large, came, 62 * EPOCH + 5)
        left = rows(large)
        grow(large, came[62 * EPOCH + 5 :], 50_000)
        assert missed(large, came, range(60 * EPOCH, MANY, 997)) == []
        cut(large, came, 62 * EPOCH + 5)
        assert rows(large) == left


def written(into: Store, new: Sequence[bytes]) -> int:
    """Bytes that a commit of some digests would put."""
    before = rows(into)
    with into.snapshot() as snapshot:
        transaction = Overlay(snapshot)
        ordinals = Ordinals.load(transaction)
        for digest in new:
            ordinals.add(digest)
        ordinals.flush(transaction)
        after = dict(transaction.scan(Table.ORDINALS))
    return sum(len(value) for key, value in after.items() if before.get(key) != value)


class CountingGets:
    """A snapshot, and how many keys it was asked for."""

    of: Snapshot
    keys = 0
    scans = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.of, name)

    def get_many(self, table: Table, keys: Iterable[bytes]) -> object:
        asked = list(keys)
        self.keys += len(asked)
        return self.of.get_many(table, asked)

    def scan(self, *bounds: object, **how: object) -> object:
        self.scans += 1
        return self.of.scan(*bounds, **how)

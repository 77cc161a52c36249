"""The contract of a Store. Whatever passes it may stand in for any other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledgerd.store.base import Snapshot, Store, Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import BusyError, StoreError

INSTANCE = bytes(range(16))
LONGEST = b"k" * 510
TABLE = Table.RECORDS
OTHER = Table.META

T = TypeVar("T")
Items = list[tuple[bytes, bytes]]


@pytest.fixture(params=["lmdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "lmdb":
        made = LmdbStore.create(tmp_path / "store", instance=INSTANCE)
    else:
        made = MemoryStore(instance=INSTANCE)
    with closing(made):
        yield made


def put(store: Store, items: Items) -> None:
    with store.write() as transaction:
        transaction.put_many(TABLE, items)


def items_of(store: Store) -> Items:
    with store.snapshot() as snapshot:
        return list(snapshot.scan(TABLE))


def in_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


class TestIdentity:
    def test_the_store_keeps_the_instance_it_was_made_with(self, store: Store) -> None:
        assert store.instance == INSTANCE

    def test_there_is_room_for_more(self, store: Store) -> None:
        assert store.free_bytes() > 0


class TestRoom:
    def test_what_is_put_takes_some(self, store: Store) -> None:
        before = store.room().used
        put(store, [(b"k", b"v" * 1_000_000)])
        assert store.room().used >= before + 1_000_000

    def test_what_is_deleted_gives_it_back(self, store: Store) -> None:
        put(store, [(b"k", b"v" * 1_000_000)])
        before = store.room().used
        with store.write() as transaction:
            transaction.delete(TABLE, b"k")
        assert store.room().used <= before - 1_000_000

    def test_is_never_more_than_the_limit(self, store: Store) -> None:
        room = store.room()
        assert 0 <= room.used + room.free <= room.limit


class TestValues:
    def test_an_absent_key_has_no_value(self, store: Store) -> None:
        with store.snapshot() as snapshot:
            assert snapshot.get(TABLE, b"k") is None

    @pytest.mark.parametrize("value", [b"", b"\0", b"v" * 65_536, b"v" * 1_000_000])
    def test_a_value_comes_back_as_it_was_put(self, store: Store, value: bytes) -> None:
        put(store, [(b"k", value)])
        with store.snapshot() as snapshot:
            assert snapshot.get(TABLE, b"k") == value

    def test_a_second_put_replaces_the_first(self, store: Store) -> None:
        put(store, [(b"k", b"long before")])
        put(store, [(b"k", b"now")])
        assert items_of(store) == [(b"k", b"now")]

    def test_a_deleted_key_is_gone(self, store: Store) -> None:
        put(store, [(b"k", b"v"), (b"l", b"v")])
        with store.write() as transaction:
            transaction.delete(TABLE, b"k")
        assert items_of(store) == [(b"l", b"v")]

    def test_deleting_an_absent_key_changes_nothing(self, store: Store) -> None:
        put(store, [(b"k", b"v")])
        with store.write() as transaction:
            transaction.delete(TABLE, b"absent")
        assert items_of(store) == [(b"k", b"v")]

    @pytest.mark.parametrize("where", ["snapshot", "write"])
    def test_many_come_back_at_once(self, store: Store, where: str) -> None:
        put(store, [(b"b", b"2"), (b"a", b"1"), (b"c", b"")])
        with getattr(store, where)() as view:
            found = view.get_many(TABLE, [b"c", b"absent", b"a", b"a"])
        assert dict(found) == {b"a": b"1", b"c": b""}

    def test_many_of_none_are_none(self, store: Store) -> None:
        with store.snapshot() as snapshot:
            assert dict(snapshot.get_many(TABLE, [])) == {}

    def test_many_see_what_the_transaction_wrote(self, store: Store) -> None:
        with store.write() as transaction:
            transaction.put(TABLE, b"k", b"v")
            assert dict(transaction.get_many(TABLE, [b"k"])) == {b"k": b"v"}

    def test_tables_are_apart(self, store: Store) -> None:
        with store.write() as transaction:
            for table in Table:
                transaction.put(table, b"k", table.encode())
        with store.snapshot() as snapshot:
            assert [snapshot.get(table, b"k") for table in Table] == [t.encode() for t in Table]

    def test_count_is_the_number_of_items(self, store: Store) -> None:
        put(store, [(b"a", b""), (b"b", b""), (b"a", b"again")])
        with store.snapshot() as snapshot:
            assert snapshot.count(TABLE) == 2


class TestKeys:
    def test_a_key_of_510_bytes_is_taken(self, store: Store) -> None:
        put(store, [(LONGEST, b"v")])
        assert items_of(store) == [(LONGEST, b"v")]

    @pytest.mark.parametrize("key", [b"", LONGEST + b"k", b"k" * 5_000])
    @pytest.mark.parametrize(
        "use",
        [
            lambda transaction, key: transaction.get(TABLE, key),
            lambda transaction, key: transaction.put(TABLE, key, b"v"),
            lambda transaction, key: transaction.put_many(TABLE, [(b"k", b"v"), (key, b"v")]),
            lambda transaction, key: transaction.delete(TABLE, key),
        ],
        ids=["get", "put", "put_many", "delete"],
    )
    def test_an_empty_or_longer_key_is_refused(
        self, store: Store, key: bytes, use: Callable[[Transaction, bytes], object]
    ) -> None:
        with store.write() as transaction, pytest.raises(StoreError, match="510"):
            use(transaction, key)

    def test_one_bad_key_among_many_and_none_is_put(self, store: Store) -> None:
        with store.write() as transaction:
            with pytest.raises(StoreError):
                transaction.put_many(TABLE, [(b"good", b"v"), (b"", b"v")])
            assert transaction.count(TABLE) == 0

    @pytest.mark.parametrize("bounds", [(LONGEST + b"k", None), (b"", LONGEST + b"k")])
    def test_a_bound_longer_than_any_key_is_refused(
        self, store: Store, bounds: tuple[bytes, bytes | None]
    ) -> None:
        with store.snapshot() as snapshot, pytest.raises(StoreError, match="510"):
            snapshot.scan(TABLE, *bounds)


FIVE = [(b"a", b"1"), (b"b", b"2"), (b"b\0", b"3"), (b"b\xff", b"4"), (b"c", b"5")]


class TestScan:
    @pytest.mark.parametrize(
        ("start", "stop", "found"),
        [
            (b"", None, "12345"),
            (b"a", None, "12345"),
            (b"a\0", None, "2345"),
            (b"b", b"c", "234"),
            (b"b", b"b", ""),
            (b"b", b"b\0", "2"),
            (b"c", b"a", ""),
            (b"", b"", ""),
            (b"", b"a", ""),
            (b"", b"zz", "12345"),
            (b"c", None, "5"),
            (b"d", None, ""),
            (b"d", b"e", ""),
        ],
    )
    @pytest.mark.parametrize("reverse", [False, True])
    def test_start_is_in_and_stop_is_out(
        self, store: Store, start: bytes, stop: bytes | None, found: str, reverse: bool
    ) -> None:
        put(store, FIVE)
        with store.snapshot() as snapshot:
            values = [v.decode() for _, v in snapshot.scan(TABLE, start, stop, reverse=reverse)]
        assert "".join(values) == (found[::-1] if reverse else found)

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("bounds", [(b"", None), (b"a", None), (b"", b""), (b"a", b"b")])
    def test_an_empty_table_has_nothing(
        self, store: Store, bounds: tuple[bytes, bytes | None], reverse: bool
    ) -> None:
        with store.snapshot() as snapshot:
            assert list(snapshot.scan(TABLE, *bounds, reverse=reverse)) == []

    def test_scans_of_one_snapshot_do_not_disturb_each_other(self, store: Store) -> None:
        put(store, FIVE)
        with store.snapshot() as snapshot:
            both = zip(snapshot.scan(TABLE), snapshot.scan(TABLE, reverse=True), strict=True)
            assert [(a[1], b[1]) for a, b in both][:2] == [(b"1", b"5"), (b"2", b"4")]

    def test_a_scan_left_halfway_leaves_the_snapshot_usable(self, store: Store) -> None:
        put(store, FIVE)
        with store.snapshot() as snapshot:
            next(snapshot.scan(TABLE))
            assert snapshot.get(TABLE, b"c") == b"5"

    def test_a_write_to_the_table_ends_its_scans(self, store: Store) -> None:
        put(store, FIVE)
        with store.write() as transaction:
            scan = transaction.scan(TABLE)
            next(scan)
            transaction.delete(TABLE, b"c")
            with pytest.raises(StoreError, match="while it was scanned"):
                next(scan)

    def test_a_write_before_the_first_step_ends_a_scan_as_well(self, store: Store) -> None:
        with store.write() as transaction:
            scan = transaction.scan(TABLE)
            transaction.put(TABLE, b"k", b"v")
            with pytest.raises(StoreError, match="while it was scanned"):
                next(scan)

    def test_a_write_to_another_table_does_not(self, store: Store) -> None:
        put(store, FIVE)
        with store.write() as transaction:
            for key, value in transaction.scan(TABLE):
                transaction.put(OTHER, key, value)
            copied = [transaction.get(OTHER, key) for key, _ in FIVE]
        assert copied == [value for _, value in FIVE]


keys = st.binary(min_size=1, max_size=2) | st.binary(min_size=1, max_size=510)
pairs = st.tuples(keys, st.binary(max_size=40))
bounds = st.tuples(st.binary(max_size=2) | keys, st.none() | st.binary(max_size=2) | keys)
changes = st.lists(
    st.tuples(st.just("put_many"), st.lists(pairs, max_size=30))
    | st.tuples(st.just("put"), pairs)
    | st.tuples(st.just("delete"), keys),
    max_size=20,
)
against_a_model = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


class TestAgainstAModel:
    """A table is a dict whose keys are sorted as bytes, whatever is done to it."""

    @against_a_model
    @given(changes=changes, bounds=bounds, reverse=st.booleans())
    def test_of_random_changes_and_scans(
        self,
        store: Store,
        changes: list[tuple[str, object]],
        bounds: tuple[bytes, bytes | None],
        reverse: bool,
    ) -> None:
        with store.write() as transaction:
            clear(transaction)
            model: dict[bytes, bytes] = {}
            for name, argument in changes:
                change(transaction, model, name, argument)
                expected = within(model, *bounds, reverse=reverse)
                assert list(transaction.scan(TABLE, *bounds, reverse=reverse)) == expected
        with store.snapshot() as snapshot:
            assert list(snapshot.scan(TABLE)) == within(model, b"", None, reverse=False)
            assert snapshot.count(TABLE) == len(model)
            assert all(snapshot.get(TABLE, key) == value for key, value in model.items())

    @against_a_model
    @given(before=st.lists(pairs, max_size=30), items=st.lists(pairs, max_size=60))
    @example(before=[(b"a", b"")], items=[(b"b", b"1"), (b"b", b"2")])
    @example(before=[(b"b", b"1")], items=[(b"b", b"2"), (b"c", b"")])
    @example(before=[(b"b", b"")], items=[(b"c", b""), (b"a", b"")])
    def test_put_many_equals_puts(self, store: Store, before: Items, items: Items) -> None:
        with store.write() as transaction:
            found = []
            for at_once in (False, True):
                clear(transaction)
                transaction.put_many(TABLE, before)
                if at_once:
                    transaction.put_many(TABLE, iter(items))
                else:
                    for key, value in items:
                        transaction.put(TABLE, key, value)
                found.append(list(transaction.scan(TABLE)))
        assert found[0] == found[1]


def clear(transaction: Transaction) -> None:
    for key, _ in list(transaction.scan(TABLE)):
        transaction.delete(TABLE, key)


def change(
    transaction: Transaction, model: dict[bytes, bytes], name: str, argument: object
) -> None:
    match name, argument:
        case "put", (bytes(key), bytes(value)):
            transaction.put(TABLE, key, value)
            model[key] = value
        case "put_many", list(items):
            transaction.put_many(TABLE, items)
            model.update(items)
        case "delete", bytes(key):
            transaction.delete(TABLE, key)
            model.pop(key, None)


def within(
    model: dict[bytes, bytes], start: bytes, stop: bytes | None, *, reverse: bool
) -> list[tuple[bytes, bytes]]:
    inside = [(k, v) for k, v in model.items() if start <= k and (stop is None or k < stop)]
    return sorted(inside, reverse=reverse)


class Abandoned(Exception):  # noqa: N818  any exception of a caller's own
    pass


def abandon(store: Store) -> None:
    """Change every table in every way, then raise."""
    with store.write() as transaction:
        for table in Table:
            transaction.put(table, b"new", b"v")
            transaction.put_many(table, [(b"many", b"v"), (b"kept", b"changed")])
            transaction.delete(table, b"old")
        raise Abandoned


def whole(store: Store) -> dict[Table, Items]:
    with store.snapshot() as snapshot:
        return {table: list(snapshot.scan(table)) for table in Table}


class TestAtomicity:
    def test_an_exception_leaves_nothing_of_the_transaction(self, store: Store) -> None:
        with store.write() as transaction:
            for table in Table:
                transaction.put_many(table, [(b"old", b"v"), (b"kept", b"v")])
        before = whole(store)
        with pytest.raises(Abandoned):
            abandon(store)
        assert whole(store) == before

    def test_the_exception_goes_on_unchanged(self, store: Store) -> None:
        raised = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt) as caught, store.write():
            raise raised
        assert caught.value is raised

    def test_the_next_transaction_is_not_harmed(self, store: Store) -> None:
        with pytest.raises(Abandoned):
            abandon(store)
        put(store, [(b"k", b"v")])
        assert items_of(store) == [(b"k", b"v")]


class TestIsolation:
    def test_a_snapshot_does_not_see_a_later_commit(self, store: Store) -> None:
        put(store, [(b"k", b"before")])
        with store.snapshot() as snapshot:
            put(store, [(b"k", b"after"), (b"l", b"after")])
            assert list(snapshot.scan(TABLE)) == [(b"k", b"before")]

    def test_a_scan_goes_on_over_the_old_state_while_the_table_is_rewritten(
        self, store: Store
    ) -> None:
        old = [(bytes([i]), b"old" * 500) for i in range(100)]
        put(store, old)
        with store.snapshot() as snapshot:
            scan = snapshot.scan(TABLE)
            first = next(scan)
            for _ in range(3):
                put(store, [(bytes([i]), b"new" * 500) for i in range(100)])
            assert [first, *scan] == old

    def test_nobody_sees_a_transaction_before_its_end(self, store: Store) -> None:
        with store.write() as transaction:
            transaction.put(TABLE, b"k", b"v")
            assert in_thread(lambda: items_of(store)) == []

    def test_a_transaction_sees_its_own_writes(self, store: Store) -> None:
        put(store, [(b"a", b"1"), (b"b", b"2")])
        with store.write() as transaction:
            transaction.put(TABLE, b"c", b"3")
            transaction.put(TABLE, b"a", b"0")
            transaction.delete(TABLE, b"b")
            assert list(transaction.scan(TABLE)) == [(b"a", b"0"), (b"c", b"3")]
            assert transaction.get(TABLE, b"c") == b"3"
            assert transaction.count(TABLE) == 2

    def test_a_snapshot_is_taken_in_any_thread(self, store: Store) -> None:
        put(store, [(b"k", b"v")])
        assert in_thread(lambda: items_of(store)) == [(b"k", b"v")]

    def test_snapshots_beside_a_busy_writer_are_never_torn(self, store: Store) -> None:
        """Every commit sets 50 keys to one value, so a view with two values is a torn one."""
        done = threading.Event()

        def look() -> set[int]:
            seen = set()
            while not done.is_set():
                seen.add(len({value for _, value in items_of(store)}))
            return seen

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(look) for _ in range(2)]
            for i in range(100):
                put(store, [(bytes([k]), i.to_bytes(8) * 20) for k in range(50)])
            done.set()
            assert set[int]().union(*(reader.result() for reader in readers)) <= {0, 1}


class TestEnd:
    USES = pytest.mark.parametrize(
        "use",
        [
            lambda view: view.get(TABLE, b"k"),
            lambda view: view.scan(TABLE),
            lambda view: view.count(TABLE),
        ],
        ids=["get", "scan", "count"],
    )

    @USES
    def test_a_snapshot_is_of_no_use_after_its_end(
        self, store: Store, use: Callable[[Snapshot], object]
    ) -> None:
        with store.snapshot() as snapshot:
            pass
        with pytest.raises(StoreError, match="after its end"):
            use(snapshot)

    @USES
    def test_nor_is_a_transaction(self, store: Store, use: Callable[[Snapshot], object]) -> None:
        with store.write() as transaction:
            pass
        with pytest.raises(StoreError, match="after its end"):
            use(transaction)

    @pytest.mark.parametrize(
        "write",
        [
            lambda transaction: transaction.put(TABLE, b"k", b"v"),
            lambda transaction: transaction.put_many(TABLE, [(b"k", b"v")]),
            lambda transaction: transaction.delete(TABLE, b"k"),
        ],
        ids=["put", "put_many", "delete"],
    )
    def test_nothing_is_written_after_the_end(
        self, store: Store, write: Callable[[Transaction], object]
    ) -> None:
        with store.write() as transaction:
            pass
        with pytest.raises(StoreError, match="after its end"):
            write(transaction)

    @pytest.mark.parametrize("steps", [0, 1])
    def test_a_scan_ends_with_its_snapshot(self, store: Store, steps: int) -> None:
        put(store, [(b"a", b"1"), (b"b", b"2")])
        with store.snapshot() as snapshot:
            scan = snapshot.scan(TABLE)
            for _ in range(steps):
                next(scan)
        with pytest.raises(StoreError, match="after its end"):
            next(scan)

    def test_a_closed_store_gives_no_snapshot(self, store: Store) -> None:
        store.close()
        with pytest.raises(StoreError), store.snapshot():
            pass

    def test_a_closed_store_takes_no_write(self, store: Store) -> None:
        store.close()
        with pytest.raises(StoreError), store.write():
            pass

    def test_closing_again_does_nothing(self, store: Store) -> None:
        store.close()
        store.close()


class TestWriter:
    def test_another_thread_may_not_write(self, store: Store) -> None:
        put(store, [(b"k", b"v")])
        with pytest.raises(StoreError, match="another thread"):
            in_thread(lambda: put(store, [(b"k", b"other")]))

    def test_the_first_writer_goes_on_after_another_was_refused(self, store: Store) -> None:
        self.test_another_thread_may_not_write(store)
        put(store, [(b"l", b"v")])
        assert items_of(store) == [(b"k", b"v"), (b"l", b"v")]

    def test_the_writer_may_be_any_thread_if_it_is_the_first(self, store: Store) -> None:
        in_thread(lambda: put(store, [(b"k", b"v")]))
        assert items_of(store) == [(b"k", b"v")]

    def test_a_transaction_inside_another_is_refused(self, store: Store) -> None:
        with store.write(), pytest.raises(StoreError, match="open already"), store.write():
            pass

    def test_the_outer_transaction_is_not_harmed_by_it(self, store: Store) -> None:
        with store.write() as transaction:
            with pytest.raises(StoreError), store.write():
                pass
            transaction.put(TABLE, b"k", b"v")
        assert items_of(store) == [(b"k", b"v")]

    def test_a_commit_from_another_thread_is_refused_and_is_the_last(self, store: Store) -> None:
        """LMDB would say that it went well, and the next writer would wait for ever."""
        write = store.write()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(write.__enter__).result()
            with pytest.raises(StoreError, match="another thread"):
                write.__exit__(None, None, None)
            with pytest.raises(StoreError, match="earlier commit failed"):
                pool.submit(put, store, [(b"k", b"v")]).result()


class TestReaders:
    def test_one_snapshot_too_many_is_refused_as_busy(self, store: Store) -> None:
        with ExitStack() as stack:
            for _ in range(126):
                stack.enter_context(store.snapshot())
            with pytest.raises(BusyError):
                stack.enter_context(store.snapshot())

    def test_an_ended_snapshot_makes_room(self, store: Store) -> None:
        ended = []
        for _ in range(300):
            with store.snapshot() as snapshot:
                ended.append(snapshot)
        assert items_of(store) == []

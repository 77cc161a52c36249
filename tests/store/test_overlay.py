"""A transaction over a snapshot: it reads as a real one does, and nothing of it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.store.memory import MemoryStore
from ledgerd.store.overlay import Overlay
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import StoreError

TABLE = Table.RECORDS
KEYS = st.binary(min_size=1, max_size=2)
ITEMS = st.dictionaries(KEYS, st.binary(max_size=3), max_size=8)


def store_of(items: dict[bytes, bytes]) -> MemoryStore:
    store = MemoryStore(instance=bytes(16))
    with store.write() as transaction:
        transaction.put_many(TABLE, items.items())
    return store


class TestOverlay:
    @given(ITEMS, ITEMS, st.sets(KEYS), KEYS, KEYS, st.booleans())
    def test_reads_as_a_transaction_does(
        self,
        stored: dict[bytes, bytes],
        written: dict[bytes, bytes],
        deleted: set[bytes],
        start: bytes,
        stop: bytes,
        reverse: bool,
    ) -> None:
        wanted, store = store_of(stored), store_of(stored)
        with wanted.write() as real, store.snapshot() as snapshot:
            overlay = Overlay(snapshot)
            for transaction in (real, overlay):
                transaction.put_many(TABLE, written.items())
                for key in deleted:
                    transaction.delete(TABLE, key)
            scans = [
                list(each.scan(TABLE, start, stop, reverse=reverse)) for each in (real, overlay)
            ]
            gets = [each.get_many(TABLE, [start, *stored, *deleted]) for each in (real, overlay)]
        assert (scans[0], gets[0]) == (scans[1], gets[1])

    def test_leaves_the_store_as_it_is(self) -> None:
        store = store_of({b"a": b"1"})
        with store.snapshot() as snapshot:
            Overlay(snapshot).delete(TABLE, b"a")
        with store.snapshot() as snapshot:
            assert snapshot.get(TABLE, b"a") == b"1"

    def test_does_not_count(self) -> None:
        with store_of({}).snapshot() as snapshot, pytest.raises(StoreError):
            Overlay(snapshot).count(TABLE)

    def test_refuses_a_key_that_is_too_long(self) -> None:
        with store_of({}).snapshot() as snapshot, pytest.raises(StoreError):
            Overlay(snapshot).put(TABLE, b"k" * 511, b"")

    def test_ends_a_scan_at_a_write(self) -> None:
        with store_of({b"a": b"", b"b": b""}).snapshot() as snapshot:
            overlay = Overlay(snapshot)
            scan = overlay.scan(TABLE)
            next(scan)
            overlay.put(TABLE, b"c", b"")
            with pytest.raises(StoreError):
                next(scan)

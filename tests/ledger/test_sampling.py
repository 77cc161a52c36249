"""A part of a log verified while it grows: all entries in so many runs, and what each one finds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from ledger.law_world import LawWorld
from ledger.test_audit import FIELDS, copy, flipped, honest, rows, size
from ledger.test_erasure import old, order, submit
from ledger.world import World

from ledgerd.ledger.sampling import Sampled, Sampler, _check_tiles
from ledgerd.ledger.tree import HASH, WIDTH, TileWriter, tile_key
from ledgerd.ledger.verifying import AuditError
from ledgerd.projections.lost import put_lost
from ledgerd.store.base import Store, Transaction
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header

__all__ = ["old"]  # a fixture

Edit = Callable[[Transaction], object]


def nothing(_done: int, _total: int) -> None: ...


def sampled(world: World, store: Store | None = None, *, part: int = 0, parts: int = 1) -> Sampled:
    log = world.mainland.log
    sampler = Sampler(
        store or world.mainland.store, origin=log.origin, authority=log.authority.public
    )
    return sampler.run(part, parts, nothing)


def edited(store: Store, edit: Edit) -> MemoryStore:
    again = MemoryStore(instance=bytes(16))
    assert isinstance(store, MemoryStore)
    again._tables = store._tables
    with again.write() as transaction:
        edit(transaction)
    return again


def refused(edit: Edit) -> str:
    """What is said of the ledger that has something of everything, after an edit."""
    with pytest.raises(AuditError) as caught:
        sampled(honest(), edited(copy(), edit))
    return caught.value.message


@cache
def long() -> World:
    """A log of five tiles and a bit, or so; nobody may write to it."""
    world = World()
    world.mainland.append(*(world.transfer() for _ in range(5 * WIDTH)))
    return world


class TestHonest:
    def test_a_ledger_with_something_of_everything_passes(self) -> None:
        assert sampled(honest()) == Sampled(size(), size())

    def test_in_either_store(self, stored_world: World) -> None:
        stored_world.mainland.append(stored_world.transfer(at=1))
        assert sampled(stored_world).entries == stored_world.mainland.size

    def test_while_it_grows(self) -> None:
        world = World()
        log = world.mainland.log
        store = world.mainland.store
        sampler = Sampler(store, origin=log.origin, authority=log.authority.public)
        before = world.mainland.size
        world.mainland.append(*(world.transfer() for _ in range(2 * WIDTH)))
        assert sampler.run(0, 1, nothing) == Sampled(before, before)

    def test_after_an_erasure(self, law: LawWorld, old: int) -> None:
        submit(law, order(law, old))
        assert sampled(law).entries == law.mainland.size

    def test_with_a_body_that_is_lost(self) -> None:
        index = next(i for i in range(size()) if not _shared(i))
        header = Header.parse(honest().mainland.reader.header(index))

        def lose(transaction: Transaction) -> None:
            transaction.delete(Table.BODIES, u64(index))
            put_lost(transaction, index, header.body_digest, "")

        assert sampled(honest(), edited(copy(), lose)).entries == size()


def _shared(index: int) -> bool:
    return Header.parse(honest().mainland.reader.header(index)).kind in KINDS_SHARED_WITH_PEER


class TestParts:
    @pytest.mark.parametrize("parts", [1, 2, 3, 7])
    def test_together_are_the_whole_log(self, parts: int) -> None:
        each = [sampled(long(), part=part, parts=parts).entries for part in range(parts)]
        assert sum(each) == long().mainland.size

    @pytest.mark.parametrize("index", [3, 255, 256, 700, 1279, 1280])
    def test_each_entry_is_looked_at_in_one_of_them(self, index: int) -> None:
        body = long().mainland.reader.entry(index)[1]
        store = edited(
            long().mainland.store, lambda t: t.put(Table.BODIES, u64(index), flipped(body, 20))
        )
        found = []
        for part in range(3):
            try:
                sampled(long(), store, part=part, parts=3)
            except AuditError as error:
                found.append((part, error.message))
        assert found == [
            (index // WIDTH % 3, f"entry {index}: the body is not the one in the header")
        ]


class TestEntries:
    """Somebody changes what is stored of an entry, and has no key."""

    @pytest.mark.parametrize("field", FIELDS)
    def test_a_changed_header_is_found(self, field: str) -> None:
        key, header = rows(Table.HEADERS)[5]
        changed = flipped(header, FIELDS[field])
        assert refused(lambda t: t.put(Table.HEADERS, key, changed)).startswith(
            ("entry 5", "entry 6")
        )

    @pytest.mark.parametrize("index", [0, 1, 2, 5, -1])
    def test_a_changed_body_is_found(self, index: int) -> None:
        key, body = rows(Table.BODIES)[index]
        refused(lambda t: t.put(Table.BODIES, key, flipped(body, len(body) // 2)))

    @pytest.mark.parametrize("table", [Table.HEADERS, Table.BODIES])
    @pytest.mark.parametrize("index", [0, 5, -1])
    def test_a_missing_row_is_found(self, table: Table, index: int) -> None:
        key, _ = rows(table)[index]
        refused(lambda t: t.delete(table, key))

    def test_a_body_is_not_lost_because_a_row_of_another_says_so(self) -> None:
        digest = Header.parse(honest().mainland.reader.header(5)).body_digest

        def lose(transaction: Transaction) -> None:
            transaction.delete(Table.BODIES, u64(6))
            put_lost(transaction, 5, digest, "")

        assert refused(lose) == "entry 6: its body is missing"

    def test_a_signature_that_is_none_is_found(self) -> None:
        """By the node itself, with all its keys: chain and signed root are as they should be."""
        world = World()
        item = world.transfer()
        tail = flipped(item.tail, FIELDS["signature"] - FIELDS["kind"])
        index = world.mainland.place(item._replace(tail=tail))
        with pytest.raises(AuditError, match=f"entry {index}: .*signature"):
            sampled(world)

    def test_a_body_whose_erasure_is_none(self, law: LawWorld, old: int) -> None:
        erasure = submit(law, order(law, old))

        def point_elsewhere(transaction: Transaction) -> None:
            row = transaction.get(Table.ERASED, u64(old)) or b""
            transaction.put(Table.ERASED, u64(old), u64(erasure - 1) + row[8:])

        with pytest.raises(AuditError, match="no ERASURE of it"):
            sampled(law, edited(law.mainland.store, point_elsewhere))


class TestTables:
    @pytest.mark.parametrize("table", [Table.RECORDS, Table.KEYS])
    def test_a_row_too_few_is_found(self, table: Table) -> None:
        key, _ = rows(table)[-1]
        refused(lambda t: t.delete(table, key))

    @pytest.mark.parametrize("place", [0, 255, WIDTH, 2 * WIDTH - 3])
    def test_a_changed_hash_in_a_full_tile_above_is_found(self, place: int) -> None:
        """With the last block below it; the leaves are of no log."""
        store, leaves = MemoryStore(instance=bytes(16)), [bytes(HASH)] * WIDTH
        with store.write() as transaction:
            TileWriter(0, {}).append(transaction, leaves * WIDTH)
        with store.snapshot() as snapshot:
            _check_tiles(snapshot, WIDTH - 1, leaves)
            tile = snapshot.get(Table.TILES, tile_key(1, 0)) or b""
        changed = flipped(tile, place * HASH)
        bad = edited(store, lambda t: t.put(Table.TILES, tile_key(1, 0), changed))
        with bad.snapshot() as snapshot, pytest.raises(AuditError):
            _check_tiles(snapshot, WIDTH - 1, leaves)

    @pytest.mark.parametrize(
        ("level", "number", "place"),
        [(0, 0, 3), (0, 0, WIDTH + 5), (0, 4, 255), (0, 5, 0), (1, 0, 2), (1, 0, 4)],
    )
    def test_a_changed_hash_in_the_tree_is_found(self, level: int, number: int, place: int) -> None:
        store = long().mainland.store
        with store.snapshot() as snapshot:
            tile = snapshot.get(Table.TILES, tile_key(level, number)) or b""
        changed = flipped(tile, place * HASH)
        bad = edited(store, lambda t: t.put(Table.TILES, tile_key(level, number), changed))
        with pytest.raises(AuditError):
            sampled(long(), bad)

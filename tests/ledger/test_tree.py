"""The tree in tiles, against RFC 6962 itself, core.merkle's Frontier, and C2SP tlog-tiles."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.ledger.tree import HASH, WIDTH, NodeCache, Nodes, TileWriter, tile_key
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client.core import merkle
from ledgerd_client.core.errors import StoreError
from ledgerd_client.core.merkle import Frontier

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text())
WIDTHS = VECTORS["tlog_tiles_paths"]
SIZES = [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 70_000]
NOT_EMPTY = SIZES[1:]
STEPS = list(pairwise(SIZES))
LEAVES = [sha256(b"leaf %d" % number).digest() for number in range(SIZES[-1])]

Tiles = dict[bytes, bytes]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, of leaf hashes."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return merkle.node_hash(naive_root(hashes[:split]), naive_root(hashes[split:]))


@cache
def root_of(size: int) -> bytes:
    return naive_root(LEAVES[:size])


def naive_tiles(leaves: list[bytes]) -> Tiles:
    """C2SP tlog-tiles: a hash of level L is the root over 256**L leaves, 256 of them are a tile."""
    tiles: Tiles = {}
    level, hashes = 0, leaves
    while hashes:
        rows = [hashes[i : i + WIDTH] for i in range(0, len(hashes), WIDTH)]
        tiles |= {tile_key(level, number): b"".join(row) for number, row in enumerate(rows)}
        level, hashes = level + 1, [naive_root(row) for row in rows if len(row) == WIDTH]
    return tiles


def append(store: MemoryStore, writer: TileWriter, leaves: list[bytes]) -> None:
    with store.write() as transaction:
        writer.append(transaction, leaves)


def load(store: MemoryStore, size: int) -> TileWriter:
    with store.snapshot() as snapshot:
        return TileWriter.load(snapshot, size)


def tiles_of(store: MemoryStore) -> Tiles:
    with store.snapshot() as snapshot:
        return dict(snapshot.scan(Table.TILES))


@cache
def stored(size: int) -> MemoryStore:
    """A store that holds the tree of the first leaves; nobody may write to it."""
    store = MemoryStore(instance=bytes(16))
    append(store, TileWriter(0, {}), LEAVES[:size])
    return store


def grown(store: MemoryStore) -> MemoryStore:
    """A copy that may be written to."""
    copy = MemoryStore(instance=bytes(16))
    copy._tables = store._tables
    return copy


def nodes_above(tile: bytes) -> bytes:
    """The roots over 2, 4, … 128 hashes of a full tile, each row from left to right."""
    hashes = [tile[i : i + HASH] for i in range(0, WIDTH * HASH, HASH)]
    widths = [2, 4, 8, 16, 32, 64, 128]
    parts = [hashes[i : i + width] for width in widths for i in range(0, WIDTH, width)]
    return b"".join(map(naive_root, parts))


class TestTiles:
    @pytest.mark.parametrize("size", SIZES)
    def test_they_are_those_of_the_specification(self, size: int) -> None:
        tiles = {key: tile[: WIDTH * HASH] for key, tile in tiles_of(stored(size)).items()}
        assert tiles == naive_tiles(LEAVES[:size])

    @pytest.mark.parametrize("size", [255, 256, 70_000])
    def test_behind_a_full_one_are_the_nodes_above_it(self, size: int) -> None:
        for tile in tiles_of(stored(size)).values():
            above = nodes_above(tile) if len(tile) >= WIDTH * HASH else b""
            assert tile[WIDTH * HASH :] == above

    @pytest.mark.parametrize(("old", "new"), STEPS)
    def test_a_tree_that_grew_is_the_tree_made_at_once(self, old: int, new: int) -> None:
        store = grown(stored(old))
        append(store, load(store, old), LEAVES[old:new])
        assert tiles_of(store) == tiles_of(stored(new))

    @pytest.mark.parametrize("size", [255, 256, 257, 513])
    def test_leaf_by_leaf_it_is_the_same(self, size: int) -> None:
        store, writer = MemoryStore(instance=bytes(16)), TileWriter(0, {})
        for leaf in LEAVES[:size]:
            append(store, writer, [leaf])
        assert tiles_of(store) == tiles_of(stored(size))

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, 600), max_size=8), st.integers(0, 7))
    def test_in_whatever_steps_it_grows(self, steps: list[int], restart: int) -> None:
        store, writer, size = MemoryStore(instance=bytes(16)), TileWriter(0, {}), 0
        for number, step in enumerate(steps):
            if number == restart:
                writer = load(store, size)
            append(store, writer, LEAVES[size : size + step])
            size += step
        assert (writer.size, tiles_of(store)) == (size, tiles_of(stored(size)))

    def test_widths_of_a_tree_of_70000(self) -> None:
        expected = WIDTHS["tree_of_70000"]
        assert {
            "full_level0": full(0),
            "partial_level0_width": partial(0),
            "full_level1": full(1),
            "partial_level1_width": partial(1),
            "partial_level2_width": partial(2),
        } == expected

    def test_widths_of_a_tree_of_256(self) -> None:
        assert {
            "full_level0": full(0, 256),
            "partial_level1_width": partial(1, 256),
        } == WIDTHS["tree_of_256"]


def widths(level: int, size: int) -> list[int]:
    return [
        min(len(t) // HASH, WIDTH) for key, t in tiles_of(stored(size)).items() if key[0] == level
    ]


def full(level: int, size: int = 70_000) -> int:
    return widths(level, size).count(WIDTH)


def partial(level: int, size: int = 70_000) -> int:
    return sum(width for width in widths(level, size) if width < WIDTH)


class TestRoot:
    @pytest.mark.parametrize("size", SIZES)
    def test_it_is_the_frontiers(self, size: int) -> None:
        frontier = Frontier()
        frontier.extend(LEAVES[:size])
        with stored(size).snapshot() as snapshot:
            assert merkle.root(Nodes(snapshot.get, {}), size) == frontier.root()

    @pytest.mark.parametrize("size", NOT_EMPTY)
    def test_it_is_that_of_the_rfc(self, size: int) -> None:
        with stored(size).snapshot() as snapshot:
            assert merkle.root(Nodes(snapshot.get, {}), size) == root_of(size)

    @pytest.mark.parametrize(("old", "new"), STEPS)
    def test_the_writer_knows_it_before_the_commit(self, old: int, new: int) -> None:
        store = grown(stored(old))
        writer = load(store, old)
        with store.write() as transaction:
            writer.append(transaction, LEAVES[old:new])
            root = merkle.root(writer.nodes(transaction), new)
        assert root == root_of(new)

    @pytest.mark.parametrize(
        ("old", "new"), [(o, n) for o, n in product(NOT_EMPTY, SIZES) if o < n]
    )
    def test_an_earlier_one_can_be_told_later(self, old: int, new: int) -> None:
        with stored(new).snapshot() as snapshot:
            assert merkle.root(Nodes(snapshot.get, {}), old) == root_of(old)


class TestProofs:
    @pytest.mark.parametrize("size", NOT_EMPTY)
    def test_every_edge_has_an_inclusion_proof(self, size: int) -> None:
        root = root_of(size)
        edges = {i for edge in NOT_EMPTY for i in (edge - 1, edge) if i < size} | {0, size // 2}
        with stored(size).snapshot() as snapshot:
            nodes = Nodes(snapshot.get, {})
            for index in edges:
                proof = merkle.inclusion_proof(nodes, index, size)
                merkle.verify_inclusion(LEAVES[index], index, size, proof, root)

    @pytest.mark.parametrize(
        ("old", "new"), [(o, n) for o, n in product(NOT_EMPTY, SIZES) if o <= n]
    )
    def test_every_two_sizes_have_a_consistency_proof(self, old: int, new: int) -> None:
        with stored(new).snapshot() as snapshot:
            proof = merkle.consistency_proof(Nodes(snapshot.get, {}), old, new)
        merkle.verify_consistency(old, root_of(old), new, root_of(new), proof)


class TestCost:
    """What a proof costs who has no node at hand."""

    def reads_and_nodes(self, index: int, size: int) -> tuple[int, int]:
        """Tiles that are read, and nodes that are looked at, for the proof of a leaf."""
        reads, cache = [], NodeCache()
        with stored(size).snapshot() as snapshot:

            def get(table: Table, key: bytes) -> bytes | None:
                reads.append(key)
                return snapshot.get(table, key)

            merkle.inclusion_proof(Nodes(get, cache), index, size)
        return len(reads), len(cache)

    def test_of_full_tiles_each_is_read_once_and_nothing_is_hashed(self) -> None:
        assert self.reads_and_nodes(12_345, 65_536) == (2, 16)

    def test_of_a_tree_with_a_right_edge_each_is_read_once(self) -> None:
        """Leaves 0 to 65,535 are of two levels of full tiles; what is right of them, of three."""
        reads, _ = self.reads_and_nodes(0, 70_000)
        assert reads <= 2 + 3

    def test_a_partial_tile_is_read_once(self) -> None:
        reads, _ = self.reads_and_nodes(0, 255)
        assert reads == 1


class TestCache:
    def test_what_it_remembers_of_a_smaller_tree_is_right_in_a_larger_one(self) -> None:
        cache: NodeCache = {}
        for size in NOT_EMPTY:
            with stored(size).snapshot() as snapshot:
                assert merkle.root(Nodes(snapshot.get, cache), size) == root_of(size)

    def test_it_does_not_grow_without_bound(self) -> None:
        cache: NodeCache = {(99, number): bytes(32) for number in range(1 << 16)}
        with stored(513).snapshot() as snapshot:
            root = merkle.root(Nodes(snapshot.get, cache), 513)
        assert (root, len(cache) < 100) == (root_of(513), True)


class TestDamage:
    """A store whose tree is not whole is not written to."""

    @pytest.mark.parametrize("size", NOT_EMPTY)
    def test_a_missing_edge_is_noticed_at_every_level(self, size: int) -> None:
        for level, number in edges(size):
            self.refused(size, tile_key(level, number), None)

    @pytest.mark.parametrize("size", NOT_EMPTY)
    @pytest.mark.parametrize("cut", [1, HASH])
    def test_so_is_a_short_one(self, size: int, cut: int) -> None:
        for level, number in edges(size):
            key = tile_key(level, number)
            self.refused(size, key, tiles_of(stored(size))[key][:-cut])

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("more", [1, HASH])
    def test_so_is_one_that_holds_more_than_the_tree(self, size: int, more: int) -> None:
        for level, hashes in levels(size):
            key = tile_key(level, hashes // WIDTH)
            self.refused(size, key, tiles_of(stored(size)).get(key, b"") + bytes(more))

    def refused(self, size: int, key: bytes, value: bytes | None) -> None:
        store = grown(stored(size))
        with store.write() as transaction:
            if value is None:
                transaction.delete(Table.TILES, key)
            else:
                transaction.put(Table.TILES, key, value)
        with pytest.raises(StoreError) as caught:
            load(store, size)
        assert caught.value.reason == "BAD_TILE"

    def test_a_missing_inner_tile_is_noticed_by_whoever_needs_it(self) -> None:
        store = grown(stored(513))
        with store.write() as transaction:
            transaction.delete(Table.TILES, tile_key(0, 0))
        with store.snapshot() as snapshot, pytest.raises(StoreError, match="tile 0/0"):
            merkle.inclusion_proof(Nodes(snapshot.get, {}), 1, 513)


def levels(size: int) -> list[tuple[int, int]]:
    """(level, hashes of that level) of a tree."""
    found, level = [], 0
    while size >> 8 * level:
        found.append((level, size >> 8 * level))
        level += 1
    return found


def edges(size: int) -> list[tuple[int, int]]:
    """(level, number) of the partial tiles."""
    return [(level, hashes // WIDTH) for level, hashes in levels(size) if hashes % WIDTH]

"""The newest end of a store, looked at before a node shows anything of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ledger.world import Node, World

from ledgerd.ledger.edge import check_edge
from ledgerd.ledger.head import Head
from ledgerd.ledger.tree import HASH, tile_key
from ledgerd.store.base import Transaction
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import StoreError

Edit = Callable[[Transaction], None]


def grown(entries: int) -> Node:
    world = World()
    world.mainland.append(*(world.transfer() for _ in range(entries - world.mainland.size)))
    return world.mainland


def head_of(node: Node) -> Head:
    with node.store.snapshot() as snapshot:
        return check_edge(snapshot, node.history())


def refused(node: Node, edit: Edit) -> str:
    store = MemoryStore(instance=bytes(16))
    assert isinstance(node.store, MemoryStore)
    store._tables = node.store._tables
    with store.write() as transaction:
        edit(transaction)
    with store.snapshot() as snapshot, pytest.raises(StoreError) as caught:
        check_edge(snapshot, node.history())
    assert caught.value.reason == "BAD_EDGE"
    return caught.value.message


class TestAnHonestStore:
    @pytest.mark.parametrize("entries", [3, 255, 256, 257])
    def test_passes(self, entries: int) -> None:
        assert head_of(grown(entries)).size == entries


class TestADamagedStore:
    """Each is what a disk may do, or a store that was put together of two."""

    @staticmethod
    def test_without_its_newest_header() -> None:
        refused(grown(5), lambda t: t.delete(Table.HEADERS, u64(4)))

    @staticmethod
    def test_with_another_newest_header() -> None:
        def flip(transaction: Transaction) -> None:
            header = bytearray(transaction.get(Table.HEADERS, u64(4)) or b"")
            header[130] ^= 1  # in the signature: it parses as before
            transaction.put(Table.HEADERS, u64(4), bytes(header))

        assert "not the one in the tree" in refused(grown(5), flip)

    @staticmethod
    def test_with_a_header_beyond_the_newest() -> None:
        def add(transaction: Transaction) -> None:
            header = transaction.get(Table.HEADERS, u64(4)) or b""
            transaction.put(Table.HEADERS, u64(5), header)

        assert "there are not 5 headers" in refused(grown(5), add)

    @staticmethod
    def test_with_another_hash_at_the_trees_edge() -> None:
        def flip(transaction: Transaction) -> None:
            tile = transaction.get(Table.TILES, tile_key(0, 0)) or b""
            transaction.put(Table.TILES, tile_key(0, 0), bytes(HASH) + tile[HASH:])

        assert "not of the tree" in refused(grown(5), flip)

    @staticmethod
    def test_with_an_older_checkpoint() -> None:
        node = grown(5)
        older = head_of(node).checkpoint
        node.place(node.by_node(rule_set=node.reader.rule_set()))

        def put_back(transaction: Transaction) -> None:
            Head.load(transaction)._replace(checkpoint=older).put(transaction)

        assert "not of the tree" in refused(node, put_back)

    @staticmethod
    def test_with_a_checkpoint_by_another_key() -> None:
        def forge(transaction: Transaction) -> None:
            theirs = head_of(World().mainland).checkpoint
            Head.load(transaction)._replace(checkpoint=theirs).put(transaction)

        refused(grown(5), forge)

"""How the end of a replica is cut off again."""

from __future__ import annotations

from collections.abc import Sequence

from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import stored_header
from ledgerd.ledger.tree import HASH, WIDTH, Nodes, TileWriter, tile_key
from ledgerd.projections.ordinals import EPOCH, cut_ordinals
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.overlay import Overlay
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.header import Header, body_digest_of
from ledgerd_client.core.merkle import leaf_hash


def cut_tail(transaction: Transaction, head: Head, size: int, origin: str) -> Head:
    """
    Take away the entries from size on, and return the head of what is left, which is put too.

    The tree's tiles, the index of body digests and the keys are then as they were at that size.
    """
    first = size // EPOCH * EPOCH
    kept = transaction.scan(Table.HEADERS, u64(first), u64(size))
    cut_ordinals(transaction, size, [body_digest_of(raw) for _, raw in kept])
    for index in range(size, head.size):
        key = u64(index)
        for table in (Table.HEADERS, Table.BODIES, Table.KEYS):
            transaction.delete(table, key)
    cut_tiles(transaction, head.size, size)
    left = Head.empty(origin)
    if size:
        last = stored_header(transaction, size - 1)
        left = Head(size, Header.parse(last).recorded_at, leaf_hash(last), head.checkpoint)
    left.put(transaction)
    return left


def cut_tiles(transaction: Transaction, old: int, new: int) -> None:
    """Make the tiles of a tree of one size those that it had at an earlier one."""
    level = 0
    while old:
        number, width = divmod(new, WIDTH)
        tile = transaction.get(Table.TILES, tile_key(level, number))
        for later in range(number, old // WIDTH + 1):
            transaction.delete(Table.TILES, tile_key(level, later))
        if width and tile is not None:
            transaction.put(Table.TILES, tile_key(level, number), tile[: width * HASH])
        level, old, new = level + 1, old // WIDTH, new // WIDTH


def regrown(snapshot: Snapshot, size: int, first: int, leaves: Sequence[bytes]) -> Nodes:
    """The tree that a stored one of some size would be with other leaves from first on."""
    tree = Overlay(snapshot)
    cut_tiles(tree, size, first)
    TileWriter.load(tree, first).append(tree, leaves)
    return Nodes(tree.get, {})

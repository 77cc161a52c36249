"""
The Merkle tree of a log, kept as 256-hash tiles (C2SP tlog-tiles) in the store.

A tile of level L holds up to 256 hashes, each the root of a complete subtree of 256**L leaves. Once
it is full, the nodes above them stand behind them, 128, 64, … 2, so that a proof hashes nothing of
it again. Complete subtrees never change, so their hashes may be remembered for good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Self

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import StoreError
from ledgerd_client.core.merkle import Frontier, node_hash

WIDTH: Final = 256
HASH: Final = 32
_LEVELS: Final = 8
# Where each row of a full tile begins, in hashes; the last is its length.
_ROWS: Final = tuple(2 * WIDTH - (2 * WIDTH >> row) for row in range(_LEVELS + 1))
_CACHED_NODES: Final = 1 << 16

NodeCache = dict[tuple[int, int], bytes]


def tile_key(level: int, number: int) -> bytes:
    return bytes([level]) + u64(number)


class Nodes:
    """
    Hashes of complete subtrees, read from tiles: the `Node` that core.merkle's builders take.

    Valid as long as get is (a snapshot or a transaction). The cache may outlive it and be shared
    between threads, but only for nodes that are committed.
    """

    __slots__ = ("_cache", "_get", "_key", "_tile")

    def __init__(self, get: Callable[[Table, bytes], bytes | None], cache: NodeCache) -> None:
        self._get = get
        self._cache = cache
        # The tile that was read last.
        self._key, self._tile = b"", b""

    def __call__(self, level: int, index: int) -> bytes:
        found = self._cache.get((level, index))
        if found is None:
            found = self._read(level, index)
            if len(self._cache) >= _CACHED_NODES:
                self._cache.clear()
            self._cache[level, index] = found
        return found

    def _read(self, level: int, index: int) -> bytes:
        tile_level, row = divmod(level, _LEVELS)
        number, place = divmod(index, WIDTH >> row)
        key = tile_key(tile_level, number)
        if key != self._key:
            self._key, self._tile = key, self._get(Table.TILES, key) or b""
        full = len(self._tile) > WIDTH * HASH
        # Of one that is not full, the node is the root over so many of its hashes.
        start, count = (_ROWS[row] + place, 1) if full else (place << row, 1 << row)
        hashes = self._tile[start * HASH : (start + count) * HASH]
        if len(hashes) != count * HASH:
            raise StoreError(
                f"tile {tile_level}/{number} has no hash {place} of row {row}", reason="BAD_TILE"
            )
        return _above(hashes)[-1]


class TileWriter:
    """
    The right edge of the tree in memory, and how it grows. One thread, the store's writer.

    After a transaction that did not commit it is wrong: load a new one.
    """

    def __init__(self, size: int, edges: dict[int, bytearray]) -> None:
        self.size = size
        self._edges = edges
        self._full: dict[int, int] = {level: size // WIDTH ** (level + 1) for level in edges}
        self.cache: NodeCache = {}

    @classmethod
    def load(cls, snapshot: Snapshot, size: int) -> Self:
        """Read the partial tiles of a tree of size; raises StoreError when one is missing."""
        edges = {}
        level, hashes = 0, size
        while hashes:
            width = hashes % WIDTH
            tile = snapshot.get(Table.TILES, tile_key(level, hashes // WIDTH)) or b""
            if len(tile) != width * HASH:
                raise StoreError(f"the tree's edge at level {level} is damaged", reason="BAD_TILE")
            edges[level] = bytearray(tile)
            level, hashes = level + 1, hashes // WIDTH
        return cls(size, edges)

    def append(self, transaction: Transaction, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes and put every tile that changed, partial ones too."""
        changed: dict[bytes, bytes] = {}
        self._extend(0, leaves, changed)
        transaction.put_many(Table.TILES, changed.items())
        self.size += len(leaves)

    def _extend(self, level: int, hashes: Sequence[bytes], changed: dict[bytes, bytes]) -> None:
        edge = self._edges.setdefault(level, bytearray())
        full = self._full.setdefault(level, 0)
        roots = []
        edge += b"".join(hashes)
        while len(edge) >= WIDTH * HASH:
            tile, root = fill(bytes(edge[: WIDTH * HASH]))
            del edge[: WIDTH * HASH]
            changed[tile_key(level, full)] = tile
            full += 1
            roots.append(root)
        self._full[level] = full
        if edge:
            changed[tile_key(level, full)] = bytes(edge)
        if roots:
            self._extend(level + 1, roots, changed)

    def nodes(self, transaction: Transaction) -> Nodes:
        return Nodes(transaction.get, self.cache)


def frontier(snapshot: Snapshot, size: int) -> Frontier:
    """The peaks of a stored tree at a size; raises StoreError."""
    nodes = Nodes(snapshot.get, {})
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    return Frontier(size, [nodes(level, (size >> level) - 1) for level in levels])


def fill(hashes: bytes) -> tuple[bytes, bytes]:
    """A full tile of these hashes, and the root over them."""
    *nodes, root = _above(hashes)
    return b"".join(nodes), root


def _above(hashes: bytes) -> list[bytes]:
    """A power of two hashes, and all nodes above them, row by row up to the root."""
    row = [hashes[i : i + HASH] for i in range(0, len(hashes), HASH)]
    nodes = [*row]
    while len(row) > 1:
        row = [node_hash(a, b) for a, b in zip(row[::2], row[1::2], strict=True)]
        nodes += row
    return nodes

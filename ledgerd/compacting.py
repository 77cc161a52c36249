"""`ledgerd compact`: has the pages of a store hold nothing that was erased."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ledgerd.store.lmdb import LmdbStore


class Compacted(NamedTuple):
    """Bytes of the store's file, before and after."""

    before: int
    after: int


def compact(store: Path) -> Compacted:
    """
    Compact the store of a node or mirror that does not run, or a copy of one.

    It needs as much room beside it as it takes. When this returns, the new file is on the disk and
    the old one is gone; the blocks that it lay on are the file system's. Raises NotReadyError
    ALREADY_SERVED, or StoreError, and the store is then as it was.
    """
    return Compacted(*LmdbStore.compact(store))

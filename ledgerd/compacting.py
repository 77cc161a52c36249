"""`ledgerd compact`: has the pages of a store hold nothing that was erased."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64


class Compacted(NamedTuple):
    """Bytes of the store's file, before and after."""

    before: int
    after: int


def compact(store: Path, forget: Collection[int] = ()) -> Compacted:
    """
    Compact the store of a node or mirror that does not run, or a copy of one.

    forget: entries whose bodies are lost to the log, and no longer to be kept where they came back.

    It needs as much room beside it as it takes. When this returns, the new file is on the disk and
    the old one is gone; the blocks that it lay on are the file system's. Raises NotReadyError
    ALREADY_SERVED, or StoreError, and the store is then as it was.
    """
    if forget:
        with closing(LmdbStore.open(store)) as opened, opened.write() as transaction:
            for index in forget:
                transaction.delete(Table.RETURNED, u64(index))
    return Compacted(*LmdbStore.compact(store))

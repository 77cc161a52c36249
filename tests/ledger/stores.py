"""Stores that fail or wait where a test wants them to, and stores taken up by another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ledgerd.store.base import Snapshot, Store, Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.memory import MemoryStore
from ledgerd_client.core.errors import StoreError


class FaultyStore:
    """
    A store between whose transactions and commits a test can stand.

    fails: the next commits raise, and `lands` says whether the disk has them nevertheless. gate:
    while it is clear, a commit waits; entered is set when one does.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.fails = False
        self.lands = False
        self.transactions = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    @property
    def instance(self) -> bytes:
        return self.inner.instance

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return self.inner.snapshot()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self.transactions += 1
        with self.inner.write() as transaction:
            yield transaction
            if not self.gate.is_set():
                self.entered.set()
                self.gate.wait()
            self._fail(lands=False)
        self._fail(lands=True)

    def _fail(self, *, lands: bool) -> None:
        if self.fails and self.lands == lands:
            raise StoreError("a commit failed: Input/output error", reason="COMMIT_FAILED")

    def free_bytes(self) -> int:
        return self.inner.free_bytes()

    def close(self) -> None:
        self.inner.close()

    def hold(self) -> None:
        """Let the next commit wait until release()."""
        self.entered.clear()
        self.gate.clear()

    def release(self) -> None:
        self.gate.set()


def reopened(store: Store, path: Path) -> Store:
    """The same store as another process would open it: no thread has written to it yet."""
    store.close()
    if isinstance(store, LmdbStore):
        return LmdbStore.open(path)
    assert isinstance(store, MemoryStore)
    again = MemoryStore(instance=store.instance)
    again._tables = store._tables
    return again

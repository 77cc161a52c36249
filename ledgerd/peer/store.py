"""Replica and witness state: a store of their own, apart from the ledger's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self, TypeVar, TypeVarTuple, Unpack

from ledgerd.ledger.committer import RESERVE_BYTES
from ledgerd.store.base import COMMIT_FAILED, Snapshot, Store, Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client.core.errors import BusyError, StoreError

Ts = TypeVarTuple("Ts")
R = TypeVar("R")

# More than any page of headers takes, copied tree pages included: it must not fill up in a commit.
_LEAST_RESERVE: Final = 16 << 20
# Of the ledger's reserve, so much is kept free by the replica: on a disk of both it stops first.
REPLICA_RESERVES: Final = 2
REPLICA_FULL: Final = "REPLICA_FULL"


class PeerStore:
    """
    A Store and the one thread that writes it. Snapshots may be taken in any thread.

    It has a quota of bytes. When it is full the replica stops growing; the reserve that is left is
    for the witness, whose state is small.
    """

    def __init__(
        self,
        store: Store,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        on_fatal: Callable[[StoreError], None] = lambda _error: None,
    ) -> None:
        """on_fatal is called on the event loop when a commit failed: the process must end."""
        # Whether open() made it.
        self.is_new = False
        self._store = store
        self._reserve = reserve_bytes
        self._on_fatal = on_fatal
        self._writer = ThreadPoolExecutor(1, "peer-writer")

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        quota: int,
        random: Callable[[int], bytes],
        ledger_reserve: int = RESERVE_BYTES,
        on_fatal: Callable[[StoreError], None] = lambda _error: None,
    ) -> Self:
        """
        Open the store in a directory, or make it there; quota is the most bytes it may take.

        ledger_reserve: what the sequencer keeps free; on a disk that both share, the replica stops
        first. Raises StoreError, STORE_EXISTS when the directory holds something else.
        """
        is_new = False
        try:
            store = LmdbStore.open(path, map_size=quota)
        except StoreError as error:
            if error.reason != "NO_STORE":
                raise
            store = LmdbStore.create(path, instance=random(16), map_size=quota)
            is_new = True
        reserve = max(REPLICA_RESERVES * ledger_reserve, _LEAST_RESERVE)
        made = cls(store, reserve_bytes=min(reserve, quota // 4), on_fatal=on_fatal)
        made.is_new = is_new
        return made

    @property
    def store(self) -> Store:
        """For reading."""
        return self._store

    @property
    def instance(self) -> bytes:
        return self._store.instance

    @property
    def full(self) -> BusyError | None:
        """Why the replica grows no more: DISK_FULL or, of the quota, REPLICA_FULL; None: it may."""
        free = self._store.free_bytes()
        if free >= self._reserve:
            return None
        room = self._store.room()
        if room.limit - room.used - room.free >= self._reserve:
            return disk_full(free)
        return BusyError(
            "the replica has used up its quota",
            reason=REPLICA_FULL,
            action="raise limits.replica_quota_bytes, and restart the node",
        )

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return self._store.snapshot()

    def write(self) -> AbstractContextManager[Transaction]:
        """Open a write transaction; only in what run() calls."""
        return self._store.write()

    async def run(self, function: Callable[[Unpack[Ts]], R], *args: *Ts) -> R:
        """
        Call function in the writing thread, after whatever it was given before.

        A caller that is cancelled does not stop it.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._writer, function, *args)
        except StoreError as error:
            if error.reason == COMMIT_FAILED:
                self._on_fatal(error)
            raise

    def close(self) -> None:
        """Finish what the thread was given, and close the store."""
        self._writer.shutdown()
        self._store.close()


def disk_full(free: int) -> BusyError:
    """What is said of a disk that has so many bytes free, and takes in no more of a log."""
    return BusyError(
        f"{free} bytes are free on the disk, too little to follow a log",
        reason="DISK_FULL",
        action="make room on this machine's disk: it goes on by itself",
    )

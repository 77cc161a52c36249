"""What every store of a ledger promises, and the checks that all of them share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NamedTuple, Protocol

from ledgerd.store.tables import Table
from ledgerd_client.core.errors import StoreError

MAX_KEY_BYTES = 510
MAX_SNAPSHOTS = 126
# StoreError.reason: the process must end.
COMMIT_FAILED: Final = "COMMIT_FAILED"


class Room(NamedTuple):
    """Bytes of a store: in use, free within it for what comes, and the most that it may take."""

    used: int
    free: int
    limit: int


class Snapshot(Protocol):
    """
    One consistent view of all tables: the last commit before it was taken, whatever comes later.

    It lives for one page of work and never across an await, because every page of the file that
    it can see stays occupied while it does. Used after its end, it raises StoreError.
    """

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return the value, which may be empty, or None when there is no such key."""

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """Return the values of those keys that are there: as `get`, but faster."""

    def scan(
        self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """
        Yield the items with start <= key < stop, in the order of their keys' bytes.

        `stop` None is the end of the table; `reverse` yields the same items from the last to the
        first. In a transaction a write to the table ends its scans: the next step raises
        StoreError.
        """

    def count(self, table: Table) -> int:
        """Return the number of items, in constant time."""


class Transaction(Snapshot, Protocol):
    """
    A snapshot that sees its own writes.

    Keys are 1 to 510 bytes, or StoreError is raised. An error caught inside the block does not
    undo what came before it: let it end the block.
    """

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set the value of a key, new or not."""

    def put_many(self, table: Table, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Put each item in turn, as `put` would, but faster; one bad key and none is put."""

    def delete(self, table: Table, key: bytes) -> None:
        """Remove a key, there or not."""


class Store(Protocol):
    """The durable state of one ledger: a few tables that change together or not at all."""

    @property
    def instance(self) -> bytes:
        """The 16 random bytes given when the store was made."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """
        Take a snapshot, in any thread and beside a write.

        Raises BusyError when 126 are open already.
        """

    def write(self) -> AbstractContextManager[Transaction]:
        """
        Open the one write transaction, which ends with the `with` block.

        A block that ends has its writes on the disk: the commit was fsynced. A block that raises
        has written nothing, and its exception goes on unchanged.

        One thread writes: the one that wrote first. Another, or a transaction inside another,
        gets StoreError.

        A commit that fails raises StoreError "COMMIT_FAILED", and so does every write after it:
        the process must end, and the next one finds the state before the transaction or the one
        after it. To try again would be wrong: after a failed fsync the kernel may drop the pages
        and report success the next time.
        """

    def free_bytes(self) -> int:
        """
        Return how much the store may still grow, at least.

        Callers keep a reserve: a full disk is to be noticed before a transaction, since inside
        a commit it is the end of the process.
        """

    def room(self) -> Room:
        """Return how much of it is in use, in any thread and in constant time."""

    def close(self) -> None:
        """Release the store; again does nothing. No snapshot or transaction may be open."""


def misuse(message: str) -> StoreError:
    """Return the error for a call that the promise forbids: a bug, not a damaged store."""
    return StoreError(
        message, reason="STORE_MISUSE", action="report it: this is a fault in ledgerd's own code"
    )


def check_key(key: bytes) -> None:
    _check_key_length(len(key))


def _check_key_length(length: int) -> None:
    if not 0 < length <= MAX_KEY_BYTES:
        raise misuse(f"a key has {length} bytes, not 1 to {MAX_KEY_BYTES}")


def check_keys(keys: Iterable[bytes]) -> None:
    for length in set(map(len, keys)):
        _check_key_length(length)


def check_bounds(start: bytes, stop: bytes | None) -> None:
    if len(start) > MAX_KEY_BYTES or len(stop or b"") > MAX_KEY_BYTES:
        raise misuse(f"a scan's bound has more than {MAX_KEY_BYTES} bytes")


class View:
    """What a snapshot of any store knows of itself: whether it lives, and what it has changed."""

    def __init__(self) -> None:
        self._live = True
        self._changes: Counter[Table] = Counter()

    def end(self) -> None:
        """Refuse every use from now on."""
        self._live = False

    def _check_live(self) -> None:
        if not self._live:
            raise misuse("a snapshot or transaction was used after its end")

    def _watched(
        self, table: Table, items: Iterator[tuple[bytes, bytes]]
    ) -> Iterator[tuple[bytes, bytes]]:
        changes = self._changes[table]

        def check() -> None:
            self._check_live()
            if self._changes[table] != changes:
                raise misuse(f"table {table} was written to while it was scanned")

        def walk() -> Iterator[tuple[bytes, bytes]]:
            check()
            for item in items:
                yield item
                check()

        return walk()


class WriteTurn:
    """
    Who may write: one thread, one transaction at a time, and nobody after a failed commit.

    Every store asks it, so that a fake refuses exactly what the real store refuses.
    """

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._thread: int | None = None
        self._failed = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the turn for one transaction, or raise StoreError."""
        if not self._taken.acquire(blocking=False):
            raise misuse("a write transaction is open already")
        try:
            if self._failed:
                raise _commit_failed("an earlier commit failed, so nothing more is written")
            self._thread = self._thread or threading.get_ident()
            self._check_thread()
            yield
        finally:
            self._taken.release()

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Surround the commit: unless it ends well, this was the last transaction."""
        # Failed until shown otherwise: an exception may come from anywhere, a signal included.
        self._failed = True
        self._check_thread()
        try:
            yield
        except Exception as error:
            raise _commit_failed(f"a commit failed: {error}") from error
        self._failed = False

    def _check_thread(self) -> None:
        # LMDB's writer lock belongs to a thread: released by another, it stays locked for good.
        if threading.get_ident() != self._thread:
            raise misuse("another thread than the store's first writer may not write")


def _commit_failed(message: str) -> StoreError:
    return StoreError(
        message,
        reason=COMMIT_FAILED,
        action="see to the disk, start the daemon anew, and run `ledgerd audit`",
    )

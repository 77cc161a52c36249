"""
Keys, as the log admitted them. KEYS: u64 index of a GENESIS, KEY or LOSS entry → "".

The registry itself is the KeyHistory that every verifier builds; the table says which entries to
build it from. It is bounded by the institutions of one side and held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import StoreError
from ledgerd_client.core.history import KeyHistory


def add_key_entry(transaction: Transaction, index: int) -> None:
    transaction.put(Table.KEYS, u64(index), b"")


def load_history(snapshot: Snapshot, origin: str, authority: bytes) -> KeyHistory:
    """
    Build the key history from the log; raises VerificationError if it does not verify.

    In a log that is being replayed the authority's key that is pinned may still be to come.
    """
    return KeyHistory.of(origin, authority, key_entries(snapshot), partial=True)


def newest_key_header(snapshot: Snapshot) -> bytes:
    """
    The header of the newest of them, which its chain makes stand for them all; b"" for none.

    Raises StoreError.
    """
    for key, _ in snapshot.scan(Table.KEYS, reverse=True):
        header = snapshot.get(Table.HEADERS, key)
        if header is None:
            raise _missing(key)
        return header
    return b""


def key_entries(snapshot: Snapshot, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """(header, body) of GENESIS, KEY and LOSS entries from index start on; raises StoreError."""
    for key, _ in snapshot.scan(Table.KEYS, u64(start)):
        header = snapshot.get(Table.HEADERS, key)
        body = snapshot.get(Table.BODIES, key)
        if header is None or body is None:
            raise _missing(key)
        yield header, body


def _missing(key: bytes) -> StoreError:
    return StoreError(f"entry {int.from_bytes(key, 'big')} of the key history is missing")

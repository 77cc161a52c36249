"""
Bodies that were lost with a disk, below a LOSS (docs/protocol.md, "Start, restore, recover").

LOST: "D" ‖ body digest → u64 index of the entry; "I" ‖ institution → u64 index of its newest entry
that is lost and no half of a transfer.

RETURNED: u64 index → a body that is lost and that somebody has sent since. It is kept and shown;
but what the log says of it stays as it is: nothing is judged by when a body came back.
"""

from __future__ import annotations

from typing import Final

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.header import Header

_DIGEST: Final = b"D"
_INSTITUTION: Final = b"I"
_BEYOND: Final = b"J"


def put_lost(transaction: Transaction, index: int, digest: bytes, institution: str) -> None:
    """
    Note that the body of an entry is lost.

    institution: its author, where other records may rest on it; "" for any other.
    """
    transaction.put(Table.LOST, _DIGEST + digest, u64(index))
    if institution:
        transaction.put(Table.LOST, _INSTITUTION + institution.encode(), u64(index))


def find_lost(snapshot: Snapshot, digest: bytes) -> int | None:
    """The index of the entry whose body, of that digest, is lost; None if none is."""
    value = snapshot.get(Table.LOST, _DIGEST + digest)
    return None if value is None else int.from_bytes(value, "big")


def is_lost(snapshot: Snapshot, index: int) -> bool:
    """Whether the body of an entry is lost."""
    header = snapshot.get(Table.HEADERS, u64(index))
    return header is not None and find_lost(snapshot, Header.parse(header).body_digest) == index


def keep_returned(transaction: Transaction, index: int, body: bytes) -> None:
    """Keep the body of an entry that is lost, and whose digest it has."""
    transaction.put(Table.RETURNED, u64(index), body)


def find_returned(snapshot: Snapshot, index: int) -> bytes | None:
    """The body of a lost entry, if somebody has sent it since."""
    return snapshot.get(Table.RETURNED, u64(index))


def lost_institutions(snapshot: Snapshot) -> dict[str, int]:
    """Whose statements are lost, but for halves of transfers: each with the newest one's index."""
    rows = snapshot.scan(Table.LOST, _INSTITUTION, _BEYOND)
    return {key[1:].decode(): int.from_bytes(value, "big") for key, value in rows}


def lost_count(snapshot: Snapshot) -> int:
    """How many bodies are lost."""
    return snapshot.count(Table.LOST) - len(lost_institutions(snapshot))

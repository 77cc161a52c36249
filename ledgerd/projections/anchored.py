"""
What was known of the peer as of each entry. ANCHORS: u64 index of an ANCHOR → the state after it.

The state is ledger.peer_log.AnchorState, encoded.
"""

from __future__ import annotations

from typing import NamedTuple

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64


class Anchored(NamedTuple):
    """An ANCHOR entry, and the state after it."""

    position: int
    state: bytes


def put_anchor(transaction: Transaction, index: int, state: bytes) -> None:
    transaction.put(Table.ANCHORS, u64(index), state)


def anchor_before(snapshot: Snapshot, size: int) -> Anchored | None:
    """The newest ANCHOR among the first so many entries; None before any."""
    for key, state in snapshot.scan(Table.ANCHORS, b"", u64(size), reverse=True):
        return Anchored(int.from_bytes(key, "big"), state)
    return None

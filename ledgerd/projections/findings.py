"""
Findings in log order: by the transfer that they are about, and by whom they concern.

FINDINGS: ref (32 zeros for none) ‖ u64 index of the FINDING entry → finding id ‖ u8 closed.
FINDINGS_OF: lp8(institution) ‖ u64 index of the entry that opened it → finding id ‖ u64 closed_by.
STANDING: the same key, of those that stand → finding id. CLOSINGS: lp8(institution) ‖ u64 index of
an entry that closes one → finding id. OPENED: finding id → u64 index of the entry that opened it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import U64_MAX, lp8, u64

_NO_REF: Final = bytes(32)

# closed_by of a finding that stands.
STANDS: Final = 0


def add_finding(
    transaction: Transaction, index: int, finding: pb.Finding, institutions: Sequence[str]
) -> int | None:
    """
    Index a FINDING entry; institutions are those of this side whom it concerns.

    Returns the index of the entry that it closes, None if it closes none.
    """
    key = (finding.ref or _NO_REF) + u64(index)
    transaction.put(Table.FINDINGS, key, finding.finding_id + bytes([finding.closed]))
    if finding.closed:
        return _close(transaction, index, finding.finding_id, institutions)
    transaction.put(Table.OPENED, finding.finding_id, u64(index))
    for institution in institutions:
        key = _key(institution, index)
        transaction.put(Table.FINDINGS_OF, key, finding.finding_id + u64(STANDS))
        transaction.put(Table.STANDING, key, finding.finding_id)
    return None


def _close(
    transaction: Transaction, index: int, finding_id: bytes, institutions: Sequence[str]
) -> int | None:
    opened = opened_at(transaction, finding_id)
    if opened is None:
        return None
    transaction.delete(Table.OPENED, finding_id)
    for institution in institutions:
        key = _key(institution, opened)
        # A party that came after the finding was not told of it.
        if transaction.get(Table.STANDING, key) is not None:
            transaction.delete(Table.STANDING, key)
            transaction.put(Table.FINDINGS_OF, key, finding_id + u64(index))
            transaction.put(Table.CLOSINGS, _key(institution, index), finding_id)
    return opened


def findings_on(snapshot: Snapshot, ref: bytes) -> Iterator[int]:
    """Indexes of FINDING entries about a transfer, in log order."""
    for key, _ in snapshot.scan(Table.FINDINGS, ref + u64(0), ref + u64(U64_MAX)):
        yield int.from_bytes(key[-8:], "big")


def findings_of(
    snapshot: Snapshot, institution: str, start: int, *tables: Table
) -> Iterator[tuple[int, int]]:
    """(index, closed_by) of FINDING entries in these tables, in log order."""
    bounds = _key(institution, start), _key(institution, U64_MAX)
    for key, value in merge(*(snapshot.scan(table, *bounds) for table in tables)):
        yield int.from_bytes(key[-8:], "big"), int.from_bytes(value[32:], "big")


def opened_at(snapshot: Snapshot, finding_id: bytes) -> int | None:
    """Index of the entry that opened a finding that stands."""
    value = snapshot.get(Table.OPENED, finding_id)
    return None if value is None else int.from_bytes(value, "big")


def _key(institution: str, index: int) -> bytes:
    return lp8(institution.encode()) + u64(index)

"""
Findings in log order, by the transfer that they are about.

FINDINGS: ref (32 zeros for none) ‖ u64 index of the FINDING entry → finding id ‖ u8 closed.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import U64_MAX, u64

_NO_REF = bytes(32)


def add_finding(transaction: Transaction, index: int, finding: pb.Finding) -> None:
    key = (finding.ref or _NO_REF) + u64(index)
    transaction.put(Table.FINDINGS, key, finding.finding_id + bytes([finding.closed]))


def findings_on(snapshot: Snapshot, ref: bytes) -> Iterator[int]:
    """Indexes of FINDING entries about a transfer, in log order."""
    for key, _ in snapshot.scan(Table.FINDINGS, ref + u64(0), ref + u64(U64_MAX)):
        yield int.from_bytes(key[-8:], "big")

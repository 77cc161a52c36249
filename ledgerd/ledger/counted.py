"""
Entries as a summary counts them, and the terms by which a transfer counts.

A transfer counts at the entry by which its party first states it, a TRANSFER or, at its recipient's
side, an ACK of data that arrived; with the figures of that party's newest CORRECTION as of the size
that whoever asks may read, and not at all if its state was CANCELLED by then. A stranger's half
counts until it is known to be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ledgerd.ledger.law_contracts import named_by
from ledgerd.ledger.machine import stored_header
from ledgerd.ledger.search import Clause, FoundBlock, covers
from ledgerd.ledger.views import peer_at
from ledgerd.projections.erased import stored_body
from ledgerd.projections.postings import BLOCK, offsets_of
from ledgerd.projections.transfer_row import Half, Transfer, count_own, state_of_row
from ledgerd.projections.transfers import find_row, row_of_half
from ledgerd.rules.reconcile import RECEIVED, State, counting
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS, KIND_OF_RECORD
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.header import Kind


class CountedEntry(NamedTuple):
    """said: the terms of what has such, else the record itself."""

    position: int
    header: bytes
    body: pb.Body
    record: str
    said: Any


class CountedEntries:
    """Some entries of one block, as of a size; grant: what whoever asks may read."""

    def __init__(
        self, snapshot: Snapshot, size: int, found: FoundBlock, grant: Sequence[Clause]
    ) -> None:
        self._snapshot = snapshot
        self._size = size
        self._grant = grant
        self._indexes = [found.block * BLOCK + offset for offset in offsets_of(found.bits)]

    def __iter__(self) -> Iterator[CountedEntry]:
        keys = [u64(index) for index in self._indexes]
        headers = self._snapshot.get_many(Table.HEADERS, keys)
        bodies = self._snapshot.get_many(Table.BODIES, keys)
        for index, key in zip(self._indexes, keys, strict=True):
            raw = bodies.get(key) or stored_body(self._snapshot, index)
            yield _entry(index, headers.get(key) or stored_header(self._snapshot, index), raw)

    def counted(self, entry: CountedEntry) -> pb.Terms | None:
        """The terms by which the transfer counts that this entry is the first to state."""
        if not _states_transfer(entry):
            return None
        row = row_of_half(self._snapshot, entry.position)
        if row is None:
            return None
        terms: pb.Terms = entry.said
        # Nothing but a further half of its own side takes a transfer out of CANCELLED again.
        if count_own(row) == 1 and state_of_row(row) != State.CANCELLED:
            return terms
        transfer = Transfer.parse(row)
        if transfer.state_before(self._size) == State.CANCELLED:
            return None
        said = self._said(transfer, entry)
        if not said or said[0] != entry.position:
            return None
        for correction in reversed(said[1:]):
            if covers(self._snapshot, self._grant, correction):
                body = stored_body(self._snapshot, correction)
                terms = _entry(correction, b"", body).said
                break
        return terms

    def _said(self, transfer: Transfer, entry: CountedEntry) -> list[int]:
        """Where an entry's author has first stated its transfer, and then each CORRECTION."""
        known = [h for h in transfer.halves if h.position < (self._size if h.own else self._taken)]
        said: list[int] = []
        for half in counting(known):
            if not half.own or half.institution != entry.body.author:
                continue
            if half.kind == Kind.CORRECTION if said else _is_stated_by(half):
                said.append(half.position)
        return said

    @cached_property
    def _taken(self) -> int:
        """How many entries of the peer's log were known."""
        return peer_at(self._snapshot, self._size)[0].taken_up

    def concerned(self, entry: CountedEntry) -> list[str]:
        """The institutions whose entry it is, or whom it concerns."""
        body = entry.body
        if KIND_OF_RECORD[entry.record] in BY_INSTITUTIONS:
            return [body.author]
        if entry.record == "erasure":
            return [pb.ErasureOrder.FromString(body.erasure.order).institution]
        if entry.record != "finding":
            return []
        if body.finding.institution or not body.finding.ref:
            return list(filter(None, [body.finding.institution]))
        row = find_row(self._snapshot, body.finding.ref)
        halves = Transfer.parse(row).halves if row else []
        known = (each.institution for each in halves if each.own and each.position < entry.position)
        return list(dict.fromkeys(known))


def _entry(index: int, header: bytes, raw: bytes) -> CountedEntry:
    body = pb.Body.FromString(raw)
    record = body.WhichOneof("record") or ""
    return CountedEntry(index, header, body, record, named_by(getattr(body, record)))


def _states_transfer(entry: CountedEntry) -> bool:
    received = entry.record == "ack" and entry.body.ack.outcome in RECEIVED
    return received or entry.record == "transfer"


def _is_stated_by(half: Half) -> bool:
    return half.kind == Kind.TRANSFER or (half.kind == Kind.ACK and half.outcome in RECEIVED)

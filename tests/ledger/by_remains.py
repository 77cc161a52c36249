"""A log replayed with what remains of its bodies: it must come to what the bodies came to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from builders import Log

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.machine import Machine
from ledgerd.projections.erased import body_or_remains, erasure_of
from ledgerd.store.base import Store
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.record import read_facts
from ledgerd_client.core.remains import facts_of_remains, remains_of

# What a replay does not make: the log itself, its tree, and what stands in META beside.
_GIVEN = frozenset((Table.META, Table.HEADERS, Table.BODIES, Table.TILES))
# Entries of one commit: a prime, so that causes and findings are parted now and then.
_COMMIT = 7


class Replayed(Protocol):
    """A ledger, and what it is replayed with."""

    log: Log
    store: Any
    peer_log: Any

    @property
    def size(self) -> int: ...


def check_by_remains(node: Replayed, erased: Callable[[int], bool] = lambda _index: True) -> None:
    """Replay with the remains of what institutions wrote where erased(index); compare everything."""
    entries = [_entry(node, index, erased) for index in range(node.size)]
    scratch = MemoryStore(instance=bytes(16))
    machine = Machine(
        KeyHistory(node.log.origin, node.log.authority.public),
        node.peer_log,
        lambda _transaction, position: entries[position].body,
        lambda _transaction, position: entries[position].header,
    )
    due: deque[pb.Finding] = deque()
    for start in range(0, len(entries), _COMMIT):
        with scratch.write() as transaction:
            for entry in entries[start : start + _COMMIT]:
                body = pb.Body.FromString(entry.body)
                if body.HasField("finding"):
                    assert due.popleft() == body.finding
                due.extend(machine.apply(transaction, entry))
            machine.flush(transaction)
    assert not due
    for table in set(Table) - _GIVEN:
        assert rows(scratch, table) == rows(node.store, table), table


def rows(store: Store, table: Table) -> list[tuple[bytes, bytes]]:
    with store.snapshot() as snapshot:
        return list(snapshot.scan(table))


def _entry(node: Replayed, index: int, erased: Callable[[int], bool]) -> Entry:
    with node.store.snapshot() as snapshot:
        raw = snapshot.get(Table.HEADERS, u64(index)) or b""
        body = body_or_remains(snapshot, index) or b""
        gone = erasure_of(snapshot, index) is not None
    header = Header.parse(raw)
    if header.kind in BY_INSTITUTIONS and erased(index):
        gone, body = True, remains_of(body)
    facts = facts_of_remains(header, body) if gone else read_facts(body)[1]
    return Entry(index, header.recorded_at, facts, header.body_digest, raw, body)

"""
The audit: the whole store verified from entry 0, with nothing taken on trust but the authority.

Every header, body, signature and digest is checked, and everything else in the store (tree,
indexes, transfers, deadlines, findings) is built anew in a scratch store and compared. It is the
product's `ledgerd audit`, and the oracle of its tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from ledgerd.ledger.head import Head
from ledgerd.ledger.law_machine import AWAY_KEY, TICK_KEY
from ledgerd.ledger.machine import RULE_SET_KEY, Machine
from ledgerd.ledger.peer_log import ANCHOR_KEY, PeerLog
from ledgerd.ledger.tree import TileWriter
from ledgerd.ledger.verifying import AuditError, Given, LogVerifier
from ledgerd.projections.erased import find_erased
from ledgerd.projections.lost import find_lost, lost_count
from ledgerd.store.base import Snapshot, Store, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.chain import Replay, SignatureCheck
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    LedgerError,
)
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint

PAGE = 1000

_REBUILT = (
    Table.TILES, Table.RECORDS, Table.AUTHORS, Table.KEYS,
    Table.TRANSFERS, Table.HALVES, Table.ORDINALS, Table.AGREEMENTS, Table.DEADLINES,
    Table.FINDINGS,
    Table.CONTRACTS, Table.USAGE, Table.COUNTERS, Table.OBLIGATIONS, Table.MATTERS, Table.TIMERS,
    Table.SENT,
    Table.FINDINGS_OF, Table.STANDING, Table.CLOSINGS, Table.OPENED,
    Table.INDEX, Table.LEFT, Table.ANCHORS, Table.ERASED, Table.LOST,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What was audited: entries, findings among them, and the root they come to."""

    entries: int
    findings: int
    root: bytes


class Auditor:
    """
    Audits one store.

    check_signatures raises SignatureError for a signature that fails (in bulk, and perhaps in
    other processes); progress(done, total) is called after each page; scratch is an empty store
    that the audit may fill.
    """

    def __init__(
        self,
        store: Store,
        scratch: Store,
        *,
        origin: str,
        authority: bytes,
        peer_log: PeerLog,
        check_signatures: Callable[[list[SignatureCheck]], None],
        progress: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._scratch = scratch
        self._check_signatures = check_signatures
        self._progress = progress
        replay = Replay.start(KeyHistory(origin, authority), lambda _digest, _index: True)
        machine = Machine(KeyHistory(origin, authority), peer_log, self._body_of, self._header_of)
        self._log = LogVerifier(machine, replay, TileWriter(0, {}), peer_log)

    def run(self) -> Report:
        """
        Audit everything; raises AuditError at the first thing that is wrong.

        Raises NotReadyError when an anchor covers more of the peer's log than peer_log has.
        """
        head = self._head()
        for start in range(0, head.size, PAGE):
            self._page(start, min(start + PAGE, head.size))
            self._progress(min(start + PAGE, head.size), head.size)
        self._log.check_nothing_lost()
        self._log.check_nothing_due()
        self._log.check_nothing_erased()
        self._check_head(head)
        for table in _REBUILT:
            self._compare(table)
        self._check_counts(head.size)
        self._check_returned()
        return Report(head.size, self._log.findings, self._log.replay.tree.root())

    def _body_of(self, _transaction: Transaction, position: int) -> bytes:
        """An earlier entry's body: the scratch store holds none."""
        with self._store.snapshot() as snapshot:
            return _read(snapshot, position).body

    def _header_of(self, _transaction: Transaction, position: int) -> bytes:
        with self._store.snapshot() as snapshot:
            return _read(snapshot, position).header

    def _head(self) -> Head:
        with self._store.snapshot() as snapshot:
            try:
                return Head.load(snapshot)
            except LedgerError as error:
                raise AuditError(error.message) from error

    def _page(self, start: int, stop: int) -> None:
        with self._store.snapshot() as snapshot:
            raw = [_read(snapshot, index) for index in range(start, stop)]
        with self._scratch.write() as transaction:
            checks = self._log.take(transaction, raw)
        try:
            self._check_signatures(checks)
        except LedgerError as error:
            raise AuditError(error.message) from error

    def _check_head(self, head: Head) -> None:
        replay = self._log.replay
        last = (replay.size, replay.last_time, replay.last_leaf)
        if head[:3] != last:
            raise AuditError("the stored head is not the newest entry's")
        try:
            opened = open_log_checkpoint(head.checkpoint, replay.history, strict=True)
        except LedgerError as error:
            raise AuditError(f"the stored checkpoint: {error.message}") from error
        if opened.checkpoint.size != head.size or opened.checkpoint.root != replay.tree.root():
            raise AuditError("the stored checkpoint is not of this tree")

    def _compare(self, table: Table) -> None:
        with self._store.snapshot() as ours, self._scratch.snapshot() as rebuilt:
            theirs = rebuilt.scan(table)
            for found in ours.scan(table):
                wanted = next(theirs, None)
                if found != wanted:
                    raise AuditError(f"table {table}: {_difference(found, wanted)}")
            if (wanted := next(theirs, None)) is not None:
                raise AuditError(f"table {table}: {_difference(None, wanted)}")

    def _check_counts(self, size: int) -> None:
        with self._store.snapshot() as ours, self._scratch.snapshot() as rebuilt:
            bodies = size - ours.count(Table.ERASED) - lost_count(ours)
            for table, rows in ((Table.HEADERS, size), (Table.BODIES, bodies)):
                if ours.count(table) != rows:
                    raise AuditError(f"table {table} holds rows beyond the log's {size} entries")
            for key in (RULE_SET_KEY, ANCHOR_KEY, TICK_KEY, AWAY_KEY):
                if ours.get(Table.META, key) != rebuilt.get(Table.META, key):
                    raise AuditError(f"{key.decode()} is not what the log says")

    def _check_returned(self) -> None:
        with self._store.snapshot() as ours, self._scratch.snapshot() as rebuilt:
            for key, body in ours.scan(Table.RETURNED):
                if find_lost(rebuilt, sha256(body).digest()) != int.from_bytes(key, "big"):
                    raise AuditError(f"table {Table.RETURNED}: row {key.hex()} is no lost body")


def _read(snapshot: Snapshot, index: int) -> Given:
    header, body = (snapshot.get(table, u64(index)) for table in (Table.HEADERS, Table.BODIES))
    if header is not None and body is not None:
        return Given(header, body)
    erased = find_erased(snapshot, index)
    if header is not None and erased is not None:
        return Given(header, erased.remains, erased.erasure)
    if header is None or Header.parse(header).kind in KINDS_SHARED_WITH_PEER:
        raise AuditError(f"entry {index} is missing")
    return Given(header, b"", lost=True)


def _difference(found: tuple[bytes, bytes] | None, wanted: tuple[bytes, bytes] | None) -> str:
    if wanted is None or (found is not None and found[0] < wanted[0]):
        return f"row {(found or wanted or (b'',))[0].hex()} should not be there"
    if found is None or found[0] > wanted[0]:
        return f"row {wanted[0].hex()} is missing"
    return f"row {wanted[0].hex()} has another value than the log gives it"

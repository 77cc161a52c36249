"""
The audit: the whole store verified from entry 0, with nothing taken on trust but the authority.

Every header, body, signature and digest is checked, and everything else in the store (tree,
indexes, transfers, deadlines, findings) is built anew in a scratch store and compared. It is the
product's `ledgerd audit`, and the oracle of its tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.head import Head
from ledgerd.ledger.law_machine import TICK_KEY
from ledgerd.ledger.machine import RULE_SET_KEY, Machine
from ledgerd.ledger.peer_log import ANCHOR_KEY, PeerLog
from ledgerd.ledger.tree import TileWriter
from ledgerd.store.base import Snapshot, Store, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.chain import Replay, SignatureCheck
from ledgerd_client.core.checkpoint import open_checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ChainError,
    LedgerError,
    NotReadyError,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import open_log_checkpoint
from ledgerd_client.core.record import read_facts

PAGE = 1000

_REBUILT = (
    Table.TILES, Table.RECORDS, Table.AUTHORS, Table.KEYS,
    Table.TRANSFERS, Table.DEADLINES, Table.FINDINGS,
    Table.CONTRACTS, Table.USAGE, Table.COUNTERS, Table.OBLIGATIONS, Table.MATTERS, Table.TIMERS,
    Table.SENT,
    Table.FINDINGS_OF, Table.STANDING, Table.CLOSINGS, Table.OPENED,
)  # fmt: skip


class AuditError(VerificationError):
    """The store is not what its log says; the message names the first place."""

    default_reason = "AUDIT_FAILED"
    default_action = "keep the store as it is, tell the authority, and compare with the peer"


@dataclass(frozen=True, slots=True)
class Report:
    """What was audited: entries, findings among them, and the root they come to."""

    entries: int
    findings: int
    root: bytes


class _Due(NamedTuple):
    """A finding that must follow its cause, the entry of that index."""

    cause: int
    recorded_at: int
    finding: pb.Finding


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
        self._peer_log = peer_log
        self._machine = Machine(KeyHistory(origin, authority), peer_log, self._body_of)
        # A replay of its own: the machine's history is changed by apply, the replay's by step.
        self._replay = Replay.start(KeyHistory(origin, authority), lambda _digest, _index: True)
        self._tree = TileWriter(0, {})
        self._due: deque[_Due] = deque()
        self._findings = 0

    def run(self) -> Report:
        """
        Audit everything; raises AuditError at the first thing that is wrong.

        Raises NotReadyError when an anchor covers more of the peer's log than peer_log has.
        """
        head = self._head()
        for start in range(0, head.size, PAGE):
            self._page(start, min(start + PAGE, head.size))
            self._progress(min(start + PAGE, head.size), head.size)
        self._check_nothing_due()
        self._check_head(head)
        for table in _REBUILT:
            self._compare(table)
        self._check_counts(head.size)
        return Report(head.size, self._findings, self._replay.tree.root())

    def _body_of(self, _transaction: Transaction, position: int) -> bytes:
        """An earlier entry's body: the scratch store holds none."""
        with self._store.snapshot() as snapshot:
            return _read(snapshot, position)[1]

    def _head(self) -> Head:
        with self._store.snapshot() as snapshot:
            try:
                return Head.load(snapshot)
            except LedgerError as error:
                raise AuditError(error.message) from error

    def _page(self, start: int, stop: int) -> None:
        with self._store.snapshot() as snapshot:
            raw = [_read(snapshot, index) for index in range(start, stop)]
        checks: list[SignatureCheck] = []
        leaves: list[bytes] = []
        with self._scratch.write() as transaction:
            for index, (header, body) in enumerate(raw, start):
                try:
                    checks.append(self._entry(transaction, header, body))
                except (AuditError, NotReadyError):
                    raise
                except UnavailableError as error:
                    raise _not_replayed(index, error) from error
                except LedgerError as error:
                    raise AuditError(f"entry {index}: {error.message}") from error
                leaves.append(self._replay.last_leaf)
            self._machine.flush(transaction)
            self._tree.append(transaction, leaves)
        try:
            self._check_signatures(checks)
        except LedgerError as error:
            raise AuditError(error.message) from error

    def _entry(self, transaction: Transaction, raw: bytes, body: bytes) -> SignatureCheck:
        header, check = self._replay.step(raw, body)
        origin, facts = read_facts(body)
        if (origin, facts.kind, facts.halves) != (
            self._replay.history.origin, header.kind, header.halves,
        ):  # fmt: skip
            raise ChainError("the header does not say what the body says")
        key = self._replay.history.find(header.key_id)
        if key is not None and key.subject != facts.author:
            raise ChainError(f"signed by a key of {key.subject}, but by {facts.author}")
        if self._machine.records.find(transaction, facts.author, facts.record_id) is not None:
            raise ChainError("the record is in the log already")
        self._take_finding(header, body)
        if header.kind == Kind.ANCHOR:
            self._check_anchor(pb.Body.FromString(body).anchor)
        entry = Entry(header.index, header.recorded_at, facts, sha256(body).digest(), raw, body)
        for finding in self._machine.apply(transaction, entry):
            self._due.append(_Due(header.index, header.recorded_at, finding))
        return check

    def _check_anchor(self, anchor: pb.Anchor) -> None:
        """The peer signed it, this node cosigned it, and it is of the tree that was replayed."""
        own, peer = self._replay.history, self._peer_log.verified_history()
        if peer.genesis is None:
            raise UnavailableError("nothing of the peer is replayed", reason="REPLAY_BEHIND")
        opened = open_checkpoint(
            anchor.checkpoint,
            log=peer.log_verifiers(),
            cosigners=own.cosigner_verifiers(),
            strict=True,
        )
        if not opened.cosigned:
            raise TrustError("this node did not cosign the checkpoint that it anchors")
        if opened.checkpoint.root != self._peer_log.root(opened.checkpoint.size):
            raise ChainError("the checkpoint is not of the peer's log as it was replayed")

    def _take_finding(self, header: Header, data: bytes) -> None:
        """
        Cross a FINDING off the list of those that are due.

        They stand in the order in which they fell due, in their cause's commit: one time is all
        that a commit has. So none can be left out, put in, or held back for later.
        """
        if self._due and header.recorded_at != self._due[0].recorded_at:
            self._check_nothing_due()
        body = pb.Body.FromString(data) if header.kind == Kind.NODE else None
        if body is not None and body.HasField("finding"):
            self._findings += 1
            wanted = self._due.popleft() if self._due else None
            if wanted is None or wanted.finding != body.finding:
                calls_for = f": that is {wanted.finding.rule}" if wanted else ""
                raise ChainError(
                    f"finding {body.finding.rule} is not what the log calls for here{calls_for}"
                )

    def _check_nothing_due(self) -> None:
        for due in self._due:
            raise AuditError(
                f"entry {due.cause} calls for finding {due.finding.rule}, which is missing"
            )

    def _check_head(self, head: Head) -> None:
        last = (self._replay.size, self._replay.last_time, self._replay.last_leaf)
        if head[:3] != last:
            raise AuditError("the stored head is not the newest entry's")
        try:
            opened = open_log_checkpoint(head.checkpoint, self._replay.history, strict=True)
        except LedgerError as error:
            raise AuditError(f"the stored checkpoint: {error.message}") from error
        if (
            opened.checkpoint.size != head.size
            or opened.checkpoint.root != self._replay.tree.root()
        ):
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
            for table in (Table.HEADERS, Table.BODIES):
                if ours.count(table) != size:
                    raise AuditError(f"table {table} holds rows beyond the log's {size} entries")
            for key in (RULE_SET_KEY, ANCHOR_KEY, TICK_KEY):
                if ours.get(Table.META, key) != rebuilt.get(Table.META, key):
                    raise AuditError(f"{key.decode()} is not what the log says")


def _read(snapshot: Snapshot, index: int) -> tuple[bytes, bytes]:
    header, body = (snapshot.get(table, u64(index)) for table in (Table.HEADERS, Table.BODIES))
    if header is None or body is None:
        raise AuditError(f"entry {index} is missing")
    return header, body


def _not_replayed(index: int, error: UnavailableError) -> NotReadyError:
    return NotReadyError(
        f"entry {index}: the peer's log is not here, or not as far as the anchors: {error.message}",
        reason=error.reason,
        action="run the audit after the node has replayed its peer",
    )


def _difference(found: tuple[bytes, bytes] | None, wanted: tuple[bytes, bytes] | None) -> str:
    if wanted is None or (found is not None and found[0] < wanted[0]):
        return f"row {(found or wanted or (b'',))[0].hex()} should not be there"
    if found is None or found[0] > wanted[0]:
        return f"row {wanted[0].hex()} is missing"
    return f"row {wanted[0].hex()} has another value than the log gives it"

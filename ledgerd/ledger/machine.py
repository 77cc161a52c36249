"""
What an entry does: the ledger's state as a function of its log and of the peer's.

`Machine.apply` runs for every entry once, in log order: live inside the write transaction, and
again in a rebuild or an audit. It returns the findings that are now due; nothing else in the
daemon decides about them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from ledgerd.projections import findings, registry
from ledgerd.projections.records import Records
from ledgerd.projections.transfers import Half, OpenFinding, Position, Transfer, Transfers
from ledgerd.rules import lateness
from ledgerd.rules.reconcile import Condition, judge
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import lp8, u64
from ledgerd_client.core.header import KINDS_WITH_HALVES, Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.record import Facts

RULE_SET_KEY = b"rule_set"
ANCHOR_KEY = b"anchor"

_FINDING_TAG = b"ledgerd/finding/v1\n"


class Entry(NamedTuple):
    """One entry of this log, with what is known of its body."""

    position: int
    recorded_at: int
    facts: Facts
    body_digest: bytes
    header: bytes
    body: bytes


class PeerHalf(NamedTuple):
    """A half found in the peer's log, and the institution whose key signed it."""

    header: Header
    institution: str


class PeerLog(Protocol):
    """The peer's log as far as it is replayed."""

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterable[PeerHalf]:
        """Entries with halves that belong to counterparty_origin, start <= index < stop."""


@dataclass(frozen=True, slots=True)
class AnchorState:
    """How far the peer's log is reconciled: entries, and the time (µs) it was fetched at."""

    peer_size: int = 0
    known_until: int = 0


class Machine:
    """
    The state that entries change, but for what lies in the store.

    Belongs to one thread. After a transaction that did not commit: load() again.
    """

    def __init__(self, history: KeyHistory, peer_log: PeerLog) -> None:
        self.history = history
        self.records = Records()
        self.transfers = Transfers()
        self.rules = pb.RuleSet()
        self.rule_set = 0
        self.anchor = AnchorState()
        self._peer_log = peer_log

    @classmethod
    def load(cls, snapshot: Snapshot, origin: str, authority: bytes, peer_log: PeerLog) -> Machine:
        """Take up the state where the store's last commit left it."""
        machine = cls(registry.load_history(snapshot, origin, authority), peer_log)
        if (index := snapshot.get(Table.META, RULE_SET_KEY)) is not None:
            body = pb.Body.FromString(snapshot.get(Table.BODIES, index) or b"")
            machine.rule_set, machine.rules = int.from_bytes(index, "big"), body.rule_set
        if (state := snapshot.get(Table.META, ANCHOR_KEY)) is not None:
            machine.anchor = AnchorState(
                int.from_bytes(state[:8], "big"), int.from_bytes(state[8:], "big")
            )
        return machine

    def apply(self, transaction: Transaction, entry: Entry) -> list[pb.Finding]:
        """
        Change projections as this entry says; return the findings that must follow it.

        A key event or GENESIS was checked by history.check before it was given its place.
        """
        facts = entry.facts
        self.records.add(facts.author, facts.record_id, entry.position, entry.body_digest)
        if facts.kind in KINDS_WITH_HALVES:
            due = self._apply_halves(transaction, facts.ref, [_own_half(entry)])
        else:
            due = self._apply_other(transaction, entry)
        if facts.kind in BY_INSTITUTIONS:
            due += self._lateness(entry)
        return due

    def flush(self, transaction: Transaction) -> None:
        """Put what apply() collected; the last thing before a commit."""
        self.records.flush(transaction)
        self.transfers.flush(transaction)

    def _apply_other(self, transaction: Transaction, entry: Entry) -> list[pb.Finding]:
        body = pb.Body.FromString(entry.body)
        record = body.WhichOneof("record")
        if record in {"genesis", "key_event"}:
            header = Header.parse(entry.header)
            self.history.apply(header, body, raw=(entry.header, entry.body))
            registry.add_key_entry(transaction, entry.position)
        elif record == "rule_set":
            transaction.put(Table.META, RULE_SET_KEY, u64(entry.position))
            self.rule_set, self.rules = entry.position, body.rule_set
        elif record == "finding":
            findings.add_finding(transaction, entry.position, body.finding)
        elif record == "anchor":
            return self._apply_anchor(transaction, body.anchor)
        return []

    def _apply_anchor(self, transaction: Transaction, anchor: pb.Anchor) -> list[pb.Finding]:
        """Take up the peer's halves under the anchor, and whatever is overdue by its time."""
        size = Checkpoint.parse(parse_note(anchor.checkpoint).text).size
        start, known_until = self.anchor.peer_size, self.anchor.known_until
        # Never back: a half taken up twice would be a second one, and silence once judged stays so.
        self.anchor = AnchorState(max(start, size), max(known_until, anchor.fetched_at))
        transaction.put(
            Table.META, ANCHOR_KEY, u64(self.anchor.peer_size) + u64(self.anchor.known_until)
        )
        # Halves of a transfer that become known together are judged together.
        touched: dict[bytes, list[Half]] = {}
        for header, institution in self._peer_log.halves(start, size, self.history.origin):
            if header.halves is not None:
                half = _peer_half(header, institution)
                touched.setdefault(header.halves.ref, []).append(half)
        for ref in self.transfers.overdue(transaction, self.anchor.known_until):
            touched.setdefault(ref, [])
        due: list[pb.Finding] = []
        for ref, halves in touched.items():
            due += self._apply_halves(transaction, ref, halves)
        return due

    def _apply_halves(
        self, transaction: Transaction, ref: bytes, halves: list[Half]
    ) -> list[pb.Finding]:
        transfer = self.transfers.get(transaction, ref)
        for half in halves:
            transfer.add(half)
        old_due = transfer.due
        verdict = judge(transfer.halves, self.anchor.known_until, self.rules)
        transfer.state, transfer.due = verdict.state, verdict.due
        due = self._changed_findings(ref, transfer, verdict.conditions)
        self.transfers.put(ref, transfer, old_due)
        return due

    def _changed_findings(
        self, ref: bytes, transfer: Transfer, conditions: Iterable[Condition]
    ) -> list[pb.Finding]:
        """Open a finding for each new condition and close those whose condition is gone."""
        wanted = {(condition.rule, condition.records): condition for condition in conditions}
        standing = {(found.rule, found.records): found for found in transfer.findings}
        due = []
        for key, found in standing.items():
            if key not in wanted:
                transfer.findings.remove(found)
                due.append(self._finding(ref, *key, found.finding_id, closed=True))
        for key, condition in wanted.items():
            if key not in standing:
                finding = self._finding(ref, *key, severity=condition.severity)
                transfer.findings.append(OpenFinding(finding.finding_id, *key))
                due.append(finding)
        return due

    def _lateness(self, entry: Entry) -> list[pb.Finding]:
        if not lateness.is_late(entry.facts.occurred_at, entry.recorded_at, self.rules):
            return []
        place = Position(own=True, entry=entry.position)
        ref = entry.facts.ref
        return [self._finding(ref, lateness.RULE, (place,), severity=lateness.SEVERITY)]

    def _finding(
        self,
        ref: bytes,
        rule: str,
        records: tuple[Position, ...],
        finding_id: bytes = b"",
        *,
        severity: int = 0,
        closed: bool = False,
    ) -> pb.Finding:
        peer_origin = self.history.need_genesis().peer_origin
        named = [
            pb.RecordRef(origin=self.history.origin if own else peer_origin, index=index)
            for own, index in records
        ]
        return pb.Finding(
            finding_id=finding_id or derive_finding_id(rule, self.rule_set, ref, named),
            rule=rule,
            severity=severity,  # type: ignore[arg-type]  # a number of the enum
            records=named,
            rule_set=self.rule_set,
            ref=ref,
            closed=closed,
        )


def derive_finding_id(
    rule: str, rule_set: int, ref: bytes, records: Iterable[pb.RecordRef]
) -> bytes:
    """A finding's id follows from rule, rule set and records, so a crash can't double it."""
    places = b"".join(lp8(record.origin.encode()) + u64(record.index) for record in records)
    return sha256(_FINDING_TAG + lp8(rule.encode()) + u64(rule_set) + lp8(ref) + places).digest()


def _own_half(entry: Entry) -> Half:
    facts = entry.facts
    return Half(
        True, facts.kind, entry.position, entry.recorded_at,
        facts.terms_digest, facts.outcome, facts.author, facts.counterparty,
    )  # fmt: skip


def _peer_half(header: Header, institution: str) -> Half:
    halves = header.halves
    assert halves is not None  # noqa: S101 - PeerLog.halves yields no others
    return Half(
        False, header.kind, header.index, header.recorded_at,
        halves.terms_digest, halves.outcome, institution, "",
    )  # fmt: skip

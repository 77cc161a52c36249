"""
What an entry does: the ledger's state as a function of its log and of the peer's.

`Machine.apply` runs for every entry once, in log order: live inside the write transaction, and
again in a rebuild or an audit. It returns the findings that are now due; nothing else in the
daemon decides about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from ledgerd.ledger.peer_log import ANCHOR_KEY, ANCHOR_STEP, AnchorState, PeerHalf, PeerLog
from ledgerd.projections import findings, registry
from ledgerd.projections.records import Records
from ledgerd.projections.transfers import (
    UNJUDGED,
    Half,
    OpenFinding,
    Position,
    Transfer,
    Transfers,
)
from ledgerd.rules import lateness
from ledgerd.rules.reconcile import Condition, judge
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import lp8, u64
from ledgerd_client.core.errors import ChainError
from ledgerd_client.core.header import KINDS_WITH_HALVES, Halves, Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.record import Facts

RULE_SET_KEY = b"rule_set"

_FINDING_TAG = b"ledgerd/finding/v1\n"


class Entry(NamedTuple):
    """One entry of this log, with what is known of its body."""

    position: int
    recorded_at: int
    facts: Facts
    body_digest: bytes
    header: bytes
    body: bytes


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
        machine.anchor = AnchorState.load(snapshot)
        return machine

    def read(self, transaction: Transaction, coming: Iterable[Facts]) -> None:
        """Read at once what apply() will look up for these, each of which it may be given."""
        coming = list(coming)
        self.records.read(transaction, ((facts.author, facts.record_id) for facts in coming))
        self.transfers.read(transaction, (facts.ref for facts in coming if facts.ref))

    def apply(self, transaction: Transaction, entry: Entry) -> list[pb.Finding]:
        """
        Change projections as this entry says; return the findings that must follow it.

        A key event or GENESIS was checked by history.check before it was given its place.
        """
        facts = entry.facts
        self.records.add(facts.author, facts.record_id, entry.position, entry.body_digest)
        if facts.kind in KINDS_WITH_HALVES:
            transfer = self.transfers.with_room(transaction, facts.ref, own=True)
            if transfer is None:
                # It was found that they are too many: what follows is in the log, and no more.
                return []
            due = self._apply_half(transfer, entry)
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
            return self._apply_anchor(transaction, body.anchor, entry.recorded_at)
        return []

    def _apply_anchor(
        self, transaction: Transaction, anchor: pb.Anchor, recorded_at: int
    ) -> list[pb.Finding]:
        """Take up the peer's next halves under the anchor; after the last, judge what is due."""
        if anchor.peer_origin != self.history.need_genesis().peer_origin:
            raise ChainError(f"{anchor.peer_origin} is not this log's peer")
        if anchor.fetched_at > recorded_at:
            raise ChainError("the anchor is of a checkpoint that was fetched after it")
        size = Checkpoint.parse(parse_note(anchor.checkpoint).text).size
        start = self.anchor.taken_up
        self.anchor = state = self.anchor.anchored(size, anchor.fetched_at)
        transaction.put(Table.META, ANCHOR_KEY, state.encode())
        for peer_half in self._peer_log.halves(start, state.taken_up, self.history.origin):
            self._take_up(transaction, peer_half)
        if state.taken_up < state.size:
            return []
        due: list[pb.Finding] = []
        for ref in self.transfers.overdue(transaction, state.known_until, ANCHOR_STEP):
            transfer = self.transfers.get(transaction, ref)
            due += self._judge(ref, transfer, transfer.due)
        return due

    def _take_up(self, transaction: Transaction, found: PeerHalf) -> None:
        """Keep a half of the peer: those that become known together are judged together."""
        halves = found.header.halves
        assert halves is not None  # noqa: S101 - PeerLog.halves yields no others
        ref = halves.ref
        transfer = self.transfers.with_room(transaction, ref, own=False)
        if transfer is None:
            return
        transfer.halves.append(_peer_half(found.header, halves, found.institution))
        old_due, transfer.due = transfer.due, UNJUDGED
        self.transfers.put(ref, transfer, old_due)

    def _apply_half(self, transfer: Transfer, entry: Entry) -> list[pb.Finding]:
        ref = entry.facts.ref
        transfer.halves.append(_own_half(entry))
        if transfer.due == UNJUDGED:
            self.transfers.put(ref, transfer, UNJUDGED)
            return []
        return self._judge(ref, transfer, transfer.due)

    def _judge(self, ref: bytes, transfer: Transfer, old_due: int) -> list[pb.Finding]:
        verdict = judge(transfer.halves, self.anchor.known_until, self.rules)
        transfer.state, transfer.due = verdict.state, verdict.due
        due = self._changed_findings(ref, transfer, verdict.conditions)
        self.transfers.put(ref, transfer, old_due)
        return due

    def _changed_findings(
        self, ref: bytes, transfer: Transfer, conditions: Sequence[Condition]
    ) -> list[pb.Finding]:
        """Open a finding for each new condition and close those whose condition is gone."""
        if not (conditions or transfer.findings):
            return []
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


def _peer_half(header: Header, halves: Halves, institution: str) -> Half:
    return Half(
        False, header.kind, header.index, header.recorded_at,
        halves.terms_digest, halves.outcome, institution, "",
    )  # fmt: skip

"""
Reconciliation: what the halves of one transfer amount to (docs/protocol.md, "Reconciliation").

A pure function of the halves, the time up to which the peer's log is known, and the rule set. It
does not depend on the order in which the halves became known, so both nodes and every rebuild
come to the same verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ledgerd.projections.transfers import Half, Position
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import Kind


class State(IntEnum):
    """What a transfer has come to."""

    OPEN = 0
    MATCHED = 1
    MISMATCHED = 2
    REFUSED = 3
    UNACKNOWLEDGED = 4
    UNDECLARED = 5
    CANCELLED = 6
    PARTIAL = 7
    REOPENED = 8


class Condition(NamedTuple):
    """What is to be found about a transfer as long as it holds."""

    rule: str
    # A number of pb.Severity.
    severity: int
    records: tuple[Position, ...]


class Verdict(NamedTuple):
    """due: µs after which silence of the other side means something; 0 when nothing is awaited."""

    state: State
    conditions: tuple[Condition, ...]
    due: int


HIGH = pb.SEVERITY_HIGH
MEDIUM = pb.SEVERITY_MEDIUM
INFORMATION = pb.SEVERITY_INFORMATION

_EXPORTERS = frozenset((Kind.TRANSFER, Kind.CANCEL))


def judge(halves: Sequence[Half], known_until: int, rules: pb.RuleSet) -> Verdict:
    """
    Judge a transfer by its halves, each log's in log order.

    known_until: µs, when the newest anchored checkpoint of the peer was fetched.
    """
    if len(halves) == 1 and halves[0].own and halves[0].kind == Kind.TRANSFER:
        due = halves[0].recorded_at + rules.acknowledge_within
        if known_until <= due:
            return Verdict(State.OPEN, (), due)
    return _Case.of(halves, known_until, rules).verdict()


@dataclass(frozen=True, slots=True)
class _Case:
    """The halves that count, by party, and those that do not."""

    exporter: tuple[Half, ...]
    recipient: tuple[Half, ...]
    foreign: tuple[Half, ...]
    known_until: int
    rules: pb.RuleSet

    @classmethod
    def of(cls, halves: Sequence[Half], known_until: int, rules: pb.RuleSet) -> _Case:
        own = [half for half in halves if half.own]
        named = own[0].counterparty if own else None
        exports = _is_exporting(halves)
        exporter, recipient, foreign = [], [], []
        for half in halves:
            by_exporter = half.own == exports
            right_kind = half.kind == Kind.CORRECTION or (half.kind in _EXPORTERS) == by_exporter
            right_party = half.own or named in {None, half.institution}
            if not (right_kind and right_party):
                foreign.append(half)
            elif by_exporter:
                exporter.append(half)
            else:
                recipient.append(half)
        return cls(tuple(exporter), tuple(recipient), tuple(foreign), known_until, rules)

    def verdict(self) -> Verdict:
        transfer = _first(self.exporter, Kind.TRANSFER)
        ack = self.final_ack()
        always = (*self._foreign(), *self._repeated())
        if transfer is None or ack is None:
            return self._one_sided(transfer, ack, always)
        return self._two_sided(transfer, ack, always)

    def final_ack(self) -> Half | None:
        """The first accepted ACK, for good; without one the latest."""
        acks = [half for half in self.recipient if half.kind == Kind.ACK]
        accepted = [ack for ack in acks if ack.outcome == pb.OUTCOME_ACCEPTED]
        return next(iter(accepted or acks[-1:]), None)

    def _foreign(self) -> list[Condition]:
        return [Condition("K15.foreign_half", HIGH, (half.place,)) for half in self.foreign]

    def _repeated(self) -> list[Condition]:
        found = []
        transfers = [half for half in self.exporter if half.kind == Kind.TRANSFER]
        for second in transfers[1:]:
            records = (transfers[0].place, second.place)
            found.append(Condition("K15.second_transfer", MEDIUM, records))
        ack = self.final_ack()
        for half in self.recipient:
            later = ack is not None and half.position > ack.position
            if ack is not None and later and half.kind == Kind.ACK and half.outcome != ack.outcome:
                records = (ack.place, half.place)
                found.append(Condition("K15.contradictory_ack", MEDIUM, records))
        return found

    def _one_sided(
        self, transfer: Half | None, ack: Half | None, always: tuple[Condition, ...]
    ) -> Verdict:
        cancel = _first(self.exporter, Kind.CANCEL)
        if ack is None and (cancel is not None or transfer is None):
            state = State.CANCELLED if cancel is not None else State.OPEN
            return Verdict(state, always, 0)
        half = transfer or ack
        assert half is not None  # noqa: S101 - one of the two is there; for the type checker
        due = half.recorded_at + self.rules.acknowledge_within
        if self.known_until <= due:
            return Verdict(State.OPEN, always, due)
        if transfer is not None:
            condition = Condition("K15.unacknowledged", HIGH, (half.place,))
            return Verdict(State.UNACKNOWLEDGED, (*always, condition), 0)
        condition = Condition("K15.undeclared", HIGH, (half.place,))
        return Verdict(State.UNDECLARED, (*always, condition), 0)

    def _two_sided(self, transfer: Half, ack: Half, always: tuple[Condition, ...]) -> Verdict:
        records = (transfer.place, ack.place)
        conditions = [*always, *self._late(transfer, ack)]
        accepted = ack.outcome == pb.OUTCOME_ACCEPTED
        cancel = _first(self.exporter, Kind.CANCEL)
        if cancel is not None:
            if accepted:
                both = (cancel.place, ack.place)
                conditions.append(Condition("K15.cancelled_and_accepted", HIGH, both))
            if not accepted or cancel.recorded_at < ack.recorded_at:
                return Verdict(State.CANCELLED, tuple(conditions), 0)
        if ack.outcome == pb.OUTCOME_PARTIAL:
            conditions.append(Condition("K15.matched_in_part", MEDIUM, records))
            return Verdict(State.PARTIAL, tuple(conditions), 0)
        if not accepted:
            conditions.append(Condition("K15.refused", HIGH, records))
            return Verdict(State.REFUSED, tuple(conditions), 0)
        return self._compared(transfer, ack, conditions)

    def _compared(self, transfer: Half, ack: Half, conditions: list[Condition]) -> Verdict:
        exporter = _corrections(self.exporter, transfer)
        recipient = _corrections(self.recipient, ack)
        if (exporter or [transfer])[-1].terms_digest == (recipient or [ack])[-1].terms_digest:
            return Verdict(State.MATCHED, tuple(conditions), 0)
        corrections = [*exporter, *recipient]
        due = max((half.recorded_at for half in corrections), default=0)
        due += self.rules.correct_within
        reopened = bool(corrections) and self.known_until <= due
        records = [transfer.place, ack.place]
        if corrections and not reopened:
            records += [half.place for half in (*exporter[-1:], *recipient[-1:])]
        if not reopened or transfer.terms_digest != ack.terms_digest:
            conditions.append(Condition("K15.mismatch", HIGH, tuple(records)))
        state = State.REOPENED if reopened else State.MISMATCHED
        return Verdict(state, tuple(conditions), due if reopened else 0)

    def _late(self, transfer: Half, ack: Half) -> list[Condition]:
        first, second = sorted((transfer, ack), key=lambda half: half.recorded_at)
        if second.recorded_at <= first.recorded_at + self.rules.acknowledge_within:
            return []
        rule = "K15.declared_late" if second is transfer else "K15.acknowledged_late"
        return [Condition(rule, INFORMATION, (second.place,))]


def _is_exporting(halves: Sequence[Half]) -> bool:
    """Whether this side exports: by its own halves if it has any, else by the peer's."""
    for half in sorted(halves, key=lambda half: not half.own):
        if half.kind != Kind.CORRECTION:
            return half.own == (half.kind in _EXPORTERS)
    return True


def _first(halves: Sequence[Half], kind: Kind) -> Half | None:
    return next((half for half in halves if half.kind == kind), None)


def _corrections(halves: Sequence[Half], base: Half) -> list[Half]:
    return [h for h in halves if h.kind == Kind.CORRECTION and h.position > base.position]

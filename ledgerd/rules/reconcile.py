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
from typing import Final, NamedTuple

from ledgerd.projections.transfer_row import MAX_HALVES, Half, Position
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
    records: tuple[Position, ...]


class Verdict(NamedTuple):
    """due: µs after which silence of the other side means something; 0 when nothing is awaited."""

    state: State
    conditions: tuple[Condition, ...]
    due: int


# What this module finds; a transfer's row holds findings of other rules beside them.
OWN_RULES: Final = frozenset(
    f"K15.{name}"
    for name in (
        "unacknowledged", "undeclared", "mismatch", "refused", "cancelled_and_accepted",
        "foreign_half", "second_transfer", "contradictory_ack", "matched_in_part",
        "too_many_halves", "acknowledged_late", "declared_late",
    )
)  # fmt: skip

_BY_EXPORTER = frozenset((Kind.TRANSFER, Kind.CANCEL, Kind.CORRECTION))
_BY_RECIPIENT = frozenset((Kind.ACK, Kind.CORRECTION))
# By these most transfers are judged, and Python 3.11 runs a function to look up an enum's member.
_TRANSFER: Final = Kind.TRANSFER
_OPEN: Final = State.OPEN
# Outcomes that say that data arrived: a CANCEL does not undo it.
RECEIVED = frozenset((pb.OUTCOME_ACCEPTED, pb.OUTCOME_PARTIAL))


def judge(halves: Sequence[Half], known_until: int, rules: pb.RuleSet) -> Verdict:
    """
    Judge a transfer by its halves, each log's in log order.

    known_until: µs, when the newest anchored checkpoint of the peer was fetched. The first
    MAX_HALVES of each log count; the next one is found, and what follows may be left out.
    """
    if len(halves) == 1 and halves[0].own and halves[0].kind == _TRANSFER:
        due = halves[0].recorded_at + rules.acknowledge_within
        if known_until <= due:
            return Verdict(_OPEN, (), due)
    return _Case.of(halves, known_until, rules).verdict()


def counting(halves: Sequence[Half]) -> list[Half]:
    """The halves that count, of both parties, as of when these were known."""
    case = _Case.of(halves, 0, pb.RuleSet())
    return [*case.exporter, *case.recipient]


@dataclass(frozen=True, slots=True)
class _Case:
    """The halves that count, by party, and what is found of those that do not."""

    exporter: list[Half]
    recipient: list[Half]
    uncounted: list[Condition]
    known_until: int
    rules: pb.RuleSet

    @classmethod
    def of(cls, halves: Sequence[Half], known_until: int, rules: pb.RuleSet) -> _Case:
        logs = [[half for half in halves if half.own == own] for own in (True, False)]
        counted = [half for log in logs for half in log[:MAX_HALVES]]
        excess = [log[MAX_HALVES] for log in logs if len(log) > MAX_HALVES]
        uncounted = [Condition("K15.too_many_halves", (half.place,)) for half in excess]
        if all(half.kind == Kind.CORRECTION for half in counted):
            # Who exports is not known as long as nothing but corrections was said.
            return cls([], [], uncounted, known_until, rules)
        exports = _is_exporting(counted)
        exporter = [h for h in counted if h.own == exports and h.kind in _BY_EXPORTER]
        recipient = [h for h in counted if h.own != exports and h.kind in _BY_RECIPIENT]
        if exports:
            recipient = _by(_named_recipient(exporter), recipient)
        else:
            exporter = _by(recipient[0].counterparty or None if recipient else None, exporter)
            recipient = _by(_meant_recipient(exporter, recipient), recipient)
        counting = {half.place for half in (*exporter, *recipient)}
        foreign = [half for half in counted if half.place not in counting]
        strangers = [Condition("K15.foreign_half", (half.place,)) for half in foreign]
        return cls(exporter, recipient, [*strangers, *uncounted], known_until, rules)

    def verdict(self) -> Verdict:
        transfers = _of_kind(self.exporter, Kind.TRANSFER)
        acks = _of_kind(self.recipient, Kind.ACK)
        always = [*self.uncounted, *_second_transfers(transfers), *_contradictions(acks)]
        cancelled = bool(_of_kind(self.exporter, Kind.CANCEL))
        if transfers and acks:
            return self._two_sided(transfers[0], acks, always)
        if acks:
            return self._silence(acks[0], State.UNDECLARED, always)
        if transfers and not cancelled:
            return self._silence(transfers[0], State.UNACKNOWLEDGED, always)
        return Verdict(State.CANCELLED if cancelled else State.OPEN, tuple(always), 0)

    def _silence(self, half: Half, state: State, always: list[Condition]) -> Verdict:
        due = half.recorded_at + self.rules.acknowledge_within
        if self.known_until <= due:
            return Verdict(State.OPEN, tuple(always), due)
        condition = Condition(f"K15.{state.name.lower()}", (half.place,))
        return Verdict(state, (*always, condition), 0)

    def _two_sided(self, transfer: Half, acks: list[Half], always: list[Condition]) -> Verdict:
        # By the first answer, whatever it said: from then on nobody was silent.
        conditions = [*always, *self._late(transfer, acks[0])]
        ack = _final(acks)
        for cancel in _of_kind(self.exporter, Kind.CANCEL)[:1]:
            if ack.outcome in RECEIVED:
                both = (cancel.place, ack.place)
                conditions.append(Condition("K15.cancelled_and_accepted", both))
            if ack.outcome not in RECEIVED or cancel.recorded_at < ack.recorded_at:
                return Verdict(State.CANCELLED, tuple(conditions), 0)
        if ack.outcome == pb.OUTCOME_ACCEPTED:
            return self._compared(transfer, ack, conditions)
        records = (transfer.place, ack.place)
        if ack.outcome == pb.OUTCOME_PARTIAL:
            conditions.append(Condition("K15.matched_in_part", records))
            return Verdict(State.PARTIAL, tuple(conditions), 0)
        conditions.append(Condition("K15.refused", records))
        return Verdict(State.REFUSED, tuple(conditions), 0)

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
            conditions.append(Condition("K15.mismatch", tuple(records)))
        state = State.REOPENED if reopened else State.MISMATCHED
        return Verdict(state, tuple(conditions), due if reopened else 0)

    def _late(self, transfer: Half, ack: Half) -> list[Condition]:
        first, second = sorted((transfer, ack), key=lambda half: half.recorded_at)
        if second.recorded_at <= first.recorded_at + self.rules.acknowledge_within:
            return []
        rule = "K15.declared_late" if second is transfer else "K15.acknowledged_late"
        return [Condition(rule, (second.place,))]


def _is_exporting(halves: Sequence[Half]) -> bool:
    """Whether this side exports: by its own halves if it has any, else by the peer's."""
    said = (half for half in halves if half.kind != Kind.CORRECTION)
    first = min(said, key=lambda half: not half.own)
    return first.own == (first.kind in _BY_EXPORTER)


def _by(institution: str | None, halves: list[Half]) -> list[Half]:
    if institution is None:
        return halves
    return [half for half in halves if half.institution == institution]


def _named_recipient(exporter: Sequence[Half]) -> str | None:
    """
    Whom our own institution's terms name: the first TRANSFER's, for it wins.

    None when they are lost: nobody is a stranger by what we do not know any more.
    """
    named = [*_of_kind(exporter, Kind.TRANSFER), *exporter][:1]
    return named[0].counterparty or None if named else None


def _meant_recipient(exporter: Sequence[Half], recipient: Sequence[Half]) -> str | None:
    """
    Whom the other side's terms name: whoever states the same terms.

    A ref names the exporter only, so several institutions here may state halves of a transfer; as
    long as none of them meets the exporter's terms, nobody here knows whose they should be.
    """
    stated = {half.terms_digest: half.institution for half in reversed(recipient)}
    met = (stated[half.terms_digest] for half in exporter if half.terms_digest in stated)
    return next(met, None)


def _of_kind(halves: Sequence[Half], kind: Kind) -> list[Half]:
    return [half for half in halves if half.kind == kind]


def _final(acks: Sequence[Half]) -> Half:
    """The first accepted ACK, for good; without one the latest."""
    accepted = (ack for ack in acks if ack.outcome == pb.OUTCOME_ACCEPTED)
    return next(accepted, acks[-1])


def _second_transfers(transfers: Sequence[Half]) -> list[Condition]:
    return [
        Condition("K15.second_transfer", (transfers[0].place, second.place))
        for second in transfers[1:]
    ]


def _contradictions(acks: Sequence[Half]) -> list[Condition]:
    """ACKs that say another thing than the accepted one before them."""
    if not acks:
        return []
    final = _final(acks)
    return [
        Condition("K15.contradictory_ack", (final.place, ack.place))
        for ack in acks[acks.index(final) + 1 :]
        if (ack.outcome, ack.terms_digest) != (final.outcome, final.terms_digest)
    ]


def _corrections(halves: Sequence[Half], base: Half) -> list[Half]:
    return [
        half
        for half in _of_kind(halves, Kind.CORRECTION)
        if half.position > base.position and half.institution == base.institution
    ]

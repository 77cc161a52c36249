"""
The table of docs/protocol.md, "Reconciliation", cell by cell, and from both nodes.

Times are hours. An ACK is due within 24 of the TRANSFER, and a TRANSFER within 24 of its ACK; a
CORRECTION is to be met within 72.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ledgerd.projections.transfer_row import MAX_HALVES, Half, Position
from ledgerd.rules.reconcile import (
    OWN_RULES,
    State,
    Verdict,
    judge,
)
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import Kind
from ledgerd_client.rulebook import HIGH, INFORMATION, MEDIUM
from ledgerd_client.rulebook import RULES as RULEBOOK

RULES = make_rule_set(acknowledge_within=24 * HOUR, correct_within=72 * HOUR)
EXPORTER, RECIPIENT, STRANGER = "uscc.EXPORTER", "hkbr.RECIPIENT", "hkbr.STRANGER"

SEVERITIES = {
    "unacknowledged": HIGH,
    "undeclared": HIGH,
    "mismatch": HIGH,
    "refused": HIGH,
    "cancelled_and_accepted": HIGH,
    "foreign_half": HIGH,
    "second_transfer": MEDIUM,
    "contradictory_ack": MEDIUM,
    "matched_in_part": MEDIUM,
    "too_many_halves": MEDIUM,
    "acknowledged_late": INFORMATION,
    "declared_late": INFORMATION,
}


@dataclass(frozen=True)
class Said:
    """One half, in the log of whoever said it."""

    kind: Kind
    at: float
    terms: str = "t"
    outcome: int = 0
    by: str = ""
    of: str = ""

    def seen(self, entry: int, *, by_exporter: bool, own: bool) -> Half:
        author, other = (EXPORTER, RECIPIENT) if by_exporter else (RECIPIENT, EXPORTER)
        return Half(
            own, self.kind, entry, round(self.at * HOUR), self.terms.encode().ljust(32),
            self.outcome, self.by or author, (self.of or other) if own else "",
        )  # fmt: skip


def transfer(at: float = 0, terms: str = "t") -> Said:
    return Said(Kind.TRANSFER, at, terms)


def cancel(at: float) -> Said:
    return Said(Kind.CANCEL, at)


def correct(at: float, terms: str) -> Said:
    return Said(Kind.CORRECTION, at, terms)


def accept(at: float = 1, terms: str = "t") -> Said:
    return Said(Kind.ACK, at, terms, pb.OUTCOME_ACCEPTED)


def partly(at: float = 1, terms: str = "t") -> Said:
    return Said(Kind.ACK, at, terms, pb.OUTCOME_PARTIAL)


def reject(at: float = 1, terms: str = "t") -> Said:
    return Said(Kind.ACK, at, terms, pb.OUTCOME_REJECTED)


def spoilt(at: float = 1, terms: str = "t") -> Said:
    return Said(Kind.ACK, at, terms, pb.OUTCOME_DIGEST_MISMATCH)


def by_stranger(said: Said) -> Said:
    return replace(said, by=STRANGER)


@dataclass(frozen=True)
class Case:
    """What exporter and recipient said, up to when both nodes know it, and what that comes to."""

    exporter: Sequence[Said]
    recipient: Sequence[Said]
    until: float
    state: State
    # "rule: records": E0 is the first half in the exporter's log, R0 in the recipient's.
    found: Sequence[str] = ()
    due: float = 0

    def seen(self, *, exports: bool) -> tuple[list[Half], list[Half]]:
        """The halves of both logs, as one of the nodes sees them: its own, the peer's."""
        logs = {
            by_exporter: [
                said.seen(entry, by_exporter=by_exporter, own=by_exporter == exports)
                for entry, said in enumerate(log)
            ]
            for by_exporter, log in ((True, self.exporter), (False, self.recipient))
        }
        return logs[exports], logs[not exports]

    def judged(self, halves: Sequence[Half]) -> Verdict:
        return judge(halves, round(self.until * HOUR), RULES)


OPEN, MATCHED, MISMATCHED = State.OPEN, State.MATCHED, State.MISMATCHED
REFUSED, UNACKNOWLEDGED, UNDECLARED = State.REFUSED, State.UNACKNOWLEDGED, State.UNDECLARED
CANCELLED, PARTIAL, REOPENED = State.CANCELLED, State.PARTIAL, State.REOPENED

# The microsecond, in hours.
US = 1 / HOUR

FIRST_HALF = {
    "nothing yet": Case([], [], 0, OPEN),
    "TRANSFER": Case([transfer(0)], [], 1, OPEN, due=24),
    "TRANSFER, an anchor before the deadline": Case([transfer(0)], [], 24 - US, OPEN, due=24),
    "TRANSFER, an anchor at the deadline": Case([transfer(0)], [], 24, OPEN, due=24),
    "TRANSFER, an anchor beyond the deadline": Case(
        [transfer(0)], [], 24 + US, UNACKNOWLEDGED, ["unacknowledged: E0"]
    ),
    "ACK": Case([], [accept(0)], 1, OPEN, due=24),
    "ACK, an anchor before the deadline": Case([], [accept(0)], 24 - US, OPEN, due=24),
    "ACK, an anchor at the deadline": Case([], [accept(0)], 24, OPEN, due=24),
    "ACK, an anchor beyond the deadline": Case(
        [], [accept(0)], 24 + US, UNDECLARED, ["undeclared: R0"]
    ),
    "ACK in part, beyond the deadline": Case([], [partly(0)], 25, UNDECLARED, ["undeclared: R0"]),
    "ACK rejected, beyond the deadline": Case([], [reject(0)], 25, UNDECLARED, ["undeclared: R0"]),
    "another ACK gives the exporter no more time": Case(
        [], [reject(0), accept(20)], 25, UNDECLARED, ["undeclared: R0"]
    ),
    "another ACK after the finding does not cure it": Case(
        [], [accept(0), accept(30)], 31, UNDECLARED, ["undeclared: R0"]
    ),
    "CANCEL": Case([cancel(0)], [], 1, CANCELLED),
    "CANCEL, an anchor beyond the deadline": Case([cancel(0)], [], 99, CANCELLED),
    "CORRECTION": Case([correct(0, "u")], [], 1, OPEN),
    "CORRECTION, an anchor beyond the deadline": Case([correct(0, "u")], [], 99, OPEN),
    "CORRECTION by the recipient": Case([], [correct(0, "u")], 1, OPEN),
    "CORRECTION by the recipient, an anchor beyond the deadline": Case(
        [], [correct(0, "u")], 99, OPEN
    ),
}

ACKNOWLEDGED = {
    "open, ACK accepted": Case([transfer()], [accept()], 2, MATCHED),
    "open, ACK accepted, an anchor beyond the deadline": Case(
        [transfer(0)], [accept(1)], 99, MATCHED
    ),
    "open, ACK accepted of other terms": Case(
        [transfer()], [accept(1, "u")], 2, MISMATCHED, ["mismatch: E0 R0"]
    ),
    "open, ACK rejected": Case([transfer()], [reject()], 2, REFUSED, ["refused: E0 R0"]),
    "open, ACK rejected of other terms": Case(
        [transfer()], [reject(1, "u")], 2, REFUSED, ["refused: E0 R0"]
    ),
    "open, ACK digest_mismatch": Case([transfer()], [spoilt()], 2, REFUSED, ["refused: E0 R0"]),
    "open, ACK partial": Case([transfer()], [partly()], 2, PARTIAL, ["matched_in_part: E0 R0"]),
    "ACK recorded before the TRANSFER": Case([transfer(2)], [accept(1)], 3, MATCHED),
    "both recorded at once": Case([transfer(1)], [accept(1)], 2, MATCHED),
}

SETTLED = {
    "rejected, then accepted": Case([transfer()], [reject(1), accept(2)], 3, MATCHED),
    "digest_mismatch, then accepted": Case([transfer()], [spoilt(1), accept(2)], 3, MATCHED),
    "partial, then accepted": Case([transfer()], [partly(1), accept(2)], 3, MATCHED),
    "partial, then accepted of other terms": Case(
        [transfer()], [partly(1), accept(2, "u")], 3, MISMATCHED, ["mismatch: E0 R1"]
    ),
    "rejected, then partial": Case(
        [transfer()], [reject(1), partly(2)], 3, PARTIAL, ["matched_in_part: E0 R1"]
    ),
    "partial, then rejected": Case(
        [transfer()], [partly(1), reject(2)], 3, REFUSED, ["refused: E0 R1"]
    ),
    "rejected, and beyond the deadline accepted": Case(
        [transfer(0)], [reject(1), accept(48)], 49, MATCHED
    ),
}

LATE = {
    "ACK recorded at its deadline": Case([transfer(0)], [accept(24)], 99, MATCHED),
    "ACK recorded after its deadline": Case(
        [transfer(0)], [accept(24 + US)], 99, MATCHED, ["acknowledged_late: R0"]
    ),
    "unacknowledged, then accepted": Case(
        [transfer(0)], [accept(30)], 31, MATCHED, ["acknowledged_late: R0"]
    ),
    "unacknowledged, then accepted of other terms": Case(
        [transfer(0)], [accept(30, "u")], 31, MISMATCHED,
        ["acknowledged_late: R0", "mismatch: E0 R0"],
    ),
    "unacknowledged, then rejected": Case(
        [transfer(0)], [reject(30)], 31, REFUSED, ["acknowledged_late: R0", "refused: E0 R0"]
    ),
    "unacknowledged, then partial": Case(
        [transfer(0)], [partly(30)], 31, PARTIAL,
        ["acknowledged_late: R0", "matched_in_part: E0 R0"],
    ),
    "unacknowledged, then cancelled": Case([transfer(0), cancel(30)], [], 31, CANCELLED),
    "TRANSFER recorded at its deadline": Case([transfer(24)], [accept(0)], 99, MATCHED),
    "undeclared, then declared": Case(
        [transfer(30)], [accept(0)], 31, MATCHED, ["declared_late: E0"]
    ),
    "undeclared, then declared with other terms": Case(
        [transfer(30, "u")], [accept(0)], 31, MISMATCHED, ["declared_late: E0", "mismatch: E0 R0"]
    ),
}  # fmt: skip

TAKEN_BACK = {
    "open, CANCEL": Case([transfer(), cancel(1)], [], 2, CANCELLED),
    "cancelled, an anchor beyond the deadline": Case([transfer(), cancel(1)], [], 99, CANCELLED),
    "CANCEL recorded before its TRANSFER": Case([cancel(0), transfer(1)], [], 99, CANCELLED),
    "CANCEL twice": Case([transfer(), cancel(1), cancel(2)], [], 99, CANCELLED),
    "accepted after CANCEL": Case(
        [transfer(), cancel(1)], [accept(2)], 3, CANCELLED, ["cancelled_and_accepted: E1 R0"]
    ),
    "accepted in part after CANCEL": Case(
        [transfer(), cancel(1)], [partly(2)], 3, CANCELLED, ["cancelled_and_accepted: E1 R0"]
    ),
    "accepted of other terms after CANCEL": Case(
        [transfer(), cancel(1)], [accept(2, "u")], 3, CANCELLED, ["cancelled_and_accepted: E1 R0"]
    ),
    "rejected after CANCEL": Case([transfer(), cancel(1)], [reject(2)], 3, CANCELLED),
    "CANCEL after rejected": Case([transfer(), cancel(2)], [reject(1)], 3, CANCELLED),
    "CANCEL after matched": Case(
        [transfer(), cancel(2)], [accept(1)], 3, MATCHED, ["cancelled_and_accepted: E1 R0"]
    ),
    "CANCEL in the microsecond of the ACK": Case(
        [transfer(), cancel(1)], [accept(1)], 3, MATCHED, ["cancelled_and_accepted: E1 R0"]
    ),
    "CANCEL twice after matched": Case(
        [transfer(), cancel(2), cancel(3)], [accept(1)], 4, MATCHED,
        ["cancelled_and_accepted: E1 R0"],
    ),
    "CANCEL after matched in part": Case(
        [transfer(), cancel(2)], [partly(1)], 3, PARTIAL,
        ["cancelled_and_accepted: E1 R0", "matched_in_part: E0 R0"],
    ),
    "CANCEL after mismatched": Case(
        [transfer(), cancel(2)], [accept(1, "u")], 3, MISMATCHED,
        ["cancelled_and_accepted: E1 R0", "mismatch: E0 R0"],
    ),
    "rejected, CANCEL, accepted": Case(
        [transfer(), cancel(2)], [reject(1), accept(3)], 4, CANCELLED,
        ["cancelled_and_accepted: E1 R1"],
    ),
    "CANCEL without a TRANSFER, and ACK": Case(
        [cancel(1)], [accept(0)], 25, UNDECLARED, ["undeclared: R0"]
    ),
}  # fmt: skip

SAID_AGAIN = {
    "second TRANSFER, open": Case(
        [transfer(0), transfer(1)], [], 2, OPEN, ["second_transfer: E0 E1"], due=24
    ),
    "second TRANSFER gives the recipient no more time": Case(
        [transfer(0), transfer(20)], [], 25, UNACKNOWLEDGED,
        ["second_transfer: E0 E1", "unacknowledged: E0"],
    ),
    "second TRANSFER, matched": Case(
        [transfer(0), transfer(2)], [accept(1)], 3, MATCHED, ["second_transfer: E0 E1"]
    ),
    "second TRANSFER of other terms: the first wins": Case(
        [transfer(0), transfer(2, "u")], [accept(1)], 3, MATCHED, ["second_transfer: E0 E1"]
    ),
    "the ACK meets the second TRANSFER: the first wins": Case(
        [transfer(0), transfer(1, "u")], [accept(2, "u")], 3, MISMATCHED,
        ["second_transfer: E0 E1", "mismatch: E0 R0"],
    ),
    "third TRANSFER": Case(
        [transfer(0), transfer(1), transfer(2)], [accept(3)], 4, MATCHED,
        ["second_transfer: E0 E1", "second_transfer: E0 E2"],
    ),
    "second TRANSFER after CANCEL": Case(
        [transfer(0), cancel(1), transfer(2)], [], 3, CANCELLED, ["second_transfer: E0 E2"]
    ),
    "accepted twice": Case([transfer()], [accept(1), accept(2)], 3, MATCHED),
    "rejected twice: the latest counts": Case(
        [transfer()], [reject(1), reject(2)], 3, REFUSED, ["refused: E0 R1"]
    ),
    "partial twice: the latest counts": Case(
        [transfer()], [partly(1), partly(2)], 3, PARTIAL, ["matched_in_part: E0 R1"]
    ),
    "accepted, then rejected": Case(
        [transfer()], [accept(1), reject(2)], 3, MATCHED, ["contradictory_ack: R0 R1"]
    ),
    "accepted, then partial": Case(
        [transfer()], [accept(1), partly(2)], 3, MATCHED, ["contradictory_ack: R0 R1"]
    ),
    "accepted, then accepted of other terms": Case(
        [transfer()], [accept(1), accept(2, "u")], 3, MATCHED, ["contradictory_ack: R0 R1"]
    ),
    "accepted of other terms, then accepted": Case(
        [transfer()], [accept(1, "u"), accept(2)], 3, MISMATCHED,
        ["mismatch: E0 R0", "contradictory_ack: R0 R1"],
    ),
    "rejected, accepted, rejected": Case(
        [transfer()], [reject(1), accept(2), reject(3)], 4, MATCHED, ["contradictory_ack: R1 R2"]
    ),
}  # fmt: skip

CORRECTED = {
    "matched, CORRECTION by the exporter": Case(
        [transfer(), correct(2, "u")], [accept()], 3, REOPENED, due=74
    ),
    "matched, CORRECTION by the recipient": Case(
        [transfer()], [accept(), correct(2, "u")], 3, REOPENED, due=74
    ),
    "matched, CORRECTION to the same terms": Case(
        [transfer(), correct(2, "t")], [accept()], 3, MATCHED
    ),
    "reopened, an anchor before the deadline": Case(
        [transfer(), correct(2, "u")], [accept()], 74 - US, REOPENED, due=74
    ),
    "reopened, an anchor at the deadline": Case(
        [transfer(), correct(2, "u")], [accept()], 74, REOPENED, due=74
    ),
    "reopened, an anchor beyond the deadline": Case(
        [transfer(), correct(2, "u")], [accept()], 74 + US, MISMATCHED, ["mismatch: E0 R0 E1"]
    ),
    "the recipient's alone, beyond the deadline": Case(
        [transfer()], [accept(), correct(2, "u")], 75, MISMATCHED, ["mismatch: E0 R0 R1"]
    ),
    "reopened, met by the other's CORRECTION": Case(
        [transfer(), correct(2, "u")], [accept(), correct(3, "u")], 4, MATCHED
    ),
    "met, long after": Case(
        [transfer(), correct(2, "u")], [accept(), correct(3, "u")], 999, MATCHED
    ),
    "met after the deadline": Case(
        [transfer(), correct(2, "u")], [accept(), correct(90, "u")], 91, MATCHED
    ),
    "reopened, taken back": Case(
        [transfer(), correct(2, "u"), correct(3, "t")], [accept()], 4, MATCHED
    ),
    "the same CORRECTION twice": Case(
        [transfer(), correct(2, "u"), correct(3, "u")], [accept()], 4, REOPENED, due=75
    ),
    "answered by another CORRECTION": Case(
        [transfer(), correct(2, "u")], [accept(), correct(3, "v")], 4, REOPENED, due=75
    ),
    "answered by another CORRECTION, beyond the deadline": Case(
        [transfer(), correct(2, "u")], [accept(), correct(3, "v")], 76, MISMATCHED,
        ["mismatch: E0 R0 E1 R1"],
    ),
    "met, and reopened again": Case(
        [transfer(), correct(2, "u"), correct(5, "v")], [accept(), correct(3, "u")], 6,
        REOPENED, due=77,
    ),
    "the exporter's two alone, beyond the deadline": Case(
        [transfer(), correct(2, "u"), correct(3, "v")], [accept()], 99, MISMATCHED,
        ["mismatch: E0 R0 E2"],
    ),
    "the recipient's two alone, beyond the deadline": Case(
        [transfer()], [accept(), correct(2, "u"), correct(3, "v")], 99, MISMATCHED,
        ["mismatch: E0 R0 R2"],
    ),
    "mismatched, CORRECTION by the recipient": Case(
        [transfer()], [accept(1, "u"), correct(2, "t")], 3, MATCHED
    ),
    "mismatched, CORRECTION by the exporter": Case(
        [transfer(), correct(2, "u")], [accept(1, "u")], 3, MATCHED
    ),
    "mismatched, corrected to a third": Case(
        [transfer(), correct(2, "v")], [accept(1, "u")], 3, REOPENED, ["mismatch: E0 R0"], due=74
    ),
    "mismatched, corrected past each other": Case(
        [transfer(), correct(2, "u")], [accept(1, "u"), correct(2, "t")], 3, REOPENED,
        ["mismatch: E0 R0"], due=74,
    ),
    "mismatched, corrected to a third, beyond the deadline": Case(
        [transfer(), correct(2, "v")], [accept(1, "u")], 75, MISMATCHED, ["mismatch: E0 R0 E1"]
    ),
    "CORRECTION before any ACK": Case(
        [transfer(), correct(1, "u")], [], 2, OPEN, due=24
    ),
    "CORRECTION by the recipient before any ACK": Case(
        [transfer()], [correct(1, "u")], 2, OPEN, due=24
    ),
    "CORRECTION before the ACK of the corrected terms": Case(
        [transfer(), correct(1, "u")], [accept(2, "u")], 3, MATCHED
    ),
    "CORRECTION before the ACK of the first terms": Case(
        [transfer(), correct(1, "u")], [accept(2)], 3, REOPENED, due=73
    ),
    "CORRECTION recorded before its TRANSFER does not count": Case(
        [correct(0, "u"), transfer(1)], [accept(2)], 3, MATCHED
    ),
    "reopened, CANCEL": Case(
        [transfer(), correct(2, "u"), cancel(3)], [accept(1)], 4, REOPENED,
        ["cancelled_and_accepted: E2 R0"], due=74,
    ),
    "CORRECTION of what was refused": Case(
        [transfer(), correct(2, "u")], [reject(1)], 3, REFUSED, ["refused: E0 R0"]
    ),
}  # fmt: skip

FOREIGN = {
    "ACK by a stranger, open": Case(
        [transfer(0)], [by_stranger(accept(1, "s"))], 2, OPEN, ["foreign_half: R0"], due=24
    ),
    "ACK by a stranger does not acknowledge": Case(
        [transfer(0)], [by_stranger(accept(1, "s"))], 25, UNACKNOWLEDGED,
        ["foreign_half: R0", "unacknowledged: E0"],
    ),
}  # fmt: skip

# The recipient's node too knows a stranger as soon as somebody there meets the exporter's terms.
FOREIGN_TO_BOTH = {
    "ACK by a stranger before the right one": Case(
        [transfer()], [by_stranger(accept(1, "s")), accept(2)], 3, MATCHED, ["foreign_half: R0"]
    ),
    "ACK by a stranger after the right one": Case(
        [transfer()], [accept(1), by_stranger(reject(2, "s"))], 3, MATCHED, ["foreign_half: R1"]
    ),
    "CORRECTION by a stranger": Case(
        [transfer()], [accept(1), by_stranger(correct(2, "s"))], 3, MATCHED, ["foreign_half: R1"]
    ),
    "a stranger before a rejection": Case(
        [transfer()], [by_stranger(accept(1, "s")), reject(2)], 3, REFUSED,
        ["foreign_half: R0", "refused: E0 R1"],
    ),
    "a stranger's early ACK does not excuse a late one": Case(
        [transfer(0)], [by_stranger(accept(1, "s")), accept(30)], 31, MATCHED,
        ["foreign_half: R0", "acknowledged_late: R1"],
    ),
    "a stranger, and terms that only a CORRECTION meets": Case(
        [transfer(), correct(3, "u")], [by_stranger(accept(1, "s")), accept(2, "u")], 4, MATCHED,
        ["foreign_half: R0"],
    ),
}  # fmt: skip

TABLE = {
    **FIRST_HALF, **ACKNOWLEDGED, **SETTLED, **LATE,
    **TAKEN_BACK, **SAID_AGAIN, **CORRECTED, **FOREIGN_TO_BOTH,
}  # fmt: skip

WAITING = {name: case for name, case in TABLE.items() if case.due}
FINAL = {name: case for name, case in TABLE.items() if not case.due}


def each_of(cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


every_case = each_of(TABLE)
from_both_nodes = pytest.mark.parametrize(
    "exports", [True, False], ids=["exporter's", "recipient's"]
)


def named(verdict: Verdict, *, exports: bool) -> list[str]:
    """The conditions as a Case writes them."""

    def name(place: Position) -> str:
        return f"{'E' if place.own == exports else 'R'}{place.entry}"

    return sorted(
        f"{condition.rule.removeprefix('K15.')}: {' '.join(map(name, condition.records))}"
        for condition in verdict.conditions
    )


def interleaved(own: list[Half], peer: list[Half]) -> Iterator[list[Half]]:
    """Every order in which two logs, each in its own order, can become known."""
    total = len(own) + len(peer)
    for places in combinations(range(total), len(own)):
        first, second = iter(own), iter(peer)
        yield [next(first) if place in places else next(second) for place in range(total)]


class TestTable:
    @every_case
    @from_both_nodes
    def test_the_halves_come_to_this_state(self, case: Case, *, exports: bool) -> None:
        own, peer = case.seen(exports=exports)
        assert case.judged([*own, *peer]).state == case.state

    @every_case
    @from_both_nodes
    def test_the_halves_have_these_findings(self, case: Case, *, exports: bool) -> None:
        own, peer = case.seen(exports=exports)
        assert named(case.judged([*own, *peer]), exports=exports) == sorted(case.found)

    @every_case
    @from_both_nodes
    def test_until_then_the_other_side_is_waited_for(self, case: Case, *, exports: bool) -> None:
        own, peer = case.seen(exports=exports)
        assert case.judged([*own, *peer]).due == round(case.due * HOUR)

    @every_case
    @from_both_nodes
    def test_in_whatever_order_the_logs_become_known(self, case: Case, *, exports: bool) -> None:
        own, peer = case.seen(exports=exports)
        verdicts = {case.judged(halves) for halves in interleaved(own, peer)}
        assert verdicts == {case.judged([*own, *peer])}

    @each_of(WAITING)
    @from_both_nodes
    def test_at_the_deadline_nothing_is_different_yet(self, case: Case, *, exports: bool) -> None:
        own, peer = case.seen(exports=exports)
        at_deadline = replace(case, until=case.due)
        assert at_deadline.judged([*own, *peer]) == case.judged([*own, *peer])

    @each_of(WAITING)
    @from_both_nodes
    def test_a_microsecond_beyond_it_nothing_is_awaited(self, case: Case, *, exports: bool) -> None:
        own, peer = case.seen(exports=exports)
        assert replace(case, until=case.due + US).judged([*own, *peer]).due == 0

    @each_of(FINAL)
    @from_both_nodes
    def test_where_nothing_is_awaited_time_changes_nothing(
        self, case: Case, *, exports: bool
    ) -> None:
        own, peer = case.seen(exports=exports)
        assert replace(case, until=1e6).judged([*own, *peer]) == case.judged([*own, *peer])

    def test_every_finding_stands_in_the_table(self) -> None:
        found = {
            condition.rule.removeprefix("K15.")
            for case in (*TABLE.values(), *FOREIGN.values())
            for condition in case.judged(
                [h for log in case.seen(exports=True) for h in log]
            ).conditions
        }
        assert found == SEVERITIES.keys() - {"too_many_halves"}

    def test_every_state_stands_in_the_table(self) -> None:
        assert {case.state for case in TABLE.values()} == set(State)


class TestForeignHalves:
    """A half by anyone but the party that the terms name is found, and changes nothing."""

    @each_of(FOREIGN)
    def test_the_exporters_node_knows_whom_its_terms_name(self, case: Case) -> None:
        own, peer = case.seen(exports=True)
        verdict = case.judged([*own, *peer])
        assert (verdict.state, named(verdict, exports=True)) == (case.state, sorted(case.found))

    @every_case
    @pytest.mark.parametrize("kind", [Kind.ACK, Kind.CORRECTION])
    def test_a_strangers_half_on_the_other_side_changes_nothing_else(
        self, case: Case, kind: Kind
    ) -> None:
        """Wherever in the peer's log it stands, once our own terms say whom they name."""
        own, peer = case.seen(exports=True)
        # Of nothing but corrections nobody knows who exports, and whom the terms name.
        if not own or all(half.kind == Kind.CORRECTION for half in (*own, *peer)):
            return
        before = case.judged([*own, *peer])
        stranger = Half(False, kind, 99, 0, bytes(32), pb.OUTCOME_ACCEPTED, STRANGER, "")
        after = case.judged([*own, stranger, *peer])
        assert named(after, exports=True) == sorted(
            [*named(before, exports=True), "foreign_half: R99"]
        )
        assert (after.state, after.due) == (before.state, before.due)

    @every_case
    @from_both_nodes
    def test_a_kind_that_the_other_side_may_not_state_changes_nothing_else(
        self, case: Case, *, exports: bool
    ) -> None:
        """A peer that puts the exporter's kinds into the recipient's log, or the other way."""
        own, peer = case.seen(exports=exports)
        if all(half.kind == Kind.CORRECTION for half in own):
            return
        before = case.judged([*own, *peer])
        wrong = Kind.TRANSFER if exports else Kind.ACK
        said = Half(False, wrong, 99, 0, bytes(32), pb.OUTCOME_ACCEPTED, RECIPIENT, "")
        after = case.judged([*own, said, *peer])
        finding = f"foreign_half: {'R' if exports else 'E'}99"
        assert named(after, exports=exports) == sorted([*named(before, exports=exports), finding])
        assert (after.state, after.due) == (before.state, before.due)

    @pytest.mark.parametrize("kind", [Kind.TRANSFER, Kind.CANCEL, Kind.CORRECTION])
    def test_the_recipients_node_knows_whose_transfer_it_acknowledged(self, kind: Kind) -> None:
        ack = accept(1).seen(0, by_exporter=False, own=True)
        stranger = Half(False, kind, 0, 0, bytes(32), 0, "uscc.STRANGER", "")
        verdict = judge([ack, stranger], 25 * HOUR, RULES)
        assert named(verdict, exports=False) == ["foreign_half: E0"]

    def test_the_recipients_node_calls_nobody_a_stranger_where_its_terms_are_lost(self) -> None:
        own, peer = Case([transfer()], [accept()], 2, MATCHED).seen(exports=False)
        erased = [half._replace(counterparty="") for half in own]
        assert judge([*erased, *peer], 2 * HOUR, RULES) == Verdict(MATCHED, (), 0)

    def test_as_long_as_nobody_meets_the_terms_nobody_here_is_called_a_stranger(self) -> None:
        """The recipient's node can't see whom the exporter's terms name."""
        case = FOREIGN["ACK by a stranger, open"]
        own, peer = case.seen(exports=False)
        assert named(case.judged([*own, *peer]), exports=False) == ["mismatch: E0 R0"]

    def test_nor_does_anybodys_correction_correct_what_somebody_else_said(self) -> None:
        case = Case([transfer()], [accept(1, "u"), by_stranger(correct(2, "s"))], 3, MISMATCHED)
        own, peer = case.seen(exports=False)
        verdict = case.judged([*own, *peer])
        assert (verdict.state, named(verdict, exports=False)) == (MISMATCHED, ["mismatch: E0 R0"])

    def test_the_first_transfer_says_whom_the_terms_name(self) -> None:
        """A CANCEL or a second TRANSFER can't make a stranger of the recipient."""
        other = replace(cancel(0), of=STRANGER), transfer(1), replace(transfer(2, "u"), of=STRANGER)
        case = Case(other, [accept(3)], 4, CANCELLED)
        own, peer = case.seen(exports=True)
        assert named(case.judged([*own, *peer]), exports=True) == [
            "cancelled_and_accepted: E0 R0", "second_transfer: E1 E2",
        ]  # fmt: skip


class TestTooManyHalves:
    """Whoever says the same thing for ever fills the log, but no row."""

    @from_both_nodes
    def test_the_hundredth_half_counts(self, *, exports: bool) -> None:
        case = Case([transfer()], [*[reject(1)] * (MAX_HALVES - 1), accept(2)], 3, MATCHED)
        own, peer = case.seen(exports=exports)
        assert case.judged([*own, *peer]).state == MATCHED

    @from_both_nodes
    @pytest.mark.parametrize("more", [1, 2, 50])
    def test_the_next_one_does_not_and_is_found(self, more: int, *, exports: bool) -> None:
        case = Case([transfer()], [*[reject(1)] * MAX_HALVES, *[accept(2)] * more], 3, REFUSED)
        own, peer = case.seen(exports=exports)
        assert named(case.judged([*own, *peer]), exports=exports) == [
            "refused: E0 R99", "too_many_halves: R100",
        ]  # fmt: skip

    def test_one_log_does_not_use_up_the_others_number(self) -> None:
        case = Case([transfer(), *[cancel(1)] * 500], [accept(2)], 3, CANCELLED)
        own, peer = case.seen(exports=False)
        assert case.judged([*own, *peer]).state == CANCELLED


TERMS = st.sampled_from("tuv")
HOURS = st.integers(0, 120)
EXPORTERS_WORDS = st.lists(
    st.one_of(
        st.builds(transfer, HOURS, TERMS),
        st.builds(cancel, HOURS),
        st.builds(correct, HOURS, TERMS),
    ),
    max_size=6,
)
RECIPIENTS_WORDS = st.lists(
    st.one_of(
        *(st.builds(said, HOURS, TERMS) for said in (accept, partly, reject, spoilt, correct))
    ),
    max_size=6,
)
STRANGERS_WORDS = st.lists(
    st.builds(accept, HOURS, st.just("s")) | st.builds(correct, HOURS, st.just("s")), max_size=2
).map(lambda said: [by_stranger(each) for each in said])


def in_time(said: Sequence[Said]) -> list[Said]:
    """In a log nothing is older than what stands before it."""
    return sorted(said, key=lambda each: each.at)


class TestOnlyCorrections:
    """Of a transfer that nobody declared or acknowledged, corrections say nothing of who is who."""

    @pytest.mark.parametrize("own", [True, False])
    def test_find_nothing_whoever_makes_them(self, own: bool) -> None:
        halves = [
            Half(own, Kind.CORRECTION, 0, 0, bytes(32), 0, STRANGER, ""),
            Half(not own, Kind.CORRECTION, 0, 0, bytes(32), 0, EXPORTER, STRANGER),
        ]
        assert judge(halves, 1000 * HOUR, RULES) == Verdict(State.OPEN, (), 0)


class TestBothNodes:
    """Two nodes that know the same two logs say the same."""

    @settings(deadline=None)
    @given(EXPORTERS_WORDS.map(in_time), RECIPIENTS_WORDS.map(in_time), st.integers(0, 300))
    def test_both_nodes_say_the_same_of_any_two_logs(
        self, exporter: list[Said], recipient: list[Said], until: int
    ) -> None:
        case = Case(exporter, recipient, until, OPEN)
        verdicts = [
            case.judged([h for log in case.seen(exports=e) for h in log]) for e in (True, False)
        ]
        assert named(verdicts[0], exports=True) == named(verdicts[1], exports=False)
        assert verdicts[0].state == verdicts[1].state
        assert verdicts[0].due == verdicts[1].due

    @settings(deadline=None)
    @example([correct(0, "t")], [correct(0, "t")], [by_stranger(correct(0, "s"))], 0)
    @given(EXPORTERS_WORDS.map(in_time), RECIPIENTS_WORDS, STRANGERS_WORDS, st.integers(0, 300))
    def test_also_with_a_stranger_once_the_terms_are_met(
        self, exporter: list[Said], recipient: list[Said], strangers: list[Said], until: int
    ) -> None:
        assume({said.terms for said in exporter} & {said.terms for said in recipient})
        case = Case(exporter, in_time([*strangers, *recipient]), until, OPEN)
        verdicts = [
            case.judged([h for log in case.seen(exports=e) for h in log]) for e in (True, False)
        ]
        assert named(verdicts[0], exports=True) == named(verdicts[1], exports=False)
        assert verdicts[0].state == verdicts[1].state

    @settings(deadline=None)
    @given(
        EXPORTERS_WORDS.map(in_time), RECIPIENTS_WORDS.map(in_time), st.integers(0, 300), st.data()
    )
    def test_the_order_in_which_the_logs_become_known_does_not_matter(
        self, exporter: list[Said], recipient: list[Said], until: int, data: st.DataObject
    ) -> None:
        case = Case(exporter, recipient, until, OPEN)
        own, peer = case.seen(exports=data.draw(st.booleans()))
        order = data.draw(st.permutations([True] * len(own) + [False] * len(peer)))
        logs = {True: iter(own), False: iter(peer)}
        assert case.judged([next(logs[which]) for which in order]) == case.judged([*own, *peer])

    @settings(deadline=None)
    @given(EXPORTERS_WORDS.map(in_time), RECIPIENTS_WORDS.map(in_time), HOURS, HOURS)
    def test_nobody_is_found_silent_before_the_deadline(
        self, exporter: list[Said], recipient: list[Said], until: int, earlier: int
    ) -> None:
        """A verdict without a deadline is the verdict of every later time."""
        case = Case(exporter, recipient, min(until, earlier), OPEN)
        halves = [half for log in case.seen(exports=True) for half in log]
        first = case.judged(halves)
        if not first.due or max(until, earlier) * HOUR <= first.due:
            assert replace(case, until=max(until, earlier)).judged(halves) == first


class TestRulebook:
    def test_severities_are_those_of_the_rulebook(self) -> None:
        known = {f"K15.{name}": severity for name, severity in SEVERITIES.items()}
        assert known == {rule: RULEBOOK[rule].severity for rule in OWN_RULES}

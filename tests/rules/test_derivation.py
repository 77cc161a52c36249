"""What halves come to is the same for a node's rules and for whoever has a bundle of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.test_reconcile import FOREIGN, RULES, TABLE, Case

from ledgerd.projections import transfer_row
from ledgerd.projections.transfer_row import Half
from ledgerd.rules.reconcile import State, judge
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import derivation
from ledgerd_client.core.derivation import HalfFacts, derive
from ledgerd_client.core.header import Kind

# What a node's clock adds is that the other half did not come, or a correction was not met.
SAME = {
    State.OPEN: "one_sided",
    State.UNACKNOWLEDGED: "one_sided",
    State.UNDECLARED: "one_sided",
    State.MATCHED: "matched",
    State.MISMATCHED: "mismatched",
    State.REOPENED: "mismatched",
    State.REFUSED: "refused",
    State.PARTIAL: "partial",
    State.CANCELLED: "cancelled",
}


def facts(halves: Sequence[Half]) -> list[HalfFacts]:
    return [
        HalfFacts(
            half.kind, half.position, half.recorded_at, half.terms_digest, half.outcome,
            half.institution, half.counterparty,
        )
        for half in halves
    ]  # fmt: skip


@pytest.mark.parametrize("exports", [True, False], ids=["exporter's", "recipient's"])
@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_every_cell_of_the_nodes_table_is_the_same(case: Case, *, exports: bool) -> None:
    own, peer = case.seen(exports=exports)
    assert derive(facts(own), facts(peer)) == SAME[case.state]


@pytest.mark.parametrize("case", FOREIGN.values(), ids=FOREIGN)
def test_what_a_stranger_states_does_not_count(case: Case) -> None:
    own, peer = case.seen(exports=True)
    assert derive(facts(own), facts(peer)) == SAME[case.state]


KINDS = (Kind.TRANSFER, Kind.ACK, Kind.CANCEL, Kind.CORRECTION)
HALVES = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 9), st.sampled_from([b"t" * 32, b"u" * 32]),
        st.sampled_from(pb.Outcome.values()[1:]), st.sampled_from(["A", "B"]),
    ),
    max_size=5,
)  # fmt: skip


def log_of(drawn: list[tuple[Kind, int, bytes, int, str]], *, own: bool) -> list[Half]:
    times = sorted(at for _, at, *_ in drawn)
    return [
        Half(
            own, kind, entry, at, terms, outcome if kind == Kind.ACK else 0, by, "A" if own else ""
        )
        for entry, ((kind, _, terms, outcome, by), at) in enumerate(zip(drawn, times, strict=True))
    ]


@given(HALVES, HALVES)
def test_whatever_two_logs_hold_it_is_the_same(
    ours: list[tuple[Kind, int, bytes, int, str]], theirs: list[tuple[Kind, int, bytes, int, str]]
) -> None:
    own, peer = log_of(ours, own=True), log_of(theirs, own=False)
    verdict = judge([*own, *peer], 0, RULES)
    assert derive(facts(own), facts(peer)) == SAME[verdict.state]


def test_so_many_halves_of_one_log_count() -> None:
    assert derivation.MAX_HALVES == transfer_row.MAX_HALVES

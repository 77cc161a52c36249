"""
C1: what the halves of a contract amount to, from both nodes.

Times are days; a half is to be met within 30 of them. "own" are the halves in this node's log.
"""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.projections.transfer_row import MAX_HALVES, Half
from ledgerd.rules.agreement import OWN_RULES, Agreement, agree, state_of, take
from ledgerd.rules.reconcile import OWN_RULES as TRANSFER_RULES
from ledgerd.rules.ruleset import make_rule_set
from ledgerd_client.core.header import Kind
from ledgerd_client.rulebook import RULES as RULEBOOK

DAY = 86_400_000_000
RULES = make_rule_set(agree_within=30 * DAY)
PATIENT = make_rule_set(agree_within=0)
EXPORTER, RECIPIENT, STRANGER = "uscc.EXPORTER", "hkbr.RECIPIENT", "hkbr.STRANGER"
CONTRACT, FILING, SUPPLEMENT, DISPOSAL = 1, 2, 3, 5


def half(
    entry: int, terms: str = "t", *, own: bool = True, sort: int = CONTRACT, by: str = ""
) -> Half:
    """A half recorded on day `entry`; as the exporter's node sees it."""
    author, other = (EXPORTER, RECIPIENT) if own else (RECIPIENT, EXPORTER)
    return Half(
        own, Kind.CONTRACT, entry, entry * DAY, terms.encode().ljust(32), sort,
        by or author, other if own else "",
    )  # fmt: skip


def said(own: str, peer: str, known: float = 9, rules: object = RULES) -> Agreement:
    """Letters are terms, in the order of the statements, one a day: ours from 1, theirs from 2."""
    halves = [half(1 + 2 * n, terms) for n, terms in enumerate(own)]
    halves += [half(2 + 2 * n, terms, own=False) for n, terms in enumerate(peer)]
    return agree(halves, round(known * DAY), rules)


def rules_of(agreement: Agreement) -> list[str]:
    return [condition.rule for condition in agreement.conditions]


class TestLatestHalves:
    @pytest.mark.parametrize(
        ("own", "peer", "state"),
        [
            ("A", "A", "agreed"),
            ("A", "", "open"),
            ("", "A", "open"),
            ("A", "B", "differs"),
            # Stated anew on one side: the other may follow.
            ("AB", "A", "open"),
            ("A", "AB", "open"),
            ("AB", "AB", "agreed"),
            # A mistake that was mended.
            ("AB", "B", "agreed"),
            ("B", "AB", "agreed"),
            ("AC", "B", "differs"),
            ("ABA", "A", "agreed"),
            # They crossed: each knows what the other says now.
            ("AB", "BA", "open"),
            ("ABC", "BA", "open"),
        ],
    )
    def test_state(self, own: str, peer: str, state: str) -> None:
        assert said(own, peer).states == {CONTRACT: state}

    def test_what_differs_names_the_latest_of_both(self) -> None:
        agreement = said("AC", "B")
        assert [condition.records for condition in agreement.conditions] == [
            ((True, 3), (False, 2))
        ]

    def test_what_was_settled_leaves_nothing(self) -> None:
        assert said("AB", "B", known=99).conditions == ()


class TestSilence:
    @pytest.mark.parametrize(
        ("own", "peer", "known", "rules"),
        [
            # Stated on day 1, so met by day 31.
            ("A", "", 31, []),
            ("A", "", 31 + 1e-9, ["C1.one_sided"]),
            ("", "A", 32, []),
            ("", "A", 33, ["C1.one_sided"]),
            # Stated anew on day 3.
            ("AB", "A", 33, []),
            ("AB", "A", 34, ["C1.one_sided"]),
            ("A", "AB", 34, []),
            ("A", "AB", 35, ["C1.one_sided"]),
        ],
    )
    def test_an_anchor_beyond_30_days(
        self, own: str, peer: str, known: float, rules: list[str]
    ) -> None:
        assert rules_of(said(own, peer, known)) == rules

    def test_until_then_it_is_awaited(self) -> None:
        assert said("AB", "A").due == 33 * DAY

    def test_of_two_that_crossed_the_newer_is_awaited(self) -> None:
        # Ours of day 3, theirs of day 4.
        assert said("AB", "BA").due == 34 * DAY

    def test_it_rests_on_the_half_that_was_not_met(self) -> None:
        assert said("AB", "A", known=99).conditions[0].records == ((True, 3),)

    def test_what_is_said_instead_gains_no_time(self) -> None:
        assert said("AB", "", 31.5).states == {CONTRACT: "one_sided"}

    def test_after_an_agreement_time_begins_anew(self) -> None:
        halves = [half(1, "A"), half(2, "B"), half(3, "B", own=False), half(40, "C")]
        assert agree(halves, 69 * DAY, RULES).due == 70 * DAY

    def test_what_is_said_by_turns_gains_no_time(self) -> None:
        halves: list[Half] = []
        for day in range(1, 40):
            take(halves, half(day, "AB"[day % 2]))
        assert agree(halves, 40 * DAY, RULES).states == {CONTRACT: "one_sided"}

    def test_what_is_said_again_after_an_agreement_has_its_time(self) -> None:
        halves: list[Half] = []
        for each in (half(1, "A"), half(2, "B"), half(3, "B", own=False), half(40, "A")):
            take(halves, each)
        assert agree(halves, 69 * DAY, RULES).due == 70 * DAY

    def test_a_late_half_closes_it(self) -> None:
        assert said("A", "A", known=99) == Agreement({CONTRACT: "agreed"}, (), 0)

    def test_without_a_deadline_nobody_waits_in_vain(self) -> None:
        agreement = said("A", "", known=10**6, rules=PATIENT)
        assert agreement == Agreement({CONTRACT: "open"}, (), 0)


class TestSorts:
    """Contract, filing, supplement, termination, disposal are compared each with its like."""

    def test_each_by_itself(self) -> None:
        halves = [
            half(1), half(2, own=False),
            half(3, sort=FILING), half(4, sort=SUPPLEMENT, terms="a"),
            half(5, sort=SUPPLEMENT, terms="b", own=False),
        ]  # fmt: skip
        states = agree(halves, 9 * DAY, RULES).states
        assert states == {CONTRACT: "agreed", FILING: "open", SUPPLEMENT: "differs"}

    def test_the_earliest_deadline_comes_first(self) -> None:
        halves = [half(3), half(2, sort=FILING)]
        assert agree(halves, 0, RULES).due == 32 * DAY

    @pytest.mark.parametrize(
        ("states", "worst"),
        [
            (("agreed", "open", "differs", "one_sided"), "differs"),
            (("agreed", "open", "one_sided"), "one_sided"),
            (("agreed", "open"), "open"),
            (("agreed",), "agreed"),
            ((), "open"),
        ],
    )
    def test_a_contract_is_as_good_as_its_worst(self, states: tuple[str, ...], worst: str) -> None:
        assert state_of(dict(enumerate(states))) == worst


class TestForeign:
    def test_a_half_by_another_institution_here(self) -> None:
        halves = [half(1), half(2, by=STRANGER), half(3, own=False)]
        agreement = agree(halves, 9 * DAY, RULES)
        assert (agreement.states, rules_of(agreement)) == (
            {CONTRACT: "agreed"},
            ["C1.foreign_half"],
        )

    def test_a_half_by_one_there_whom_the_own_author_does_not_name(self) -> None:
        halves = [half(1), half(2, own=False, by=STRANGER)]
        agreement = agree(halves, 9 * DAY, RULES)
        assert (agreement.states, agreement.conditions[0].records) == (
            {CONTRACT: "open"},
            ((False, 2),),
        )

    def test_a_wrong_name_that_was_mended_is_nobodys(self) -> None:
        wrong = half(1, "A")._replace(counterparty=STRANGER)
        assert agree([wrong, half(2, "B"), half(3, "B", own=False)], 9, RULES).conditions == ()

    def test_an_old_name_in_a_later_filing_is_nobodys(self) -> None:
        filed = half(3, "A", sort=FILING)._replace(counterparty=STRANGER)
        halves = [half(1, "B"), half(2, "B", own=False), filed]
        assert agree(halves, 9, RULES).conditions == ()

    def test_without_an_own_half_nobody_is_foreign(self) -> None:
        halves = [half(1, own=False), half(2, own=False, by=STRANGER)]
        assert agree(halves, 9 * DAY, RULES).conditions == ()


class TestTooMany:
    @pytest.mark.parametrize(
        ("count", "rules"),
        [
            (MAX_HALVES - 1, []),
            (MAX_HALVES, []),
            (MAX_HALVES + 1, ["C1.too_many_halves"]),
        ],
    )
    def test_of_one_log(self, count: int, rules: list[str]) -> None:
        halves = [half(n) for n in range(count)]
        assert rules_of(agree(halves, 0, RULES)) == rules


class TestTaking:
    """A row keeps what each author said, each statement once, and comes to the same."""

    def taken(self, *halves: Half) -> list[Half]:
        row: list[Half] = []
        for each in halves:
            take(row, each)
        return row

    @given(st.text("ABC", max_size=8), st.text("ABC", max_size=8))
    def test_comes_to_what_all_of_them_come_to(self, own: str, peer: str) -> None:
        halves = [half(1 + 2 * n, terms) for n, terms in enumerate(own)]
        halves += [half(2 + 2 * n, terms, own=False) for n, terms in enumerate(peer)]
        row = self.taken(*halves)
        assert agree(row, 0, RULES).states == agree(halves, 0, RULES).states

    def test_the_same_again_is_not_kept(self) -> None:
        assert self.taken(half(1), half(2)) == [half(1)]

    def test_an_earlier_one_again_is_moved_behind_the_newer(self) -> None:
        kept = self.taken(half(1, "A"), half(2, "B"), half(3, "A"))
        assert kept == [half(2, "B"), half(3, "A")._replace(recorded_at=DAY)]

    def test_whoever_came_first_stays_first(self) -> None:
        kept = self.taken(half(1, "A"), half(2, by=STRANGER), half(3, "B"), half(4, "A"))
        assert [each.institution for each in kept] == [EXPORTER, STRANGER, EXPORTER]

    def test_of_one_author_and_sort_no_more_than_one_beyond_the_bound(self) -> None:
        many = [half(n, str(n)) for n in range(MAX_HALVES + 5)]
        other = half(999, "x", sort=FILING)
        assert self.taken(*many, other) == [*many[: MAX_HALVES + 1], other]


class TestADisposal:
    """It is met by an equal one: who the parties are, the contract says."""

    PARTIES = half(1)

    def test_of_the_other_party_alone_is_one_sided_after_its_time(self) -> None:
        theirs = half(2, own=False, sort=DISPOSAL)
        found = agree([theirs], 99 * DAY, RULES, self.PARTIES)
        assert (found.states, rules_of(found)) == ({DISPOSAL: "one_sided"}, ["C1.one_sided"])

    def test_of_somebody_else_there_is_foreign(self) -> None:
        theirs = half(2, own=False, sort=DISPOSAL, by=STRANGER)
        found = agree([theirs], 99 * DAY, RULES, self.PARTIES)
        assert (found.states, rules_of(found)) == ({}, ["C1.foreign_half"])


class TestBothNodes:
    @given(st.text("ABC", max_size=4), st.text("ABC", max_size=4), st.integers(0, 60))
    def test_both_come_to_the_same_state(self, own: str, peer: str, known: int) -> None:
        ours = [half(1 + 2 * n, terms) for n, terms in enumerate(own)]
        theirs = [half(2 + 2 * n, terms, own=False) for n, terms in enumerate(peer)]
        here = agree([*ours, *theirs], known * DAY, RULES)
        seen = [
            each._replace(
                own=not each.own,
                counterparty={EXPORTER: RECIPIENT, RECIPIENT: EXPORTER}[each.institution],
            )
            for each in (*ours, *theirs)
        ]
        there = agree(seen, known * DAY, RULES)
        assert (here.states, rules_of(here), here.due) == (
            there.states,
            rules_of(there),
            there.due,
        )

    def test_the_order_in_which_halves_became_known_is_nothing(self) -> None:
        ours, theirs = [half(1, "A"), half(3, "B")], [half(2, "A", own=False)]
        orders = {
            agree([*order], 99 * DAY, RULES).conditions
            for order in permutations([*ours, *theirs])
            if order.index(ours[0]) < order.index(ours[1])
        }
        assert len(orders) == 1


class TestRules:
    def test_what_each_of_the_two_finds_is_in_the_rulebook_as_severe(self) -> None:
        assert set(RULEBOOK) >= OWN_RULES
        assert set(RULEBOOK) >= TRANSFER_RULES

    def test_what_is_found_is_in_the_rulebook(self) -> None:
        halves = [half(n) for n in range(MAX_HALVES + 1)]
        agreements = (
            said("A", "B"), said("A", "", known=99), agree(halves, 0, RULES),
            agree([half(1), half(2, by=STRANGER)], 0, RULES),
        )  # fmt: skip
        for agreement in agreements:
            for condition in agreement.conditions:
                assert condition.rule in RULEBOOK

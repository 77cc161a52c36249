"""
K11, K12, K14: yearly counters (CAC Provisions of 22 March 2024).

Article 5(4): fewer than 100,000 persons without sensitive data are exempt. Article 8: from 100,000
to fewer than 1,000,000, or sensitive data of fewer than 10,000, a contract or certificate. Article
7: from 1,000,000, or sensitive data from 10,000, a security assessment. "以上" includes the number.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.contracts import LAW, day

from ledgerd.projections.counters import Counter, Group
from ledgerd.rules.counting import (
    NEVER,
    judge_counter,
    judge_group,
    near_below,
    near_edge,
    needed_route,
    quiet_below,
    volume,
)
from ledgerd.rules.lapse import Lapse
from ledgerd_client.rulebook import RULES

PARAMETERS = LAW.at(day("2026-06-30"))
BEFORE_THE_PROVISIONS = LAW.at(day("2024-03-21"))
VOLUME, CONTRACT_EXEMPTION = 7, 4


def found(subjects: int, sensitive: int = 0) -> list[str]:
    lapses = judge_counter(Counter(all=(subjects, sensitive)), 2026, 31, PARAMETERS)
    return [lapse.rule.removeprefix("K11.") for lapse in lapses]


class TestCounter:
    @pytest.mark.parametrize(
        ("subjects", "rules"),
        [
            (79_999, []),
            (80_000, ["near_subjects_contract"]),
            (80_001, ["near_subjects_contract"]),
            (99_999, ["near_subjects_contract"]),
            (100_000, ["subjects_contract"]),
            (100_001, ["subjects_contract"]),
            (799_999, ["subjects_contract"]),
            (800_000, ["subjects_contract", "near_subjects_assessment"]),
            (999_999, ["subjects_contract", "near_subjects_assessment"]),
            (1_000_000, ["subjects_contract", "subjects_assessment"]),
        ],
    )
    def test_persons(self, subjects: int, rules: list[str]) -> None:
        assert found(subjects) == rules

    @pytest.mark.parametrize(
        ("sensitive", "rules"),
        [
            (0, []),
            (1, ["sensitive_contract"]),
            (7_999, ["sensitive_contract"]),
            (8_000, ["sensitive_contract", "near_sensitive_assessment"]),
            (9_999, ["sensitive_contract", "near_sensitive_assessment"]),
            (10_000, ["sensitive_contract", "sensitive_assessment"]),
        ],
    )
    def test_persons_with_sensitive_data(self, sensitive: int, rules: list[str]) -> None:
        assert found(0, sensitive) == rules

    def test_all_mechanisms_are_counted(self) -> None:
        counter = Counter(all=(100_000, 0), national=(0, 0))
        lapses = judge_counter(counter, 2026, 31, PARAMETERS)
        assert lapses == (Lapse("K11.subjects_contract", ((True, 31),), (100_000, 100_000, 2026)),)

    def test_before_the_provisions_there_was_no_edge(self) -> None:
        assert judge_counter(Counter(all=(10**7, 10**7)), 2026, 31, BEFORE_THE_PROVISIONS) == ()

    def test_the_numbers_are_those_that_the_rules_name(self) -> None:
        for counts in ((99_999, 9_999), (999_999, 10_000), (10**6, 10**6)):
            for lapse in judge_counter(Counter(all=counts), 2026, 31, PARAMETERS):
                assert len(lapse.numbers) == len(RULES[lapse.rule].numbers)


class TestRoute:
    @pytest.mark.parametrize(
        ("counts", "needed"),
        [
            ((0, 0), 0),
            ((99_999, 0), 0),
            ((100_000, 0), 1),
            ((999_999, 0), 1),
            ((1_000_000, 0), 2),
            ((0, 1), 1),
            ((0, 9_999), 1),
            ((0, 10_000), 2),
            ((100_000, 9_999), 1),
        ],
    )
    def test_what_the_counts_need(self, counts: tuple[int, int], needed: int) -> None:
        assert needed_route(counts, PARAMETERS) == needed

    def test_before_the_provisions_nothing(self) -> None:
        assert needed_route((10**7, 10**7), BEFORE_THE_PROVISIONS) == 0


class TestQuiet:
    @pytest.mark.parametrize(
        ("counts", "quiet"),
        [
            ((0, 0), (80_000, 1)),
            ((79_999, 1), (80_000, 8_000)),
            ((80_000, 8_000), (100_000, 10_000)),
            ((100_000, 10_000), (800_000, NEVER)),
            ((999_999, 9_999), (1_000_000, 10_000)),
            ((1_000_000, 10_000), (NEVER, NEVER)),
        ],
    )
    def test_the_next_mark(self, counts: tuple[int, int], quiet: tuple[int, int]) -> None:
        assert quiet_below(counts, PARAMETERS) == quiet

    @given(st.integers(0, 1_200_000), st.integers(0, 12_000), st.floats(0, 1))
    def test_below_it_nothing_changes(self, subjects: int, sensitive: int, share: float) -> None:
        quiet = quiet_below((subjects, sensitive), PARAMETERS)
        room = min(quiet[0], 2_000_000) - 1 - subjects
        later = subjects + int(share * room)
        assert (found(later, sensitive), needed_route((later, sensitive), PARAMETERS)) == (
            found(subjects, sensitive),
            needed_route((subjects, sensitive), PARAMETERS),
        )


class TestVolume:
    """K12: article 5(4) exempts by number, and never what is sensitive."""

    @pytest.mark.parametrize(
        ("national", "every", "sensitive", "rules"),
        [
            (99_999, 99_999, 0, ()),
            (100_000, 100_000, 0, ("K12.volume",)),
            (100_001, 100_001, 0, ("K12.volume",)),
            (0, 0, 1, ("K12.volume",)),
            # Only with what went under the GBA Standard Contract.
            (99_999, 100_000, 0, ("K12.volume_disputed",)),
            (99_999, 100_000, 1, ("K12.volume",)),
        ],
    )
    def test_edges(self, national: int, every: int, sensitive: int, rules: tuple[str, ...]) -> None:
        counter = Counter(all=(every, 0), national=(national, 0))
        assert volume(VOLUME, sensitive, counter, PARAMETERS) == rules

    def test_other_exemptions_are_not_by_number(self) -> None:
        counter = Counter(all=(10**6, 0), national=(10**6, 0))
        assert volume(CONTRACT_EXEMPTION, 5, counter, PARAMETERS) == ()

    def test_before_the_provisions_there_was_none(self) -> None:
        assert volume(VOLUME, 1, Counter(all=(10**6, 0)), BEFORE_THE_PROVISIONS) == ()


class TestSplit:
    """K14: "splitting volumes to dodge thresholds" (filing guide); 90 % and 3 are figures of ours."""

    @pytest.mark.parametrize(
        ("counts", "edges"),
        [
            ((89_999, 0), ()),
            ((90_000, 0), ("subjects_contract",)),
            ((99_999, 0), ("subjects_contract",)),
            ((100_000, 0), ()),
            ((900_000, 0), ("subjects_assessment",)),
            ((1_000_000, 0), ()),
            ((0, 8_999), ()),
            ((0, 9_000), ("sensitive_assessment",)),
            ((0, 10_000), ()),
            ((95_000, 9_500), ("subjects_contract", "sensitive_assessment")),
        ],
    )
    def test_just_below_an_edge(self, counts: tuple[int, int], edges: tuple[str, ...]) -> None:
        assert near_edge(counts, PARAMETERS) == edges

    @pytest.mark.parametrize(
        ("counts", "below"),
        [
            ((0, 0), (90_000, 9_000)),
            ((89_999, 8_999), (90_000, 9_000)),
            ((90_000, 9_000), (100_000, 10_000)),
            ((100_000, 10_000), (900_000, NEVER)),
            ((1_000_000, 0), (NEVER, 9_000)),
        ],
    )
    def test_it_changes_at_the_next_mark(
        self, counts: tuple[int, int], below: tuple[int, int]
    ) -> None:
        assert near_below(counts, PARAMETERS) == below

    @pytest.mark.parametrize(("contracts", "listed"), [(2, []), (3, [3]), (4, [4])])
    def test_from_three_contracts_on_it_is_listed(self, contracts: int, listed: list[int]) -> None:
        group = Group({"subjects_contract": {b"%d" % n: 40 + n for n in range(contracts)}})
        assert [lapse.numbers[0] for lapse in judge_group(group, 2026, PARAMETERS)] == listed

    def test_contracts_below_different_edges_are_no_pattern(self) -> None:
        group = Group(
            {"subjects_contract": {b"1": 1, b"2": 2}, "sensitive_assessment": {b"3": 3}},
        )
        assert judge_group(group, 2026, PARAMETERS) == ()

    def test_it_rests_on_the_records_that_brought_the_first_three_there(self) -> None:
        group = Group({"subjects_contract": {b"a": 50, b"b": 40, b"c": 60, b"d": 70}})
        assert judge_group(group, 2026, PARAMETERS) == (
            Lapse("K14.split", ((True, 40), (True, 50), (True, 60)), (4, 100_000, 2026)),
        )

    def test_it_is_for_review(self) -> None:
        assert RULES["K14.split"].review

    def test_before_the_provisions_there_is_none(self) -> None:
        group = Group({"subjects_contract": {b"a": 50}})
        assert judge_group(group, 2026, BEFORE_THE_PROVISIONS) == ()

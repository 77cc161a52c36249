"""
K4: "filing within 10 working days of the contract taking effect", by each party with its own
authority (GBA Standard Contract, regulation fact 1.8).

The contract takes effect on Friday 6 February 2026. Mainland: day 10 is 27 February (15 to 23 are
free, Saturday 14 is worked), day 11 Saturday 28, worked too. Hong Kong: day 10 is 25 February.
"""

from __future__ import annotations

import pytest
from builders import at
from rules.contracts import BANK_OF_HONG_KONG, BANK_OF_SHENZHEN, Stated, only

from ledgerd.rules.lapse import Lapse

LATER = "2026-06-30"


def filing(stated: Stated, now: str) -> list[str]:
    return only(stated.found(now), "K4.")


class TestPending:
    @pytest.mark.parametrize(
        ("now", "found"),
        [
            # Recorded a week before: said from the first µs of the day of effect.
            ("2026-02-05 23:59:59.999999", []),
            ("2026-02-06 00:00:00.000000", ["K4.pending"]),
            # The last µs of the tenth working day, and of the 24 hours for recording the filing.
            ("2026-02-27 23:59:59.999999", ["K4.pending"]),
            ("2026-02-28 23:59:59.999999", ["K4.pending"]),
            ("2026-03-01 00:00:00.000000", ["K4.overdue"]),
        ],
    )
    def test_the_mainland_party_has_until_27_february(self, now: str, found: list[str]) -> None:
        assert filing(Stated().state(recorded="2026-01-30"), now) == found

    @pytest.mark.parametrize(
        ("now", "found"),
        [
            ("2026-02-26 23:59:59.999999", ["K4.pending"]),
            ("2026-02-27 00:00:00.000000", ["K4.overdue"]),
        ],
    )
    def test_the_hong_kong_party_has_until_25_february(self, now: str, found: list[str]) -> None:
        assert filing(Stated(exporting=False).state(recorded="2026-01-30"), now) == found

    def test_it_names_the_date_and_that_it_is_exact(self) -> None:
        found = Stated().state(recorded="2026-01-30").judged("2026-02-10")
        assert found.lapses[0] == Lapse("K4.pending", ((True, 11),), (20260227, 0))

    @pytest.mark.parametrize(
        ("now", "due"),
        [
            ("2026-02-01", "2026-02-05 23:59:59.999999"),
            ("2026-02-10", "2026-02-28 23:59:59.999999"),
        ],
    )
    def test_it_is_looked_at_again_when_that_changes(self, now: str, due: str) -> None:
        assert Stated().state(recorded="2026-01-30").judged(now).due == at(due)

    def test_once_it_is_overdue_nothing_is_awaited_but_a_filing(self) -> None:
        assert Stated().state().judged(LATER).due == 0


class TestGrace:
    """Who states a contract, or files it, is given 24 hours to record the filing."""

    def test_a_filing_of_the_last_day_that_is_recorded_a_day_later_raises_nothing(self) -> None:
        stated = Stated().state(recorded="2026-01-30")
        before = filing(stated, "2026-02-28 23:59:59.999999")
        after = filing(stated.file("2026-02-27"), "2026-03-30")
        assert (before, after) == (["K4.pending"], [])

    @pytest.mark.parametrize(
        ("now", "found"),
        [
            ("2026-05-02 12:00:00.000000", []),
            ("2026-05-02 12:00:00.000001", ["K4.overdue"]),
        ],
    )
    def test_a_contract_recorded_long_after_its_effect(self, now: str, found: list[str]) -> None:
        assert filing(Stated().state(recorded="2026-05-01 12:00"), now) == found

    def test_a_contract_and_its_filing_in_one_call_raise_nothing(self) -> None:
        stated = Stated().state(recorded="2026-02-10 12:00").file("2026-02-09")
        assert filing(stated, "2026-02-10 12:00") == []


class TestFiled:
    @pytest.mark.parametrize(
        ("filed_on", "found"),
        [
            ("2026-02-26", []),
            ("2026-02-27", []),
            ("2026-02-28", ["K4.filed_late"]),
            ("2026-03-02", ["K4.filed_late"]),
        ],
    )
    def test_on_the_day_it_is_not_late(self, filed_on: str, found: list[str]) -> None:
        assert filing(Stated().state().file(filed_on), LATER) == found

    def test_late_names_both_records_and_both_dates(self) -> None:
        found = Stated().state().file("2026-02-28").judged(LATER)
        assert found.lapses[0] == Lapse(
            "K4.filed_late", ((True, 11), (True, 12)), (20260227, 20260228)
        )

    @pytest.mark.parametrize(
        ("result", "found"), [(2, []), (3, ["K4.overdue"]), (4, ["K4.overdue"])]
    )
    def test_a_filing_that_was_returned_or_withdrawn_is_none(
        self, result: int, found: list[str]
    ) -> None:
        assert filing(Stated().state().file("2026-02-20", result=result), LATER) == found

    def test_a_filing_returned_later_is_none_any_more(self) -> None:
        stated = Stated().state().file("2026-02-20").file("2026-02-24", result=3)
        assert filing(stated, LATER) == ["K4.overdue"]

    def test_nothing_filed_later_undoes_a_late_filing(self) -> None:
        stated = Stated().state().file("2026-03-02").file("2026-02-20", number="GD-7")
        assert filing(stated, LATER) == ["K4.filed_late"]

    def test_what_was_returned_in_time_and_filed_again_was_filed_in_time(self) -> None:
        stated = Stated().state().file("2026-02-20").file("2026-02-20", result=3)
        assert filing(stated.file("2026-03-05"), LATER) == []

    def test_a_filing_of_other_terms_is_told(self) -> None:
        stated = Stated().state()
        filed = Stated().state(planned_scale=9).file("2026-02-20").contract.filings
        stated.contract.filings.extend(filed)
        assert filing(stated, LATER) == ["K4.other_terms"]

    def test_of_too_many_the_one_that_was_late_is_kept(self) -> None:
        stated = Stated().state()
        for number in range(99):
            stated.file("2026-02-20", number=str(number), result=3)
        stated.file("2026-03-02", number="LATE")
        for number in range(99):
            stated.file("2026-02-20", number=f"MORE-{number}")
        assert (filing(stated, LATER), len(stated.contract.filings)) == (["K4.filed_late"], 100)


class TestRestated:
    """A filing stated again, with its number, is put right; that its date was moved is told."""

    def test_a_later_date_becomes_the_right_one(self) -> None:
        stated = Stated().state().file("2026-03-02").file("2026-02-20")
        assert stated.judged(LATER).lapses == (
            Lapse(
                "K4.restated",
                ((True, 11), (True, 13), (True, 12)),
                (20260227, 20260220, 20260302),
            ),
        )

    def test_a_right_date_becomes_a_later_one(self) -> None:
        stated = Stated().state().file("2026-02-20").file("2026-03-02")
        assert stated.judged(LATER).lapses[0] == Lapse(
            "K4.filed_late", ((True, 11), (True, 13)), (20260227, 20260302)
        )

    @pytest.mark.parametrize(
        ("days", "found"),
        [
            (("2026-02-20", "2026-02-24"), []),
            (("2026-03-02", "2026-03-05"), ["K4.filed_late"]),
            (("2026-03-02", "2026-02-20", "2026-02-24"), ["K4.restated"]),
        ],
    )
    def test_otherwise_its_newest_date_counts(
        self, days: tuple[str, ...], found: list[str]
    ) -> None:
        stated = Stated().state()
        for day in days:
            stated.file(day, number="GD-7")
        assert filing(stated, LATER) == found


class TestSupplement:
    """A supplement from 1 June 2026, a Monday: Mainland day 10 is Mon 15 June."""

    @pytest.mark.parametrize(
        ("now", "found"),
        [
            ("2026-06-01", ["K4.pending"]),
            ("2026-06-16 23:59:59.999999", ["K4.pending"]),
            ("2026-06-17", ["K4.overdue"]),
        ],
    )
    def test_it_is_filed_anew(self, now: str, found: list[str]) -> None:
        stated = Stated().state().file("2026-02-20")
        stated.state(recorded="2026-05-20", effective_on=20260601)
        assert filing(stated, now) == found

    def test_each_version_is_found_by_itself(self) -> None:
        stated = Stated().state().state(recorded="2026-05-20", effective_on=20260601)
        lapses = [lapse for lapse in stated.judged(LATER).lapses if lapse.rule == "K4.overdue"]
        assert [lapse.records for lapse in lapses] == [((True, 12),), ((True, 11),)]

    def test_a_filing_of_the_supplement_does_for_the_contract(self) -> None:
        stated = Stated().state().state(recorded="2026-05-20", effective_on=20260601)
        assert filing(stated.file("2026-06-02"), LATER) == []

    def test_a_filing_of_the_contract_does_not_for_the_supplement(self) -> None:
        stated = Stated().state().state(recorded="2026-05-20", effective_on=20260601)
        assert filing(stated.file("2026-02-20", version=0), LATER) == ["K4.overdue"]


class TestProvisional:
    """From 25 December 2026 ten working days reach into 2027, which the Mainland has not published."""

    @pytest.fixture
    def stated(self) -> Stated:
        return Stated().state(recorded="2026-12-20", effective_on=20261225)

    def test_it_is_pending_with_a_provisional_date(self, stated: Stated) -> None:
        # Weekends alone: Mon 28 to Thu 31 December, Fri 1, Mon 4 to Fri 8 January.
        found = stated.judged("2026-12-26")
        assert found.lapses[0] == Lapse("K4.pending", ((True, 11),), (20270108, 1))

    def test_it_never_becomes_overdue(self, stated: Stated) -> None:
        assert filing(stated, "2027-12-31") == ["K4.pending"]

    @pytest.mark.parametrize(
        ("now", "due"),
        [
            # Not before a day on which it could be due: ten days on, if all were worked.
            ("2026-12-26", "2027-01-04 23:59:59.999999"),
            ("2027-03-01 10:00", "2027-03-01 23:59:59.999999"),
        ],
    )
    def test_it_is_looked_at_once_a_day(self, stated: Stated, now: str, due: str) -> None:
        assert stated.judged(now).due == at(due)

    def test_no_filing_is_late_by_a_calendar_that_is_not_there(self, stated: Stated) -> None:
        assert filing(stated.file("2027-02-01"), "2027-06-01") == []

    def test_a_filing_that_may_be_late_is_looked_at_again(self, stated: Stated) -> None:
        due = stated.file("2027-02-01").judged("2027-06-01").due
        assert due == at("2027-06-01 23:59:59.999999")

    def test_a_filing_that_can_not_be_late_is_not(self, stated: Stated) -> None:
        assert stated.file("2027-01-04").judged("2027-06-01").due == 0

    def test_hong_kong_has_published_2027(self) -> None:
        # 28 to 31 December, 4 to 8 and 11 January.
        stated = Stated(exporting=False).state(recorded="2026-12-20", effective_on=20261225)
        assert filing(stated, "2027-01-12 23:59:59.999999") == ["K4.pending"]
        assert filing(stated, "2027-01-13") == ["K4.overdue"]


class TestWhoFiles:
    @pytest.mark.parametrize(
        ("mechanism", "mainland", "hong_kong"),
        [
            (1, ["K4.overdue"], ["K4.overdue"]),
            # National standard contract: the Mainland party alone.
            (4, ["K4.overdue"], []),
            (2, [], []),
            (3, [], []),
            (9, [], []),
        ],
    )
    def test_by_mechanism_and_side(
        self, mechanism: int, mainland: list[str], hong_kong: list[str]
    ) -> None:
        stated = Stated().state(mechanism=mechanism)
        found = [
            only(stated.found(LATER, party), "K4.")
            for party in (BANK_OF_SHENZHEN, BANK_OF_HONG_KONG)
        ]
        assert found == [mainland, hong_kong]

    def test_a_contract_from_before_the_duty_is_not_filed(self) -> None:
        assert filing(Stated().state(effective_on=20231209), LATER) == []

    @pytest.mark.parametrize(
        ("terminated_on", "found"), [("2026-02-05", []), ("2026-02-06", ["K4.overdue"])]
    )
    def test_a_contract_that_ended_before_its_effect_is_not_filed(
        self, terminated_on: str, found: list[str]
    ) -> None:
        stated = (
            Stated().state().end(terminated_on, recorded="2026-02-06", notified_on="2026-02-06")
        )
        assert filing(stated, LATER) == found

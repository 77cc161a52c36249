"""
K23: "valid 3 years; extension request within 60 working days before expiry" (Provisions 9).

Authorised on 22 March 2024, so good until Monday 22 March 2027. In 2027, whose calendar is not
published, weekends alone are free: 16 working days in March up to the 22nd, 20 in February, 21 in
January; with 29, 30 and 31 December that makes 60. So on 28 December 60 are left, on the 29th 59.
"""

from __future__ import annotations

import pytest
from builders import at
from rules.contracts import BANK_OF_SHENZHEN, GRACE, LAW, Stated, only

from ledgerd.rules.contract import judge_contract
from ledgerd.rules.lapse import Lapse
from ledgerd_client._proto import body_pb2 as pb


def assessed(authorised_on: int = 20240322, *, mechanism: int = 3, **changes: object) -> Stated:
    side = pb.ContractSide(authorised_on=authorised_on, authorised_scale=10**6)
    return Stated().state(mechanism=mechanism, side=side, **changes)


class TestExpired:
    @pytest.mark.parametrize(
        ("authorised_on", "now", "found"),
        [
            # And a day in which its renewal may reach the log.
            (20240322, "2027-03-23 23:59:59.999999", ["K23.expiring"]),
            (20240322, "2027-03-24 00:00:00.000000", ["K23.expired"]),
            # 29 February comes again as 1 March, that day included.
            (20240401, "2027-04-02 23:59:59.999999", ["K23.expiring"]),
            (20240401, "2027-04-03 00:00:00.000000", ["K23.expired"]),
        ],
    )
    def test_its_last_day_is_still_good(
        self, authorised_on: int, now: str, found: list[str]
    ) -> None:
        assert only(assessed(authorised_on).found(now), "K23.") == found

    def test_29_february_2028_is_good_until_1_march_2031(self) -> None:
        stated = assessed(20280229)
        found = [
            only(stated.found(now), "K23.") for now in ("2031-03-02 23:59:59.999999", "2031-03-03")
        ]
        assert found == [["K23.expiring"], ["K23.expired"]]

    def test_it_names_the_date(self) -> None:
        lapses = assessed().judged("2027-09-01").lapses
        assert lapses == (Lapse("K23.expired", ((True, 11),), (20270322,)),)

    @pytest.mark.parametrize(
        ("mechanism", "found"),
        [(2, ["K23.expired"]), (3, ["K23.expired"]), (5, ["K23.expired"]), (1, []), (4, [])],
    )
    def test_of_assessments_and_certificates(self, mechanism: int, found: list[str]) -> None:
        stated = assessed(mechanism=mechanism)
        assert only(stated.found("2027-09-01"), "K23.") == found

    def test_what_was_given_before_the_provisions_is_good_for_as_long(self) -> None:
        # 15 September 2026: 5 working days of June from the 24th on, 23, 21 and 11 are 60.
        times = ("2026-06-23", "2026-06-24", "2026-09-16", "2026-09-17")
        found = [assessed(20230915).found(now) for now in times]
        assert found == [[], ["K23.expiring"], ["K23.expiring"], ["K23.expired"]]

    def test_what_was_stated_before_the_provisions_is_not_judged(self) -> None:
        assert assessed(recorded="2024-03-21").found("2028-01-01") == []

    def test_without_a_date_nothing_is_said(self) -> None:
        assert assessed(0).found("2028-01-01") == []


class TestExpiring:
    @pytest.mark.parametrize(
        ("now", "found"),
        [
            ("2026-12-28 23:59:59.999999", []),
            ("2026-12-29 00:00:00.000000", ["K23.expiring"]),
            ("2027-03-22 23:59:59.999999", ["K23.expiring"]),
        ],
    )
    def test_fewer_than_60_working_days_are_left(self, now: str, found: list[str]) -> None:
        assert assessed().found(now) == found

    def test_it_says_how_many(self) -> None:
        lapses = assessed().judged("2026-12-29").lapses
        assert lapses == (Lapse("K23.expiring", ((True, 11),), (20270322, 59)),)

    @pytest.mark.parametrize(
        ("now", "due"),
        [
            ("2026-12-28 10:00", "2026-12-28 23:59:59.999999"),
            ("2026-12-29 10:00", "2027-03-23 23:59:59.999999"),
        ],
    )
    def test_it_is_looked_at_again_when_that_changes(self, now: str, due: str) -> None:
        assert assessed().judged(now).due == at(due)

    def test_looking_again_when_asked_to_meets_the_first_day(self) -> None:
        stated, now = assessed(), at("2024-06-01")
        looks = 0
        while not (judged := judge_contract(
            stated.contract, stated.usage, BANK_OF_SHENZHEN, now, GRACE, LAW
        )).lapses:  # fmt: skip
            now, looks = judged.due + 1, looks + 1
        assert (now, looks < 20) == (at("2026-12-29"), True)


class TestEnded:
    @pytest.mark.parametrize(
        ("now", "found"),
        [("2027-05-31 23:59:59.999999", ["K23.expired"]), ("2027-06-01", [])],
    )
    def test_nothing_is_said_after_the_contracts_last_day(self, now: str, found: list[str]) -> None:
        assert assessed(expires_on=20270531).found(now) == found

    def test_what_stands_is_looked_at_when_it_ends(self) -> None:
        due = assessed(expires_on=20270531).judged("2027-04-01").due
        assert due == at("2027-05-31 23:59:59.999999")

    def test_a_termination_is_an_end(self) -> None:
        stated = assessed().end("2027-04-30", recorded="2027-04-30", notified_on="2027-04-30")
        assert [stated.found(now) for now in ("2027-04-30", "2027-05-01")] == [["K23.expired"], []]

    def test_the_earlier_end_counts(self) -> None:
        stated = assessed(expires_on=20270531)
        stated.end("2027-04-30", recorded="2027-04-30", notified_on="2027-04-30")
        assert stated.found("2027-05-01") == []

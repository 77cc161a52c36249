"""Days, dates and years of UTC+8. Expected values are written by hand or come from `datetime`."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from builders import at
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core import days

EPOCH = date(1970, 1, 1)


class TestDay:
    @pytest.mark.parametrize(
        ("us", "day"),
        [
            # 1970-01-01 00:00 UTC is 08:00 in UTC+8.
            (0, 0),
            (16 * 3_600_000_000 - 1, 0),
            (16 * 3_600_000_000, 1),
            (-8 * 3_600_000_000, 0),
            (-8 * 3_600_000_000 - 1, -1),
        ],
    )
    def test_a_day_ends_at_midnight_of_utc_plus_8(self, us: int, day: int) -> None:
        assert days.day_of(us) == day

    def test_the_last_us_of_a_day_is_the_one_before_the_next_days_first(self) -> None:
        assert days.end_of(20_000) + 1 == days.start_of(20_001)

    @given(st.integers(-(10**6), 10**7))
    def test_the_bounds_of_a_day_lie_in_it(self, day: int) -> None:
        assert (days.day_of(days.start_of(day)), days.day_of(days.end_of(day))) == (day, day)


class TestYear:
    @pytest.mark.parametrize(
        ("time", "year"),
        [
            ("2026-12-31 23:59:59.999999", 2026),
            ("2027-01-01 00:00:00.000000", 2027),
        ],
    )
    def test_the_year_turns_at_midnight_of_utc_plus_8(self, time: str, year: int) -> None:
        assert days.year_of(at(time)) == year


class TestDate:
    @given(st.dates())
    def test_dates_are_those_of_the_calendar(self, there: date) -> None:
        number = there.year * 10_000 + there.month * 100 + there.day
        day = (there - EPOCH).days
        assert (days.from_date(number), days.to_date(day)) == (day, number)

    @given(st.dates(min_value=date(1900, 1, 1)))
    def test_saturday_and_sunday_are_the_weekend(self, there: date) -> None:
        assert days.is_weekend((there - EPOCH).days) == (there.isoweekday() in {6, 7})

    def test_the_day_after_the_last_date_of_datetime_has_a_date(self) -> None:
        last = days.from_date(99991231)
        assert days.to_date(last + 1) == 10000_01_01


class TestYears:
    @pytest.mark.parametrize(
        ("date", "years", "expected"),
        [
            (20260206, 3, 20290206),
            (20240229, 3, 20270301),
            (20240229, 4, 20280229),
            (20251231, 1, 20261231),
            (99991231, 3, 100021231),
        ],
    )
    def test_a_date_comes_again_and_29_february_becomes_1_march(
        self, date: int, years: int, expected: int
    ) -> None:
        day = days.add_years(days.from_date(date), years)
        assert days.to_date(day) == expected


def test_a_helper_of_these_tests_reads_times_of_utc_plus_8() -> None:
    assert at("1970-01-01 08:00") == 0
    assert timedelta(microseconds=at("1970-01-02")) == timedelta(hours=16)

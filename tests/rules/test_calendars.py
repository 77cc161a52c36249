"""
Working days of both sides, counted by hand on the published calendars of 2026.

Mainland: Spring Festival 15 to 23 February 2026 is free; Saturdays 14 and 28 February are worked
(State Council notice for 2026). Hong Kong: 17 to 19 February (Cap. 149).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.contracts import LAW, day

from ledgerd.rules.calendars import Calendar
from ledgerd_client.core.days import to_date


class TestAfter:
    @pytest.mark.parametrize(
        ("side", "start", "count", "expected"),
        [
            # 6 February 2026 is a Friday. CN: 9 to 13, Sat 14, 24 to 27: ten; day 11 is Sat 28.
            ("CN", "2026-02-06", 1, 20260209),
            ("CN", "2026-02-06", 5, 20260213),
            ("CN", "2026-02-06", 6, 20260214),
            ("CN", "2026-02-06", 7, 20260224),
            ("CN", "2026-02-06", 10, 20260227),
            ("CN", "2026-02-06", 11, 20260228),
            # HK: 9 to 13, 16, 20, 23, 24, 25.
            ("HK", "2026-02-06", 6, 20260216),
            ("HK", "2026-02-06", 7, 20260220),
            ("HK", "2026-02-06", 10, 20260225),
            # National Day 2026: 1 to 7 October; Sunday 20 September and Saturday 10 October worked.
            ("CN", "2026-09-30", 1, 20261008),
            ("CN", "2026-09-30", 3, 20261010),
            ("CN", "2026-09-18", 1, 20260920),
            # A start on a day off: the count begins with the next working day.
            ("CN", "2026-02-15", 1, 20260224),
            # Easter 2026 in Hong Kong: 3, 6 and 7 April.
            ("HK", "2026-04-02", 1, 20260408),
        ],
    )
    def test_the_nth_working_day(self, side: str, start: str, count: int, expected: int) -> None:
        due = LAW.calendars[side].after(day(start), count)
        assert (to_date(due.day), due.provisional) == (expected, False)

    def test_a_year_without_a_calendar_counts_weekends_alone_and_is_provisional(self) -> None:
        # 30 December 2026 is a Wednesday: Thu 31, then Fri 1 January 2027, a holiday nobody published.
        due = LAW.calendars["CN"].after(day("2026-12-30"), 2)
        assert (to_date(due.day), due.provisional) == (20270101, True)

    def test_a_count_that_ends_before_the_unpublished_year_is_exact(self) -> None:
        due = LAW.calendars["CN"].after(day("2026-12-30"), 1)
        assert (to_date(due.day), due.provisional) == (20261231, False)

    def test_hong_kong_has_published_2027(self) -> None:
        due = LAW.calendars["HK"].after(day("2026-12-30"), 2)
        assert (to_date(due.day), due.provisional) == (20270104, False)


class TestBetween:
    @pytest.mark.parametrize(
        ("start", "until", "expected"),
        [
            ("2026-02-06", "2026-02-06", 0),
            ("2026-02-06", "2026-02-08", 0),
            ("2026-02-06", "2026-02-09", 1),
            ("2026-02-06", "2026-02-27", 10),
            ("2026-02-06", "2026-02-28", 11),
            # Saturday 14 is worked, Monday 16 is free.
            ("2026-02-13", "2026-02-16", 1),
            ("2026-02-14", "2026-02-16", 0),
            ("2026-02-27", "2026-02-06", 0),
        ],
    )
    def test_working_days_after_the_first_day_up_to_the_last(
        self, start: str, until: str, expected: int
    ) -> None:
        found = LAW.calendars["CN"].between(day(start), day(until))
        assert found == (expected, False)

    @pytest.mark.parametrize(
        ("start", "until", "provisional"),
        [
            ("2023-12-30", "2024-01-05", True),
            ("2023-12-31", "2024-01-05", False),
            ("2026-12-01", "2026-12-31", False),
            ("2026-12-01", "2027-01-01", True),
        ],
    )
    def test_it_is_provisional_when_a_year_is_missing(
        self, start: str, until: str, provisional: bool
    ) -> None:
        found = LAW.calendars["CN"].between(day(start), day(until))
        assert found.provisional == provisional

    def test_centuries_are_counted_at_once(self) -> None:
        # 146,097 days of 400 years are 20,871 weeks.
        assert Calendar({}).between(0, 146_097) == (20_871 * 5, True)

    @given(st.integers(0, 800), st.integers(1, 60))
    def test_up_to_the_nth_working_day_there_are_n(self, start: int, count: int) -> None:
        calendar = LAW.calendars["CN"]
        first = day("2024-01-01") + start
        due = calendar.after(first, count)
        assert calendar.between(first, due.day).day == count

"""
Days of UTC+8, the time of both sides: what the law calls a day, a year and a date.

A day is the number of days since 1970-01-01; a date is its yyyymmdd. Any integer works: a date that
a record states may lie centuries ahead, where `datetime` ends.
"""

from __future__ import annotations

from typing import Final

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
_UTC_8: Final = 8 * HOUR_US

# The calendar repeats every 400 years; counted from 1 March, a leap day ends its year.
_ERA: Final = 146_097
_TO_EPOCH: Final = 719_468


def day_of(us: int) -> int:
    """The day in which this µs since the epoch (UTC) lies."""
    return (us + _UTC_8) // DAY_US


def start_of(day: int) -> int:
    """The first µs of a day."""
    return day * DAY_US - _UTC_8


def end_of(day: int) -> int:
    """The last µs of a day."""
    return start_of(day + 1) - 1


def year_of(us: int) -> int:
    """The year of UTC+8 in which this µs lies: the one that yearly counters count."""
    return to_date(day_of(us)) // 10_000


def from_date(yyyymmdd: int) -> int:
    """The day of a date; admission has checked that there is such a date."""
    year, month, day = yyyymmdd // 10_000, yyyymmdd // 100 % 100, yyyymmdd % 100
    years = year - (month <= 2)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return years * 365 + years // 4 - years // 100 + years // 400 + of_year - _TO_EPOCH


def to_date(day: int) -> int:
    era, of_era = divmod(day + _TO_EPOCH, _ERA)
    years = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    month = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return (era * 400 + years + (month <= 2)) * 10_000 + month * 100 + day_of_month


def add_years(day: int, years: int) -> int:
    """The same date so many years on; 29 February becomes 1 March where there is none."""
    return from_date(to_date(day) + years * 10_000)


def is_weekend(day: int) -> bool:
    # 1970-01-01 was a Thursday.
    return (day + 3) % 7 >= 5

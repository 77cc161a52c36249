"""
Working days, as each government publishes them.

A working day is a day from Monday to Friday that is no holiday, or a weekend day that was made one.
Nobody publishes for ever: in a year without a calendar weekends alone are counted, and the result
is provisional, so that nobody is accused by a calendar that does not exist yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ledgerd_client.core.days import is_weekend, to_date


class Due(NamedTuple):
    """A day, or a number of them; provisional: a year without a calendar had a part in it."""

    day: int
    provisional: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """Of one side. years: year → its holidays, and its weekend days that are working days."""

    years: Mapping[int, tuple[frozenset[int], frozenset[int]]]

    def after(self, day: int, count: int) -> Due:
        """The count-th working day after day; count is 1 or more."""
        provisional = False
        while count:
            day += 1
            provisional |= to_date(day) // 10_000 not in self.years
            count -= self._is_working(day)
        return Due(day, provisional)

    def between(self, day: int, until: int) -> Due:
        """The number of working days in (day, until], as Due.day; 0 when until is not after day."""
        if until <= day:
            return Due(0, provisional=False)
        days = until - day
        # Of seven days in a row two are a weekend, whichever they are.
        working = days // 7 * 5 + sum(not is_weekend(until - n) for n in range(days % 7))
        for holidays, workdays in self.years.values():
            working += sum(day < made <= until for made in workdays)
            working -= sum(day < free <= until for free in holidays)
        first, last = to_date(day + 1) // 10_000, to_date(until) // 10_000
        return Due(working, not all(year in self.years for year in range(first, last + 1)))

    def _is_working(self, day: int) -> bool:
        holidays, workdays = self.years.get(to_date(day) // 10_000, (frozenset(), frozenset()))
        return day in workdays or not (is_weekend(day) or day in holidays)

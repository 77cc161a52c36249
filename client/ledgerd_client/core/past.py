"""
Times in a record of what has happened: none lies after the record, and no effect before its cause.

`occurred_at`, which the author signs, is the measure, so that a record is refused for it wherever
and whenever it is read.
"""

from __future__ import annotations

from typing import Final

from ledgerd_client.core.days import from_date, start_of
from ledgerd_client.core.errors import FieldError

# How far one clock may be ahead of another, µs.
CLOCK_AHEAD: Final = 5 * 60 * 1_000_000


def check_past(field: str, at: int, occurred_at: int) -> None:
    """Refuse a time of what has not happened yet; 0: not stated. Raises FieldError NOT_YET."""
    if at > occurred_at + CLOCK_AHEAD:
        raise FieldError(
            f"{field} lies after the record's occurred_at",
            reason="NOT_YET",
            action="state what has happened, once it has; or mend the time",
        )


def check_past_date(field: str, yyyymmdd: int, occurred_at: int) -> None:
    """As check_past, of a day of UTC+8; 0: not stated."""
    if yyyymmdd:
        check_past(field, start_of(from_date(yyyymmdd)), occurred_at)


def check_order(field: str, at: int, cause: str, since: int) -> None:
    """Refuse a time (or date) before that of its cause; 0: not stated. Raises FieldError."""
    if at and at < since:
        raise FieldError(
            f"{field} lies before {cause}", action="mend the one that is wrong, and state it anew"
        )

"""K16: what was received is disposed of by the day that the terms name (PIPL 19, 47)."""

from __future__ import annotations

from ledgerd.projections.obligations import Obligation
from ledgerd.rules.lapse import Grace, Judgement, Lapse, own
from ledgerd_client.core.days import end_of, to_date


def judge_obligation(row: Obligation, day: int, now: int, grace: Grace) -> Judgement:
    """
    Judge what a recipient still holds of one contract and one day of delete_by.

    day: the last on which it may be held; 0: none was stated. now: µs, of the newest TICK.
    """
    if not (row.transfers and day):
        return Judgement()
    due = grace.ends(end_of(day), row.recorded_at)
    if now <= due:
        return Judgement(due=due)
    numbers = (to_date(day), row.transfers, row.subjects)
    return Judgement((Lapse("K16.overdue", (own(row.first),), numbers),))


def disposed_late(row: Obligation, day: int, done_at: int, grace: Grace) -> bool:
    """
    Whether it was disposed of (µs) after the last day on which it may be held; 0: none was stated.

    What was acknowledged after that day is given the grace of what meets a deadline.
    """
    last = end_of(day)
    return bool(day) and done_at > (
        last if row.recorded_at <= last else grace.ends(last, row.recorded_at)
    )

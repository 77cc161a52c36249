"""K16: what was received is disposed of by the day that the terms name (PIPL 19, 47)."""

from __future__ import annotations

from ledgerd.projections.obligations import Obligation
from ledgerd.rules.lapse import Judgement, Lapse, accused_after, own
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import end_of, to_date


def judge_obligation(row: Obligation, day: int, now: int, rules: pb.RuleSet) -> Judgement:
    """
    Judge what a recipient still holds of one contract and one day of delete_by.

    day: the last on which it may be held; 0: none was stated. now: µs, of the newest TICK.
    """
    if not (row.transfers and day):
        return Judgement()
    due = accused_after(end_of(day), row.recorded_at, rules)
    if now <= due:
        return Judgement(due=due)
    numbers = (to_date(day), row.transfers, row.subjects)
    return Judgement((Lapse("K16.overdue", (own(row.first),), numbers),))

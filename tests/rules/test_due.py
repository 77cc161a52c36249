"""
A judgement says when to look again, and nothing changes before that: whoever looks only then, as a
node does at its TICKs, finds the same as who looks all the time.
"""

from __future__ import annotations

from collections.abc import Callable

from builders import at
from hypothesis import given, settings
from hypothesis import strategies as st
from rules.contracts import (
    BANK_OF_HONG_KONG,
    BANK_OF_SHENZHEN,
    GRACE,
    HOURS,
    LAW,
    Stated,
    day,
    rules_of,
)

from ledgerd.projections.contracts import Ended
from ledgerd.projections.matters import Matter
from ledgerd.projections.obligations import Obligation
from ledgerd.rules.contract import judge_contract
from ledgerd.rules.disposal import judge_obligation
from ledgerd.rules.lapse import Judgement
from ledgerd.rules.matters import judge_matter
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import to_date

FIRST, LAST = day("2024-03-01"), day("2028-12-31")
dates = st.integers(FIRST, LAST).map(to_date)
days = st.integers(FIRST, LAST)
times = st.integers(at("2024-01-01"), at("2029-12-31"))
parties = st.sampled_from((BANK_OF_SHENZHEN, BANK_OF_HONG_KONG))


def assert_honest(judge: Callable[[int], Judgement], now: int, later: int) -> None:
    """At any time after now and up to its due, the same lapses hold."""
    judged = judge(now)
    assert not judged.due or judged.due >= now
    until = min(later, judged.due) if judged.due else later
    assert rules_of(judge(max(now, until))) == rules_of(judged)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from((1, 2, 3, 4)), dates, dates, st.none() | days, times, st.integers(0, 3),
    parties, times, st.integers(0, 1000 * 24 * HOURS),
)  # fmt: skip
def test_of_a_contract(
    mechanism: int, effective_on: int, authorised_on: int, ended: int | None,
    recorded_at: int, held: int, party: object, now: int, more: int,
) -> None:  # fmt: skip
    stated = Stated(exporting=party is BANK_OF_SHENZHEN)
    side = pb.ContractSide(authorised_on=authorised_on)
    stated.state(mechanism=mechanism, side=side, effective_on=effective_on)
    version = stated.contract.versions[0]
    stated.contract.versions = [version._replace(recorded_at=recorded_at)]
    stated.usage.held = held
    if ended is not None:
        stated.contract.ended = Ended(stated.next(), recorded_at, ended, 0)

    def judge(time: int) -> Judgement:
        return judge_contract(stated.contract, stated.usage, party, time, GRACE, LAW)

    assert_honest(judge, now, now + more)


@settings(deadline=None)
@given(
    st.sampled_from(("incident", "gov_access")), times, st.integers(1, 4), st.booleans(), parties,
    times, st.integers(0, 100 * 24 * HOURS),
)  # fmt: skip
def test_of_a_matter(
    record: str, since: int, grade: int, flag: bool, party: object, now: int, more: int
) -> None:  # fmt: skip
    incident = pb.Incident(discovered_at=since, grade=grade, ciio=flag)
    access = pb.GovAccess(received_at=since, disclosed=flag)
    body = incident if record == "incident" else access
    matter = Matter(record, 31, body.SerializeToString())
    assert_honest(lambda time: judge_matter(matter, None, party, time, GRACE, LAW), now, now + more)


@given(days, times, times, st.integers(0, 1000 * 24 * HOURS))
def test_of_a_day_of_disposal(until: int, recorded_at: int, now: int, more: int) -> None:
    row = Obligation(31, recorded_at, 2, 40, 0)
    assert_honest(lambda time: judge_obligation(row, until, time, GRACE), now, now + more)

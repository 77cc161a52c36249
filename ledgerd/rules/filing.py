"""
K4: each party files the contract with its own authority within 10 working days of its effect.

GBA Standard Contract, filing (announcement 2023 No. 3; Guangdong CAC or DPO); for the national
standard contract the Mainland party alone. Each version is judged by itself: a supplement is filed
anew, and the filing of a later version does for those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from ledgerd.projections.contracts import Contract, Filed, Terms, Version
from ledgerd.rules.days import day_of, end_of, to_date
from ledgerd.rules.lapse import Judgement, Lapse, Party, merged, own
from ledgerd.rules.law import Law
from ledgerd_client._proto import body_pb2 as pb

# Each party's own authority (1.8): the CAC in Guangdong, or the CAC itself; Hong Kong's DPO.
FILED_WITH: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {"CN": frozenset((1, 5)), "HK": frozenset((2,))}
)

_GBA_SC, _CN_SC = 1, 4
# Results of a filing that was handed in and not returned or withdrawn.
_WELL = frozenset((1, 2))


class _Deadline(NamedTuple):
    """The last day for filing; while no calendar says so, the first day on which it may be."""

    day: int
    provisional: bool
    earliest: int


def judge_filing(
    contract: Contract, party: Party, now: int, rules: pb.RuleSet, law: Law
) -> Judgement:
    """Judge one party's filings of a contract. now: µs, the time of the newest TICK."""
    return merged(_by_version(contract, party, now, rules.record_within, law))


def _by_version(
    contract: Contract, party: Party, now: int, grace: int, law: Law
) -> Iterator[Judgement]:
    filings = sorted(contract.filings)
    newest = {filed.digest: filed for filed in filings}
    filed = False
    for version, terms in reversed([*zip(contract.versions, contract.terms(), strict=True)]):
        filed |= version.digest in newest and newest[version.digest].result in _WELL
        deadline = _deadline(terms, contract, party, law)
        if deadline is None:
            continue
        yield _late(version, filings, deadline, now)
        if not filed:
            yield _missing(version, terms, deadline, now, grace)


def _deadline(terms: Terms, contract: Contract, party: Party, law: Law) -> _Deadline | None:
    start = day_of(terms.starts_at)
    if contract.ended is not None and contract.ended.day < start:
        # It never took effect.
        return None
    parameters = law.at(start)
    days = 0
    if terms.mechanism == _GBA_SC:
        days = parameters.filing_days
    elif terms.mechanism == _CN_SC and party.side == "CN":
        days = parameters.national_filing_days
    return _Deadline(*law.calendars[party.side].after(start, days), start + days) if days else None


def _late(version: Version, filings: Sequence[Filed], deadline: _Deadline, now: int) -> Judgement:
    """By the first filing that was well: nothing that is filed later undoes it."""
    well = (each for each in filings if each.digest == version.digest and each.result in _WELL)
    first = next(well, None)
    if first is None or first.filed_on <= deadline.earliest:
        return Judgement()
    if deadline.provisional:
        return Judgement(due=end_of(max(day_of(now), deadline.earliest)))
    if first.filed_on <= deadline.day:
        return Judgement()
    numbers = (to_date(deadline.day), to_date(first.filed_on))
    records = (own(version.position), own(first.position))
    return Judgement((Lapse("K4.filed_late", records, numbers),))


def _missing(
    version: Version, terms: Terms, deadline: _Deadline, now: int, grace: int
) -> Judgement:
    """Nothing is said of a contract whose filing may follow in the same call, or soon after."""
    said_by = version.recorded_at + grace
    pending_after = max(terms.starts_at - 1, said_by)
    overdue_after = max(end_of(deadline.day), said_by)
    records, date = (own(version.position),), to_date(deadline.day)
    if not deadline.provisional and now > overdue_after:
        return Judgement((Lapse("K4.overdue", records, (date,)),))
    if now <= pending_after:
        return Judgement(due=min(pending_after, overdue_after))
    due = overdue_after
    if deadline.provisional:
        # Once a day, until a law with the calendar is in force.
        due = end_of(max(day_of(now), deadline.earliest))
    pending = Lapse("K4.pending", records, (date, int(deadline.provisional)))
    return Judgement((pending,), due)

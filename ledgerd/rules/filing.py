"""
K4: each party files the contract with its own authority within 10 working days of its effect.

GBA Standard Contract, filing (announcement 2023 No. 3; Guangdong CAC or DPO); for the national
standard contract the Mainland party alone. Each version is judged by itself: a supplement is filed
anew, and the filing of a later version does for those before it. Filings belong to a version by its
number: whoever states a version in other words has not filed it less, or later, than before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from ledgerd.projections.contracts import Contract, Filed, Version
from ledgerd.projections.terms import Terms
from ledgerd.rules.lapse import Grace, Judgement, Lapse, Party, merged, own
from ledgerd.rules.law import Law
from ledgerd.rules.mechanisms import CN_SC, GBA_SC
from ledgerd_client.core.days import day_of, end_of, to_date

# Each party's own authority (1.8): the CAC in Guangdong, or the CAC itself; Hong Kong's DPO.
AUTHORITIES: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {"CN": frozenset((1, 5)), "HK": frozenset((2,))}
)

# Results of a filing that was handed in and not returned or withdrawn.
_WELL = frozenset((1, 2))


class _Deadline(NamedTuple):
    """The last day for filing; while no calendar says so, the first day on which it may be."""

    day: int
    provisional: bool
    earliest: int


def take_filing(filings: list[Filed], stated: Filed, position: int, most: int) -> None:
    """
    Enter what a FILING states, in the log order of each filing's first statement.

    A statement with the number of an earlier one restates that, unless it was returned or withdrawn
    and the day is another: then it was filed once more. Of too many the last one goes by which no
    version is judged; so they are most, and one more for each version.
    """
    if stated.result in _WELL:
        said = stated.filed_on, position
        stated = stated._replace(well=said, latest=said)
    for place, each in reversed([*enumerate(filings)]):
        if (each.version, each.number) == (stated.version, stated.number):
            if each.result in _WELL or each.filed_on == stated.filed_on:
                well = stated.well if stated.well[1] else each.well
                latest = max(each.latest, stated.latest)
                filings[place] = stated._replace(well=well, latest=latest)
                return
            break
    if len(filings) >= most and (spare := _spare(filings)):
        del filings[spare[-1]]
    filings.append(stated)


def _spare(filings: Sequence[Filed]) -> list[int]:
    """Places of filings that were not the first of their version that was well."""
    well = [(each.version, place) for place, each in enumerate(filings) if each.well[1]]
    judged = dict(reversed(well)).values()
    return [place for place in range(len(filings)) if place not in judged]


def judge_filing(contract: Contract, party: Party, now: int, grace: Grace, law: Law) -> Judgement:
    """Judge one party's filings of a contract. now: µs, the time of the newest TICK."""
    return merged(_by_version(contract, party, now, grace, law))


def _by_version(
    contract: Contract, party: Party, now: int, grace: Grace, law: Law
) -> Iterator[Judgement]:
    filed = False
    for version, terms in reversed([*zip(contract.versions, contract.terms(), strict=True)]):
        acts = [each for each in contract.filings if each.version == terms.version]
        standing = [each for each in acts if each.result in _WELL]
        deadline = _deadline(terms, contract, party, law)
        if deadline is not None:
            yield _late(version, acts, deadline, now)
            if standing and not filed and standing[-1].digest != version.digest:
                records = own(version.position), own(standing[-1].well[1])
                yield Judgement((Lapse("K4.other_terms", records),))
        filed |= bool(standing)
        if deadline is not None and not filed:
            yield _missing(version, terms, deadline, now, grace)


def _deadline(terms: Terms, contract: Contract, party: Party, law: Law) -> _Deadline | None:
    start = day_of(terms.starts_at)
    if contract.ended is not None and contract.ended.day < start:
        # It never took effect.
        return None
    parameters = law.at(start)
    days = 0
    if terms.mechanism == GBA_SC:
        days = parameters.filing_days
    elif terms.mechanism == CN_SC and party.side == "CN":
        days = parameters.national_filing_days
    return _Deadline(*law.calendars[party.side].after(start, days), start + days) if days else None


def _late(version: Version, acts: Sequence[Filed], deadline: _Deadline, now: int) -> Judgement:
    """By the first filing that was well: another filing later doesn't undo it."""
    act = next((each for each in acts if each.well[1]), None)
    if act is None or act.latest[0] <= deadline.earliest:
        return Judgement()
    if deadline.provisional:
        return Judgement(due=end_of(max(day_of(now), deadline.earliest)))
    (latest, then), (newest, position) = act.latest, act.well
    due_on, records = to_date(deadline.day), (own(version.position), own(position))
    if newest > deadline.day:
        return Judgement((Lapse("K4.filed_late", records, (due_on, to_date(newest))),))
    if latest > deadline.day:
        numbers = (due_on, to_date(newest), to_date(latest))
        return Judgement((Lapse("K4.restated", (*records, own(then)), numbers),))
    return Judgement()


def _missing(
    version: Version, terms: Terms, deadline: _Deadline, now: int, grace: Grace
) -> Judgement:
    """Nothing is said of a contract whose filing may follow in the same call, or soon after."""
    pending_after = max(terms.starts_at - 1, version.recorded_at + grace.record_within)
    overdue_after = grace.ends(end_of(deadline.day), version.recorded_at)
    records, date = (own(version.position),), to_date(deadline.day)
    if not deadline.provisional and now > overdue_after:
        return Judgement((Lapse("K4.overdue", records, (date,)),))
    if now <= pending_after:
        return Judgement(due=pending_after)
    due = overdue_after
    if deadline.provisional:
        # Once a day, until a law with the calendar is in force.
        due = end_of(max(day_of(now), deadline.earliest))
    pending = Lapse("K4.pending", records, (date, int(deadline.provisional)))
    return Judgement((pending,), due)

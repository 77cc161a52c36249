"""
K4: each party files the contract with its own authority within 10 working days of its effect.

GBA Standard Contract, filing (announcement 2023 No. 3; Guangdong CAC or DPO); for the national
standard contract the Mainland party alone. Each version is judged by itself: a supplement is filed
anew, and the filing of a later version does for those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from ledgerd.projections.contracts import Contract, Version
from ledgerd.projections.terms import Terms
from ledgerd.rules.lapse import Judgement, Lapse, Party, accused_after, merged, own
from ledgerd.rules.law import Law
from ledgerd.rules.mechanisms import CN_SC, GBA_SC
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import day_of, end_of, to_date

# Each party's own authority (1.8): the CAC in Guangdong, or the CAC itself; Hong Kong's DPO.
_AUTHORITIES: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {"CN": frozenset((1, 5)), "HK": frozenset((2,))}
)

# Results of a filing that was handed in and not returned or withdrawn.
_WELL = frozenset((1, 2))


class _Deadline(NamedTuple):
    """The last day for filing; while no calendar says so, the first day on which it may be."""

    day: int
    provisional: bool
    earliest: int


@dataclass(slots=True)
class _Act:
    """
    One filing, as all statements of it come to; they have its number in common.

    said: (day, position) of each by which it was handed in and not returned or withdrawn. day and
    result: by the newest statement.
    """

    day: int
    result: int
    said: list[tuple[int, int]]


def judge_filing(
    contract: Contract, party: Party, now: int, rules: pb.RuleSet, law: Law
) -> Judgement:
    """Judge one party's filings of a contract. now: µs, the time of the newest TICK."""
    return merged(_by_version(contract, party, now, rules, law))


def _by_version(
    contract: Contract, party: Party, now: int, rules: pb.RuleSet, law: Law
) -> Iterator[Judgement]:
    filed = False
    for version, terms in reversed([*zip(contract.versions, contract.terms(), strict=True)]):
        acts = _acts(contract, version, party)
        filed |= any(act.result in _WELL for act in acts)
        deadline = _deadline(terms, contract, party, law)
        if deadline is None:
            continue
        yield _late(version, acts, deadline, now)
        if not filed:
            yield _missing(version, terms, deadline, now, rules)


def _acts(contract: Contract, version: Version, party: Party) -> list[_Act]:
    """
    Filings of a version with the party's own authority, by the log order of their first statement.

    A statement with the number of an earlier one restates that, unless it was returned or withdrawn
    and the day is another: then it was filed once more.
    """
    acts: list[_Act] = []
    numbered: dict[str, _Act] = {}
    for each in sorted(contract.filings):
        if each.digest != version.digest or each.authority not in _AUTHORITIES[party.side]:
            continue
        act = numbered.get(each.number)
        if act is None or (act.result not in _WELL and each.filed_on != act.day):
            act = numbered[each.number] = _Act(0, 0, [])
            acts.append(act)
        act.day, act.result = each.filed_on, each.result
        if each.result in _WELL:
            act.said.append((each.filed_on, each.position))
    return acts


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


def _late(version: Version, acts: Sequence[_Act], deadline: _Deadline, now: int) -> Judgement:
    """By the first filing that was well: another filing later doesn't undo it."""
    said = next((act.said for act in acts if act.said), [])
    if not said or max(said)[0] <= deadline.earliest:
        return Judgement()
    if deadline.provisional:
        return Judgement(due=end_of(max(day_of(now), deadline.earliest)))
    (latest, then), (newest, position) = max(said), said[-1]
    due_on, records = to_date(deadline.day), (own(version.position), own(position))
    if newest > deadline.day:
        return Judgement((Lapse("K4.filed_late", records, (due_on, to_date(newest))),))
    if latest > deadline.day:
        numbers = (due_on, to_date(newest), to_date(latest))
        return Judgement((Lapse("K4.restated", (*records, own(then)), numbers),))
    return Judgement()


def _missing(
    version: Version, terms: Terms, deadline: _Deadline, now: int, rules: pb.RuleSet
) -> Judgement:
    """Nothing is said of a contract whose filing may follow in the same call, or soon after."""
    pending_after = max(terms.starts_at - 1, version.recorded_at + rules.record_within)
    overdue_after = accused_after(end_of(deadline.day), version.recorded_at, rules)
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

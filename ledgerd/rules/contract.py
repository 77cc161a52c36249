"""
What appears not to be in order with a contract, as one of its parties has stated it.

Each fault is found once on the contract, however many transfers show it. Rules K2 to K6, K8, K11's
route, K13, K16's end, K19, K22 and K23; for their sources see `rulebook` and docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from ledgerd.projections.contracts import Contract
from ledgerd.projections.terms import Terms
from ledgerd.projections.transfer_row import Position
from ledgerd.projections.usage import Usage
from ledgerd.rules.authorisation import judge_authorisation
from ledgerd.rules.filing import judge_filing
from ledgerd.rules.lapse import Grace, Judgement, Lapse, Party, merged, own
from ledgerd.rules.law import Law
from ledgerd.rules.mechanisms import (
    ASSESSMENT,
    CN_CERT,
    CN_SC,
    FTZ_LIST,
    GBA_CERT,
    GBA_SC,
    GBA_SC_MO,
    HETAO_LIST,
    HK_PDPO,
    HK_RMC,
)
from ledgerd_client.core.codes import CN_HK, HK_CN, HONG_KONG, MAINLAND_CITIES
from ledgerd_client.core.days import day_of, end_of, to_date
from ledgerd_client.core.org_id import fails_check_digits

_Records: TypeAlias = tuple[Position, ...]

# Model clauses and PDPO alone: no impact assessment is asked for.
_WITHOUT_PIPIA = frozenset((HK_RMC, HK_PDPO))
_GO = frozenset((1, 2))
_HGR_SECTORS = frozenset((3, 8))

# How strong a route is: 2 an assessment, 1 a contract or certificate, 0 none (Provisions 7, 8).
_STRENGTH: Final[Mapping[int, int]] = {GBA_CERT: 1, ASSESSMENT: 2, CN_SC: 1, CN_CERT: 1}
# Free-trade and Hetao lists carry limits of their own; under the GBA Standard Contract it is
# disputed whether any volume matters.
_OWN_LIMITS = frozenset((FTZ_LIST, HETAO_LIST))
_DISPUTED = frozenset((GBA_SC, GBA_SC_MO))

# Lists of codes in a scope, by rule: first bit, number of bits (projections.contracts.scope_of).
_LISTS: Final = (("K6.purposes", 0, 64), ("K6.categories", 64, 128), ("K6.means", 192, 128))


def judge_contract(
    contract: Contract, usage: Usage, party: Party, now: int, grace: Grace, law: Law
) -> Judgement:
    """
    Judge a contract of this party (party.id is the one who stated it).

    now: µs, the time of the newest TICK: what a deadline brings about, it alone brings about.
    """
    if not contract.versions:
        return Judgement(tuple(_unknown(contract, usage)))
    known = max(now, *(version.recorded_at for version in contract.versions))
    terms, records = contract.in_force(known), (own(contract.version_at(known).position),)
    lapses = [*_parties(contract, terms, party, records), *_restated(contract)]
    if terms.mechanism == GBA_SC and not law.at(day_of(terms.starts_at)).filing_days:
        # It was published in December 2023 (1.1), and every one since is filed.
        lapses.append(Lapse("K3.before_standard", records, (to_date(day_of(terms.starts_at)),)))
    # Another version may be in force then.
    timed = [Judgement(due=contract.next_start(known))]
    timed.append(judge_filing(contract, party, now, grace, law))
    timed.append(_end_not_notified(contract, party, now, grace, law))
    if contract.exporting:
        lapses += _exporter(contract, terms, usage, records)
        lapses += _drift(contract, terms, usage)
        if party.side == "CN":
            lapses += _from_the_mainland(terms, usage, party, records)
        timed.append(judge_authorisation(contract, known, now, grace, law))
    else:
        lapses += _pipia_of_recipient(contract)
        timed.append(_held_after_end(contract, usage, now, grace, law))
    return merged((Judgement(tuple(lapses)), *timed))


def _unknown(contract: Contract, usage: Usage) -> Iterator[Lapse]:
    """K3, C2: records that name a contract which nobody has stated (yet)."""
    if contract.exporting and usage.since >= 0:
        yield Lapse("K3.unknown_contract", (own(usage.since),))
    if contract.dangling:
        yield Lapse("C2.no_contract", (own(contract.dangling[0]),))


def _restated(contract: Contract) -> Iterator[Lapse]:
    """K3: what stood against transfers may have been closed by what was stated afterwards."""
    if contract.restated >= 0:
        yield Lapse("K3.restated", (own(contract.restated),))


def _parties(contract: Contract, terms: Terms, party: Party, records: _Records) -> Iterator[Lapse]:
    """K2: exactly one party in the nine cities and one in Hong Kong, as registered."""
    sides = tuple(_side(place) for place in terms.places)
    if sides not in {("CN", "HK"), ("HK", "CN")}:
        yield Lapse("K2.places", records)
    elif terms.direction != (CN_HK if sides[0] == "CN" else HK_CN):
        yield Lapse("K2.direction", records)
    us = 0 if contract.exporting else 1
    place, sector = terms.places[us], terms.sectors[us]
    if (place, sector) != (party.place, party.sector):
        yield Lapse("K2.registered", records)
    # GB 32100-2015: characters 3 to 8 are the division where it was registered.
    if party.id.startswith("uscc.") and party.id[7:11] != str(place)[:4]:
        yield Lapse("K2.uscc_place", records)
    if any(fails_check_digits(name) for _, name in (terms.exporter, terms.recipient)):
        yield Lapse("K2.org_id", records)


def _side(place: int) -> str:
    if place == HONG_KONG:
        return "HK"
    return "CN" if place in MAINLAND_CITIES else ""


def _exporter(contract: Contract, terms: Terms, usage: Usage, records: _Records) -> Iterator[Lapse]:
    yield from _pipia(contract, terms, usage)
    if terms.side.important_data and terms.mechanism == GBA_SC:
        yield Lapse("K8.important_data", records)
    # K22: the appendix's scale; Network Data Security Regulations 38.
    if terms.mechanism == GBA_SC and usage.subjects > terms.planned_scale:
        yield Lapse("K22.planned", records, (usage.subjects, terms.planned_scale))
    scale = terms.side.authorised_scale
    if terms.mechanism == ASSESSMENT and scale and usage.subjects > scale:
        yield Lapse("K22.assessed", records, (usage.subjects, scale))


def _drift(contract: Contract, terms: Terms, usage: Usage) -> Iterator[Lapse]:
    """K6, GBA Standard Contract on supplements, PIPL 14: a supplement covers once in effect."""
    beyond = usage.excess & ~terms.scope
    for (rule, first, bits), position in zip(_LISTS, usage.excess_at, strict=True):
        if codes := (beyond >> first & (1 << bits) - 1).bit_count():
            yield Lapse(rule, (own(contract.versions[0].position), own(position)), (codes,))


def _pipia(contract: Contract, terms: Terms, usage: Usage) -> Iterator[Lapse]:
    """K5, PIPL 55: assessed before the first transfer; on its day is before it."""
    if usage.first < 0 or terms.mechanism in _WITHOUT_PIPIA:
        return
    first = day_of(usage.first_at)
    good = [(day, position) for position, day, said in contract.pipias if said in _GO]
    if not good:
        yield Lapse("K5.no_pipia", (own(usage.first),), (to_date(first),))
    elif (earliest := min(good))[0] > first:
        records = (own(usage.first), own(earliest[1]))
        yield Lapse("K5.pipia_late", records, (to_date(earliest[0]), to_date(first)))


def _pipia_of_recipient(contract: Contract) -> Iterator[Lapse]:
    """K5, PIPL 55: who provides the data assesses; a recipient's does not stand for that."""
    if contract.pipias:
        yield Lapse("K5.by_recipient", (own(contract.pipias[0][0]),))


def _from_the_mainland(
    terms: Terms, usage: Usage, party: Party, records: _Records
) -> Iterator[Lapse]:
    yield from _route(terms, usage)
    if terms.side.ciio and terms.mechanism != ASSESSMENT:
        # K13, PIPL 40.
        yield Lapse("K13.ciio", records)
    if usage.genetic >= 0 and party.sector in _HGR_SECTORS and not terms.side.hgr_ref:
        # K19, rules on human genetic resources.
        yield Lapse("K19.hgr", (own(usage.genetic),))


def _route(terms: Terms, usage: Usage) -> Iterator[Lapse]:
    """K11, Provisions 7, 8: whether the mechanism is what the year's counters need."""
    year, national, every, position = usage.route
    if terms.mechanism in _OWN_LIMITS:
        return
    if terms.mechanism in _DISPUTED:
        disputed = every == 2
    elif (strength := _STRENGTH.get(terms.mechanism, 0)) < national:
        yield Lapse("K11.route", (own(position),), (year,))
        return
    else:
        disputed = strength < every
    if disputed:
        yield Lapse("K11.route_disputed", (own(position),), (year,))


def _held_after_end(
    contract: Contract, usage: Usage, now: int, grace: Grace, law: Law
) -> Judgement:
    """K16, GBA Standard Contract on termination: the recipient returns or deletes what it holds."""
    ended = contract.ended
    if ended is None or not usage.held or not (days := law.at(ended.day).dispose_days):
        return Judgement()
    due = grace.ends(end_of(ended.day + days), ended.recorded_at)
    if now <= due:
        return Judgement(due=due)
    numbers = (to_date(ended.day), usage.held)
    return Judgement((Lapse("K16.held_after_end", (own(ended.position),), numbers),))


def _end_not_notified(
    contract: Contract, party: Party, now: int, grace: Grace, law: Law
) -> Judgement:
    """K16, GBA Standard Contract on termination: each party notifies its own regulator."""
    ended = contract.ended
    if ended is None:
        return Judgement()
    days = law.at(ended.day).terminate_notice_days
    if not days or 0 < ended.notified_on <= ended.day + days:
        return Judgement()
    deadline = law.calendars[party.side].after(ended.day, days)
    if deadline.provisional:
        # Once a day, until a law with the calendar is in force.
        return Judgement(due=end_of(max(day_of(now), ended.day + days)))
    dates = to_date(ended.day), to_date(deadline.day)
    if ended.notified_on:
        late = ended.notified_on > deadline.day
        numbers = (*dates, to_date(ended.notified_on))
        lapse = Lapse("K16.end_notified_late", (own(ended.position),), numbers)
        return Judgement((lapse,) if late else ())
    due = grace.ends(end_of(deadline.day), ended.recorded_at)
    if now <= due:
        return Judgement(due=due)
    return Judgement((Lapse("K16.end_not_notified", (own(ended.position),), dates),))

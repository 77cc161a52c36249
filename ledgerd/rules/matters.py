"""
Matters as they are newly stated: provision onward (K7), incidents (K17), requests of public bodies
(K24). Each statement replaces the one before it, so what is mended is closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from ledgerd.projections.matters import Matter
from ledgerd.rules.lapse import Grace, Judgement, Lapse, Party, own
from ledgerd.rules.law import Law, Parameters
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.codes import HONG_KONG, MAINLAND_CITIES
from ledgerd_client.core.days import HOUR_US, day_of

_LARGER: Final = 2
# CAC_GD and CAC; HK_DPO and HK_PCPD.
_MAINLAND_AUTHORITIES: Final = frozenset((1, 5))
_HONG_KONG_AUTHORITIES: Final = frozenset((2, 4))


def judge_matter(
    matter: Matter,
    listed: Collection[str] | None,
    party: Party,
    now: int,
    grace: Grace,
    law: Law,
) -> Judgement:
    """
    Judge a matter of this party.

    listed: third parties by the contract that it names, None if that is not known. now: µs, of the
    newest TICK.
    """
    if matter.record == "onward":
        onward = pb.Onward.FromString(matter.body)
        return Judgement(tuple(_onward(matter, onward, listed, party)))
    if matter.record == "incident":
        incident = pb.Incident.FromString(matter.body)
        judge = _mainland_incident if party.side == "CN" else _hong_kong_incident
        parameters = law.at(day_of(incident.discovered_at))
        return judge(matter, incident, now, grace, parameters)
    if matter.record == "gov_access":
        access = pb.GovAccess.FromString(matter.body)
        return _access(matter, access, now, grace, law.at(day_of(access.received_at)))
    return Judgement()


def _onward(
    matter: Matter, onward: pb.Onward, listed: Collection[str] | None, party: Party
) -> Iterator[Lapse]:
    """K7, GBA Standard Contract: within the recipient's own jurisdiction, on four conditions."""
    records = (own(matter.position),)
    inside = {HONG_KONG} if party.side == "HK" else MAINLAND_CITIES
    if onward.third_party_place not in inside:
        yield Lapse("K7.outside", records)
    if not (onward.needed and onward.told and onward.consented and onward.listed):
        yield Lapse("K7.conditions", records)
    if listed is not None and onward.third_party not in listed:
        yield Lapse("K7.unlisted", records)


def _mainland_incident(
    matter: Matter, incident: pb.Incident, now: int, grace: Grace, parameters: Parameters
) -> Judgement:
    """K17, PIPL 57; Measures of 2025, article 4: graded larger or above, within 4 hours, or 1."""
    named = 0
    if incident.grade >= _LARGER:
        named = parameters.incident_ciio_hours if incident.ciio else parameters.incident_hours
    discovered = incident.discovered_at
    notified = _first_notice(incident, _MAINLAND_AUTHORITIES)
    hours = named or parameters.incident_other_hours
    if notified is None:
        return _unless_told("K17.no_notice", matter, discovered, hours, now, grace)
    deadline = discovered + hours * HOUR_US
    if not hours or notified <= deadline:
        return Judgement()
    numbers = (discovered, notified, deadline)
    return Judgement((Lapse("K17.late_notice", (own(matter.position),), numbers),))


def _hong_kong_incident(
    matter: Matter, incident: pb.Incident, now: int, grace: Grace, parameters: Parameters
) -> Judgement:
    """K17, PCPD guidance of June 2023: notice is voluntary, so this is information."""
    if _first_notice(incident, _HONG_KONG_AUTHORITIES) is not None:
        return Judgement()
    hours = parameters.incident_other_hours
    return _unless_told("K17.hk_no_notice", matter, incident.discovered_at, hours, now, grace)


def _first_notice(incident: pb.Incident, authorities: frozenset[int]) -> int | None:
    notices = (notice.at for notice in incident.notices if notice.authority in authorities)
    return min(notices, default=None)


def _access(
    matter: Matter, access: pb.GovAccess, now: int, grace: Grace, parameters: Parameters
) -> Judgement:
    """K24, GBA Standard Contract: the exporter is told when a public body asks for the data."""
    rule, received, told = "K24.no_notice", access.received_at, access.exporter_notified_at
    hours, records = parameters.gov_access_hours, (own(matter.position),)
    if told:
        deadline = received + hours * HOUR_US
        late = Lapse("K24.late_notice", records, (received, told, deadline))
        return Judgement((late,) if hours and told > deadline else ())
    if access.disclosed:
        return Judgement((Lapse(rule, records, (received, received)),))
    return _unless_told(rule, matter, received, hours, now, grace)


def _unless_told(
    rule: str, matter: Matter, since: int, hours: int, now: int, grace: Grace
) -> Judgement:
    """The lapse when so many hours passed and no notice is recorded; 0: no rule is in force."""
    if not hours:
        return Judgement()
    deadline = since + hours * HOUR_US
    due = grace.ends(deadline, matter.recorded_at)
    if now <= due:
        return Judgement(due=due)
    return Judgement((Lapse(rule, (own(matter.position),), (since, deadline)),))

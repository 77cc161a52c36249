"""
K23: an assessment or a certificate is good for 3 years, its last day included (Provisions 9).

Extension is asked for within the 60 working days before the end; the warning comes with them.
"""

from __future__ import annotations

from ledgerd.projections.contracts import Contract, Version
from ledgerd.rules.lapse import Grace, Judgement, Lapse, merged, own
from ledgerd.rules.law import Law, Parameters
from ledgerd.rules.mechanisms import ASSESSMENT, CN_CERT, GBA_CERT
from ledgerd_client.core.days import add_years, day_of, end_of, from_date, to_date

_AUTHORISED = frozenset((GBA_CERT, ASSESSMENT, CN_CERT))


def judge_authorisation(
    contract: Contract, known: int, now: int, grace: Grace, law: Law
) -> Judgement:
    """
    Judge what a contract's export was authorised by, as long as the contract runs.

    By what was in force at known. Times are µs.
    """
    terms, version = contract.in_force(known), contract.version_at(known)
    authorised = from_date(terms.side.authorised_on) if terms.side.authorised_on else None
    if terms.mechanism not in _AUTHORISED or authorised is None:
        return Judgement()
    # What was given before these Provisions is good for as long as they say.
    parameters = law.at(day_of(version.recorded_at))
    ends_at = contract.ends_at(known)
    if not parameters.authorisation_years or (ends_at and now > ends_at):
        return Judgement()
    expiry = add_years(authorised, parameters.authorisation_years)
    judgement = _judge(version, expiry, parameters, now, grace, law)
    # What stands is closed when the contract ends.
    return merged((judgement, Judgement(due=ends_at)))


def _judge(
    version: Version,
    expiry: int,
    parameters: Parameters,
    now: int,
    grace: Grace,
    law: Law,
) -> Judgement:
    records = (own(version.position),)
    expired = grace.ends(end_of(expiry), 0)
    if now > expired:
        return Judgement((Lapse("K23.expired", records, (to_date(expiry),)),))
    today = day_of(now)
    left = law.calendars["CN"].between(today, expiry).day
    if left < parameters.authorisation_warning_days:
        numbers = (to_date(expiry), left)
        return Judgement((Lapse("K23.expiring", records, numbers),), expired)
    # No day takes more than one working day away, so nothing changes before then.
    return Judgement(due=end_of(today + left - parameters.authorisation_warning_days))

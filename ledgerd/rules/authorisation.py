"""
K23: an assessment or a certificate is good for 3 years, its last day included (Provisions 9).

Extension is asked for within the 60 working days before the end; the warning comes with them.
"""

from __future__ import annotations

from ledgerd.projections.contracts import Contract, Terms
from ledgerd.rules.days import add_years, day_of, end_of, from_date, to_date
from ledgerd.rules.lapse import Judgement, Lapse, merged, own
from ledgerd.rules.law import Law

# GBA_CERT, CAC_ASSESSMENT, CN_CERT.
_AUTHORISED = frozenset((2, 3, 5))


def judge_authorisation(contract: Contract, terms: Terms, now: int, law: Law) -> Judgement:
    """Judge what a contract's export was authorised by, as long as the contract runs. now: µs."""
    authorised = from_date(terms.side.authorised_on) if terms.side.authorised_on else None
    if terms.mechanism not in _AUTHORISED or authorised is None:
        return Judgement()
    # What was given before these Provisions is good for as long as they say.
    parameters = law.at(day_of(contract.versions[-1].recorded_at))
    ends_at = _ends_at(contract, terms)
    if not parameters.authorisation_years or (ends_at and now > ends_at):
        return Judgement()
    expiry = add_years(authorised, parameters.authorisation_years)
    judgement = _judge(contract, expiry, parameters.authorisation_warning_days, now, law)
    # What stands is closed when the contract ends.
    return merged((judgement, Judgement(due=ends_at)))


def _judge(contract: Contract, expiry: int, warning_days: int, now: int, law: Law) -> Judgement:
    records = (own(contract.versions[-1].position),)
    if now > end_of(expiry):
        return Judgement((Lapse("K23.expired", records, (to_date(expiry),)),))
    today = day_of(now)
    left = law.calendars["CN"].between(today, expiry).day
    if left < warning_days:
        numbers = (to_date(expiry), left)
        return Judgement((Lapse("K23.expiring", records, numbers),), end_of(expiry))
    # No day takes more than one working day away, so nothing changes before then.
    return Judgement(due=end_of(today + left - warning_days))


def _ends_at(contract: Contract, terms: Terms) -> int:
    """The last µs of the contract; 0: no end."""
    ends = [terms.ends_at] if terms.ends_at else []
    if contract.ended is not None:
        ends.append(end_of(contract.ended.day))
    return min(ends, default=0)

"""
What a single transfer shows of itself: consent, notice, categories (K9, K10, K18, K20), whether
its contract carries it (K3, K16), and codes that were not in use (L2).

Consent and notice are judged where PIPL governs, on what the Mainland sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from ledgerd.projections.contracts import Contract
from ledgerd.rules.lapse import Party
from ledgerd.rules.law import Parameters
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.code_tables import Code
from ledgerd_client.core.codes import TABLES
from ledgerd_client.core.days import day_of, end_of, from_date

_CONSENT, _CONTRACT, _EMERGENCY = 1, 2, 5
_SEPARATE, _WRITTEN, _GUARDIAN = 3, 4, 5
_ART5_3_EMERGENCY = 6
_CREDIT_CHECKING, _DIRECT_MARKETING = 3, 17
_CREDIT_REF = 2
# Biometric, religious, medical health, genetic.
_NOT_FOR_CREDIT = frozenset((1, 2, 4, 10))

# Fields of Terms that hold codes, and their tables.
_FIELDS: Final = (
    ("purposes", "purpose"),
    ("categories", "category"),
    ("sensitive_categories", "sensitive_category"),
    ("legal_basis", "legal_basis"),
    ("consent_form", "consent_form"),
    ("exemption", "exemption"),
    ("protections", "protection"),
    ("transmission", "transmission"),
    ("means", "means"),
)

# What timing() looks at.
TIMED: Final = frozenset((
    "K3.foreign_contract", "K3.before_effect", "K3.after_expiry", "K3.suspended", "K3.terminated",
    "K16.retention",
))  # fmt: skip

DatedCodes = Mapping[str, Mapping[int, Code]]


class Profile(NamedTuple):
    """What a transfer says of its contents, but for times and sums. Codes as in `codes`."""

    purposes: tuple[int, ...]
    categories: tuple[int, ...]
    sensitive: tuple[int, ...]
    basis: int
    consent: int
    exemption: int
    minors: bool
    has_sensitive: bool
    has_notice: bool


@lru_cache(maxsize=4096)
def content(profile: Profile, party: Party, parameters: Parameters) -> tuple[str, ...]:
    """The rules that a transfer of this exporter appears not to meet by its contents alone."""
    judge = _from_the_mainland if party.side == "CN" else _from_hong_kong
    return tuple(judge(profile, party))


def _from_the_mainland(profile: Profile, party: Party) -> Iterator[str]:
    if profile.basis == _CONSENT:
        # PIPL 29, 39; 31.
        if profile.has_sensitive and profile.consent not in {_SEPARATE, _WRITTEN, _GUARDIAN}:
            yield "K9.separate_consent"
        if profile.minors and profile.consent != _GUARDIAN:
            yield "K9.guardian"
    # PIPL 39, 18.
    emergency = profile.basis == _EMERGENCY or profile.exemption == _ART5_3_EMERGENCY
    if not profile.has_notice and not emergency:
        yield "K10.no_notice"
    if party.sector == _CREDIT_REF:
        # Credit Reporting Regulations 14, 18.
        if not _NOT_FOR_CREDIT.isdisjoint(profile.sensitive):
            yield "K18.category"
        if _CREDIT_CHECKING in profile.purposes and profile.consent != _WRITTEN:
            yield "K18.consent"
    if _DIRECT_MARKETING in profile.purposes and profile.basis == _CONTRACT:
        # PIPL 13: marketing is not needed to perform a contract.
        yield "K20.basis"


def _from_hong_kong(profile: Profile, party: Party) -> Iterator[str]:
    # PDPO 35K.
    if _DIRECT_MARKETING in profile.purposes and profile.consent != _WRITTEN:
        yield "K20.written_consent"


def timing(
    contract: Contract,
    exporter: tuple[str, str],
    recipient: tuple[str, str],
    occurred_at: int,
    delete_by: int,
) -> tuple[str, ...]:
    """
    The rules that a transfer appears not to meet by when, and between whom, it happened.

    exporter, recipient: (origin, institution) of the transfer's terms. occurred_at: µs. delete_by:
    yyyymmdd, 0 when it is not stated. Of a contract that is not known nothing is said here.
    """
    if not contract.versions:
        return ()
    found = []
    carrying = contract.in_force(occurred_at)
    if (exporter, recipient) != (carrying.exporter, carrying.recipient):
        found.append("K3.foreign_contract")
    # GBA Standard Contract: transfers may start when the contract is in effect.
    if occurred_at < contract.terms()[0].starts_at:
        found.append("K3.before_effect")
    if carrying.ends_at and occurred_at > carrying.ends_at:
        found.append("K3.after_expiry")
    if contract.is_suspended(occurred_at):
        found.append("K3.suspended")
    if contract.ended is not None and occurred_at > end_of(contract.ended.day):
        found.append("K3.terminated")
    # PIPL 19, 47.
    last_day = day_of(occurred_at) + carrying.retention_days
    if not delete_by or from_date(delete_by) > last_day:
        found.append("K16.retention")
    return tuple(found)


def dated_codes(tables: Mapping[str, Mapping[int, Code]]) -> DatedCodes:
    """By field of Terms, the codes that are not valid for ever."""
    dated = {
        field: {
            number: code
            for number, code in tables[table].items()
            if code.valid_from or code.valid_to
        }
        for field, table in _FIELDS
    }
    return {field: numbers for field, numbers in dated.items() if numbers}


_DATED: Final = dated_codes(TABLES)


def invalid_codes(terms: pb.Terms, on: int, dated: DatedCodes = _DATED) -> tuple[str, ...]:
    """L2: the rule's id when the terms of that date (yyyymmdd) hold a code not in use on it."""
    for field, numbers in dated.items():
        stated = getattr(terms, field)
        for number in (stated,) if isinstance(stated, int) else stated:
            code = numbers.get(number)
            if code and not code.valid_on(on):
                return ("L2.code_not_valid",)
    return ()

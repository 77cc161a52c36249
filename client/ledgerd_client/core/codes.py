"""
Numbers that stand in bodies and terms, and what each of them means.

One table for each field, and one mapping of number to name for each table; an unknown number is
refused by `check_codes` and nothing else. When a code is valid is another matter: outside its
dates it is recorded, and a finding says so. The data, with sources, is in `code_tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from types import MappingProxyType

from ledgerd_client.core.code_tables import ROWS, Code
from ledgerd_client.core.encoding import lp16, u64
from ledgerd_client.core.errors import FieldError

_DIGEST_TAG = b"ledgerd/codes/v1\n"

TABLES: Mapping[str, Mapping[int, Code]] = MappingProxyType({
    table: MappingProxyType({code.number: code for code in rows}) for table, rows in ROWS.items()
})  # fmt: skip


def _names(table: str) -> Mapping[int, str]:
    return MappingProxyType({number: code.name for number, code in TABLES[table].items()})


def _numbers(table: str, *names: str) -> tuple[int, ...]:
    by_name = {code.name: number for number, code in TABLES[table].items()}
    return tuple(by_name[name] for name in names)


# Those that code goes by.
(HONG_KONG,) = _numbers("place", "Hong Kong")
CN_HK, HK_CN = _numbers("direction", "CN_HK", "HK_CN")
(REMOTE_VIEW,) = _numbers("transmission", "remote_view")

PLACES = _names("place")
MAINLAND_CITIES: Mapping[int, str] = MappingProxyType({
    place: name for place, name in PLACES.items() if place != HONG_KONG
})  # fmt: skip
CONTRACT_PLACES = _names("contract_place")
ONWARD_PLACES = _names("onward_place")
SECTORS = _names("sector")
PURPOSES = _names("purpose")
CATEGORIES = _names("category")
SENSITIVE_CATEGORIES = _names("sensitive_category")
LEGAL_BASES = _names("legal_basis")
CONSENT_FORMS = _names("consent_form")
EXEMPTIONS = _names("exemption")
PROTECTIONS = _names("protection")
TRANSMISSIONS = _names("transmission")
MECHANISMS = _names("mechanism")
DIRECTIONS = _names("direction")
PARTY_ROLES = _names("party_role")
SUBJECT_TYPES = _names("subject_type")
MEANS = _names("means")
AUTHORITIES = _names("authority")
FILING_RESULTS = _names("filing_result")
PIPIA_CONCLUSIONS = _names("pipia_conclusion")
ZONES = _names("zone")
BANDS = _names("band")
METHODS = _names("method")
GRADES = _names("grade")
INCIDENT_CAUSES = _names("incident_cause")
REQUESTERS = _names("requester")
CHANGE_CAUSES = _names("change_cause")
CONSENT_CHANGES = _names("consent_change")


def check_codes(field: str, table: Mapping[int, str], codes: Iterable[int]) -> None:
    """Refuse a code that the table does not hold; raises FieldError UNKNOWN_CODE."""
    for code in codes:
        if code not in table:
            raise FieldError(
                f"{field}: {code} is not a known code",
                reason="UNKNOWN_CODE",
                action=f"use one of {', '.join(str(known) for known in table)}",
            )


def check_code_list(field: str, table: Mapping[int, str], codes: Iterable[int]) -> None:
    """As check_codes, and refuse a list that is not strictly ascending; raises FieldError."""
    listed = list(codes)
    check_codes(field, table, listed)
    if sorted(set(listed)) != listed:
        raise FieldError(f"{field} are not strictly ascending")


@cache
def digest(edition: int) -> bytes:
    """H over every row of every table up to an edition, by name of the table and number."""
    hashed = sha256(_DIGEST_TAG)
    for table in sorted(TABLES):
        for _, code in sorted(TABLES[table].items()):
            if code.edition <= edition:
                hashed.update(_encode(table, code))
    return hashed.digest()


def _encode(table: str, code: Code) -> bytes:
    return b"".join(
        u64(value) if isinstance(value, int) else lp16(value.encode()) for value in (table, *code)
    )

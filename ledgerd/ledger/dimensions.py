"""What a summary counts by, and an entry's keys: as it is posted, or as it says itself."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ledgerd.ledger.counted import CountedEntries, CountedEntry
from ledgerd.ledger.indexer import NOT_COUNTED
from ledgerd.ledger.law_matters import named_contracts
from ledgerd.projections.postings import Field
from ledgerd.rules.reconcile import State
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.days import day_of, to_date
from ledgerd_client.core.header import recorded_at_of
from ledgerd_client.core.supervision import KIND_NUMBERS


class Dimension(enum.IntEnum):
    """What to count by: the Dimension of RegulatorService."""

    INSTITUTION = 1
    COUNTERPARTY = 2
    CONTRACT = 3
    KIND = 4
    DIRECTION = 5
    PLACE = 6
    COUNTERPARTY_PLACE = 7
    SECTOR = 8
    CATEGORY = 9
    SENSITIVE_CATEGORY = 10
    PURPOSE = 11
    MECHANISM = 12
    LEGAL_BASIS = 13
    CONSENT_FORM = 14
    EXEMPTION = 15
    RULE = 16
    SEVERITY = 17
    STATE = 18
    DAY = 19
    MONTH = 20
    YEAR = 21


def _numbers(table: Mapping[int, str]) -> Mapping[int, str]:
    return MappingProxyType({number: str(number) for number in table})


_STATES: Final = {state.value: state.name.lower() for state in State} | {NOT_COUNTED: "not_counted"}
# By what entries are posted under: the field, and the key of each value.
POSTED: Final[Mapping[Dimension, tuple[Field, Mapping[int, str]]]] = MappingProxyType({
    Dimension.KIND: (Field.KIND, {number: str(number) for number in KIND_NUMBERS.values()}),
    Dimension.DIRECTION: (Field.DIRECTION, _numbers(codes.DIRECTIONS)),
    Dimension.PLACE: (Field.PLACE, _numbers(codes.PLACES)),
    Dimension.COUNTERPARTY_PLACE: (Field.OTHER_PLACE, _numbers(codes.CONTRACT_PLACES)),
    Dimension.SECTOR: (Field.SECTOR, _numbers(codes.SECTORS)),
    Dimension.CATEGORY: (Field.CATEGORY, _numbers(codes.CATEGORIES)),
    Dimension.SENSITIVE_CATEGORY: (Field.SENSITIVE, _numbers(codes.SENSITIVE_CATEGORIES)),
    Dimension.PURPOSE: (Field.PURPOSE, _numbers(codes.PURPOSES)),
    Dimension.MECHANISM: (Field.MECHANISM, _numbers(codes.MECHANISMS)),
    Dimension.SEVERITY: (Field.SEVERITY, {number: str(number) for number in range(1, 4)}),
    Dimension.STATE: (Field.STATE, _STATES),
})  # fmt: skip


def _counterparty(_page: CountedEntries, entry: CountedEntry) -> list[str]:
    if not hasattr(entry.said, "exporter"):
        return []
    own = pb.Party(origin=entry.body.origin, institution=entry.body.author)
    other = entry.said.recipient if entry.said.exporter == own else entry.said.exporter
    return [other.institution]


def _contracts(_page: CountedEntries, entry: CountedEntry) -> Sequence[str]:
    if not hasattr(entry.said, "contract_id") and not isinstance(entry.said, pb.Incident):
        return ()
    return named_contracts(entry.said)


def _rule(_page: CountedEntries, entry: CountedEntry) -> list[str]:
    return [entry.body.finding.rule] if entry.record == "finding" else []


def _date(entry: CountedEntry) -> int:
    return to_date(day_of(recorded_at_of(entry.header)))


def _code_of(entry: CountedEntry, field: str) -> list[str]:
    return [str(number)] if (number := getattr(entry.said, field, 0)) else []


_KeysOf = Callable[[CountedEntries, CountedEntry], Sequence[str]]

# By what an entry says itself: its keys.
STATED: Final[Mapping[Dimension, _KeysOf]] = MappingProxyType({
    Dimension.INSTITUTION: CountedEntries.concerned,
    Dimension.COUNTERPARTY: _counterparty,
    Dimension.CONTRACT: _contracts,
    Dimension.LEGAL_BASIS: lambda _, entry: _code_of(entry, "legal_basis"),
    Dimension.CONSENT_FORM: lambda _, entry: _code_of(entry, "consent_form"),
    Dimension.EXEMPTION: lambda _, entry: _code_of(entry, "exemption"),
    Dimension.RULE: _rule,
    Dimension.DAY: lambda _, entry: [str(_date(entry))],
    Dimension.MONTH: lambda _, entry: [str(_date(entry) // 100)],
    Dimension.YEAR: lambda _, entry: [str(_date(entry) // 10_000)],
})  # fmt: skip

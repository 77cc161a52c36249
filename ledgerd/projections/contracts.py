"""
Contracts as one party of this side has stated them, and what was transferred under them.

CONTRACTS and USAGE: lp8(author) ‖ contract_id → the rows below. A row is there as soon as any
record names the contract; until its CONTRACT comes, it has no version.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.transfers import OpenFinding
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import lp8

DAY_US: Final = 86_400_000_000
# Both sides' time, UTC+8, in µs.
_OFFSET_US: Final = 8 * 3_600_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()

# In scope_of(): purposes; categories and sensitive ones; means and transmissions.
_LISTS: Final = ((1 << 64) - 1, ((1 << 128) - 1) << 64, ((1 << 128) - 1) << 192)

# Records that named a contract before it was known, and are kept to be found.
MAX_DANGLING: Final = 100


def contract_key(author: str, contract_id: str) -> bytes:
    """The row of a contract: one id names one contract of an author."""
    return _author(author) + contract_id.encode()


def parse_contract_key(key: bytes) -> tuple[str, str]:
    """(author, contract_id) of a key."""
    end = 1 + key[0]
    return key[1:end].decode(), key[end:].decode()


@lru_cache(maxsize=4096)
def _author(author: str) -> bytes:
    return lp8(author.encode())


class Version(NamedTuple):
    """What the contract says by its newest statement of one version; terms and side encoded."""

    position: int
    recorded_at: int
    digest: bytes
    terms: bytes
    side: bytes


class Filed(NamedTuple):
    """A FILING: the digest of what was filed, the day, the result; 0 with another authority."""

    position: int
    digest: bytes
    filed_on: int
    result: int


class Ended(NamedTuple):
    """The newest TERMINATION: its day, and the one on which the authority was notified (0: not)."""

    position: int
    recorded_at: int
    day: int
    notified_on: int


class Terms(NamedTuple):
    """A version as rules read it: times in µs, parties as (origin, institution)."""

    exporter: tuple[str, str]
    recipient: tuple[str, str]
    mechanism: int
    direction: int
    places: tuple[int, int]
    sectors: tuple[int, int]
    # The first µs and the last one; ends_at 0: no end.
    starts_at: int
    ends_at: int
    # As scope_of().
    scope: int
    planned_scale: int
    retention_days: int
    third_parties: frozenset[str]
    side: pb.ContractSide


@dataclass(slots=True)
class Contract:
    """
    versions in the order of their numbers, the newest statement of each.

    Without a version the contract is not known (yet). due is µs, 0 for none.
    """

    ref: bytes = b""
    # Whether the author is the one who exports.
    exporting: bool = True
    versions: list[Version] = field(default_factory=list)
    filings: list[Filed] = field(default_factory=list)
    # Position, day of completion, conclusion.
    pipias: list[tuple[int, int, int]] = field(default_factory=list)
    # From µs, until µs (0: open).
    suspensions: list[tuple[int, int]] = field(default_factory=list)
    ended: Ended | None = None
    # Positions of records that named it before it was known, at most MAX_DANGLING.
    dangling: list[int] = field(default_factory=list)
    due: int = 0
    findings: list[OpenFinding] = field(default_factory=list)

    def encode(self) -> bytes:
        return encode(
            self.ref,
            int(self.exporting),
            tuple(self.versions),
            tuple(self.filings),
            tuple(self.pipias),
            tuple(self.suspensions),
            () if self.ended is None else self.ended,
            tuple(self.dangling),
            self.due,
            findings_value(self.findings),
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        ref, exporting, versions, filings, pipias, suspensions, ended, dangling, due, found = values
        return cls(
            ref,
            bool(exporting),
            [Version(*version) for version in versions],
            [Filed(*filed) for filed in filings],
            list(pipias),
            list(suspensions),
            Ended(*ended) if ended else None,
            list(dangling),
            due,
            parse_findings(found),
        )

    def terms(self) -> tuple[Terms, ...]:
        """What the versions say, in the same order."""
        return _read_versions(tuple(self.versions))

    def in_force(self, at: int) -> Terms:
        """What a known contract says at a time (µs); before it is in effect, its first version."""
        versions = self.terms()
        return next((each for each in reversed(versions) if each.starts_at <= at), versions[0])


@lru_cache(maxsize=4096)
def _read_versions(versions: tuple[Version, ...]) -> tuple[Terms, ...]:
    return tuple(_read(version.terms, version.side) for version in versions)


@lru_cache(maxsize=4096)
def _read(terms: bytes, side: bytes) -> Terms:
    stated = pb.ContractTerms.FromString(terms)
    return Terms(
        (stated.exporter.origin, stated.exporter.institution),
        (stated.recipient.origin, stated.recipient.institution),
        stated.mechanism,
        stated.direction,
        (stated.exporter_place, stated.recipient_place),
        (stated.exporter_sector, stated.recipient_sector),
        _start_of(stated.effective_on),
        _start_of(stated.expires_on) + DAY_US - 1 if stated.expires_on else 0,
        scope_of(
            tuple(stated.purposes),
            tuple(stated.categories),
            tuple(stated.sensitive_categories),
            tuple(stated.means),
            tuple(stated.transmissions),
        ),
        stated.planned_scale,
        stated.retention_days,
        frozenset(stated.third_parties),
        pb.ContractSide.FromString(side),
    )


def _start_of(yyyymmdd: int) -> int:
    day = date(yyyymmdd // 10_000, yyyymmdd // 100 % 100, yyyymmdd % 100).toordinal() - _EPOCH
    return day * DAY_US - _OFFSET_US


@lru_cache(maxsize=4096)
def scope_of(
    purposes: tuple[int, ...],
    categories: tuple[int, ...],
    sensitive: tuple[int, ...],
    means: tuple[int, ...],
    transmissions: tuple[int, ...],
) -> int:
    """Five lists of codes as one set of bits: from bit 0, 64, 128, 192 and 256 on."""
    lists = (purposes, categories, sensitive, means, transmissions)
    return sum(_bits(codes) << 64 * place for place, codes in enumerate(lists))


def _bits(codes: Iterable[int]) -> int:
    bits = 0
    for code in codes:
        bits |= 1 << code
    return bits


@dataclass(slots=True)
class Usage:
    """
    What was transferred under a contract; positions are of this log, -1 for none.

    Exporters' rows have all of it, recipients' only `held`.
    """

    # The first record that named it.
    since: int = -1
    # The earliest event's record and its time (µs).
    first: int = -1
    first_at: int = 0
    # Persons for the first time this year, and transfers; what was cancelled counts no more.
    subjects: int = 0
    transfers: int = 0
    # Bits as scope_of() beyond the terms; the first record beyond: purposes, categories, means.
    excess: int = 0
    excess_at: tuple[int, int, int] = (-1, -1, -1)
    # The first record with genetic data.
    genetic: int = -1
    # The newest year for which a route was needed: national reading, all reading, record.
    route: tuple[int, int, int, int] = (0, 0, 0, -1)
    # Of a recipient: transfers that are not disposed of.
    held: int = 0
    # Year → persons for the first time, and those of them with sensitive data (K14).
    years: dict[int, tuple[int, int]] = field(default_factory=dict)

    def exceed(self, bits: int, position: int) -> bool:
        """Note codes beyond the terms, in a record; return whether any is new."""
        new = bits & ~self.excess
        if not new:
            return False
        self.excess |= new
        purposes, categories, means = (
            position if new & codes and known < 0 else known
            for codes, known in zip(_LISTS, self.excess_at, strict=True)
        )
        self.excess_at = purposes, categories, means
        return True

    def cover(self, scope: int) -> None:
        """Forget codes that the terms cover now."""
        self.excess &= ~scope
        purposes, categories, means = (
            known if self.excess & codes else -1
            for codes, known in zip(_LISTS, self.excess_at, strict=True)
        )
        self.excess_at = purposes, categories, means

    def clear(self) -> None:
        """Forget what transfers showed: none of them counts any more."""
        self.first, self.first_at, self.genetic = -1, 0, -1
        self.excess, self.excess_at = 0, (-1, -1, -1)
        self.route = (0, 0, 0, -1)

    def encode(self) -> bytes:
        return encode(
            self.since, self.first, self.first_at, self.subjects, self.transfers,
            self.excess, self.excess_at, self.genetic, self.route, self.held,
            tuple((year, *counts) for year, counts in self.years.items()),
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        since, first, first_at, subjects, transfers, excess, beyond, genetic, *values = values
        route, held, years = values
        return cls(
            since, first, first_at, subjects, transfers, excess, beyond, genetic, route, held,
            {year: (persons, sensitive) for year, persons, sensitive in years},
        )  # fmt: skip

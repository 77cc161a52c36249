"""
What was transferred under a contract, as far as its rules sum it up.

USAGE: the contract's key → Usage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self

from ledgerd.projections.rows import decode, encode

# In terms.scope_of(): purposes; categories and sensitive ones; means and transmissions.
_LISTS: Final = ((1 << 64) - 1, ((1 << 128) - 1) << 64, ((1 << 128) - 1) << 192)


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
    # Transfers that have a place in SENT; it never sinks.
    sent: int = 0
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

    def take_shown(self, by_all: Usage) -> None:
        """Take what all transfers that count show of their contract."""
        self.first, self.first_at, self.genetic = by_all.first, by_all.first_at, by_all.genetic
        self.excess, self.excess_at = by_all.excess, by_all.excess_at

    def clear(self) -> None:
        """Forget what transfers showed: none of them counts any more."""
        self.first, self.first_at, self.genetic = -1, 0, -1
        self.excess, self.excess_at = 0, (-1, -1, -1)
        self.route = (0, 0, 0, -1)

    def encode(self) -> bytes:
        return encode(
            self.since, self.first, self.first_at, self.subjects, self.transfers,
            self.excess, self.excess_at, self.genetic, self.route, self.sent, self.held,
            tuple((year, *counts) for year, counts in self.years.items()),
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        since, first, first_at, subjects, transfers, excess, beyond, genetic, *values = values
        route, sent, held, years = values
        return cls(
            since, first, first_at, subjects, transfers, excess, beyond, genetic, route, sent,
            held,
            {year: (persons, sensitive) for year, persons, sensitive in years},
        )  # fmt: skip

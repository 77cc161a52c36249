"""
What one exporter has sent in one year of UTC+8, and groups of contracts that stay below an edge.

COUNTERS: "E" ‖ lp8(exporter) ‖ u16 year → Counter; "G" ‖ lp8(group) ‖ u16 year → Group, of
exporters whom the authority registered in it; "O" ‖ lp8(exporter) ‖ u16 year → Group, of an
exporter that is in no group; "R" ‖ lp8(exporter) ‖ u16 year ‖ (0 ‖ contract key,
or 1 ‖ ref) → Noted, of each contract and transfer that was judged by how high the counter was; the
same without either → Recount.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from ledgerd.projections.rows import Value, decode, encode, findings_value, parse_findings
from ledgerd.projections.transfer_row import OpenFinding
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import lp8

# Contracts just below one edge that a group's row keeps, far more than K14 asks for.
MAX_NEAR: Final = 100


@lru_cache(maxsize=4096)
def counter_key(exporter: str, year: int) -> bytes:
    return b"E" + lp8(exporter.encode()) + year.to_bytes(2, "big")


def group_of(group: str) -> bytes:
    """Of contracts whose exporter is registered in a group; with a year's u16 it is a key."""
    return b"G" + lp8(group.encode())


def own_group_of(exporter: str) -> bytes:
    """Of the contracts of an exporter that is in no group; with a year's u16 it is a key."""
    return b"O" + lp8(exporter.encode())


def year_key(group: bytes, year: int) -> bytes:
    return group + year.to_bytes(2, "big")


def years_of(snapshot: Snapshot, group: bytes) -> list[int]:
    """The years of which a group has a row."""
    rows = snapshot.scan(Table.COUNTERS, group, group + b"\xff" * 3)
    return [int.from_bytes(key[len(group) :], "big") for key, _ in rows]


@lru_cache(maxsize=4096)
def noted_key(exporter: str, year: int) -> bytes:
    return b"R" + lp8(exporter.encode()) + year.to_bytes(2, "big")


def parse_noted_key(key: bytes) -> tuple[str, int]:
    """(exporter, year) of a noted_key()."""
    return key[2:-2].decode(), int.from_bytes(key[-2:], "big")


def noted_contract(contract: bytes) -> bytes:
    """A contract's place after a noted_key()."""
    return b"\0" + contract


def noted_transfer(ref: bytes) -> bytes:
    return b"\1" + ref


class Noted(NamedTuple):
    """What a contract or a transfer was found for: by which record, and, of a contract, routes."""

    position: int
    national: int = 0
    every: int = 0

    def encode(self) -> bytes:
        return encode(*self)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(*values)


def noted(snapshot: Snapshot, key: bytes, start: bytes) -> Iterator[tuple[bytes, Noted]]:
    """Places after a noted_key(), from one on: of contracts, then of transfers."""
    rows = snapshot.scan(Table.COUNTERS, key + (start or b"\0"), key + b"\2")
    return ((found[len(key) :], Noted.parse(value)) for found, value in rows)


@dataclass(slots=True)
class Counter:
    """
    Persons for the first time this year, (non-sensitive, sensitive).

    all: under every mechanism; national: without those under the GBA Standard Contract.
    """

    all: tuple[int, int] = (0, 0)
    national: tuple[int, int] = (0, 0)
    findings: list[OpenFinding] = field(default_factory=list)
    # Not stored: below both of these nothing changes (rules.counting.quiet_below), as long as the
    # figures are those by which it was judged last.
    quiet_below: tuple[int, int] = field(default=(0, 0), compare=False)
    judged_by: object = field(default=None, compare=False)

    def encode(self) -> bytes:
        return encode(self.all, self.national, findings_value(self.findings))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(values[0], values[1], parse_findings(values[2]))


@dataclass(slots=True)
class Group:
    """Contracts of one group that are just below an edge, by the edge's parameter: MAX_NEAR."""

    # Edge → contract key → record that brought it there.
    near: dict[str, dict[bytes, int]] = field(default_factory=dict)
    findings: list[OpenFinding] = field(default_factory=list)

    def enter(self, contract: bytes, position: int, edges: Sequence[str]) -> bool:
        """Have a contract, brought there by the record at position, below these edges alone."""
        before = [edge for edge, contracts in self.near.items() if contract in contracts]
        for edge in before:
            if edge not in edges:
                del self.near[edge][contract]
                if not self.near[edge]:
                    del self.near[edge]
        new = [edge for edge in edges if edge not in before]
        for edge in new:
            contracts = self.near.setdefault(edge, {})
            if len(contracts) < MAX_NEAR:
                contracts[contract] = position
        return bool(new) or any(edge not in edges for edge in before)

    def contracts(self) -> Iterator[tuple[bytes, int]]:
        """Contract key and record, of each edge."""
        for near in self.near.values():
            yield from near.items()

    def encode(self) -> bytes:
        # In their own order, which is the log's: what is judged after a start is judged alike.
        near: Value = tuple((edge, *contracts.items()) for edge, contracts in self.near.items())
        return encode(near, findings_value(self.findings))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(
            {edge: dict(contracts) for edge, *contracts in values[0]}, parse_findings(values[1])
        )

"""
What one exporter has sent in one year of UTC+8, and groups of contracts that stay below an edge.

COUNTERS: "E" ‖ lp8(exporter) ‖ u16 year → Counter; "G" ‖ lp8(group) ‖ u16 year → Group;
"O" ‖ lp8(exporter) ‖ u16 year → Group, of the exporter's contracts that state no group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from ledgerd.projections.rows import Value, decode, encode, findings_value, parse_findings
from ledgerd.projections.transfers import OpenFinding
from ledgerd_client.core.encoding import lp8


@lru_cache(maxsize=4096)
def counter_key(exporter: str, year: int) -> bytes:
    return b"E" + lp8(exporter.encode()) + year.to_bytes(2, "big")


def group_key(group: str, year: int) -> bytes:
    """Of contracts that state a group, whatever exporter states it."""
    return b"G" + lp8(group.encode()) + year.to_bytes(2, "big")


def own_group_key(exporter: str, year: int) -> bytes:
    """Of an exporter's contracts without one: apart, so that nobody can state it as theirs."""
    return b"O" + lp8(exporter.encode()) + year.to_bytes(2, "big")


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
    """Contracts of one group that are just below an edge, by the edge's parameter."""

    # Edge → contract key → record that brought it there.
    near: dict[str, dict[bytes, int]] = field(default_factory=dict)
    findings: list[OpenFinding] = field(default_factory=list)

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

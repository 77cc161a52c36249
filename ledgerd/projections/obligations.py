"""
What a recipient has to dispose of: transfers that it took, by contract and day.

OBLIGATIONS: contract key ‖ u32 day of delete_by (0: none stated) → Obligation; 0 ‖ lp8(author) ‖
ref → Disposed. No author has an empty name, so no contract key begins with 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from ledgerd.projections.contracts import contract_key
from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.transfer_row import OpenFinding
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table

_DAY_BYTES: Final = 4


def obligation_key(contract: bytes, day: int) -> bytes:
    return contract + day.to_bytes(_DAY_BYTES, "big")


def parse_obligation_key(key: bytes) -> tuple[bytes, int]:
    """(contract key, day) of a key."""
    return key[:-_DAY_BYTES], int.from_bytes(key[-_DAY_BYTES:], "big")


def disposed_key(author: str, ref: bytes) -> bytes:
    return b"\0" + contract_key(author, "") + ref


def days_of(snapshot: Snapshot, contract: bytes) -> Iterator[int]:
    """Days on which something under a contract is to be disposed of, 0 first, then in order."""
    end = obligation_key(contract, 0xFFFF_FFFF)
    for key, _ in snapshot.scan(Table.OBLIGATIONS, obligation_key(contract, 0), end):
        if len(key) == len(end):
            yield parse_obligation_key(key)[1]


@dataclass(slots=True)
class Obligation:
    """
    first: the first record by which such data was taken; recorded_at: of its ACK, so that to
    correct it gains no time.

    transfers and subjects are those not yet disposed of; due is µs, 0 for none.
    """

    first: int
    recorded_at: int
    transfers: int
    subjects: int
    due: int
    findings: list[OpenFinding] = field(default_factory=list)

    def encode(self) -> bytes:
        return encode(
            self.first, self.recorded_at, self.transfers, self.subjects, self.due,
            findings_value(self.findings),
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        first, recorded_at, transfers, subjects, due, found = values
        return cls(first, recorded_at, transfers, subjects, due, parse_findings(found))


class Disposed(NamedTuple):
    """A transfer that a DISPOSAL has named, at position the first time since it was taken."""

    position: int

    def encode(self) -> bytes:
        return encode(self.position)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(*values)

"""
Transfers by contract, in the order in which their exporter recorded them.

By these rows, what was sent under a contract is judged again when that turns out to have been
something else than was recorded. SENT: contract key ‖ u32 number → Sent; 0 ‖ contract key → Again.
No author has an empty name, so no contract key begins with 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self

from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.transfer_row import OpenFinding
from ledgerd.projections.usage import Usage

# Transfers of one row, and so what is judged again at a time.
CHUNK: Final = 100
_POSITION_BYTES: Final = 8
# Later than any time, and before any row.
NEVER: Final = 1 << 63
IDLE: Final = -1


def sent_key(contract: bytes, number: int) -> bytes:
    return contract + number.to_bytes(4, "big")


def again_key(contract: bytes) -> bytes:
    return b"\0" + contract


@dataclass(slots=True)
class Sent:
    """The number-th hundred; recorded_at: µs, of the newest of them."""

    recorded_at: int = 0
    packed: bytes = b""

    def add(self, position: int, recorded_at: int) -> None:
        self.packed += position.to_bytes(_POSITION_BYTES, "big")
        self.recorded_at = recorded_at

    @property
    def positions(self) -> list[int]:
        """Places of the records in this log."""
        starts = range(0, len(self.packed), _POSITION_BYTES)
        return [int.from_bytes(self.packed[at : at + _POSITION_BYTES], "big") for at in starts]

    def encode(self) -> bytes:
        return encode(self.recorded_at, self.packed)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(*values)


@dataclass(slots=True)
class Again:
    """
    What of a contract is judged again, in sweeps through its rows, oldest first.

    asked: from what time on (µs) things happened that the next sweep is about; NEVER: none is asked
    for. due: µs, when a TICK goes on, 0 for none. began: µs, when the newest sweep did; since: its
    asked; number: of its next row, IDLE between two sweeps. tally: what it found so far, rule →
    (transfers, the first one's record, the last one's). shown: what all transfers show of their
    contract, of a sweep through all of them. findings: what stands by the sweeps before.
    """

    asked: int = NEVER
    due: int = 0
    began: int = 0
    since: int = NEVER
    number: int = IDLE
    tally: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    shown: Usage = field(default_factory=Usage)
    findings: list[OpenFinding] = field(default_factory=list)

    def begin(self, now: int) -> None:
        """Begin a sweep, with what is asked for and with what anything stands by already."""
        self.since = min(self.asked, self.since) if self.findings else self.asked
        self.asked, self.began = NEVER, now
        self.tally, self.shown = {}, Usage()

    def count(self, rule: str, position: int) -> None:
        """Count a transfer that appears not to meet a rule."""
        transfers, first, _ = self.tally.get(rule, (0, position, position))
        self.tally[rule] = transfers + 1, first, position

    def encode(self) -> bytes:
        return encode(
            self.asked, self.due, self.began, self.since, self.number,
            tuple((rule, *counted) for rule, counted in self.tally.items()),
            self.shown.encode(), findings_value(self.findings),
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        asked, due, began, since, number, tally, shown, found = values
        counted = {rule: (transfers, first, last) for rule, transfers, first, last in tally}
        return cls(
            asked, due, began, since, number, counted, Usage.parse(shown), parse_findings(found)
        )

"""
Transfers by contract, in the order in which their exporter recorded them.

By these rows, what was sent under a contract is judged again when that turns out to have been
something else than was recorded. SENT: contract key ‖ u32 number → Sent; 0 ‖ contract key → Again.
No author has an empty name, so no contract key begins with 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from ledgerd.projections.rows import decode, encode

# Transfers of one row, and so what is judged again at a time.
CHUNK: Final = 100
_POSITION_BYTES: Final = 8


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
    What of a contract is to be judged again: from row number down to what happened at since (µs).

    due: µs, when the next TICK goes on with it.
    """

    since: int
    number: int
    due: int

    def encode(self) -> bytes:
        return encode(self.since, self.number, self.due)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(*values)

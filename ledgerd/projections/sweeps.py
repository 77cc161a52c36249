"""What is looked at again in steps, by TICKs: how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from ledgerd.projections.rows import decode, encode


@dataclass(slots=True)
class Sweep:
    """cursor: the next subject, empty for the first. due: µs, 0 for none."""

    due: int = 0
    cursor: bytes = b""

    def encode(self) -> bytes:
        return encode(self.due, self.cursor)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(*values)

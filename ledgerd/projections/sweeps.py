"""What is looked at again in steps, by TICKs: how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from ledgerd.projections.rows import decode, encode

# Of Recount.asked: no place in the log is as late; and nothing is asked for.
FALLEN: Final = 1 << 63
UNASKED: Final = 1 << 64


@dataclass(slots=True)
class Sweep:
    """
    cursor: the next subject, empty for the first. due: µs, 0 for none. began: µs, when the newest
    sweep did; asked: whether another is to follow it.
    """

    due: int = 0
    cursor: bytes = b""
    began: int = 0
    asked: bool = False

    def encode(self) -> bytes:
        return encode(self.due, self.cursor, self.began, int(self.asked))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        due, cursor, began, asked = values
        return cls(due, cursor, began, bool(asked))


@dataclass(slots=True)
class Recount:
    """
    What is judged by how high a counter stood, judged again, in sweeps through all of it.

    asked: the next sweep, UNASKED for none: FALLEN, or the first record of those transfers of which
    more persons are stated now. raised: the same of this sweep; began: µs, when it did; cursor: the
    next subject, empty between two sweeps. due: µs, 0 for none.
    """

    asked: int = UNASKED
    due: int = 0
    raised: int = UNASKED
    began: int = 0
    cursor: bytes = b""

    def encode(self) -> bytes:
        return encode(self.asked, self.due, self.raised, self.began, self.cursor)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        return cls(*values)

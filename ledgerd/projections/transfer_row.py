"""A row of TRANSFERS or AGREEMENTS: halves, and what is open about them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from ledgerd_client.core.encoding import lp8, u64

# Halves that count: on a transfer, of one log; on a contract, of one author and sort. A transfer
# needs two or three; without a bound, one institution could make a row as long as it likes, and
# every further half has to carry it.
MAX_HALVES: Final = 100

# Of a transfer whose newest halves nobody has judged yet: it stands before every real deadline.
UNJUDGED: Final = 1

# state, due, halves of this log, halves of the peer's, findings, moves
ROW = struct.Struct(">BQIIHH")
_HALF = struct.Struct(">?BQQ32sB")
# Both, of one half, as most rows are.
_ROW_OF_ONE = struct.Struct(ROW.format + _HALF.format.lstrip(">"))
POSITION = struct.Struct(">?Q")
_NUMBER = struct.Struct(">Q")
_MOVE = struct.Struct(">QB")


class Position(NamedTuple):
    """A place in one of the two logs."""

    own: bool
    entry: int


class Half(NamedTuple):
    """One half of a transfer. own: in this node's log; otherwise in the peer's."""

    own: bool
    kind: int
    position: int
    recorded_at: int
    terms_digest: bytes
    outcome: int
    # Whose key signed it; and, in an own half that is not lost, whom its terms name across the
    # border.
    institution: str
    counterparty: str

    @property
    def place(self) -> Position:
        return Position(self.own, self.position)

    @property
    def lost(self) -> bool:
        """Whether it is of this log, and all that is left of it is its header."""
        return self.own and not self.counterparty


class OpenFinding(NamedTuple):
    """A finding that stands until its condition is gone."""

    finding_id: bytes
    rule: str
    records: tuple[Position, ...]
    # As it was opened with; what closes it says them again.
    numbers: tuple[int, ...] = ()


class Move(NamedTuple):
    """A transfer was in a state until entry `at` of this log, which put it in another."""

    at: int
    state: int


@dataclass(slots=True)
class Transfer:
    """
    state is a number of rules.reconcile.State; of a contract, 0 (rules.agreement says what it is).

    due is µs, 0 when nothing is awaited, UNJUDGED when its halves are to be judged first. moves are
    in log order. was: the state that the row was last put with; None of one that never was. place:
    where it stands among the transfers, from its first put() on; None of a contract.
    """

    state: int = 0
    due: int = 0
    halves: list[Half] = field(default_factory=list)
    findings: list[OpenFinding] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    was: int | None = field(default=None, compare=False)
    place: int | None = field(default=None, compare=False)

    def state_before(self, size: int) -> int:
        """Its state when the log had so many entries, and it was known already."""
        return next((move.state for move in self.moves if move.at >= size), self.state)

    def own_halves(self) -> list[int]:
        """The indexes of its halves in this log, but for those that are lost."""
        return [half.position for half in self.halves if half.own and not half.lost]

    def encode(self) -> bytes:
        if len(self.halves) == 1 and not (self.findings or self.moves):
            one = self.halves[0]
            row = _ROW_OF_ONE.pack(self.state, self.due, one.own, not one.own, 0, 0, *one[:6])
            return row + _text(one.institution) + _text(one.counterparty)
        own = 0
        parts = [b""]
        for half in self.halves:
            own += half.own
            parts += pack_half(half)
        counts = own, len(self.halves) - own, len(self.findings), len(self.moves)
        parts[0] = ROW.pack(self.state, self.due, *counts)
        for finding in self.findings:
            places = b"".join(POSITION.pack(*place) for place in finding.records)
            numbers = b"".join(map(u64, finding.numbers))
            parts += (finding.finding_id, _text(finding.rule), lp8(places), lp8(numbers))
        for move in self.moves:
            parts.append(_MOVE.pack(*move))
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        state, due, own, peers, findings, moves = ROW.unpack_from(data)
        reader = _Reader(data, ROW.size)
        return cls(
            state,
            due,
            [reader.half() for _ in range(own + peers)],
            [
                OpenFinding(reader.bytes(32), reader.text(), reader.positions(), reader.numbers())
                for _ in range(findings)
            ],
            [Move(*reader.take(_MOVE)) for _ in range(moves)],
            was=state,
        )


def count_own(row: bytes) -> int:
    """How many halves of this log an encoded row has."""
    own: int = ROW.unpack_from(row)[2]
    return own


def state_of_row(row: bytes) -> int:
    """The state of an encoded row."""
    return row[0]


def pack_half(half: Half) -> tuple[bytes, bytes, bytes]:
    return _HALF.pack(*half[:6]), _text(half.institution), _text(half.counterparty)


@lru_cache(maxsize=4096)
def _text(text: str) -> bytes:
    return lp8(text.encode())


def read_half(data: bytes, offset: int) -> Half:
    """What pack_half packed, from an offset on."""
    return _Reader(data, offset).half()


class _Reader:
    """Reads what this module wrote; the store is audited as a whole, not here."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._offset = offset

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        values = layout.unpack_from(self._data, self._offset)
        self._offset += layout.size
        return values

    def half(self) -> Half:
        return Half(*(*self.take(_HALF), self.text(), self.text()))

    def bytes(self, size: int) -> bytes:
        self._offset += size
        return self._data[self._offset - size : self._offset]

    def text(self) -> str:
        return self.bytes(self.bytes(1)[0]).decode()

    def positions(self) -> tuple[Position, ...]:
        packed = self.bytes(self.bytes(1)[0])
        return tuple(Position(*values) for values in POSITION.iter_unpack(packed))

    def numbers(self) -> tuple[int, ...]:
        packed = self.bytes(self.bytes(1)[0])
        return tuple(number for (number,) in _NUMBER.iter_unpack(packed))

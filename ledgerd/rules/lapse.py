"""What a rule says of its subject: the lapses that hold now, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ledgerd.projections.transfers import Position
from ledgerd_client._proto import body_pb2 as pb


class Lapse(NamedTuple):
    """
    Something that appears not to meet a rule, as long as it holds.

    numbers have the meaning and order of `rulebook.RULES[rule].numbers`; none is below 0. Records
    are named in the order in which they matter: the first one is what showed it.
    """

    rule: str
    records: tuple[Position, ...]
    numbers: tuple[int, ...] = ()


class Judgement(NamedTuple):
    """
    All lapses of a subject that hold at a time.

    due: µs. A TICK beyond it may change the judgement, though no record comes; 0: none will.
    """

    lapses: tuple[Lapse, ...] = ()
    due: int = 0


class Party(NamedTuple):
    """
    An institution of this side, as its key event registers it.

    side: "CN" or "HK". group: of companies, empty for none.
    """

    id: str
    side: str
    place: int
    sector: int
    group: str = ""


def accused_after(deadline: int, started: int, rules: pb.RuleSet) -> int:
    """
    The last µs of our own side's deadline on which nobody is accused of missing it.

    What meets it may be on its way: a record is given `record_within` to reach the log, counted
    from the deadline, or from when the record that started it was recorded, if that is later.
    """
    return max(deadline, started) + rules.record_within


def own(position: int) -> Position:
    return Position(own=True, entry=position)


def merged(judgements: Iterable[Judgement]) -> Judgement:
    """All lapses of several judgements, and the earliest time to look again."""
    found = list(judgements)
    lapses = tuple(lapse for judgement in found for lapse in judgement.lapses)
    return Judgement(lapses, min((each.due for each in found if each.due), default=0))

"""What a rule says of its subject: the lapses that hold now, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ledgerd.projections.transfer_row import Position


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


class Grace(NamedTuple):
    """
    How long what meets a deadline of our own side may be on its way to the log (µs).

    record_within: the rule set's. away: from when to when the node was away, in order; no record
    could reach the log then, so that these times do not count.
    """

    record_within: int
    away: tuple[tuple[int, int], ...] = ()

    def ends(self, deadline: int, started: int) -> int:
        """
        The last µs on which nobody is accused of missing a deadline.

        started: when the record that started it was recorded.
        """
        begin = max(deadline, started)
        end = begin + self.record_within
        for since, until in self.away:
            if begin < until and since <= end:
                end += until - max(begin, since)
        return end


def own(position: int) -> Position:
    return Position(own=True, entry=position)


def merged(judgements: Iterable[Judgement]) -> Judgement:
    """All lapses of several judgements, and the earliest time to look again."""
    found = list(judgements)
    lapses = tuple(lapse for judgement in found for lapse in judgement.lapses)
    return Judgement(lapses, min((each.due for each in found if each.due), default=0))

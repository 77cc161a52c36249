"""
What the halves of a contract amount to: agreed, or not (C1; docs/protocol.md, "Contracts").

By headers alone, so both nodes come to the same answer. Who states something anew replaces it: of
each sort (contract, filing, supplement, termination, disposal) the latest half of each side counts,
and one that met the other side's settles those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ledgerd.projections.transfers import MAX_HALVES, Half
from ledgerd.rules.reconcile import HIGH, MEDIUM, Condition
from ledgerd_client._proto import body_pb2 as pb

AGREED, OPEN, ONE_SIDED, DIFFERS = "agreed", "open", "one_sided", "differs"

OWN_RULES: Final = frozenset(
    ("C1.differs", "C1.one_sided", "C1.foreign_half", "C1.too_many_halves")
)


class Agreement(NamedTuple):
    """
    states: by outcome (1 contract, … 5 disposal), as far as there is any half of it.

    due: µs after which silence of the other side means something; 0: nothing is awaited.
    """

    states: Mapping[int, str]
    conditions: tuple[Condition, ...]
    due: int


class _Sort(NamedTuple):
    state: str
    conditions: tuple[Condition, ...] = ()
    due: int = 0


def agree(halves: Sequence[Half], known_until: int, rules: pb.RuleSet) -> Agreement:
    """
    Judge a contract by its halves, each log's in log order.

    known_until: µs, when the newest anchored checkpoint of the peer was fetched. The first
    MAX_HALVES of each log count; the next one is found, and what follows may be left out.
    """
    ours = [half for half in halves if half.own]
    theirs = [half for half in halves if not half.own]
    uncounted = [
        Condition("C1.too_many_halves", MEDIUM, (log[MAX_HALVES].place,))
        for log in (ours, theirs)
        if len(log) > MAX_HALVES
    ]
    ours, theirs = ours[:MAX_HALVES], theirs[:MAX_HALVES]
    if ours:
        party, counterparty = ours[0].institution, ours[0].counterparty
        foreign = [half for half in ours if half.institution != party]
        foreign += [half for half in theirs if half.institution != counterparty]
        uncounted += [Condition("C1.foreign_half", HIGH, (half.place,)) for half in foreign]
        ours = [half for half in ours if half.institution == party]
        theirs = [half for half in theirs if half.institution == counterparty]
    outcomes = sorted({half.outcome for half in (*ours, *theirs)})
    sorts = {
        outcome: _judge(
            [half for half in ours if half.outcome == outcome],
            [half for half in theirs if half.outcome == outcome],
            known_until,
            rules.agree_within,
        )
        for outcome in outcomes
    }
    return Agreement(
        {outcome: sort.state for outcome, sort in sorts.items()},
        (*uncounted, *(found for sort in sorts.values() for found in sort.conditions)),
        min((sort.due for sort in sorts.values() if sort.due), default=0),
    )


def state_of(states: Mapping[int, str]) -> str:
    """The state of a contract: the worst of its sorts; OPEN without any."""
    worst = (state for state in (DIFFERS, ONE_SIDED, OPEN, AGREED) if state in states.values())
    return next(worst, OPEN)


def _judge(
    ours: Sequence[Half], theirs: Sequence[Half], known_until: int, agree_within: int
) -> _Sort:
    latest = [side[-1] for side in (ours, theirs) if side]
    if len(latest) == 2:
        if latest[0].terms_digest == latest[1].terms_digest:
            return _Sort(AGREED)
        ahead = list(_ahead(ours, theirs))
        if not ahead:
            places = (latest[0].place, latest[1].place)
            return _Sort(DIFFERS, (Condition("C1.differs", HIGH, places),))
        latest = ahead
    newest = max(latest, key=lambda half: half.recorded_at)
    due = newest.recorded_at + agree_within
    if not agree_within or known_until <= due:
        return _Sort(OPEN, due=due if agree_within else 0)
    return _Sort(ONE_SIDED, (Condition("C1.one_sided", MEDIUM, (newest.place,)),))


def _ahead(ours: Sequence[Half], theirs: Sequence[Half]) -> Iterator[Half]:
    """The latest halves that the other side may still follow: its own was said here before."""
    for side, other in ((ours, theirs), (theirs, ours)):
        if other[-1].terms_digest in {half.terms_digest for half in side}:
            yield side[-1]

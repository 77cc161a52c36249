"""
What the halves of a contract amount to: agreed, or not (C1; docs/protocol.md, "Contracts").

By headers alone, so both nodes come to the same answer. Who states something anew replaces it: of
each sort (contract, filing, supplement, termination) the latest half of each side counts, and one
that met the other side's settles those before it. A disposal replaces none: each is met by an equal
one of the other side, and what is judged are the halves of that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ledgerd.projections.transfer_row import MAX_HALVES, Half, Position
from ledgerd.rules.reconcile import Condition
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.contract import CONTRACT, SUPPLEMENT

AGREED, OPEN, ONE_SIDED, DIFFERS = "agreed", "open", "one_sided", "differs"

_NAMING: Final = frozenset((CONTRACT, SUPPLEMENT))

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


class Restated(NamedTuple):
    """What a half took the place of, and how many its author had said before that."""

    half: Half
    number: int


def restated(halves: Iterable[Half], half: Half) -> Restated | None:
    """What a half will take the place of when it is taken; None: of nothing."""
    said = [each for each in halves if _author(each) == _author(half)]
    for number, each in enumerate(said):
        if each.terms_digest == half.terms_digest:
            return Restated(each, number)
    return None


def take(halves: list[Half], half: Half) -> bool:
    """
    Enter a half among those of a contract, or of one disposal; whether it says anything new.

    What its author said before is moved, so that a row grows only with what is said for the first
    time; and of one author and sort by no more than one beyond MAX_HALVES, whoever else writes. It
    was said then for the first time, unless the two have agreed since: to say two things by turns
    must not put off for ever what the other side is waited for.
    """
    like = [place for place, each in enumerate(halves) if _author(each) == _author(half)]
    said = [halves[place] for place in like]
    if len(said) > MAX_HALVES or (said and said[-1].terms_digest == half.terms_digest):
        return False
    earlier = [each for each in said if each.terms_digest == half.terms_digest]
    like_it = [each for each in halves if each.outcome == half.outcome]
    if earlier and earlier[0].recorded_at >= _agreed_at(like_it):
        half = half._replace(recorded_at=earlier[0].recorded_at)
    kept = [each for each in said if each.terms_digest != half.terms_digest] + [half]
    if len(kept) > len(said):
        halves.append(half)
    # In the places of that author's, so that who came first stays first.
    for place, each in zip(like, kept, strict=False):
        halves[place] = each
    return True


def take_back(halves: list[Half], taken: Position, back: Restated) -> None:
    """
    Put back what a half that was taken had taken the place of.

    As take() had it, once that is done for whatever was taken later, and what was said for the
    first time since is left out.
    """
    at = next(place for place, each in enumerate(halves) if each.place == taken)
    like = [place for place, each in enumerate(halves) if _author(each) == _author(back.half)]
    said = [halves[place] for place in like if place != at]
    said.insert(back.number, back.half)
    for place, each in zip(like, said, strict=True):
        halves[place] = each


def parties_of(halves: Iterable[Half]) -> Half | None:
    """
    Who the parties are: as the first half of this log, with whom its author names newest.

    Of what it states the contract and its supplements say so, where there are any: a wrong name
    that was mended is nobody's any more.
    """
    ours = [half for half in halves if half.own]
    if not ours:
        return None
    stated = [half for half in ours if half.institution == ours[0].institution]
    newest = max(stated, key=lambda half: (half.outcome in _NAMING, half.position))
    return ours[0]._replace(counterparty=newest.counterparty)


def agree(
    halves: Sequence[Half], known_until: int, rules: pb.RuleSet, parties: Half | None = None
) -> Agreement:
    """
    Judge a contract, or one disposal, by its halves, each author's in log order.

    known_until: µs, when the newest anchored checkpoint of the peer was fetched. Of each author and
    sort the first MAX_HALVES count; the next one is found. parties: of the contract, by
    parties_of(), where halves are not all of it.
    """
    ours = [half for half in halves if half.own]
    theirs = [half for half in halves if not half.own]
    uncounted: list[Condition] = []
    if parties := parties or parties_of(ours):
        party, counterparty = parties.institution, parties.counterparty
        # Unknown when the half that names it is lost: then nobody is a stranger.
        named = {counterparty} if counterparty else {half.institution for half in theirs}
        foreign = [half for half in ours if half.institution != party]
        foreign += [half for half in theirs if half.institution not in named]
        uncounted = [Condition("C1.foreign_half", (half.place,)) for half in foreign]
        ours = [half for half in ours if half.institution == party]
        theirs = [half for half in theirs if half.institution in named]
    outcomes = sorted({half.outcome for half in (*ours, *theirs)})
    sorts = {}
    for outcome in outcomes:
        logs = [[half for half in log if half.outcome == outcome] for log in (ours, theirs)]
        excess = [log[MAX_HALVES] for log in logs if len(log) > MAX_HALVES]
        uncounted += [Condition("C1.too_many_halves", (half.place,)) for half in excess]
        ours_of, theirs_of = (log[:MAX_HALVES] for log in logs)
        sorts[outcome] = _judge(ours_of, theirs_of, known_until, rules.agree_within)
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
            return _Sort(DIFFERS, (Condition("C1.differs", places),))
        latest = ahead
    newest = max(latest, key=lambda half: half.recorded_at)
    due = _since(newest, ours, theirs) + agree_within
    if not agree_within or known_until <= due:
        return _Sort(OPEN, due=due if agree_within else 0)
    return _Sort(ONE_SIDED, (Condition("C1.one_sided", (newest.place,)),))


def _since(newest: Half, ours: Sequence[Half], theirs: Sequence[Half]) -> int:
    """Since when (µs) the other side has not followed, however often its counterpart changed."""
    side, other = (ours, theirs) if newest.own else (theirs, ours)
    met, agreed_at = {half.terms_digest for half in other}, _agreed_at((*ours, *theirs))
    unmet = (half for half in side if half.terms_digest not in met)
    times = [half.recorded_at for half in unmet if half.recorded_at > agreed_at]
    return min(times, default=newest.recorded_at)


def _agreed_at(halves: Iterable[Half]) -> int:
    """When (µs) both sides had last said one thing; 0: they never had."""
    said: dict[bytes, dict[bool, int]] = {}
    for half in halves:
        said.setdefault(half.terms_digest, {})[half.own] = half.recorded_at
    return max((max(times.values()) for times in said.values() if len(times) == 2), default=0)


def _author(half: Half) -> tuple[bool, str, int]:
    return half.own, half.institution, half.outcome


def _ahead(ours: Sequence[Half], theirs: Sequence[Half]) -> Iterator[Half]:
    """The latest halves that the other side may still follow: its own was said here before."""
    for side, other in ((ours, theirs), (theirs, ours)):
        if other[-1].terms_digest in {half.terms_digest for half in side}:
            yield side[-1]

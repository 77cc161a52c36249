"""
Yearly counters of an exporter, and what their edges mean (K11, K12, K14).

CAC Provisions of 22 March 2024, articles 5, 7 and 8: persons since 1 January; who reaches a number
is in ("以上" includes it). Whether volumes sent under the GBA Standard Contract count is disputed,
so both readings are kept: all of them, and the national one without that contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ledgerd.projections.counters import Counter, Group
from ledgerd.rules.lapse import Lapse, own
from ledgerd.rules.law import Parameters

_ART5_4_VOLUME: Final = 7
VOLUME: Final = frozenset(("K12.volume", "K12.volume_disputed"))
# Larger than any count: nothing changes any more.
NEVER: Final = 1 << 64

# Parameters, by which of (persons, persons with sensitive data) they bound.
_EDGES: Final = (
    ("subjects_contract", 0),
    ("subjects_assessment", 0),
    ("sensitive_contract", 1),
    ("sensitive_assessment", 1),
)
# No number of persons lies just below 1.
_APPROACHED: Final = (_EDGES[0], _EDGES[1], _EDGES[3])


def needed_route(counts: tuple[int, int], parameters: Parameters) -> int:
    """What a year's counts need: 2 an assessment, 1 a contract or certificate, 0 nothing."""
    subjects, sensitive = counts
    if _reaches(subjects, parameters.subjects_assessment) or _reaches(
        sensitive, parameters.sensitive_assessment
    ):
        return 2
    return int(
        _reaches(subjects, parameters.subjects_contract)
        or _reaches(sensitive, parameters.sensitive_contract)
    )


def judge_counter(
    counter: Counter, year: int, position: int, parameters: Parameters
) -> tuple[Lapse, ...]:
    """K11's information: edges that are reached or near, shown by the record at position."""
    return tuple(_counted(counter.all, year, position, parameters))


def _counted(
    counts: tuple[int, int], year: int, position: int, parameters: Parameters
) -> Iterator[Lapse]:
    for name, which in _EDGES:
        if _reaches(counts[which], edge := getattr(parameters, name)):
            yield Lapse(f"K11.{name}", (own(position),), (counts[which], edge, year))
    for name, which in _APPROACHED:
        edge = getattr(parameters, name)
        if _is_just_below(counts[which], edge, parameters.near_percent):
            yield Lapse(f"K11.near_{name}", (own(position),), (counts[which], edge, year))


def quiet_below(counts: tuple[int, int], parameters: Parameters) -> tuple[int, int]:
    """The next counts above the present ones at which judge_counter or needed_route change."""
    marks: tuple[list[int], list[int]] = ([], [])
    for name, which in _EDGES:
        marks[which].append(getattr(parameters, name))
    for name, which in _APPROACHED:
        marks[which].append(-(-getattr(parameters, name) * parameters.near_percent // 100))
    return _next(counts, marks)


def near_below(counts: tuple[int, int], parameters: Parameters) -> tuple[int, int]:
    """The next counts above the present ones at which near_edge changes."""
    marks: tuple[list[int], list[int]] = ([], [])
    for name, which in _APPROACHED:
        edge = getattr(parameters, name)
        marks[which].extend((edge, -(-edge * parameters.split_percent // 100)))
    return _next(counts, marks)


def _next(counts: tuple[int, int], marks: tuple[Sequence[int], Sequence[int]]) -> tuple[int, int]:
    subjects, sensitive = (
        min((mark for mark in found if mark > count), default=NEVER)
        for found, count in zip(marks, counts, strict=True)
    )
    return subjects, sensitive


def volume(
    exemption: int, sensitive: int, counter: Counter, parameters: Parameters
) -> tuple[str, ...]:
    """
    K12, Provisions 5(4): the exemption by number, of a transfer that the counter counts already.

    sensitive: persons with sensitive data in it; they are never exempt by number.
    """
    edge = parameters.subjects_contract
    if exemption != _ART5_4_VOLUME or not edge:
        return ()
    if sensitive or counter.national[0] >= edge:
        return ("K12.volume",)
    return ("K12.volume_disputed",) if counter.all[0] >= edge else ()


def near_edge(counts: tuple[int, int], parameters: Parameters) -> tuple[str, ...]:
    """K14: the edges, by their parameters' names, that a contract's year stays just below."""
    return tuple(
        name
        for name, which in _APPROACHED
        if _is_just_below(counts[which], getattr(parameters, name), parameters.split_percent)
    )


def judge_group(group: Group, year: int, parameters: Parameters) -> tuple[Lapse, ...]:
    """K14: contracts of one group, each just below the same edge. A heuristic, to be reviewed."""
    for name, _ in _APPROACHED:
        near = group.near.get(name, {})
        if 0 < parameters.split_members <= len(near):
            shown = sorted(near.values())[: parameters.split_members]
            numbers = (len(near), getattr(parameters, name), year)
            return (Lapse("K14.split", tuple(own(position) for position in shown), numbers),)
    return ()


def _reaches(count: int, edge: int) -> bool:
    """Whether an edge that is in force is reached: the number itself is in."""
    return 0 < edge <= count


def _is_just_below(count: int, edge: int, percent: int) -> bool:
    return bool(percent) and 100 * count >= percent * edge and count < edge

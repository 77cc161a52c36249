"""Yearly counters of a Mainland exporter, and groups of contracts that stay below an edge (K14)."""

from __future__ import annotations

from typing import NamedTuple

from ledgerd.ledger.law_state import LawState
from ledgerd.projections.contracts import Contract, parse_contract_key
from ledgerd.projections.counters import (
    Counter,
    Group,
    counter_key,
    group_key,
    noted,
    noted_key,
    own_group_key,
)
from ledgerd.projections.sweeps import Sweep
from ledgerd.projections.timers import FREED
from ledgerd.projections.usage import Usage
from ledgerd.rules.counting import judge_counter, judge_group, near_edge, needed_route, quiet_below
from ledgerd.rules.law import Parameters
from ledgerd.rules.mechanisms import GBA_SC
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb

Counts = tuple[int, int]


class Counted(NamedTuple):
    """
    Persons whom a record adds to a contract's year, or takes away: (non-sensitive, sensitive).

    position: of the record. parameters: those of the day of the transfer.
    """

    key: bytes
    year: int
    counts: Counts
    position: int
    parameters: Parameters


class Counting(NamedTuple):
    """Whether a contract's transfers count by the narrow reading too, and with which group."""

    national: bool
    group: str


class CountLaw:
    """
    Keeps to this: a counter is the sum of its exporter's contracts' years.

    National is the sum of those whose newest version is not of the GBA Standard Contract.
    """

    def __init__(self, state: LawState) -> None:
        self._state = state

    def counter(self, transaction: Transaction, exporter: str, year: int) -> Counter:
        return self._state.counters.get(transaction, counter_key(exporter, year)) or Counter()

    def add(
        self, transaction: Transaction, counted: Counted, contract: Contract | None, usage: Usage
    ) -> list[pb.Finding]:
        """Add to the contract's year and the exporter's; usage is the contract's row."""
        before = usage.years.get(counted.year, (0, 0))
        usage.years[counted.year] = after = _plus(before, counted.counts)
        counting = counting_of(contract)
        national = counted.counts if counting.national else (0, 0)
        due = self._count(transaction, counted, national)
        parameters = counted.parameters
        if near_edge(before, parameters) != near_edge(after, parameters):
            due += self._regroup(transaction, counted, after, counting.group)
        return due

    def needed(
        self, transaction: Transaction, exporter: str, year: int, parameters: Parameters
    ) -> Counts:
        """The route that the year needs so far: by the national reading, by the other."""
        counter = self.counter(transaction, exporter, year)
        return needed_route(counter.national, parameters), needed_route(counter.all, parameters)

    def restated(
        self,
        transaction: Transaction,
        counted: Counted,
        usage: Usage,
        before: Counting,
        after: Counting,
    ) -> list[pb.Finding]:
        """Count what was sent under a contract by its new terms; counted names contract and day."""
        due: list[pb.Finding] = []
        for year, counts in usage.years.items():
            of_year = counted._replace(year=year)
            if before.national != after.national:
                sign = 1 if after.national else -1
                due += self._count(transaction, of_year, (sign * counts[0], sign * counts[1]))
            if before.group != after.group:
                due += self._regroup(transaction, of_year, (0, 0), before.group)
                due += self._regroup(transaction, of_year, counts, after.group)
        return due

    def _count(
        self, transaction: Transaction, counted: Counted, national: Counts
    ) -> list[pb.Finding]:
        exporter, _ = parse_contract_key(counted.key)
        key = counter_key(exporter, counted.year)
        counter = self.counter(transaction, exporter, counted.year)
        falls = min(*counted.counts, *national) < 0
        before = _marks(counter, counted.parameters) if falls else None
        counter.all = _plus(counter.all, counted.counts)
        counter.national = _plus(counter.national, national)
        self._state.counters.put(key, counter)
        if falls and _marks(counter, counted.parameters) != before:
            self._look_again(transaction, exporter, counted.year)
        if counter.judged_by is counted.parameters and min(counted.counts) >= 0:
            quiet = counter.quiet_below
            if counter.all[0] < quiet[0] and counter.all[1] < quiet[1]:
                return []
        counter.judged_by = counted.parameters
        counter.quiet_below = quiet_below(counter.all, counted.parameters)
        lapses = judge_counter(counter, counted.position, counted.parameters)
        return self._state.change(counter.findings, lapses, institution=exporter)

    def note(self, transaction: Transaction, exporter: str, year: int, place: bytes) -> None:
        """Keep what is judged by how high the counter is, to judge it again when that is lower."""
        transaction.put(Table.COUNTERS, noted_key(exporter, year) + place, b"")

    def _look_again(self, transaction: Transaction, exporter: str, year: int) -> None:
        """By TICKs, so that what was cancelled and sent anew in between changes nothing."""
        key = noted_key(exporter, year)
        if next(noted(transaction, key, b""), None) is None:
            return
        sweep = self._state.freed.get(transaction, key) or Sweep()
        due = max(self._state.now, 1)
        self._state.timers.move(FREED, key, sweep.due, due)
        sweep.due, sweep.cursor = due, b""
        self._state.freed.put(key, sweep)

    def _regroup(
        self, transaction: Transaction, counted: Counted, counts: Counts, declared: str
    ) -> list[pb.Finding]:
        """
        Enter a contract under the edges that it is just below, and under no others.

        Under the group that it declares if the authority registered its exporter in it, so that
        nobody can state what others are listed for; otherwise among the exporter's own.
        """
        exporter, _ = parse_contract_key(counted.key)
        keys = [own_group_key(exporter, counted.year)]
        if declared:
            keys.append(group_key(declared, counted.year))
        joined = declared and declared == self._state.party(exporter).group
        due: list[pb.Finding] = []
        for key in keys:
            # Out of the other one too: the authority may have registered it since.
            inside = key == keys[-1 if joined else 0]
            edges = near_edge(counts, counted.parameters) if inside else ()
            group = self._state.groups.get(transaction, key) or Group()
            if group.enter(counted.key, counted.position, edges):
                self._state.groups.put(key, group)
                due += self._judge(transaction, group, counted.parameters)
        return due

    def _judge(
        self, transaction: Transaction, group: Group, parameters: Parameters
    ) -> list[pb.Finding]:
        lapses = judge_group(group, parameters)
        # One exporter is told of all: the one whose record it rests on, then and when it closes.
        shown = [found.records[0] for found in group.findings]
        shown += [lapse.records[0] for lapse in lapses]
        if not shown:
            return []
        teller = self._state.author(transaction, shown[0].entry)
        return self._state.change(group.findings, lapses, institution=teller)


def counting_of(contract: Contract | None) -> Counting:
    """How a contract's transfers count by its newest version, or while it is not known."""
    if contract is None or not contract.versions:
        return Counting(national=True, group="")
    newest = contract.terms()[-1]
    return Counting(newest.mechanism != GBA_SC, newest.side.group_id)


def _marks(counter: Counter, parameters: Parameters) -> tuple[Counts, Counts]:
    """Between the same marks a counter means the same, by either reading."""
    return quiet_below(counter.all, parameters), quiet_below(counter.national, parameters)


def _plus(one: Counts, other: Counts) -> Counts:
    return max(0, one[0] + other[0]), max(0, one[1] + other[1])

"""Yearly counters of a Mainland exporter, and groups of contracts that stay below an edge (K14)."""

from __future__ import annotations

from typing import NamedTuple

from ledgerd.ledger.law_state import LawState
from ledgerd.projections.contracts import Contract, parse_contract_key
from ledgerd.projections.counters import (
    Counter,
    Group,
    Noted,
    counter_key,
    group_of,
    noted,
    noted_key,
    own_group_of,
    year_key,
    years_of,
)
from ledgerd.projections.sweeps import FALLEN, Recount
from ledgerd.projections.timers import FREED
from ledgerd.projections.usage import Usage
from ledgerd.rules.counting import (
    NEVER,
    judge_counter,
    judge_group,
    near_edge,
    needed_route,
    quiet_below,
)
from ledgerd.rules.law import Law, Parameters
from ledgerd.rules.mechanisms import GBA_SC
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import DAY_US, day_of, from_date

Counts = tuple[int, int]


class Counted(NamedTuple):
    """
    Persons whom a record adds to a contract's year, or takes away: (non-sensitive, sensitive).

    position: of the record. parameters: those of the day of the transfer. restates: the first
    record of what was stated before, NEVER if this is the first.
    """

    key: bytes
    year: int
    counts: Counts
    position: int
    parameters: Parameters
    restates: int = NEVER


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
        national = counted.counts if is_national(contract) else (0, 0)
        due = self._count(transaction, counted, national)
        parameters = counted.parameters
        if near_edge(before, parameters) or near_edge(after, parameters):
            due += self._regroup(transaction, counted, after)
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
        key: bytes,
        restated: tuple[int, int],
        usage: Usage,
        *,
        national: bool,
    ) -> list[pb.Finding]:
        """
        Count what was sent under a contract by the national reading too, or no more.

        restated: position of the record that says so, and when it was recorded (µs).
        """
        position, recorded_at = restated
        sign = 1 if national else -1
        due: list[pb.Finding] = []
        for year, counts in usage.years.items():
            parameters = figures_of(self._state.law, year, recorded_at)
            of_year = Counted(key, year, (0, 0), position, parameters, restates=0)
            due += self._count(transaction, of_year, (sign * counts[0], sign * counts[1]))
        return due

    def on_key(self, transaction: Transaction, exporter: str, recorded_at: int) -> list[pb.Finding]:
        """Have an exporter's contracts in the group in which the authority registers it now."""
        self._state.groups.flush(transaction)
        moving: dict[tuple[int, bytes], int] = {}
        for group in self._groups(exporter):
            for year in years_of(transaction, group):
                row = self._state.groups.get(transaction, year_key(group, year)) or Group()
                for contract, position in row.contracts():
                    if parse_contract_key(contract)[0] == exporter:
                        moving[year, contract] = position
        due: list[pb.Finding] = []
        for (year, contract), position in moving.items():
            usage = self._state.usage.get(transaction, contract) or Usage()
            counts = usage.years.get(year, (0, 0))
            parameters = figures_of(self._state.law, year, recorded_at)
            moved = Counted(contract, year, (0, 0), position, parameters)
            due += self._regroup(transaction, moved, counts)
        return due

    def _count(
        self, transaction: Transaction, counted: Counted, national: Counts
    ) -> list[pb.Finding]:
        exporter, _ = parse_contract_key(counted.key)
        key = counter_key(exporter, counted.year)
        counter = self.counter(transaction, exporter, counted.year)
        falls = min(*counted.counts, *national) < 0
        restated = falls or counted.restates < NEVER
        before = _marks(counter, counted.parameters) if restated else None
        counter.all = _plus(counter.all, counted.counts)
        counter.national = _plus(counter.national, national)
        self._state.counters.put(key, counter)
        if restated and _marks(counter, counted.parameters) != before:
            asked = FALLEN if falls else counted.restates
            self._look_again(transaction, noted_key(exporter, counted.year), asked)
        if counter.judged_by is counted.parameters and min(counted.counts) >= 0:
            quiet = counter.quiet_below
            if counter.all[0] < quiet[0] and counter.all[1] < quiet[1]:
                return []
        counter.judged_by = counted.parameters
        counter.quiet_below = quiet_below(counter.all, counted.parameters)
        lapses = judge_counter(counter, counted.year, counted.position, counted.parameters)
        return self._state.change(counter.findings, lapses, institution=exporter)

    def note(
        self, transaction: Transaction, exporter: str, year: int, place: bytes, found: Noted
    ) -> None:
        """Keep what is found by how high the counter is, to judge it again when that changes."""
        key = noted_key(exporter, year) + place
        value = transaction.get(Table.COUNTERS, key)
        known = None if value is None else Noted.parse(value)
        if known is None or found.national > known.national or found.every > known.every:
            transaction.put(Table.COUNTERS, key, found.encode())

    def _look_again(self, transaction: Transaction, key: bytes, asked: int) -> None:
        """By TICKs, so that what was cancelled and sent anew in between changes nothing."""
        if next(noted(transaction, key, b""), None) is None:
            return
        recount = self._state.recounts.get(transaction, key) or Recount()
        recount.asked = min(recount.asked, asked)
        if not recount.due:
            recount.due = max(self._state.now, recount.began + DAY_US, 1)
            self._state.timers.move(FREED, key, 0, recount.due)
        self._state.recounts.put(key, recount)

    def _regroup(
        self, transaction: Transaction, counted: Counted, counts: Counts
    ) -> list[pb.Finding]:
        """
        Enter a contract under the edges that it is just below, and under no others.

        With those of the group in which the authority registered its exporter: whatever anybody
        declares, nobody is listed with strangers, and nobody escapes.
        """
        exporter, _ = parse_contract_key(counted.key)
        due: list[pb.Finding] = []
        *before, now = self._groups(exporter)
        for group_of_it in (*before, now):
            key = year_key(group_of_it, counted.year)
            edges = near_edge(counts, counted.parameters) if group_of_it == now else ()
            group = self._state.groups.get(transaction, key) or Group()
            if group.enter(counted.key, counted.position, edges):
                self._state.groups.put(key, group)
                due += self._judge(transaction, group, counted)
        return due

    def _groups(self, exporter: str) -> list[bytes]:
        """Where an exporter's contracts are or were; where they are now is the last one."""
        now = self._state.party(exporter).group
        groups = [own_group_of(exporter), *map(group_of, self._state.groups_of(exporter))]
        last = group_of(now) if now else groups[0]
        return [*(group for group in groups if group != last), last]

    def _judge(self, transaction: Transaction, group: Group, counted: Counted) -> list[pb.Finding]:
        lapses = judge_group(group, counted.year, counted.parameters)
        # One exporter is told of all: the one whose record it rests on, then and when it closes.
        shown = [found.records[0] for found in group.findings]
        shown += [lapse.records[0] for lapse in lapses]
        if not shown:
            return []
        teller = self._state.author(transaction, shown[0].entry)
        return self._state.change(group.findings, lapses, institution=teller)


def is_national(contract: Contract | None) -> bool:
    """Whether a contract's transfers count by the narrow reading too: by its newest version."""
    if contract is None or not contract.versions:
        return True
    return contract.terms()[-1].mechanism != GBA_SC


def figures_of(law: Law, year: int, at: int) -> Parameters:
    """By which figures a year is judged as a whole: of its last day up to a time (µs)."""
    return law.at(min(day_of(at), from_date(year * 10_000 + 1231)))


def _marks(counter: Counter, parameters: Parameters) -> tuple[Counts, Counts]:
    """Between the same marks a counter means the same, by either reading."""
    return quiet_below(counter.all, parameters), quiet_below(counter.national, parameters)


def _plus(one: Counts, other: Counts) -> Counts:
    return max(0, one[0] + other[0]), max(0, one[1] + other[1])

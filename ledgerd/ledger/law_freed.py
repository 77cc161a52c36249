"""
What stands because a year's counter was high, when it turns out that it was not.

A CANCEL or a CORRECTION lowers the counter for all contracts of its exporter: the routes that they
needed, and the transfers that were too many for an exemption by number, are looked at again.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from ledgerd.ledger.law_counts import CountLaw
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_transfers import TransferLaw
from ledgerd.ledger.law_usage import lower_route
from ledgerd.projections.counters import noted, noted_contract, parse_noted_key
from ledgerd.projections.sweeps import Sweep
from ledgerd.projections.timers import FREED
from ledgerd.projections.usage import Usage
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import day_of, from_date

# Contracts and transfers that one step judges. Part of the rules, as TICK_STEP is.
FREED_STEP: Final = 100


class FreedLaw:
    """Judges them, a step at a time."""

    def __init__(self, state: LawState, counts: CountLaw, transfers: TransferLaw) -> None:
        self._state = state
        self._counts = counts
        self._transfers = transfers

    def due(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        """Judge the next ones of an exporter's year."""
        sweep = self._state.freed.get(transaction, key) or Sweep()
        places = list(islice(noted(transaction, key, sweep.cursor), FREED_STEP + 1))
        due: list[pb.Finding] = []
        for place in places[:FREED_STEP]:
            found, high = self._judge(transaction, key, place)
            due += found
            if not high:
                transaction.delete(Table.COUNTERS, key + place)
        # A microsecond on, so that it is another one: what a TICK judged it leaves behind.
        old, sweep.due, sweep.cursor = sweep.due, sweep.due + 1, places[-1] if places else b""
        if len(places) <= FREED_STEP:
            sweep.due = 0
            self._state.freed.delete(key)
        else:
            self._state.freed.put(key, sweep)
        self._state.timers.move(FREED, key, old, sweep.due)
        return due

    def _judge(
        self, transaction: Transaction, key: bytes, place: bytes
    ) -> tuple[list[pb.Finding], bool]:
        """What changes, and whether the counter still matters to it."""
        subject = place[1:]
        if place != noted_contract(subject):
            return self._transfers.judge_volume(transaction, subject)
        exporter, year = parse_noted_key(key)
        usage = self._state.usage.get(transaction, subject) or Usage()
        parameters = self._state.law.at(
            min(day_of(self._state.now), from_date(year * 10_000 + 1231))
        )
        lower_route(usage, year, self._counts.needed(transaction, exporter, year, parameters))
        self._state.usage.put(subject, usage)
        known_year, national, every, _ = usage.route
        return self._state.judge(transaction, subject), known_year == year and max(
            national, every
        ) > 0

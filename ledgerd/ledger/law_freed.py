"""
What was found because a year's counter was high, when that was not so, or was after all.

A CANCEL or a CORRECTION moves the counter for all contracts of its exporter: the routes that they
needed, and the transfers that were too many for an exemption by number, are looked at again. What
was never found is not found by it, nor what came before the transfer that is restated.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from ledgerd.ledger.law_counts import CountLaw, figures_of
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_transfers import TransferLaw
from ledgerd.ledger.law_usage import lower_route, take_route
from ledgerd.projections.counters import Noted, noted, noted_contract, parse_noted_key
from ledgerd.projections.sweeps import UNASKED, Recount
from ledgerd.projections.timers import FREED
from ledgerd.projections.usage import Usage
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import DAY_US

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
        recount = self._state.recounts.get(transaction, key) or Recount()
        if not recount.cursor:
            recount.raised, recount.asked = recount.asked, UNASKED
            recount.began = self._state.now
        places = list(islice(noted(transaction, key, recount.cursor), FREED_STEP + 1))
        due: list[pb.Finding] = []
        for place, found in places[:FREED_STEP]:
            due += self._judge(transaction, key, place, found, recount.raised)
        # A microsecond on, so that it is another one: what a TICK judged it leaves behind.
        old, recount.due, recount.cursor = recount.due, recount.due + 1, places[-1][0]
        if len(places) <= FREED_STEP:
            recount.cursor = b""
            recount.due = 0 if recount.asked == UNASKED else recount.began + DAY_US
        self._state.recounts.put(key, recount)
        self._state.timers.move(FREED, key, old, recount.due)
        return due

    def _judge(
        self, transaction: Transaction, key: bytes, place: bytes, found: Noted, raised: int
    ) -> list[pb.Finding]:
        """What changes; found anew is only what a record before it was restated to."""
        subject, anew = place[1:], found.position > raised
        if place != noted_contract(subject):
            return self._transfers.judge_volume(transaction, subject, anew=anew)
        exporter, year = parse_noted_key(key)
        usage = self._state.usage.get(transaction, subject) or Usage()
        parameters = figures_of(self._state.law, year, self._state.now)
        national, every = self._counts.needed(transaction, exporter, year, parameters)
        lower_route(usage, year, (national, every))
        if anew and usage.transfers:
            needed = min(national, found.national), min(every, found.every)
            take_route(usage, year, needed, found.position)
        self._state.usage.put(subject, usage)
        return self._state.judge(transaction, subject)

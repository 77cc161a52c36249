"""
What was sent under each contract, and what of it is to be judged again.

A suspension, an end or an amendment may reach the log after transfers that it should cover, and a
CONTRACT after all of them. Its entry only notes from which time on; TICKs go through the transfers
from there on, a hundred at a time.
"""

from __future__ import annotations

from bisect import bisect_left

from ledgerd.ledger.law_state import LawState
from ledgerd.projections.sent import CHUNK, IDLE, NEVER, Again, Sent, again_key, sent_key
from ledgerd.projections.timers import AGAIN
from ledgerd.projections.usage import Usage
from ledgerd.store.base import Transaction
from ledgerd_client.core.days import DAY_US
from ledgerd_client.core.past import CLOCK_AHEAD


class SentTransfers:
    """Keeps an exporter's transfers by contract, in log order."""

    def __init__(self, state: LawState) -> None:
        self._state = state

    def add(
        self, transaction: Transaction, key: bytes, usage: Usage, position: int, recorded_at: int
    ) -> None:
        """Take a transfer; usage is the contract's row, which the caller puts."""
        place = sent_key(key, usage.sent // CHUNK)
        sent = self._state.sent.get(transaction, place) or Sent()
        sent.add(position, recorded_at)
        self._state.sent.put(place, sent)
        usage.sent += 1

    def judge_again(
        self, transaction: Transaction, key: bytes, since: int, recorded_at: int
    ) -> None:
        """
        Have what was sent under a contract at a time (µs) or later judged again; 0: all of it.

        recorded_at: of the entry that calls for it. TICKs after it do it, in one sweep a day, so
        that a party that states something over and over has no more done for it than once.
        """
        if self._from(transaction, key, since) is None:
            return
        again = self._state.again.get(transaction, again_key(key)) or Again()
        again.asked = min(again.asked, since)
        if not again.due:
            self._go_on(key, again, max(recorded_at, again.began + DAY_US))
        self._state.again.put(again_key(key), again)

    def stands(self, transaction: Transaction, key: bytes) -> bool:
        """Whether anything stands by what was judged again."""
        again = self._state.again.get(transaction, again_key(key))
        return again is not None and bool(again.findings)

    def next(self, transaction: Transaction, key: bytes) -> tuple[Again, list[int]]:
        """The sweep, IDLE if it ends here, and places of the next transfers; the caller puts it."""
        again = self._state.again.get(transaction, again_key(key)) or Again()
        if again.number == IDLE:
            again.begin(self._state.now)
            again.number = self._from(transaction, key, again.since) or 0
        sent = self._row(transaction, key, again.number)
        again.number += 1
        if again.number < self._rows(transaction, key):
            self._go_on(key, again, again.due + 1)
        else:
            again.number = IDLE
            self._go_on(key, again, again.began + DAY_US if again.asked < NEVER else 0)
        self._state.again.put(again_key(key), again)
        return again, sent.positions

    def reaches(self, transaction: Transaction, key: bytes, since: int) -> bool:
        """Whether anything may have been sent under a contract at a time (µs) or later."""
        return self._from(transaction, key, since) is not None

    def _go_on(self, key: bytes, again: Again, due: int) -> None:
        self._state.timers.move(AGAIN, key, again.due, due)
        again.due = due

    def _from(self, transaction: Transaction, key: bytes, since: int) -> int | None:
        """The first row with transfers that may have happened at that time or later."""
        numbers = range(self._rows(transaction, key))

        def latest(number: int) -> int:
            return self._row(transaction, key, number).recorded_at + CLOCK_AHEAD

        number = bisect_left(numbers, since, key=latest)
        return number if number < len(numbers) else None

    def _rows(self, transaction: Transaction, key: bytes) -> int:
        usage = self._state.usage.get(transaction, key)
        return 0 if usage is None else -(-usage.sent // CHUNK)

    def _row(self, transaction: Transaction, key: bytes, number: int) -> Sent:
        return self._state.sent.get(transaction, sent_key(key, number)) or Sent()

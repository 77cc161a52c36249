"""
What was sent under each contract, and what of it is to be judged again.

A suspension, an end or an amendment may reach the log after transfers that it should cover, and a
CONTRACT after all of them. Its entry only notes from which time on; TICKs go back through the
transfers, a hundred at a time.
"""

from __future__ import annotations

from ledgerd.ledger.law_state import LawState
from ledgerd.projections.sent import CHUNK, Again, Sent, again_key, sent_key
from ledgerd.projections.timers import AGAIN
from ledgerd.projections.usage import Usage
from ledgerd.store.base import Transaction
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
        Have what was sent under a contract at a time (µs) or later judged again.

        recorded_at: of the entry that calls for it; TICKs after it do it.
        """
        usage = self._state.usage.get(transaction, key)
        if usage is None or not usage.sent:
            return
        number = (usage.sent - 1) // CHUNK
        if not self._reaches(transaction, key, number, since):
            return
        known = self._state.again.get(transaction, again_key(key))
        if known is not None:
            since = min(since, known.since)
        again = Again(since, number, recorded_at)
        self._state.timers.move(AGAIN, key, known.due if known else 0, again.due)
        self._state.again.put(again_key(key), again)

    def next(self, transaction: Transaction, key: bytes) -> list[int]:
        """Places of the next transfers to judge again; the rest is due right afterwards."""
        again = self._state.again.get(transaction, again_key(key))
        if again is None:
            return []
        sent = self._state.sent.get(transaction, sent_key(key, again.number)) or Sent()
        due, again.due, again.number = again.due, again.due + 1, again.number - 1
        if again.number < 0 or not self._reaches(transaction, key, again.number, again.since):
            self._state.timers.move(AGAIN, key, due, 0)
            self._state.again.delete(again_key(key))
        else:
            self._state.timers.move(AGAIN, key, due, again.due)
            self._state.again.put(again_key(key), again)
        return sent.positions

    def _reaches(self, transaction: Transaction, key: bytes, number: int, since: int) -> bool:
        """Whether transfers of a row may have happened at that time or later."""
        sent = self._state.sent.get(transaction, sent_key(key, number)) or Sent()
        return sent.recorded_at + CLOCK_AHEAD >= since

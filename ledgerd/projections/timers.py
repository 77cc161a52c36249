"""
When something is to be looked at again. TIMERS: u64 due (µs) ‖ u8 subject ‖ its row's key → "".

The index is durable: a restart, or a clock that was set back, loses no deadline.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, NamedTuple

from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64

CONTRACT: Final = 1
MATTER: Final = 2
OBLIGATION: Final = 3
# Transfers of a contract that are to be judged again; the key is the contract's.
AGAIN: Final = 4
# Provisions onward under a contract; the key is a Sweep's.
SWEEP: Final = 5
# What stands because a year's counter was high, when it is lower; the key is a noted_key().
FREED: Final = 6


class Timers:
    """The index of one commit: what the transaction will hold once flush() has run."""

    def __init__(self) -> None:
        self._changes: dict[bytes, bool] = {}

    def move(self, subject: int, key: bytes, old: int, new: int) -> None:
        """Set another time for a subject; 0 is none."""
        if old == new:
            return
        named = bytes([subject]) + key
        if old:
            self._changes[u64(old) + named] = False
        if new:
            self._changes[u64(new) + named] = True

    def due(self, transaction: Transaction, until: int, most: int) -> list[tuple[int, bytes]]:
        """(subject, key) of what is due before until (µs), earliest first, at most so many."""
        self.flush(transaction)
        rows = transaction.scan(Table.TIMERS, b"", u64(until))
        return [(key[8], key[9:]) for key, _ in islice(rows, most)]

    def first(self, transaction: Transaction) -> int | None:
        """What is due first (µs); None: nothing is due ever."""
        self.flush(transaction)
        timer = next_timer(transaction)
        return None if timer is None else timer.due

    def flush(self, transaction: Transaction) -> None:
        changes = self._changes.items()
        transaction.put_many(Table.TIMERS, [(key, b"") for key, there in changes if there])
        for key, there in changes:
            if not there:
                transaction.delete(Table.TIMERS, key)
        self._changes.clear()


class Timer(NamedTuple):
    """What is due first: when (µs), and the subject with its row's key."""

    due: int
    subject: bytes


def next_timer(snapshot: Snapshot) -> Timer | None:
    """The earliest of all; None when nothing is due ever."""
    for key, _ in snapshot.scan(Table.TIMERS):
        return Timer(int.from_bytes(key[:8], "big"), key[8:])
    return None

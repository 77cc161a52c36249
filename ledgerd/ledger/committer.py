"""
What runs in the writer's process: calls in, one commit for them all, results out.

A failed commit ends the process; a record that can't be applied is refused alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

from ledgerd.ledger.batch import AppendResult
from ledgerd.ledger.call import Call, Item
from ledgerd.ledger.head import Head
from ledgerd.ledger.writer import Writer
from ledgerd.store.base import Store
from ledgerd_client.core.errors import BusyError, LedgerError, StoreError

# Kept free on the disk, so that a full one is noticed before a transaction and not in its commit.
RESERVE_BYTES = 256 * 1024 * 1024


class Committed(NamedTuple):
    """
    What became of each call, where the log stands now, and how many seconds it took.

    sync_seconds: of that, how long the disk took; of several transactions, the newest one.
    """

    results: list[AppendResult | LedgerError]
    head: Head
    seconds: float
    sync_seconds: float = 0.0


class Committer:
    """Belongs to the one thread in which its store is written."""

    def __init__(
        self,
        store: Store,
        make_writer: Callable[[], Writer],
        *,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self._store = store
        self._make_writer = make_writer
        self._reserve = reserve_bytes

    def start(self) -> Head:
        """
        Take up the store; return its head once one small transaction has committed (P7).

        Raises StoreError or VerificationError when it can't be taken up.
        """
        self._writer = self._make_writer()
        # Before anything is shown, the disk must have shown that it takes a commit.
        self._writer.touch()
        return self._writer.head

    def commit(self, calls: Sequence[Call]) -> Committed:
        """
        Append some calls' records; when this returns, they are on the disk.

        Raises StoreError when the process must end: nobody may then say what was written.
        """
        started = perf_counter()
        results = self._results(calls)
        writer, seconds = self._writer, perf_counter() - started
        return Committed(results, writer.head, seconds, writer.sync_seconds)

    def _results(self, calls: Sequence[Call]) -> list[AppendResult | LedgerError]:
        if self._store.free_bytes() < self._reserve:
            full = BusyError(
                "the disk is nearly full", reason="DISK_FULL", action="tell the node's operator"
            )
            return [full] * len(calls)
        return self._commit(calls)

    def _commit(self, calls: Sequence[Call]) -> list[AppendResult | LedgerError]:
        """Commit calls together; where a record can't be applied, halved until each is alone."""
        try:
            # One call's items after the other's: thousands at once are more than a cache holds.
            return [*self._writer.commit(call.items() for call in calls)]
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - one of the records did it; the others must not suffer
            if len(calls) == 1:
                return [self._commit_alone(calls[0].items())]
            middle = len(calls) // 2
            return [*self._commit(calls[:middle]), *self._commit(calls[middle:])]

    def _commit_alone(self, items: list[Item]) -> AppendResult | LedgerError:
        try:
            return self._writer.commit([self._without_culprits([], items)])[0]
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - this call is lost, the next ones not
            return LedgerError(f"the call could not be applied: {type(error).__name__}")

    def _without_culprits(self, taken: list[Item], items: list[Item]) -> list[Item]:
        """
        Add records to those taken, each that can't be applied after them replaced by its error.

        Halved until each is alone; but never rehearsed without those before it, because two
        records that can each be applied may be in each other's way.
        """
        error = self._writer.rehearse([*taken, *items])
        if error is None:
            return [*taken, *items]
        if len(items) <= 1:
            return [*taken, *([error] * len(items))]
        middle = len(items) // 2
        taken = self._without_culprits(taken, items[:middle])
        return self._without_culprits(taken, items[middle:])

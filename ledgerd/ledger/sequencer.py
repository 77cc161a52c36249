"""
The sequencer: many calls in, one writer thread, group commit.

While one commit is in fsync the next calls collect; when it is done they go together. Nothing of a
checkpoint leaves before its commit has returned, and a commit that fails ends the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, TypeVarTuple, Unpack

from ledgerd.ledger.head import Head
from ledgerd.ledger.writer import AppendResult, Item, Writer
from ledgerd.store.base import Store
from ledgerd_client.core.errors import BusyError, LedgerError, NotReadyError, StoreError

# Records in one commit, and records waiting for one.
MAX_GROUP = 4_000
MAX_WAITING = 20_000
# Kept free on the disk, so that a full one is noticed before a transaction and not in its commit.
RESERVE_BYTES = 256 * 1024 * 1024


T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Call(NamedTuple):
    items: Sequence[Item]
    future: asyncio.Future[AppendResult]


class Sequencer:
    """
    Appends in order. Made and awaited on one event loop; writes in a thread of its own.

    on_commit(head) is called on the loop after each commit, on_fatal(error) when the process must
    end; both before the callers run on. refuse: why appends are not taken at present, or None; it
    is set on the loop, and holds for calls that wait already too.
    """

    def __init__(
        self,
        store: Store,
        make_writer: Callable[[], Writer],
        *,
        on_commit: Callable[[Head], None],
        on_fatal: Callable[[StoreError], None],
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self.refuse: NotReadyError | None = None
        self._store = store
        self._make_writer = make_writer
        self._on_commit = on_commit
        self._on_fatal = on_fatal
        self._reserve = reserve_bytes
        self._loop = asyncio.get_running_loop()
        self._failure: StoreError | None = None
        self._arrived: list[_Call] = []
        self._waiting: deque[_Call] = deque()
        self._waiting_records = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._started: asyncio.Future[Head] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    async def start(self) -> Head:
        """
        Start the thread; return the head once one small transaction has committed (P7).

        Raises StoreError or VerificationError when the store can't be taken up.
        """
        self._thread.start()
        return await self._started

    async def append(self, items: Sequence[Item]) -> AppendResult:
        """
        Append one call's records; return when they are on the disk.

        Raises NotReadyError while appends are refused, BusyError when too much waits or the disk
        is nearly full; nothing is then stored.
        """
        if self.refuse is not None:
            # One object for every caller: else it would gather the frames of them all.
            raise self.refuse.with_traceback(None)
        future: asyncio.Future[AppendResult] = self._loop.create_future()
        with self._changed:
            if self._stopping:
                raise BusyError("the node is stopping; try again in a moment", reason="STOPPING")
            if self._waiting_records + len(items) > MAX_WAITING:
                raise BusyError("too many records wait for the disk")
            self._arrived.append(_Call(items, future))
            self._waiting_records += len(items)
        if len(self._arrived) == 1:
            # What admission gave back together goes into one commit together.
            self._loop.call_soon(self._hand_over)
        return await future

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        with self._changed:
            if self._failure is None:
                self._waiting += arrived
                self._changed.notify()
                return
        _settle_all(arrived, [self._failure] * len(arrived))

    async def stop(self) -> None:
        """Take no more calls, commit those that wait, end the thread."""
        self._hand_over()
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    # -- the writer thread ------------------------------------------------------------------

    def _run(self) -> None:
        try:
            writer = self._make_writer()
            # Before anything is shown, the disk must have shown that it takes a commit.
            writer.touch()
        except Exception as error:  # noqa: BLE001 - it is raised again where start() waits
            with self._changed:
                self._stopping = True
            self._deliver(self._started.set_exception, error)
            return
        self._deliver(self._started.set_result, writer.head)
        while calls := self._collect():
            try:
                self._commit(writer, calls)
            except StoreError as error:
                self._fail(calls, error)
                return
            except Exception as error:  # noqa: BLE001 - these calls are lost, the next ones not
                refused = LedgerError(f"the call could not be applied: {type(error).__name__}")
                self._deliver(_settle_all, calls, [refused] * len(calls))

    def _collect(self) -> list[_Call]:
        """Wait for calls and take as many as fit one commit; empty when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            calls: list[_Call] = []
            records = 0
            while self._waiting:
                if calls and records + len(self._waiting[0].items) > MAX_GROUP:
                    break
                calls.append(self._waiting.popleft())
                records += len(calls[-1].items)
            self._waiting_records -= records
            return calls

    def _commit(self, writer: Writer, calls: list[_Call]) -> None:
        if (refused := self.refuse) is not None:
            self._deliver(_settle_all, calls, [refused] * len(calls))
            return
        if self._store.free_bytes() < self._reserve:
            full = BusyError(
                "the disk is nearly full", reason="DISK_FULL", action="tell the node's operator"
            )
            self._deliver(_settle_all, calls, [full] * len(calls))
            return
        try:
            results = writer.commit([call.items for call in calls])
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - one of the records did it; the others must not suffer
            results = writer.commit([_without_culprits(writer, call.items) for call in calls])
        self._deliver(_answer, calls, results, self._on_commit, writer.head)

    def _fail(self, calls: list[_Call], error: StoreError) -> None:
        with self._changed:
            self._stopping = True
            self._failure = error
            calls = [*calls, *self._waiting]
            self._waiting.clear()
        self._deliver(_answer, calls, [error] * len(calls), self._on_fatal, error)

    def _deliver(self, function: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        self._loop.call_soon_threadsafe(function, *args)


def _without_culprits(writer: Writer, items: Sequence[Item]) -> Sequence[Item]:
    """Replace records that can't be applied by their errors: halved until each stands alone."""
    error = writer.rehearse(items)
    if error is None:
        return items
    if len(items) <= 1:
        return [error] * len(items)
    middle = len(items) // 2
    return [
        *_without_culprits(writer, items[:middle]),
        *_without_culprits(writer, items[middle:]),
    ]


def _answer(
    calls: Sequence[_Call],
    results: Sequence[AppendResult | LedgerError],
    tell: Callable[[T], None],
    news: T,
) -> None:
    # Callers first, since nothing may keep their answers from them; yet they run on only later,
    # when the owner knows.
    _settle_all(calls, results)
    tell(news)


def _settle_all(calls: Sequence[_Call], results: Sequence[AppendResult | LedgerError]) -> None:
    for call, result in zip(calls, results, strict=True):
        if call.future.done():  # its caller went away
            continue
        if isinstance(result, LedgerError):
            call.future.set_exception(result)
        else:
            call.future.set_result(result)

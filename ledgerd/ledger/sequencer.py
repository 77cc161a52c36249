"""
The sequencer: many calls in, one writer, group commit.

While one commit is in fsync the next calls collect; when it is done they go together. Nothing of a
checkpoint leaves before its commit has returned, and a commit that fails ends the node.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple, Protocol, TypeVar

from ledgerd.ledger.batch import AppendResult
from ledgerd.ledger.call import Call
from ledgerd.ledger.committer import Committed
from ledgerd.ledger.head import Head
from ledgerd_client.core.errors import (
    BusyError,
    LedgerError,
    NotReadyError,
    StoreError,
    UnavailableError,
)

# Records in one commit, and records waiting for one.
MAX_GROUP: Final = 4_000
# What they take packed, in bytes: it is in memory several times, here and with the writer.
MAX_GROUP_BYTES: Final = 8 << 20
MAX_WAITING: Final = 20_000

# A commit costs as much as some fifty records, and so is delayed a little for those on their way;
# but not when it has as many anyhow.
LINGER_S: Final = 0.005
WORTH_A_COMMIT: Final = 100
# A commit that takes longer will not end: who stops does not wait for it.
HUNG_S: Final = 60.0

T = TypeVar("T")


class CommitterElsewhere(Protocol):
    """A Committer in a thread or process of its own, asked from the event loop."""

    async def start(self, on_death: Callable[[StoreError], None]) -> Head:
        """As Committer.start; on_death is called on the loop when it ends unasked."""

    async def commit(self, calls: Sequence[Call]) -> Committed:
        """As Committer.commit; raises StoreError, also when the process is gone."""

    async def close(self) -> None:
        """End it."""


class Appends(Protocol):
    """Whoever takes calls to be appended. Belongs to the event loop."""

    @property
    def refuse(self) -> NotReadyError | None:
        """Why appends are not taken at present, or None."""

    async def append(self, call: Call) -> AppendResult:
        """As Sequencer.append."""


class _Waiting(NamedTuple):
    call: Call
    future: asyncio.Future[AppendResult]


class Sequencer:
    """
    Appends in order. Belongs to one event loop.

    on_commit(committed) is called after each commit, on_fatal(error) when the process must end;
    both before the callers run on. refuse: why appends are not taken at present, or None; it holds
    for calls that wait already too.
    """

    def __init__(
        self,
        committer: CommitterElsewhere,
        *,
        on_commit: Callable[[Committed], None],
        on_fatal: Callable[[StoreError], None],
        linger_s: float = LINGER_S,
    ) -> None:
        self.refuse: NotReadyError | None = None
        self._committer = committer
        self._on_commit = on_commit
        self._on_fatal = on_fatal
        self._linger_s = linger_s
        self._waiting: deque[_Waiting] = deque()
        self._waiting_records = 0
        self._news = asyncio.Event()
        self._stopping = False
        self._failed = False
        # Since when there has been work of which nothing was finished.
        self._at_work_since: float | None = None
        self._wanted = self._expected = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Head:
        """Take up the store; raises what Committer.start raises."""
        try:
            head = await self._committer.start(self._died)
        except BaseException:
            self._stopping = True
            await self._committer.close()
            raise
        self._task = asyncio.create_task(self._run())
        return head

    async def append(self, call: Call) -> AppendResult:
        """
        Append one call's records; return when they are on the disk.

        Raises NotReadyError while appends are refused, BusyError when too much waits or the disk
        is nearly full; nothing is then stored. Raises UnavailableError when the store fails.
        """
        if self.refuse is not None:
            # One object for every caller: else it would gather the frames of them all.
            raise self.refuse.with_traceback(None)
        if self._stopping:
            raise BusyError("the node is stopping; try again in a moment", reason="STOPPING")
        if self._waiting_records + call.records > MAX_WAITING:
            raise BusyError("too many records wait for the disk")
        future: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(call, future))
        self._waiting_records += call.records
        if self._at_work_since is None:
            self._at_work_since = monotonic()
        if self._gathered():
            self._news.set()
        return await future

    async def stop(self) -> None:
        """Take no more calls, commit those that wait, end the committer; a hung one too."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=HUNG_S)
        await self._committer.close()
        if self._task is not None:
            await self._task

    @property
    def stalled_s(self) -> float:
        """For how long there has been work, none of it finished; 0 for none. In any thread."""
        since = self._at_work_since
        return 0.0 if since is None else monotonic() - since

    @property
    def waiting_records(self) -> int:
        """How many records wait for a commit. In any thread."""
        return self._waiting_records

    async def _run(self) -> None:
        while taken := await self._take():
            if self.refuse is not None:
                self._done(taken, [self.refuse] * len(taken))
                continue
            try:
                committed = await self._committer.commit([waiting.call for waiting in taken])
            except StoreError as error:
                self._fail(taken, error)
                return
            except LedgerError as error:  # these calls are lost, the next ones not
                self._done(taken, [error] * len(taken))
                continue
            except Exception as error:  # noqa: BLE001 - or everybody would wait for ever
                self._fail(taken, StoreError(f"the sequencer failed: {type(error).__name__}"))
                return
            self._tell(self._on_commit, committed)
            self._done(taken, committed.results)

    def _done(self, taken: list[_Waiting], results: Sequence[AppendResult | LedgerError]) -> None:
        self._at_work_since = monotonic() if self._waiting else None
        _settle(taken, results)

    async def _take(self) -> list[_Waiting]:
        """Wait for calls and take as many as fit one commit; empty when it is time to end."""
        await self._gather(1)
        # As many callers as there were last time are likely to come again: one alone never waits.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger_s):
                await self._gather(self._expected)
        taken: list[_Waiting] = []
        records = size = 0
        while self._waiting:
            call = self._waiting[0].call
            records, size = records + call.records, size + len(call.packed)
            if taken and (records > MAX_GROUP or size > MAX_GROUP_BYTES):
                records -= call.records
                break
            taken.append(self._waiting.popleft())
        self._waiting_records -= records
        self._expected = len(taken)
        return taken

    async def _gather(self, calls: int) -> None:
        """Return when so many calls wait, or enough records for one commit."""
        self._wanted = calls
        while not self._gathered():
            self._news.clear()
            await self._news.wait()

    def _gathered(self) -> bool:
        enough = len(self._waiting) >= self._wanted or self._waiting_records >= WORTH_A_COMMIT
        return enough or self._stopping

    def _died(self, error: StoreError) -> None:
        # The commit under way, if there is one, hears of it itself.
        self._fail([], error)
        self._news.set()

    def _fail(self, taken: list[_Waiting], error: StoreError) -> None:
        taken = [*taken, *self._waiting]
        self._waiting.clear()
        if not self._failed:
            self._tell(self._on_fatal, error)
        self._stopping = self._failed = True
        # Whether the disk has their records nobody knows: the next process will answer them.
        lost = UnavailableError(
            "the node's store failed: whether the record is in the log is not known",
            reason=error.reason,
            action="send the same record again when the node is back",
        )
        self._done(taken, [lost] * len(taken))

    def _tell(self, tell: Callable[[T], None], news: T) -> None:
        # In the turn in which the callers run on, before them; whatever it raises is its own.
        asyncio.get_running_loop().call_soon(tell, news)


def _settle(taken: Sequence[_Waiting], results: Sequence[AppendResult | LedgerError]) -> None:
    for waiting, result in zip(taken, results, strict=True):
        if waiting.future.done():  # its caller went away
            continue
        if isinstance(result, LedgerError):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)

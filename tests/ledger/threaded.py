"""A Committer in a thread of this process, whose store a test can hold and let fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ledgerd.ledger.call import Call
from ledgerd.ledger.committer import Committed, Committer
from ledgerd.ledger.head import Head
from ledgerd_client.core.errors import StoreError


class InThread:
    """Stands in for WriterProcess; test_writing.py holds both to one contract."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._thread = ThreadPoolExecutor(1, "writer")

    async def start(self, on_death: Callable[[StoreError], None]) -> Head:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._committer.start)

    async def commit(self, calls: Sequence[Call]) -> Committed:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._committer.commit, calls
        )

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

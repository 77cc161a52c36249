"""What tests of the SDK share: time that stands still, and ways to a node that lie or hang."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from ledgerd_client import LedgerClient, LedgerError, Settings
from ledgerd_client._memory import MemoryLog
from ledgerd_client.testing import MemoryNode
from ledgerd_client.transport import Transport

T = TypeVar("T")

START = 1_785_718_800_000_000  # 2026-08-03T01:00:00Z, µs
EXPORTER, RECIPIENT = "uscc.91440300MA5EXMPLXX", "hkbr.76543210"
PAYLOAD = b"customer;score\n1;700\n"
STATEMENT: dict[str, Any] = {
    "recipient": RECIPIENT,
    "contract_id": "GBA-SC-2026-0117",
    "subjects": 1200,
    "purposes": ["CreditChecking"],
    "categories": ["property"],
    "legal_basis": "CN13_2A contract",
}


class Threads(ThreadPoolExecutor):
    """Where asyncio.to_thread works, and whether anything is left to do there."""

    def __init__(self) -> None:
        super().__init__()
        self.pending = 0

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        loop = asyncio.get_running_loop()
        self.pending += 1
        future = super().submit(*args, **kwargs)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return future

    def _done(self) -> None:
        self.pending -= 1


class StandingTime:
    """A clock that moves only while somebody waits for it, and nothing else is left to do."""

    def __init__(self) -> None:
        self.micros = START
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []
        self._threads = Threads()
        asyncio.get_running_loop().set_default_executor(self._threads)

    def now(self) -> int:
        return self.micros

    async def sleep(self, seconds: float) -> None:
        sleeper = (self.micros + int(seconds * 1e6), asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    async def finish(self, awaitable: Awaitable[T]) -> T:
        """Wait for something, and let time pass whenever all that is left to do is to sleep."""
        task = asyncio.ensure_future(awaitable)
        while not task.done():
            await self._come_to_rest()
            waiting = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]
            if waiting and not task.done():
                due, sleeper = min(waiting, key=lambda waiting: waiting[0])
                self.micros = max(self.micros, due)
                sleeper.set_result(None)
        return await task

    async def _come_to_rest(self) -> None:
        turns = 0
        while turns < 20:  # more than any chain of callbacks in between
            await asyncio.sleep(0)
            turns = 0 if self._threads.pending else turns + 1


class Detour:
    """A Transport that passes calls on to another, and lets a test stand in between."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        # Method → what it does to the reply, in place or by returning another.
        self.lies: dict[str, Callable[[Any], Any]] = {}
        # Method → what is raised instead of passing the call on.
        self.errors: dict[str, LedgerError] = {}
        # Appends wait here while it is not set.
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[str] = []

    @property
    def known_checkpoint(self) -> bytes:
        return self.inner.known_checkpoint

    @known_checkpoint.setter
    def known_checkpoint(self, note: bytes) -> None:
        self.inner.known_checkpoint = note

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
        async def call(request: Any) -> Any:
            self.asked.append(name)
            if name == "append":
                await self.open.wait()
            if name in self.errors:
                raise self.errors[name]
            reply = await getattr(self.inner, name)(request)
            told = self.lies[name](reply) if name in self.lies else reply
            return told if isinstance(told, Message) else reply

        return call


class World:
    """A border in memory, clients on standing time, and their files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.time = StandingTime()
        self.mainland, self.hong_kong = MemoryNode.border(now=self.time.now)
        self.exporter = self.mainland.enrol(EXPORTER, directory)
        self.recipient = self.hong_kong.enrol(RECIPIENT, directory)

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when something has become true; time passes meanwhile."""

        async def look() -> None:
            while not condition():
                await self.time.sleep(0.001)

        await self.time.finish(look())

    def client(
        self, settings: Settings | None = None, transport: Transport | None = None
    ) -> LedgerClient:
        """A client, by default the exporter's; transport by default straight to its node."""
        settings = settings or self.exporter
        return LedgerClient(
            settings,
            transport=transport or self.way(settings),
            now=self.time.now,
            sleep=self.time.sleep,
            random=lambda: 0.5,
        )

    def way(self, settings: Settings | None = None) -> Transport:
        """A transport to the node of settings."""
        settings = settings or self.exporter
        of_mainland = settings.origin == self.mainland.log.origin
        node = self.mainland if of_mainland else self.hong_kong
        return node.transport(settings.institution or "")

    def detour(self, settings: Settings | None = None) -> Detour:
        return Detour(self.way(settings))

    def elsewhere(self, log: MemoryLog) -> Detour:
        """A way to another log of the exporter's node: an older copy, or a fork of it."""
        node = MemoryNode(log, self.hong_kong.log, 440300)
        return Detour(node.transport(EXPORTER))

    def copied_log(self) -> MemoryLog:
        """The Mainland's log as it is now, keys and all."""
        return copy.deepcopy(self.mainland.log, {id(self.time): self.time})

    def file(self, name: str) -> Path:
        return self.directory / EXPORTER / name

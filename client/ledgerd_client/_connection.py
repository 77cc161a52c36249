"""The life of a client, and what every call of it needs."""

from __future__ import annotations

import asyncio
import os
import random as random_module
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Self

from ledgerd_client._lifetime import Lifetime
from ledgerd_client._results import NodeInfo
from ledgerd_client._session import IfUnreachable, Session, Submission, open_session
from ledgerd_client._time import Time, system_now
from ledgerd_client._values import to_micros
from ledgerd_client.config import Settings
from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.transport import Transport


class Connection(Lifetime[Session]):
    """An institution's way to a node, open between `async with` and its end."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport | None = None,
        now: Callable[[], int] = system_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """
        Nothing is opened before `async with`.

        transport is the caller's to close; by default gRPC as settings say. now gives µs since the
        epoch, UTC; random, in [0, 1), makes jitter and nothing else.
        """
        super().__init__()
        self._settings = settings
        self._transport = transport
        self._time = Time(now, sleep, random)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """The client of a settings file; raises InputError."""
        return cls(Settings.from_file(path))

    async def __aenter__(self) -> Self:
        session = open_session(self._settings, self._transport, self._time)
        self._held = await self._stack.enter_async_context(session)
        return self

    async def flush(self) -> None:
        """
        Send all that is queued, now, and again what the node has lost since it took it.

        Raises what stops it, also from asking what was lost; the rest stays queued. Records that
        the node refuses are set aside in the outbox and raise nothing here.
        """
        session = self._opened()
        try:
            await session.refresher.look()
        finally:
            await session.sender.flush()

    async def checkpoint(self, *, cosigned: bool = False) -> OpenedCheckpoint:
        """The newest checkpoint, or the newest one that the other side's node cosigned."""
        return await self._opened().view.checkpoint(cosigned=cosigned)

    async def info(self) -> NodeInfo:
        """What the node says of itself."""
        return await self._opened().view.info()

    def _how(
        self, occurred_at: datetime | None, caller_ref: str | None, if_unreachable: IfUnreachable
    ) -> Submission:
        occurred = (
            self._time.now() if occurred_at is None else to_micros("occurred_at", occurred_at)
        )
        return Submission(occurred, caller_ref, if_unreachable)

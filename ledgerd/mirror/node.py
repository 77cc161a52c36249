"""A mirror, put together: it follows a node, and answers a regulator as that node does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from itertools import takewhile
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from ledgerd.api.desk import Desk
from ledgerd.api.identity import Caller
from ledgerd.api.local import LocalServer, check_place
from ledgerd.api.public import Public
from ledgerd.api.threads import InThread
from ledgerd.ledger.answers import Answers
from ledgerd.ledger.head import Head
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.workers import Workers
from ledgerd.mirror.follower import Follower
from ledgerd.mirror.store import MirrorStore
from ledgerd.mirror.stream import Way
from ledgerd.peer.rounds import backoff
from ledgerd.projections.registry import key_entries
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import (
    InputError,
    LedgerError,
    NotReadyError,
    RefusedError,
    UnavailableError,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.trust import Trust
from ledgerd_client.identity import REGULATOR

_POLL_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 60.0
_DRAIN_S: Final = 5.0
_READERS: Final = 4
# Below this many, a second worker costs more than it saves.
_MIN_CHUNK: Final = 64


class MirrorNode:
    """
    A mirror in a directory. Belongs to the event loop that it was made on.

    progress is the Follower's; say is told what keeps it from following, once for each reason.
    """

    def __init__(
        self,
        directory: Path,
        origin: str,
        trust: Trust,
        regulator: str,
        *,
        workers: int,
        progress: Callable[[int, int], None],
        say: Callable[[LedgerError], None],
    ) -> None:
        """Open the directory, or make it; raises as MirrorStore does."""
        self._origin = origin
        self._trust = trust
        self._caller = Caller(REGULATOR, regulator)
        self._progress = progress
        self._say = say
        self._workers = Workers(workers)
        self._server: LocalServer | None = None
        self._store = MirrorStore(directory, origin, os.urandom)

    def checkpoint(self) -> bytes:
        """The newest one whose root came out, a note; b"" before the first."""
        with self._store.log.snapshot() as snapshot:
            head = Head.find(snapshot)
        return head.checkpoint if head else b""

    async def run(
        self, way: Way, listen: Path | None, *, before: Callable[[], Awaitable[None]]
    ) -> None:
        """
        Follow and answer at a socket, until cancelled; without one, until it has caught up.

        before is done before each time that it catches up.

        Raises VerificationError for what does not verify, StoreError, and InputError as long as it
        has nothing to answer from; without a socket also whatever keeps it from following.
        Afterwards it is closed.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(closing(self._store))
            if listen is not None:
                await asyncio.to_thread(check_place, listen)
            stack.push_async_callback(self._workers.close)
            await self._workers.start()
            readers = InThread(stack.enter_context(ThreadPoolExecutor(_READERS, "reader")))
            follower = Follower(
                self._store, way, self._trust, check=self._check, progress=self._progress
            )
            stack.push_async_callback(follower.close)
            if listen is None:
                await before()
                await _catch_up(follower)
                return
            failures, told = 0, ""
            while True:
                await self._serve(follower, readers, listen, stack)
                await before()
                try:
                    await _catch_up(follower)
                except (UnavailableError, RefusedError, InputError) as error:
                    # A grant that has become too narrow takes nothing away of what is here.
                    if isinstance(error, InputError) and self._server is None:
                        raise
                    failures += 1
                    if error.reason != told:
                        self._say(error)
                    told = error.reason
                    await asyncio.sleep(backoff(failures, _LONGEST_PAUSE_S, os.urandom(1)))
                else:
                    failures, told = 0, ""
                    await self._serve(follower, readers, listen, stack)
                    await asyncio.sleep(_POLL_S)

    async def _serve(
        self, follower: Follower, readers: InThread, listen: Path, stack: AsyncExitStack
    ) -> None:
        """Begin to answer, once there is something to answer from."""
        if self._server is not None or follower.peer is None or not follower.checkpoint:
            return
        replica = follower.peer.replica
        desk = Desk(
            origin=self._origin,
            peer_origin=replica.origin,
            answers=Answers(self._store.log, self._open),
            replica=replica,
            grants=_Everything(),
            recorder=_NoRecord(),
            in_thread=readers,
            suspect=lambda _note: None,
        )
        public = Public(
            origin=self._origin,
            peer_origin=replica.origin,
            reader=Reader(self._store.log),
            keys=self._keys,
            peer_keys=lambda: replica.verified_history() if replica.verified else None,
            cosigned=lambda: follower.cosigned,
            refused=_refused,
        )
        self._server = LocalServer(desk, public, self._caller)
        stack.push_async_callback(self._server.stop, _DRAIN_S)
        await self._server.start(listen)

    def _keys(self) -> KeyHistory:
        """Of entries under the checkpoint; those beyond it are nobody's to see."""
        with self._store.log.snapshot() as snapshot:
            size = Head.load(snapshot).size
            entries = takewhile(
                lambda raw: Header.parse(raw[0]).index < size, key_entries(snapshot)
            )
            return KeyHistory.of(self._origin, self._trust.authority(self._origin), entries)

    def _open(self, note: bytes) -> Checkpoint:
        return open_log_checkpoint(note, self._keys()).checkpoint

    async def _check(self, checks: list[SignatureCheck]) -> None:
        size = max(_MIN_CHUNK, -(-len(checks) // self._workers.count))
        parts = [checks[i : i + size] for i in range(0, len(checks), size)]
        await asyncio.gather(*(self._workers.run(check_signatures, part) for part in parts))


async def _catch_up(follower: Follower) -> None:
    """One step, in as many streams as the node makes of it."""
    while True:
        before = follower.held
        try:
            await follower.step()
        except UnavailableError as error:
            if error.reason != "STREAM_TOO_LONG" or follower.held == before:
                raise
        else:
            return


class _Everything:
    """What a mirror holds its owner may read, whenever he likes."""

    def grant(self, caller: Caller) -> body_pb2.Grant:
        return body_pb2.Grant()


class _NoRecord:
    """What is asked of a mirror is on nobody's record; that it follows, the node records."""

    async def note(self, regulator: str, method: str, request: Message, size: int) -> None:
        return None


def _refused() -> NotReadyError:
    return NotReadyError("this is a mirror", reason="MIRROR", action="ask the node")

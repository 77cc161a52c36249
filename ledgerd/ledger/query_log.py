"""
What regulators ask, on record: QUERY_LOG entries, two a minute of each at most.

The first query of a minute is in the log before its answer leaves. The rest of the minute is
collected and follows as one entry. While appends are refused, each query goes to a file, the spool,
before its answer leaves; what is in it is appended as soon as appends are taken again.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog
from google.protobuf.message import Message

from ledgerd.ledger.call import Call
from ledgerd.ledger.sequencer import Sequencer
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import BusyError, LedgerError, NotReadyError, UnavailableError
from ledgerd_client.core.record import Admitted
from ledgerd_client.core.supervision import MAX_ASKED, MAX_REQUEST_BYTES

_MINUTE: Final = 60_000_000
_LOOK_EVERY_S: Final = 1.0
_LENGTH_BYTES: Final = 4
# Spooled entries that are appended in one call.
_BATCH: Final = 500

_log = structlog.get_logger()


@dataclass(slots=True)
class _Minute:
    """What was asked in a minute (µs), by digest, and is not on record yet."""

    since: int
    asked: dict[bytes, pb.Asked] = field(default_factory=dict)
    unlisted: set[bytes] = field(default_factory=set)

    def add(self, asked: pb.Asked) -> None:
        known = self.asked.get(asked.digest)
        if known is not None:
            known.times += 1
        elif len(self.asked) < MAX_ASKED:
            self.asked[asked.digest] = asked
        else:
            self.unlisted.add(asked.digest)


class QueryLog:
    """
    Puts queries on record. Belongs to one event loop.

    sign makes an entry of the node's own of a record, sign_body of a body made earlier. clock: µs.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        spool: Path,
        *,
        sign: Callable[..., Admitted],
        sign_body: Callable[[bytes], Admitted],
        clock: Callable[[], int],
    ) -> None:
        self._sequencer = sequencer
        self._spool = Spool(spool)
        self._sign = sign
        self._sign_body = sign_body
        self._clock = clock
        # By regulator. One that asks twice at once waits for one entry.
        self._minutes: dict[str, _Minute] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._spooling = asyncio.Lock()

    async def note(self, regulator: str, method: str, request: Message, size: int) -> None:
        """
        Put a query on record; its answer, as of a size, may leave when this returns.

        It is put there also if its caller goes away. Raises UnavailableError when neither log nor
        disk takes it.
        """
        stated = _stated(request)
        asked = pb.Asked(
            method=method,
            request=stated if len(stated) <= MAX_REQUEST_BYTES else b"",
            digest=sha256(stated).digest(),
            size=size,
            times=1,
        )
        # Or whoever asks and goes away, again and again, has an entry each time.
        await asyncio.shield(self._take(regulator, asked))

    async def _take(self, regulator: str, asked: pb.Asked) -> None:
        async with self._locks[regulator]:
            now = self._clock()
            since = now - now % _MINUTE
            minute = self._minutes.get(regulator)
            if minute is not None and minute.since == since and self._sequencer.refuse is None:
                minute.add(asked)
                return
            await self._finish(regulator)
            await self._put(pb.QueryLog(regulator=regulator, since=since, asked=[asked]))
            self._minutes[regulator] = _Minute(since)

    async def run(self) -> None:
        """Append what minutes have collected, and the spool, for as long as the node runs."""
        while True:
            try:
                await self._step()
            except LedgerError as error:
                _warn(error)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def stop(self) -> None:
        """Append what is collected; after the last answer, and before the sequencer stops."""
        # Behind those whose callers are gone, too.
        for regulator in list(self._locks):
            await self._try_finish(regulator)

    async def _step(self) -> None:
        now = self._clock()
        for regulator, minute in list(self._minutes.items()):
            if not minute.since <= now < minute.since + _MINUTE:
                await self._try_finish(regulator)
        if self._sequencer.refuse is None:
            async with self._spooling:
                await self._empty_spool()

    async def _try_finish(self, regulator: str) -> None:
        """What keeps one from the record must not keep the others from it."""
        try:
            async with self._locks[regulator]:
                await self._finish(regulator)
        except LedgerError as error:
            _warn(error)

    async def _finish(self, regulator: str) -> None:
        """Put on record what a minute has collected; the lock is held."""
        minute = self._minutes.get(regulator)
        if minute is not None and minute.asked:
            await self._put(
                pb.QueryLog(
                    regulator=regulator,
                    since=minute.since,
                    asked=minute.asked.values(),
                    unlisted=len(minute.unlisted),
                )
            )
        self._minutes.pop(regulator, None)

    async def _put(self, query_log: pb.QueryLog) -> None:
        item = self._sign(query_log=query_log)
        if self._sequencer.refuse is None:
            try:
                await self._append([item])
            except (NotReadyError, BusyError):
                pass  # to the spool
            else:
                return
        async with self._spooling:
            await asyncio.to_thread(self._spool.add, item.body)

    async def _append(self, items: Sequence[Admitted]) -> None:
        for outcome in (await self._sequencer.append(Call.of(items))).outcomes:
            if isinstance(outcome, LedgerError):
                raise outcome

    async def _empty_spool(self) -> None:
        bodies = await asyncio.to_thread(self._spool.read)
        for start in range(0, len(bodies), _BATCH):
            # After a crash once more; the log knows them again by their record ids.
            await self._append([self._sign_body(body) for body in bodies[start : start + _BATCH]])
        if bodies:
            await asyncio.to_thread(self._spool.clear)


class Spool:
    """Bodies in a file, u32 length ‖ body; on the disk when add() returns. One call at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Where the next one goes; not known before the file was read.
        self._end: int | None = None

    def read(self) -> list[bytes]:
        """All of them; raises UnavailableError SPOOL."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _not_spooled(error) from error
        return list(_split(data))

    def add(self, body: bytes) -> None:
        """Add one, durably; raises UnavailableError SPOOL."""
        if self._end is None:
            # What a crash left of one that was never answered is written over.
            self._end = sum(_LENGTH_BYTES + len(each) for each in self.read())
        self._write(self._end, len(body).to_bytes(_LENGTH_BYTES, "big") + body)

    def clear(self) -> None:
        """Remove all of them, durably; raises UnavailableError SPOOL."""
        self._write(0, b"")

    def _write(self, end: int, data: bytes) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.truncate(end)
                file.seek(end)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._end = end + len(data)
        except OSError as error:
            raise _not_spooled(error) from error


def _split(data: bytes) -> Iterator[bytes]:
    start = 0
    while start + _LENGTH_BYTES <= len(data):
        end = start + _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
        if end > len(data):
            return
        yield data[start + _LENGTH_BYTES : end]
        start = end


def _stated(request: Message) -> bytes:
    """A query in one spelling, without what differs from page to page."""
    stated = type(request)()
    stated.CopyFrom(request)
    query = getattr(stated, "query", None)
    for message in (stated, *([query] if query is not None else ())):
        for name in ("page_token", "checkpoint"):
            if name in message.DESCRIPTOR.fields_by_name:
                message.ClearField(name)
    return encode_message(stated)


def _warn(error: LedgerError) -> None:
    _log.warning("query_log_failed", reason=error.reason, message=error.message)


def _not_spooled(error: OSError) -> UnavailableError:
    return UnavailableError(
        f"what was asked cannot be put on record: {error.strerror}",
        reason="SPOOL",
        action="operator: make room in the node's data directory, or mend it",
    )

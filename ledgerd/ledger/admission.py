"""
Admission: raw requests in, checked records out. The narrow interface to the worker processes.

Requests that arrive while the workers are busy go to them together: one passage between processes
for many small calls. Authors take turns: one that sends much waits behind itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar, TypeVarTuple, Unpack

from google.protobuf.message import DecodeError

from ledgerd.ledger.call import Call, Item
from ledgerd.ledger.workers import Workers
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import InputError, LedgerError, MalformedError, TooLargeError
from ledgerd_client.core.record import Facts, Key, SignedRecord, read_record, verified

MAX_RECORDS = 1000
# Enough work for one passage to cost little beside it, and as much as is worth a second worker:
# below that, small calls wait for the passage under way and go together.
_BATCH_BYTES = 128 * 1024
_WORTH_BYTES = 16 * 1024


T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Request(NamedTuple):
    """An AppendRequest as it came, and who sent it with which keys."""

    raw: bytes
    author: str
    keys: Mapping[bytes, Key]


class Admission:
    """Checks requests in worker processes. Belongs to one event loop."""

    def __init__(self, origin: str, workers: Workers) -> None:
        self._origin = origin
        self._workers = workers
        # By author, the next one's turn first.
        self._waiting: OrderedDict[str, dict[asyncio.Future[Call], Request]] = OrderedDict()
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def check(self, request: Request) -> Call:
        """
        Check every record of a request; each becomes an Admitted or the error that refuses it.

        Raises InputError for a request that can't be read or is too large, UnavailableError.
        """
        future: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(request.author, {})[future] = request
        self._waiting_bytes += len(request.raw)
        self._pump()
        try:
            return await future
        finally:
            if future in self._waiting.get(request.author, ()):  # the caller went away
                self._drop(request.author, future)

    def _pump(self) -> None:
        while self._waiting and len(self._tasks) < self._workers.count:
            if self._tasks and self._waiting_bytes < _WORTH_BYTES:
                return
            task = asyncio.create_task(self._work(self._take()))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _take(self) -> list[tuple[asyncio.Future[Call], Request]]:
        taken: list[tuple[asyncio.Future[Call], Request]] = []
        size = 0
        while self._waiting:
            author, requests = next(iter(self._waiting.items()))
            future, request = next(iter(requests.items()))
            if taken and size + len(request.raw) > _BATCH_BYTES:
                break
            taken.append((future, request))
            size += len(request.raw)
            self._waiting.move_to_end(author)
            self._drop(author, future)
        return taken

    def _drop(self, author: str, future: asyncio.Future[Call]) -> None:
        requests = self._waiting[author]
        self._waiting_bytes -= len(requests.pop(future).raw)
        if not requests:
            del self._waiting[author]

    def _finished(self, task: asyncio.Task[None]) -> None:
        # Only now: what came since the answers were given has found no worker free.
        self._tasks.discard(task)
        self._pump()

    async def _work(self, taken: list[tuple[asyncio.Future[Call], Request]]) -> None:
        requests = [request for _, request in taken]
        results: list[Call | LedgerError]
        try:
            results = list(await self._workers.run(check_requests, self._origin, requests))
        except LedgerError as error:
            results = [error] * len(taken)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            results = [_unexpected(error)] * len(taken)
        for (future, _), result in zip(taken, results, strict=True):
            if future.done():  # its caller went away
                continue
            if isinstance(result, LedgerError):
                future.set_exception(result)
            else:
                future.set_result(result)


_Read = list[tuple[SignedRecord, Facts] | LedgerError]


def check_requests(origin: str, requests: list[Request]) -> list[Call | LedgerError]:
    """
    Run in a worker: check requests, each with a result or an error of its own.

    First what they say, then all signatures: taken by turns, the two would push each other out of
    the processor's caches, which costs a signature's check a fifth more.
    """
    read = [_try(_read, origin, request) for request in requests]
    return [
        each if isinstance(each, LedgerError) else _try(_pack, origin, request, each)
        for request, each in zip(requests, read, strict=True)
    ]


def _try(check: Callable[[Unpack[Ts]], T], *args: *Ts) -> T | LedgerError:
    try:
        return check(*args)
    except InputError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the requests beside it must not suffer
        return _unexpected(error)


def _unexpected(error: Exception) -> LedgerError:
    return LedgerError(f"the request could not be checked: {type(error).__name__}")


def _read(origin: str, request: Request) -> _Read:
    try:
        records = pb.AppendRequest.FromString(request.raw).records
    except DecodeError:
        raise MalformedError("the request is not an AppendRequest") from None
    if not 1 <= len(records) <= MAX_RECORDS:
        raise TooLargeError(
            f"a call holds 1 to {MAX_RECORDS} records, not {len(records)}",
            reason="BATCH_TOO_LARGE" if records else "BATCH_EMPTY",
        )
    read: _Read = []
    for record in records:
        signed = SignedRecord(record.body, record.key_id, record.signature)
        try:
            read.append((signed, read_record(signed, origin=origin, author=request.author)))
        except LedgerError as error:
            read.append(error.with_traceback(None))  # which would keep this frame, and all of read
    return read


def _verify(origin: str, request: Request, read: _Read) -> list[Item]:
    items: list[Item] = []
    for each in read:
        try:
            if isinstance(each, LedgerError):
                raise each
            items.append(verified(*each, origin, request.keys))
        except LedgerError as error:
            items.append(error.with_traceback(None))
    return items


def _pack(origin: str, request: Request, read: _Read) -> Call:
    return Call.of(_verify(origin, request, read))

"""
Admission: raw requests in, checked records out. The narrow interface to the worker processes.

Requests that arrive while the workers are busy go to them together: one passage between processes
for many small calls.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from google.protobuf.message import DecodeError

from ledgerd.ledger.workers import Workers
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import InputError, LedgerError, MalformedError, TooLargeError
from ledgerd_client.core.record import Admitted, Key, SignedRecord, admit

MAX_RECORDS = 1000
# Enough work for one passage to cost little beside it, and as much as is worth a second worker:
# below that, small calls wait for the passage under way and go together.
_BATCH_BYTES = 128 * 1024
_WORTH_BYTES = 16 * 1024

Checked = list[Admitted | LedgerError]


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
        self._waiting: OrderedDict[asyncio.Future[Checked], Request] = OrderedDict()
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def check(self, request: Request) -> Checked:
        """
        Check every record of a request; each gets an Admitted or the error that refuses it.

        Raises InputError for a request that can't be read or is too large, UnavailableError.
        """
        future: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
        self._waiting[future] = request
        self._waiting_bytes += len(request.raw)
        self._pump()
        try:
            return await future
        finally:
            if self._waiting.pop(future, None) is not None:  # the caller went away
                self._waiting_bytes -= len(request.raw)

    def _pump(self) -> None:
        while self._waiting and len(self._tasks) < self._workers.count:
            if self._tasks and self._waiting_bytes < _WORTH_BYTES:
                return
            task = asyncio.create_task(self._work(self._take()))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _take(self) -> list[tuple[asyncio.Future[Checked], Request]]:
        taken: list[tuple[asyncio.Future[Checked], Request]] = []
        size = 0
        for future, request in self._waiting.items():
            if taken and size + len(request.raw) > _BATCH_BYTES:
                break
            taken.append((future, request))
            size += len(request.raw)
        for future, _ in taken:
            del self._waiting[future]
        self._waiting_bytes -= size
        return taken

    def _finished(self, task: asyncio.Task[None]) -> None:
        # Only now: what came since the answers were given has found no worker free.
        self._tasks.discard(task)
        self._pump()

    async def _work(self, taken: list[tuple[asyncio.Future[Checked], Request]]) -> None:
        requests = [request for _, request in taken]
        results: list[Checked | LedgerError]
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


def check_requests(origin: str, requests: list[Request]) -> list[Checked | LedgerError]:
    """Run in a worker: check requests, each with a result or an error of its own."""
    results: list[Checked | LedgerError] = []
    for request in requests:
        try:
            results.append(check_request(origin, request))
        except InputError as error:
            results.append(error)
        except Exception as error:  # noqa: BLE001 - the requests beside it must not suffer
            results.append(_unexpected(error))
    return results


def _unexpected(error: Exception) -> LedgerError:
    return LedgerError(f"the request could not be checked: {type(error).__name__}")


def check_request(origin: str, request: Request) -> Checked:
    """Check one request; raises MalformedError or TooLargeError for the request as a whole."""
    try:
        records = pb.AppendRequest.FromString(request.raw).records
    except DecodeError:
        raise MalformedError("the request is not an AppendRequest") from None
    if not 1 <= len(records) <= MAX_RECORDS:
        raise TooLargeError(
            f"a call holds 1 to {MAX_RECORDS} records, not {len(records)}",
            reason="BATCH_TOO_LARGE" if records else "BATCH_EMPTY",
        )
    checked: Checked = []
    for record in records:
        signed = SignedRecord(record.body, record.key_id, record.signature)
        try:
            checked.append(admit(signed, origin=origin, author=request.author, keys=request.keys))
        except LedgerError as error:
            checked.append(error)
    return checked

"""Bodies given back to a node that has lost them, out of the outbox that sent them."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message

from ledgerd_client._channel import MAX_REQUEST_BYTES, connect
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import RecoveryServiceStub
from ledgerd_client._status import from_rpc_error
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.header import Header
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.outbox import Outbox

if TYPE_CHECKING:
    from ledgerd_client._proto.service_pb2_grpc import RecoveryServiceAsyncStub

_PAGE: Final = 1000
_BATCH_BYTES: Final = MAX_REQUEST_BYTES // 2

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class Returned(NamedTuple):
    """How many bodies the node took, and how many of the institution's it still misses."""

    taken: int
    left: int


async def return_bodies(settings: Settings, outbox: Outbox) -> Returned:
    """
    Give a node that is being recovered what it says is missing, as far as the outbox has it.

    Raises what the node states, UnavailableError when it is not there, and as Outbox does.
    """
    channel = connect(settings, settings.read_trust())
    try:
        stub = RecoveryServiceStub(channel)
        missing = await _missing(stub, settings.timeout_s)
        taken, left = 0, len(missing)
        for batch in _batches(outbox, missing):
            reply = await _call(
                stub.ReturnBodies, pb.ReturnBodiesRequest(bodies=batch), settings.timeout_s
            )
            taken += sum(not outcome.HasField("refused") for outcome in reply.outcomes)
            left = reply.left
        return Returned(taken, left)
    finally:
        await channel.close()


async def _missing(stub: RecoveryServiceAsyncStub, timeout_s: float) -> set[int]:
    found: set[int] = set()
    start = 0
    while True:
        request = pb.ListMissingRequest(**{"from": start})  # a keyword of Python's
        reply = await _call(stub.ListMissing, request, timeout_s)
        found |= set(reply.indexes)
        start = reply.next
        if not start:
            return found


def _batches(outbox: Outbox, missing: set[int]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for body in _kept(outbox, missing):
        if batch and (len(batch) == _PAGE or size + len(body) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch


def _kept(outbox: Outbox, missing: set[int]) -> Iterator[bytes]:
    """Bodies whose receipts say that they stand at one of these indexes."""
    after = None
    while page := outbox.list(limit=_PAGE, after=after):
        after = page[-1].record_id
        for row in page:
            if row.body and row.receipt and _stands_at(row.receipt, row.body) in missing:
                yield row.body


def _stands_at(receipt: bytes, body: bytes) -> int | None:
    """The index that a receipt gives a body; None when it is of another, or cannot be read."""
    try:
        header = Header.parse(Receipt.parse(receipt).header)
    except LedgerError:
        return None
    return header.index if header.body_digest == sha256(body).digest() else None


async def _call(
    method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
    request: _Request,
    timeout_s: float,
) -> _Response:
    try:
        return await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None

"""The calls of an operator: hand in what the authority signed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

import grpc

from ledgerd_client._channel import connect
from ledgerd_client._histories import Histories
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.body_pb2 import ROLE_AUTHORITY
from ledgerd_client._proto.service_pb2_grpc import AdminServiceStub
from ledgerd_client._replies import check_receipt, to_receipt
from ledgerd_client._status import from_rpc_error
from ledgerd_client._values import make
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import VerificationError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import Receipt, check_body
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.erasing import SignedOrder
from ledgerd_client.transport import GrpcTransport

if TYPE_CHECKING:
    from ledgerd_client._proto.service_pb2_grpc import AdminServiceAsyncStub

T = TypeVar("T")


async def submit_key_event(settings: Settings, trust: Trust, record: SignedRecord) -> Receipt:
    """
    Have a key event recorded, and verify its receipt under the node's new key history.

    Raises what the node states, UnavailableError, or VerificationError when it proves nothing.
    """
    sent = pb.Record(body=record.body, key_id=record.key_id, signature=record.signature)

    async def submit(admin: AdminServiceAsyncStub, channel: grpc.aio.Channel) -> Receipt:
        response = await admin.SubmitKeyEvent(
            pb.SubmitKeyEventRequest(record=sent), timeout=settings.timeout_s
        )
        receipt = to_receipt(response.receipt)
        await _verify(settings, trust, channel, receipt)
        check_body(receipt, record.body)
        return receipt

    return await _ask(settings, trust, submit)


async def authority_in_force(settings: Settings, trust: Trust) -> OriginTrust:
    """
    What trust says of this side, with the authority's key that the log has put in force since.

    Raises as Histories: a history that the pinned key does not vouch for is not believed.
    """
    history = await key_history(settings, trust, settings.origin)
    side, key = trust[settings.origin], history.key_in_force(ROLE_AUTHORITY)
    return replace(side, authority=replace(side.authority, public=key.public))


async def key_history(settings: Settings, trust: Trust, origin: str) -> KeyHistory:
    """Fetch the keys of a log, of either side's, as the node has them; raises as Histories."""

    async def read(_: AdminServiceAsyncStub, channel: grpc.aio.Channel) -> KeyHistory:
        return await _histories(settings, trust, channel).refresh(origin)

    return await _ask(settings, trust, read)


async def submit_erasure(settings: Settings, trust: Trust, signed: SignedOrder) -> Receipt:
    """Have an order carried out, and verify the receipt of its ERASURE; raises as above."""
    request = pb.SubmitErasureRequest(order=signed.order, signature=signed.signature)

    async def submit(admin: AdminServiceAsyncStub, channel: grpc.aio.Channel) -> Receipt:
        response = await admin.SubmitErasure(request, timeout=settings.timeout_s)
        receipt = to_receipt(response.receipt)
        await _verify(settings, trust, channel, receipt)
        return receipt

    return await _ask(settings, trust, submit)


async def check_erasure(settings: Settings, trust: Trust, index: int) -> pb.CheckErasureResponse:
    """Whether the body of an entry may be erased; raises FieldError, and what the node states."""
    request = make(pb.CheckErasureRequest, index=index)

    async def check(admin: AdminServiceAsyncStub, _: grpc.aio.Channel) -> pb.CheckErasureResponse:
        return await admin.CheckErasure(request, timeout=settings.timeout_s)

    return await _ask(settings, trust, check)


async def list_evidence(settings: Settings, trust: Trust) -> pb.ListEvidenceResponse:
    """What the node keeps against its peer; raises what the node states."""

    async def ask(admin: AdminServiceAsyncStub, _: grpc.aio.Channel) -> pb.ListEvidenceResponse:
        return await admin.ListEvidence(pb.ListEvidenceRequest(), timeout=settings.timeout_s)

    return await _ask(settings, trust, ask)


async def get_evidence(settings: Settings, trust: Trust, digest: bytes) -> bytes:
    """
    One bundle, believed by nobody yet.

    Raises what the node states, and VerificationError when it sends another.
    """

    async def ask(admin: AdminServiceAsyncStub, _: grpc.aio.Channel) -> bytes:
        request = pb.GetEvidenceRequest(digest=digest)
        return (await admin.GetEvidence(request, timeout=settings.timeout_s)).bundle

    bundle = await _ask(settings, trust, ask)
    if sha256(bundle).digest() != digest:
        raise VerificationError("the node sent other evidence than was asked for")
    return bundle


async def acknowledge_evidence(settings: Settings, trust: Trust, digest: bytes) -> None:
    """Let the node cosign its peer again; raises what the node states."""

    async def ask(admin: AdminServiceAsyncStub, _: grpc.aio.Channel) -> None:
        request = pb.AcknowledgeEvidenceRequest(digest=digest)
        await admin.AcknowledgeEvidence(request, timeout=settings.timeout_s)

    await _ask(settings, trust, ask)


async def get_status(settings: Settings, trust: Trust) -> pb.GetStatusResponse:
    """How the node stands; raises what the node states."""

    async def ask(admin: AdminServiceAsyncStub, _: grpc.aio.Channel) -> pb.GetStatusResponse:
        return await admin.GetStatus(pb.GetStatusRequest(), timeout=settings.timeout_s)

    return await _ask(settings, trust, ask)


async def _ask(
    settings: Settings,
    trust: Trust,
    use: Callable[[AdminServiceAsyncStub, grpc.aio.Channel], Awaitable[T]],
) -> T:
    channel = connect(settings, trust)
    try:
        return await use(AdminServiceStub(channel), channel)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        await channel.close()


def _histories(settings: Settings, trust: Trust, channel: grpc.aio.Channel) -> Histories:
    transport = GrpcTransport(channel, settings.timeout_s)
    return Histories(transport, trust, settings.keys_directory, settings.origin)


async def _verify(
    settings: Settings, trust: Trust, channel: grpc.aio.Channel, receipt: Receipt
) -> None:
    histories = _histories(settings, trust, channel)
    await histories.refresh(settings.origin)

    def check(history: KeyHistory) -> None:
        check_receipt(receipt, history, None)

    await histories.judge(settings.origin, check)

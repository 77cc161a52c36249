"""
How the SDK speaks to a node; with _channel and _status, all of it that knows gRPC.

Errors cross as google.rpc.Status with an ErrorInfo, so that any gRPC client reads them. `to_status`
(the node's end) and `from_rpc_error` (the caller's) are each other's inverse.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol, Self, TypeVar

import grpc
from google.protobuf.message import Message

from ledgerd_client import tracing
from ledgerd_client._channel import (
    CHECKPOINT_METADATA,
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    PEER_CHECKPOINT_METADATA,
    connect,
    open_channel,
    read_stream,
    read_tls_pair,
)
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client._status import (
    STATUS_METADATA,
    connect_action,
    from_refusal,
    from_rpc_error,
    stated,
    to_status,
)
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.trust import Trust

__all__ = [
    "CHECKPOINT_METADATA", "MAX_MESSAGE_BYTES", "MAX_REQUEST_BYTES", "PEER_CHECKPOINT_METADATA",
    "REPLY_LOST", "STANDBY_BEHIND",
    "STATUS_METADATA", "UNREACHABLE", "GrpcTransport", "Transport", "connect", "from_refusal",
    "from_rpc_error", "open_channel", "read_stream", "read_tls_pair", "to_status",
]  # fmt: skip

# UnavailableError.reason: the request certainly did not reach the node, or perhaps it did.
UNREACHABLE = "UNREACHABLE"
REPLY_LOST = "REPLY_LOST"
# The node has stored the records, and its standby has not.
STANDBY_BEHIND = "STANDBY_BEHIND"

# A little more than that second and gRPC's jitter.
_NEXT_ATTEMPT_S = 1.5

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class Transport(Protocol):
    """
    The way to one node, in the name of one institution.

    Methods raise LedgerError and nothing else: the error that the node stated, or UnavailableError.
    For `append` the reasons of the latter are a promise: REPLY_LOST whenever the node may have
    stored the records although no answer came, STANDBY_BEHIND when it has, on its own disk alone.
    """

    # The largest checkpoint of the node that the caller has verified, a signed note; b"" for none.
    # Sent with every call, so that a node that was rolled back learns of it.
    known_checkpoint: bytes
    # The newest one of the other side's node that the caller has verified; b"" for none. Sent with
    # every call too: the caller may have been shown another tree than the node was.
    peer_checkpoint: bytes

    async def append(self, request: pb.AppendRequest) -> pb.AppendResponse: ...
    async def get_receipt(self, request: pb.GetReceiptRequest) -> pb.GetReceiptResponse: ...
    async def get_entry(self, request: pb.GetEntryRequest) -> pb.GetEntryResponse: ...
    async def get_transfer(self, request: pb.GetTransferRequest) -> pb.GetTransferResponse: ...
    async def get_checkpoint(
        self, request: pb.GetCheckpointRequest
    ) -> pb.GetCheckpointResponse: ...
    async def get_inclusion_proof(
        self, request: pb.GetInclusionProofRequest
    ) -> pb.GetInclusionProofResponse: ...
    async def get_consistency_proof(
        self, request: pb.GetConsistencyProofRequest
    ) -> pb.GetConsistencyProofResponse: ...
    async def get_key_history(
        self, request: pb.GetKeyHistoryRequest
    ) -> pb.GetKeyHistoryResponse: ...
    async def get_info(self, request: pb.GetInfoRequest) -> pb.GetInfoResponse: ...
    async def check(self, request: pb.CheckRequest) -> pb.CheckResponse: ...
    async def get_contract(self, request: pb.GetContractRequest) -> pb.GetContractResponse: ...
    async def list_findings(self, request: pb.ListFindingsRequest) -> pb.ListFindingsResponse: ...
    def tail_findings(
        self, request: pb.TailFindingsRequest
    ) -> AsyncIterator[pb.TailFindingsResponse]: ...
    async def close(self) -> None: ...


class GrpcTransport:
    """A Transport over one gRPC channel. Belongs to the event loop that it was made on."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        """timeout_s: how long one call may take."""
        self.known_checkpoint = b""
        self.peer_checkpoint = b""
        self._channel = channel
        self._stub = LedgerServiceStub(channel)
        self._timeout_s = timeout_s

    @classmethod
    def connect(cls, settings: Settings, trust: Trust) -> Self:
        """Open a channel as settings say; the first call connects. Raises as read_tls_pair does."""
        return cls(connect(settings, trust), settings.timeout_s)

    async def append(self, request: pb.AppendRequest) -> pb.AppendResponse:
        await self._reach()
        try:
            return await self._raw_call(self._stub.Append, request)
        except grpc.aio.AioRpcError as error:
            lost = UnavailableError(
                f"the node did not answer: {error.details()}",
                reason=REPLY_LOST,
                action="send the same record again: the node takes it twice for one",
            )
            raise stated(error) or lost from None

    async def get_receipt(self, request: pb.GetReceiptRequest) -> pb.GetReceiptResponse:
        return await self._call(self._stub.GetReceipt, request)

    async def get_entry(self, request: pb.GetEntryRequest) -> pb.GetEntryResponse:
        return await self._call(self._stub.GetEntry, request)

    async def get_transfer(self, request: pb.GetTransferRequest) -> pb.GetTransferResponse:
        return await self._call(self._stub.GetTransfer, request)

    async def get_checkpoint(self, request: pb.GetCheckpointRequest) -> pb.GetCheckpointResponse:
        return await self._call(self._stub.GetCheckpoint, request)

    async def get_inclusion_proof(
        self, request: pb.GetInclusionProofRequest
    ) -> pb.GetInclusionProofResponse:
        return await self._call(self._stub.GetInclusionProof, request)

    async def get_consistency_proof(
        self, request: pb.GetConsistencyProofRequest
    ) -> pb.GetConsistencyProofResponse:
        return await self._call(self._stub.GetConsistencyProof, request)

    async def get_key_history(self, request: pb.GetKeyHistoryRequest) -> pb.GetKeyHistoryResponse:
        return await self._call(self._stub.GetKeyHistory, request)

    async def get_info(self, request: pb.GetInfoRequest) -> pb.GetInfoResponse:
        return await self._call(self._stub.GetInfo, request)

    async def check(self, request: pb.CheckRequest) -> pb.CheckResponse:
        return await self._call(self._stub.Check, request)

    async def get_contract(self, request: pb.GetContractRequest) -> pb.GetContractResponse:
        return await self._call(self._stub.GetContract, request)

    async def list_findings(self, request: pb.ListFindingsRequest) -> pb.ListFindingsResponse:
        return await self._call(self._stub.ListFindings, request)

    def tail_findings(
        self, request: pb.TailFindingsRequest
    ) -> AsyncIterator[pb.TailFindingsResponse]:
        call = self._stub.TailFindings(request, metadata=self._metadata())
        return read_stream(call, pb.TailFindingsResponse)

    async def close(self) -> None:
        await self._channel.close()

    async def _reach(self) -> None:
        """Connect before anything is sent: gRPC tells no refused connection from a lost reply."""
        state = self._channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            # That is how an earlier attempt ended: the node may be back since.
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEXT_ATTEMPT_S):
                    await self._channel.wait_for_state_change(state)
        try:
            await self._raw_call(self._stub.GetInfo, pb.GetInfoRequest())
        except grpc.aio.AioRpcError as error:
            unreachable = UnavailableError(
                f"the node cannot be reached: {error.details()}",
                reason=UNREACHABLE,
                action=connect_action(error),
            )
            raise stated(error) or unreachable from None

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        try:
            return await self._raw_call(method, request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def _raw_call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        name = f"ledger.v1.LedgerService/{type(request).__name__.removesuffix('Request')}"
        with tracing.calling(name, request.ByteSize):
            return await method(request, timeout=self._timeout_s, metadata=self._metadata())

    def _metadata(self) -> grpc.aio.Metadata:
        told: dict[str, str | bytes] = {
            CHECKPOINT_METADATA: self.known_checkpoint,
            PEER_CHECKPOINT_METADATA: self.peer_checkpoint,
            tracing.TRACEPARENT: tracing.traceparent(),
        }
        return grpc.aio.Metadata(*((name, value) for name, value in told.items() if value))

"""The way to RegulatorService, of a node or of a mirror: it asks, and believes nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from ledgerd_client._channel import CHECKPOINT_METADATA, read_stream
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import RegulatorServiceStub
from ledgerd_client._status import from_rpc_error

# How much longer an answer may take that is worked out over the whole log.
_SCAN_FACTOR = 30

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class RegulatorTransport(Protocol):
    """
    The way to one node, or mirror, in the name of one regulator.

    Methods raise LedgerError and nothing else: the error that was stated, or UnavailableError.
    """

    async def list_entries(self, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse: ...
    async def get_transfer(
        self, request: pb.RegulatorServiceGetTransferRequest
    ) -> pb.RegulatorServiceGetTransferResponse: ...
    async def get_contract(
        self, request: pb.RegulatorServiceGetContractRequest
    ) -> pb.RegulatorServiceGetContractResponse: ...
    async def summarize(self, request: pb.SummarizeRequest) -> pb.SummarizeResponse: ...
    def tail(self, request: pb.TailRequest) -> AsyncGenerator[pb.TailResponse, None]: ...
    def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]: ...


class GrpcRegulatorTransport:
    """A RegulatorTransport over one gRPC channel, which it leaves open."""

    def __init__(
        self, channel: grpc.aio.Channel, timeout_s: float, known_checkpoint: Callable[[], bytes]
    ) -> None:
        """
        timeout_s: how long one page may take; an answer over the whole log may take longer.

        known_checkpoint: the largest checkpoint of the node that the caller has verified.
        """
        self._stub = RegulatorServiceStub(channel)
        self._timeout_s = timeout_s
        self._known_checkpoint = known_checkpoint

    async def list_entries(self, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
        return await self._call(self._stub.ListEntries, request, self._timeout_s)

    async def get_transfer(
        self, request: pb.RegulatorServiceGetTransferRequest
    ) -> pb.RegulatorServiceGetTransferResponse:
        return await self._call(self._stub.GetTransfer, request, self._timeout_s)

    async def get_contract(
        self, request: pb.RegulatorServiceGetContractRequest
    ) -> pb.RegulatorServiceGetContractResponse:
        return await self._call(self._stub.GetContract, request, self._timeout_s)

    async def summarize(self, request: pb.SummarizeRequest) -> pb.SummarizeResponse:
        timeout_s = self._timeout_s * _SCAN_FACTOR
        return await self._call(self._stub.Summarize, request, timeout_s)

    def tail(self, request: pb.TailRequest) -> AsyncGenerator[pb.TailResponse, None]:
        return read_stream(self._stub.Tail(request, metadata=self._metadata()), pb.TailResponse)

    def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        call = self._stub.Follow(request, metadata=self._metadata())
        return read_stream(call, pb.FollowResponse)

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout_s: float,
    ) -> _Response:
        try:
            return await method(request, timeout=timeout_s, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    def _metadata(self) -> grpc.aio.Metadata:
        known = self._known_checkpoint()
        return grpc.aio.Metadata(*([(CHECKPOINT_METADATA, known)] if known else []))

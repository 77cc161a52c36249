from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Never

import grpc
import pytest
from client.sdk import EXPORTER, PAYLOAD, STATEMENT
from google.protobuf.any_pb2 import Any as AnyMessage

from ledgerd_client import BusyError, InputError, LedgerClient, LedgerError, UnavailableError
from ledgerd_client._memory_service import MemoryService
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc, status_pb2
from ledgerd_client.core import errors
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.testing import MemoryNode
from ledgerd_client.transport import (
    CHECKPOINT_METADATA,
    STATUS_METADATA,
    GrpcTransport,
    from_refusal,
    from_rpc_error,
    open_channel,
    read_tls_pair,
    to_status,
)

Code = grpc.StatusCode
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, LedgerError)
]


def sent(code: Code, message: str = "", details: bytes | None = None) -> grpc.aio.AioRpcError:
    """What a caller catches."""
    trailing = grpc.aio.Metadata(*([] if details is None else [(STATUS_METADATA, details)]))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, message)


class TestErrorsOnTheWire:
    @pytest.mark.parametrize("cls", CLASSES)
    def test_every_class_arrives_as_it_was_sent(self, cls: type[LedgerError]) -> None:
        there = from_rpc_error(sent(*to_status(cls("why", reason="REASON", action="do this"))))
        assert (type(there), there.message, there.reason, there.action) == (
            cls, "why", "REASON", "do this",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (errors.InputError, Code.INVALID_ARGUMENT),
            (errors.MalformedError, Code.INVALID_ARGUMENT),
            (errors.FieldError, Code.INVALID_ARGUMENT),
            (errors.PersonalDataError, Code.INVALID_ARGUMENT),
            (errors.TooLargeError, Code.INVALID_ARGUMENT),
            (errors.VerificationError, Code.INVALID_ARGUMENT),
            (errors.ForkError, Code.INVALID_ARGUMENT),
            (errors.UnauthenticatedError, Code.UNAUTHENTICATED),
            (errors.ForbiddenError, Code.PERMISSION_DENIED),
            (errors.NotFoundError, Code.NOT_FOUND),
            (errors.ConflictError, Code.ALREADY_EXISTS),
            (errors.NotReadyError, Code.FAILED_PRECONDITION),
            (errors.UnavailableError, Code.UNAVAILABLE),
            (errors.BusyError, Code.RESOURCE_EXHAUSTED),
            (errors.StoreError, Code.INTERNAL),
            (errors.LedgerError, Code.INTERNAL),
        ],
    )
    def test_a_class_has_its_status_code(self, error: type[LedgerError], code: Code) -> None:
        assert to_status(error("why"))[0] is code

    @pytest.mark.parametrize("cls", CLASSES)
    def test_what_may_succeed_later_and_nothing_else_says_when(
        self, cls: type[LedgerError]
    ) -> None:
        status = status_pb2.Status.FromString(to_status(cls("why"))[2])
        kinds = [detail.type_url.rpartition(".")[2] for detail in status.details]
        assert kinds == ["ErrorInfo", "RetryInfo"][: 1 + cls.retryable]

    def test_the_details_are_google_rpc_for_any_other_client(self) -> None:
        code, message, details = to_status(errors.FieldError("why"))
        status = status_pb2.Status.FromString(details)
        info = status_pb2.ErrorInfo.FromString(status.details[0].value)
        assert status.details[0].type_url == "type.googleapis.com/google.rpc.ErrorInfo"
        assert (status.code, status.message, info.domain) == (code.value[0], message, "ledgerd")

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            (Code.UNAVAILABLE, errors.UnavailableError),
            (Code.DEADLINE_EXCEEDED, errors.UnavailableError),
            (Code.CANCELLED, errors.UnavailableError),
            (Code.RESOURCE_EXHAUSTED, errors.BusyError),
            (Code.UNAUTHENTICATED, errors.UnauthenticatedError),
            (Code.PERMISSION_DENIED, errors.ForbiddenError),
            (Code.NOT_FOUND, errors.NotFoundError),
            (Code.INVALID_ARGUMENT, errors.InputError),
            (Code.UNIMPLEMENTED, errors.LedgerError),
            (Code.UNKNOWN, errors.LedgerError),
        ],
    )
    def test_without_details_the_code_decides(self, code: Code, error: type[LedgerError]) -> None:
        assert type(from_rpc_error(sent(code))) is error

    @pytest.mark.parametrize(
        "details",
        [
            b"\xff",
            b"",
            status_pb2.Status(
                details=[AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")]
            ).SerializeToString(),
            status_pb2.Status(
                details=[
                    AnyMessage(
                        type_url="type.googleapis.com/google.rpc.ErrorInfo",
                        value=status_pb2.ErrorInfo(
                            domain="elsewhere.example", metadata={"type": "ForkError"}
                        ).SerializeToString(),
                    )
                ]
            ).SerializeToString(),
        ],
        ids=["garbage", "nothing", "garbage within", "another service's"],
    )
    def test_details_that_are_not_ours_decide_nothing(self, details: bytes) -> None:
        assert type(from_rpc_error(sent(Code.NOT_FOUND, "", details))) is errors.NotFoundError

    def test_a_class_that_is_not_known_here_is_a_ledger_error(self) -> None:
        details = to_status(errors.FieldError("why"))[2].replace(b"FieldError", b"FutureErro")
        assert type(from_rpc_error(sent(Code.ABORTED, "why", details))) is LedgerError

    @pytest.mark.parametrize(
        ("reason", "error"),
        [
            ("NOT_CANONICAL", errors.MalformedError),
            ("UNKNOWN_CODE", errors.FieldError),
            ("CLOCK_AHEAD", errors.FieldError),
            ("PERSONAL_DATA", errors.PersonalDataError),
            ("BODY_TOO_LARGE", errors.TooLargeError),
            ("BAD_SIGNATURE", errors.SignatureError),
            ("KEY_REVOKED", errors.ForbiddenError),
            ("RECORD_ID_REUSED", errors.ConflictError),
            ("SOMETHING_NEW", errors.RefusedError),
        ],
    )
    def test_a_refusal_gets_its_class_by_its_reason(
        self, reason: str, error: type[LedgerError]
    ) -> None:
        refused = from_refusal(reason, "why")
        assert (type(refused), refused.reason, refused.message) == (error, reason, "why")


class Service(service_pb2_grpc.LedgerServiceServicer):
    """A node in memory behind real gRPC, which a test can make to fail."""

    def __init__(self, service: MemoryService) -> None:
        self.service = service
        self.metadata: list[tuple[str, Any]] = []
        self.on_append: Callable[[Any], Awaitable[None]] | None = None
        self.padding = b""

    async def Append(self, request: pb.AppendRequest, context: Any) -> pb.AppendResponse:
        if self.on_append is not None:
            await self.on_append(context)
        return self.service.append(request)

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:
        self.metadata = list(context.invocation_metadata())
        return self.service.get_info(request)

    async def GetEntry(self, request: pb.GetEntryRequest, context: Any) -> pb.GetEntryResponse:
        return pb.GetEntryResponse(body=self.padding)

    async def GetReceipt(self, request: pb.GetReceiptRequest, context: Any) -> Any:
        return await self._answer(self.service.get_receipt, request, context)

    async def GetTransfer(self, request: pb.GetTransferRequest, context: Any) -> Any:
        return await self._answer(self.service.get_transfer, request, context)

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Any) -> Any:
        return await self._answer(self.service.get_checkpoint, request, context)

    async def GetInclusionProof(self, request: pb.GetInclusionProofRequest, context: Any) -> Any:
        return await self._answer(self.service.get_inclusion_proof, request, context)

    async def GetConsistencyProof(
        self, request: pb.GetConsistencyProofRequest, context: Any
    ) -> Any:
        return await self._answer(self.service.get_consistency_proof, request, context)

    async def GetKeyHistory(self, request: pb.GetKeyHistoryRequest, context: Any) -> Any:
        return await self._answer(self.service.get_key_history, request, context)

    async def _answer(self, method: Callable[[Any], Any], request: Any, context: Any) -> Any:
        try:
            return method(request)
        except LedgerError as error:
            await refuse(context, error)


async def refuse(context: Any, error: LedgerError) -> Never:
    code, message, details = to_status(error)
    await context.abort(code, message, ((STATUS_METADATA, details),))
    raise AssertionError


@pytest.fixture
def service(ledger_node: MemoryNode) -> Service:
    return Service(MemoryService(ledger_node.log, ledger_node.peer, EXPORTER))


@asynccontextmanager
async def serving(service: Service, port: int = 0) -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_LedgerServiceServicer_to_server(service, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def connected(port: int, timeout_s: float = 10) -> AsyncIterator[GrpcTransport]:
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", open_channel_options())
    transport = GrpcTransport(channel, timeout_s)
    try:
        yield transport
    finally:
        await transport.close()

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Never

import grpc
import pytest
from client.sdk import EXPORTER, PAYLOAD, STATEMENT
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message_factory import GetMessageClass

from ledgerd_client import BusyError, InputError, LedgerClient, LedgerError, UnavailableError
from ledgerd_client._memory_service import MemoryService
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import status_pb2
from ledgerd_client.core import errors
from ledgerd_client.core.trust import Trust
from ledgerd_client.testing import MemoryNode
from ledgerd_client.transport import (
    CHECKPOINT_METADATA,
    PEER_CHECKPOINT_METADATA,
    STATUS_METADATA,
    GrpcTransport,
    from_refusal,
    from_rpc_error,
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

    def test_a_message_that_quotes_what_was_asked_leaves_room_for_the_reason(self) -> None:
        code, message, details = to_status(errors.NotFoundError("合" * 50_000, reason="REASON"))
        assert len(message.encode()) + len(details) < 4096
        there = from_rpc_error(sent(code, message, details))
        assert (there.reason, there.message) == ("REASON", message)

    @pytest.mark.parametrize("seconds", [0.25, 7.5, 3600])
    def test_when_to_come_again_arrives_as_it_was_sent(self, seconds: float) -> None:
        busy = errors.BusyError("why", retry_after_s=seconds)
        there = from_rpc_error(sent(*to_status(busy)))
        assert isinstance(there, errors.BusyError)
        assert there.retry_after_s == seconds

    def test_a_node_that_does_not_know_when_says_in_a_second(self) -> None:
        there = from_rpc_error(sent(*to_status(errors.UnavailableError("why"))))
        assert isinstance(there, errors.UnavailableError)
        assert there.retry_after_s == 1

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

    def test_a_node_that_gives_no_answer_may_hang_and_that_is_said(self) -> None:
        assert "may hang" in from_rpc_error(sent(Code.DEADLINE_EXCEEDED)).action

    @pytest.mark.parametrize(
        "details",
        [
            b"\xff",
            b"",
            status_pb2.Status(
                details=[
                    AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
                ]
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
            status_pb2.Status(
                details=[
                    AnyMessage(
                        type_url="type.googleapis.com/google.rpc.ErrorInfo",
                        value=status_pb2.ErrorInfo(
                            domain="ledgerd",
                            reason="A\n<3>B",
                            metadata={"type": "ForkError"},
                        ).SerializeToString(),
                    )
                ]
            ).SerializeToString(),
        ],
        ids=["garbage", "nothing", "garbage within", "another service's", "a reason of two lines"],
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


class Service:
    """A node in memory behind real gRPC, which a test can make to fail."""

    def __init__(self, service: MemoryService) -> None:
        self.service = service
        self.metadata: dict[str, Any] = {}
        # Method → what happens there before, or instead of, an answer.
        self.before: dict[str, Callable[[Any], Awaitable[Any]]] = {}
        # Method → an answer of the test's own.
        self.answers: dict[str, Any] = {}

    def handler(self) -> grpc.GenericRpcHandler:
        methods = pb.DESCRIPTOR.services_by_name["LedgerService"].methods
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(
                partial(self._serve, method.name),
                GetMessageClass(method.input_type).FromString,
                GetMessageClass(method.output_type).SerializeToString,
            )
            for method in methods
        }
        return grpc.method_handlers_generic_handler("ledger.v1.LedgerService", handlers)

    async def _serve(self, name: str, request: Any, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        if name in self.before:
            await self.before[name](context)
        if name in self.answers:
            return self.answers[name]
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        try:
            return getattr(self.service, method)(request)
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
async def serving(
    service: Service, credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> AsyncIterator[int]:
    """A server on a port of its own, over TLS if there are credentials."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((service.handler(),))
    address = f"127.0.0.1:{port}"
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def connected(port: int, timeout_s: float = 10) -> AsyncIterator[GrpcTransport]:
    transport = GrpcTransport(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), timeout_s)
    try:
        yield transport
    finally:
        await transport.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class TestCalls:
    async def test_a_client_works_over_it(
        self, service: Service, ledger_node: MemoryNode, tmp_path: Path
    ) -> None:
        settings = ledger_node.enrol(EXPORTER, tmp_path)
        async with (
            serving(service) as port,
            connected(port) as transport,
            LedgerClient(settings, transport=transport) as ledger,
        ):
            declared = await ledger.declare(PAYLOAD, **STATEMENT)
            ledger_node.cosign()
            await ledger.wait_cosigned(declared)
            view = await ledger.transfer(declared.ref)
        assert view.state == "open"

    async def test_the_largest_verified_checkpoint_goes_along(self, service: Service) -> None:
        async with serving(service) as port, connected(port) as transport:
            transport.known_checkpoint = b"a note"
            await transport.get_info(pb.GetInfoRequest())
        assert (CHECKPOINT_METADATA, b"a note") in service.metadata.items()

    async def test_what_the_other_sides_node_has_shown_goes_along(self, service: Service) -> None:
        async with serving(service) as port, connected(port) as transport:
            transport.peer_checkpoint = b"a note"
            await transport.get_info(pb.GetInfoRequest())
        assert (PEER_CHECKPOINT_METADATA, b"a note") in service.metadata.items()

    async def test_none_goes_along_before_there_is_one(self, service: Service) -> None:
        async with serving(service) as port, connected(port) as transport:
            await transport.get_info(pb.GetInfoRequest())
        assert CHECKPOINT_METADATA not in service.metadata

    async def test_the_nodes_error_is_raised_as_it_was_there(self, service: Service) -> None:
        async with serving(service) as port, connected(port) as transport:
            with pytest.raises(errors.FieldError) as told:
                await transport.get_inclusion_proof(pb.GetInclusionProofRequest(size=99))
        assert told.value.reason == "BEYOND_THE_END"

    async def test_a_node_that_is_not_there_is_unavailable(self) -> None:
        async with connected(free_port()) as transport:
            with pytest.raises(UnavailableError):
                await transport.get_info(pb.GetInfoRequest())


class TestTheFateOfAnAppend:
    async def test_where_nobody_listens_nothing_was_sent(self) -> None:
        async with connected(free_port()) as transport:
            with pytest.raises(UnavailableError) as told:
                await transport.append(pb.AppendRequest())
        assert told.value.reason == "UNREACHABLE"

    async def test_what_the_node_itself_refuses_was_not_stored(self, service: Service) -> None:
        service.before["Append"] = lambda context: refuse(context, BusyError("too much at once"))
        async with serving(service) as port, connected(port) as transport:
            with pytest.raises(BusyError, match="too much"):
                await transport.append(pb.AppendRequest())

    @pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.UNKNOWN, Code.RESOURCE_EXHAUSTED])
    async def test_whatever_grpc_or_a_proxy_says_leaves_it_open(
        self, service: Service, code: Code
    ) -> None:
        service.before["Append"] = lambda context: context.abort(code, "by a proxy")
        async with serving(service) as port, connected(port) as transport:
            with pytest.raises(UnavailableError) as told:
                await transport.append(pb.AppendRequest())
        assert told.value.reason == "REPLY_LOST"

    async def test_so_does_a_node_that_falls_silent(self, service: Service) -> None:
        service.before["Append"] = lambda _: asyncio.Event().wait()
        async with serving(service) as port, connected(port, timeout_s=0.2) as transport:
            with pytest.raises(UnavailableError) as told:
                await transport.append(pb.AppendRequest())
        assert told.value.reason == "REPLY_LOST"

    async def test_so_does_a_connection_that_breaks(self, service: Service) -> None:
        arrived = asyncio.Event()

        async def hang(context: object) -> None:
            arrived.set()
            await asyncio.Event().wait()

        service.before["Append"] = hang
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(AsyncExitStack())
            port = await server.enter_async_context(serving(service))
            transport = await stack.enter_async_context(connected(port))
            call = asyncio.create_task(transport.append(pb.AppendRequest()))
            await arrived.wait()
            await server.aclose()
            with pytest.raises(UnavailableError) as told:
                await call
        assert told.value.reason == "REPLY_LOST"


class Tls:
    """A TLS authority, a node's credentials by it, and an institution's files."""

    def __init__(self, directory: Path) -> None:
        pki = pytest.importorskip("ledgerd_client.pki", reason="needs the extra [cli]")
        from ledgerd_client.identity import SpiffeId
        from ledgerd_client.tls_authority import TlsAuthority

        self.directory = directory
        self._pki = pki
        self._life = pki.Validity.starting(datetime.now(UTC), timedelta(days=30))
        self.authority = TlsAuthority.create("test", self._life)
        self.certificate, self.key = self.issue(SpiffeId("test.invalid", "institution", EXPORTER))
        self._node = SpiffeId("test.invalid", "peer", "mainland")

    def issue(self, holder: Any, *hosts: str) -> tuple[Path, Path]:
        """A certificate and its key, as files."""
        key = self._pki.TlsKey.generate()
        request = self._pki.CertificateRequest.make(key, holder, hosts)
        certificate = self.directory / f"{holder.role}.pem"
        certificate.write_bytes(self.authority.issue(request, self._life).pem)
        path = self.directory / f"{holder.role}.key"
        path.touch(mode=0o600)
        path.write_bytes(key.pem)
        return certificate, path

    def server(self, host: str = "127.0.0.1") -> grpc.ServerCredentials:
        certificate, key = self.issue(self._node, host)
        pair = (key.read_bytes(), certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.authority.pem, require_client_auth=True)

    @asynccontextmanager
    async def served(
        self, service: Service, node: MemoryNode, **options: Any
    ) -> AsyncIterator[GrpcTransport]:
        """A server, and a transport to it."""
        credentials = self.server(options.pop("host", "127.0.0.1"))
        async with (
            serving(service, credentials) as port,
            self.connected(node, port, **options) as transport,
        ):
            yield transport

    @asynccontextmanager
    async def connected(
        self, node: MemoryNode, port: int, *, authority: bytes | None = None
    ) -> AsyncIterator[GrpcTransport]:
        """A transport as settings and trust file make it."""
        settings = replace(
            node.enrol("uscc.TLS", self.directory),
            endpoint=f"127.0.0.1:{port}",
            tls_certificate=self.certificate,
            tls_key=self.key,
        )
        trust = Trust.of(
            replace(origin, certificates=(authority or self.authority.der,))
            for origin in node.trust().origins
        )
        transport = GrpcTransport.connect(settings, trust)
        try:
            yield transport
        finally:
            await transport.close()


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


class TestMutualTls:
    async def test_both_sides_know_each_other(
        self, tls: Tls, service: Service, ledger_node: MemoryNode
    ) -> None:
        async with tls.served(service, ledger_node) as transport:
            info = await transport.get_info(pb.GetInfoRequest())
        assert info.origin == ledger_node.log.origin

    async def test_a_node_of_another_authority_is_not_spoken_to(
        self, tls: Tls, service: Service, ledger_node: MemoryNode, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        other = Tls(tmp_path / "other").authority.der
        async with tls.served(service, ledger_node, authority=other) as transport:
            with pytest.raises(UnavailableError, match=r"(?i)certificate|handshake"):
                await transport.append(pb.AppendRequest())

    async def test_a_node_under_another_name_is_not_spoken_to(
        self, tls: Tls, service: Service, ledger_node: MemoryNode
    ) -> None:
        async with tls.served(service, ledger_node, host="elsewhere.example") as transport:
            with pytest.raises(UnavailableError):
                await transport.get_info(pb.GetInfoRequest())

    async def test_a_proxy_in_the_environment_is_ignored(
        self,
        tls: Tls,
        service: Service,
        ledger_node: MemoryNode,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        async with tls.served(service, ledger_node) as transport:
            assert (await transport.get_info(pb.GetInfoRequest())).appends

    async def test_messages_may_be_larger_than_grpcs_default(
        self, tls: Tls, service: Service, ledger_node: MemoryNode
    ) -> None:
        service.answers["GetEntry"] = pb.GetEntryResponse(body=bytes(20 * 1024 * 1024))
        async with tls.served(service, ledger_node) as transport:
            entry = await transport.get_entry(pb.GetEntryRequest())
        assert len(entry.body) == 20 * 1024 * 1024

    async def test_a_node_that_is_back_is_found_by_the_next_append(
        self, tls: Tls, service: Service, ledger_node: MemoryNode
    ) -> None:
        credentials = tls.server()
        async with AsyncExitStack() as stack:
            async with serving(service, credentials) as port:
                transport = await stack.enter_async_context(tls.connected(ledger_node, port))
                await transport.get_info(pb.GetInfoRequest())
            with pytest.raises(UnavailableError):
                await transport.append(pb.AppendRequest())
            async with serving(service, credentials, port):
                with pytest.raises(errors.TooLargeError):  # its own word
                    await transport.append(pb.AppendRequest())


class TestTheTlsPair:
    def test_it_is_read_as_it_is(self, tls: Tls) -> None:
        assert read_tls_pair(tls.certificate, tls.key) == (
            tls.certificate.read_bytes(), tls.key.read_bytes(),
        )  # fmt: skip

    def test_a_key_of_another_certificate_is_refused(self, tls: Tls) -> None:
        tls.server()
        with pytest.raises(InputError, match="not the private key"):
            read_tls_pair(tls.certificate, tls.directory / "peer.key")

    def test_an_encrypted_key_is_refused_and_no_password_asked_for(self, tls: Tls) -> None:
        serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
        plain = serialization.load_pem_private_key(tls.key.read_bytes(), None)
        tls.key.write_bytes(
            plain.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        with pytest.raises(InputError, match="not in PEM"):
            read_tls_pair(tls.certificate, tls.key)

    def test_a_key_that_others_may_read_is_refused(self, tls: Tls) -> None:
        tls.key.chmod(0o640)
        with pytest.raises(InputError) as told:
            read_tls_pair(tls.certificate, tls.key)
        assert told.value.reason == "KEY_EXPOSED"

    def test_a_certificate_that_is_not_there_is_named(self, tls: Tls) -> None:
        with pytest.raises(InputError, match="nowhere"):
            read_tls_pair(tls.directory / "nowhere.pem", tls.key)

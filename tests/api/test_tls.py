"""Who may connect at all, and whom a certificate makes of a caller."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from nodes import OPERATOR_ID, Credentials, Node, Side, refused

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client.core.errors import UnauthenticatedError, UnavailableError
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR
from ledgerd_client.pki import Validity

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFO = pb.GetInfoRequest()
# What a client of HTTP/2 begins with, and what TLS says of it.
EMPTY_SETTINGS = bytes.fromhex("000000040000000000")
TLS_ALERT = b"\x15"


class TestTheHandshake:
    async def test_a_caller_without_a_certificate_is_not_connected(self, node: Node) -> None:
        roots = node.side.authority.tls.pem
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        async with grpc.aio.secure_channel(f"localhost:{node.port}", credentials) as channel:
            error = await refused(LedgerServiceStub(channel).GetInfo(INFO))
        assert isinstance(error, UnavailableError)

    async def test_a_caller_with_an_expired_certificate_is_not_connected(self, node: Node) -> None:
        validity = Validity.starting(datetime.now(UTC) - timedelta(days=2), timedelta(days=1))
        expired = node.side.issue(OPERATOR, OPERATOR_ID, validity=validity)
        error = await refused(node.client(expired).ledger.GetInfo(INFO))
        assert isinstance(error, UnavailableError)

    async def test_a_caller_of_a_stranger_authority_is_not_connected(
        self, node: Node, tmp_path: Path
    ) -> None:
        stranger = Side(tmp_path / "stranger", node.side.origin, node.side.name)
        client = node.client(stranger.issue(OPERATOR, OPERATOR_ID))
        assert isinstance(await refused(client.ledger.GetInfo(INFO)), UnavailableError)

    async def test_a_connection_older_than_tls_1_3_is_refused(
        self, node: Node, tmp_path: Path
    ) -> None:
        credentials = node.side.issue(OPERATOR, OPERATOR_ID)
        async with (
            tls_1_2_tunnel(node, credentials, tmp_path) as port,
            grpc.aio.insecure_channel(f"localhost:{port}") as channel,
        ):
            error = await refused(LedgerServiceStub(channel).GetInfo(INFO))
        assert (type(error), error.reason) == (UnauthenticatedError, "TLS_VERSION")

    async def test_is_of_tls_1_3_and_agrees_on_http_2(self, node: Node, tmp_path: Path) -> None:
        context = client_context(node, node.side.issue(OPERATOR, OPERATOR_ID), tmp_path)
        context.set_alpn_protocols(["http/1.1", "h2"])
        _, writer = await asyncio.open_connection("localhost", node.port, ssl=context)
        chosen = writer.get_extra_info("ssl_object")
        assert (chosen.version(), chosen.selected_alpn_protocol()) == ("TLSv1.3", "h2")
        await close(writer)

    @pytest.mark.parametrize("protocols", [["http/1.1"], []])
    async def test_without_http_2_comes_to_nothing(
        self, node: Node, tmp_path: Path, protocols: list[str]
    ) -> None:
        context = client_context(node, node.side.issue(OPERATOR, OPERATOR_ID), tmp_path)
        if protocols:
            context.set_alpn_protocols(protocols)
        reader, writer = await asyncio.open_connection("localhost", node.port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await everything(reader) == b""
        await close(writer)

    async def test_a_caller_in_plain_text_is_told_nothing(self, node: Node) -> None:
        reader, writer = await asyncio.open_connection("localhost", node.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS)
        assert (await everything(reader))[:1] in {b"", TLS_ALERT}
        await close(writer)


class TestTheCertificate:
    async def test_names_an_operator(self, node: Node) -> None:
        reply = await node.operator.ledger.GetInfo(INFO)
        assert reply.origin == node.side.origin

    async def test_of_another_trust_domain_is_refused(self, node: Node) -> None:
        client = node.client(node.side.issue(OPERATOR, OPERATOR_ID, domain="other.invalid"))
        assert (await refused(client.ledger.GetInfo(INFO))).reason == "TRUST_DOMAIN"

    @pytest.mark.parametrize("role", [INSTITUTION, REGULATOR, OPERATOR])
    async def test_by_the_other_side_makes_nobody_of_this_side(self, node: Node, role: str) -> None:
        forged = node.peer.issue(role, OPERATOR_ID, domain=node.side.domain)
        error = await refused(node.client(forged).ledger.GetInfo(INFO))
        assert isinstance(error, UnauthenticatedError)

    async def test_by_this_side_does_not_make_the_peer(self, node: Node) -> None:
        forged = node.side.issue(PEER, node.peer.name, domain=node.peer.domain)
        error = await refused(node.client(forged).peer.GetCosigned(pb.GetCosignedRequest()))
        assert isinstance(error, UnauthenticatedError)


def client_context(node: Node, credentials: Credentials, directory: Path) -> ssl.SSLContext:
    (directory / "chain.pem").write_bytes(credentials.certificate + credentials.tls_key)
    context = ssl.create_default_context(cadata=node.side.authority.tls.pem.decode())
    context.load_cert_chain(directory / "chain.pem")
    return context


async def everything(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other end closes, in whatever way."""
    data = b""
    with suppress(ConnectionError, ssl.SSLError):
        while piece := await reader.read(65536):
            data += piece
    return data


async def close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


@asynccontextmanager
async def tls_1_2_tunnel(
    node: Node, credentials: Credentials, directory: Path
) -> AsyncIterator[int]:
    """A port that carries plain HTTP/2 on to the node, in TLS 1.2 and with a client certificate."""
    context = client_context(node, credentials, directory)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])

    writers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("localhost", node.port, ssl=context)
        await asyncio.gather(carry(reader, to_there), carry(there, writer))

    server = await asyncio.start_server(accept, "localhost", 0, family=socket.AF_INET)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for writer in writers:
        writer.transport.abort()
        await writer.wait_closed()

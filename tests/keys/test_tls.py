"""The node's TLS key and certificate, replaced while it runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nodes import LIFE, Client, Node, Side, found_one, serve

from ledgerd.credentials import NEXT, NodeTls, beside, load_trust
from ledgerd.rotating import install_certificate, request_certificate
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.identity import INSTITUTION, SpiffeId
from ledgerd_client.keyfile import read_file
from ledgerd_client.pki import CertificateRequest, TlsKey

INFO = pb.GetInfoRequest()


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return found_one(tmp_path)


def approved(side: Side, ahead: timedelta = timedelta()) -> Approval:
    """The next key is made, asked for and certified; ahead: of the authority's clock."""
    out = side.directory / "tls-request.pem"
    out.unlink(missing_ok=True)
    request_certificate(side.config, out)
    request = CertificateRequest.parse(read_file(out))
    return side.authority.certify_node(request, now=datetime.now(UTC) + ahead, life=LIFE / 2)


def der_of(side: Side) -> bytes:
    return ssl.PEM_cert_to_DER_cert(side.config.tls.certificate.read_text())


async def shown(node: Node) -> bytes:
    """The certificate that a new caller sees, DER."""
    context = ssl.create_default_context(cadata=node.side.authority.tls.pem.decode())
    credentials = node.operator.credentials
    chain = node.side.directory / "chain.pem"
    chain.write_bytes(credentials.certificate + credentials.tls_key)
    context.load_cert_chain(chain)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("localhost", node.port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return found


async def until_shown(node: Node, wanted: bytes) -> None:
    async with asyncio.timeout(30):
        while await shown(node) != wanted:
            pass


class TestARenewedCertificate:
    async def test_is_shown_to_new_callers(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            before = await shown(node)
            install_certificate(node.side.config, approved(node.side))
            await until_shown(node, der_of(node.side))
        assert before != der_of(sides[0])

    async def test_leaves_open_connections_alone(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            client = await node.institution()
            install_certificate(node.side.config, approved(node.side))
            await until_shown(node, der_of(node.side))
            assert await client.place(client.transfer()) > 0

    async def test_is_served_after_a_restart(self, sides: tuple[Side, Side]) -> None:
        install_certificate(sides[0].config, approved(sides[0]))
        async with serve(*sides) as node:
            assert await shown(node) == der_of(sides[0])

    async def test_that_is_put_in_its_place_twice_is_the_same(
        self, sides: tuple[Side, Side]
    ) -> None:
        approval = approved(sides[0])
        for _ in range(2):
            install_certificate(sides[0].config, approval)
        NodeTls.load(sides[0].config, load_trust(sides[0].config))

    async def test_of_another_key_is_refused(self, sides: tuple[Side, Side]) -> None:
        approval = approved(sides[0])
        beside(sides[0].config.tls.key, NEXT).write_bytes(TlsKey.generate().pem)
        with pytest.raises(FieldError):
            install_certificate(sides[0].config, approval)

    async def test_by_the_other_side_is_refused(self, sides: tuple[Side, Side]) -> None:
        side, peer = sides
        request = CertificateRequest.make(
            TlsKey.generate(), side.config.spiffe_id, side.config.tls.hosts
        )
        with pytest.raises(FieldError):
            peer.authority.certify_node(request, now=datetime.now(UTC), life=LIFE)

    @pytest.mark.parametrize("ahead", [-LIFE, LIFE])
    async def test_that_is_not_valid_now_leaves_the_good_one(
        self, sides: tuple[Side, Side], ahead: timedelta
    ) -> None:
        before = der_of(sides[0])
        with pytest.raises(FieldError) as refused:
            install_certificate(sides[0].config, approved(sides[0], ahead))
        assert (refused.value.reason, der_of(sides[0])) == ("CERTIFICATE_DATES", before)

    async def test_is_for_nodes_only(self, sides: tuple[Side, Side]) -> None:
        side = sides[0]
        holder = SpiffeId(side.domain, INSTITUTION, "uscc.A")
        request = CertificateRequest.make(TlsKey.generate(), holder)
        with pytest.raises(FieldError):
            side.authority.certify_node(request, now=datetime.now(UTC), life=LIFE)


class TestAConnection:
    async def test_is_begun_anew_when_it_has_its_age(self, tmp_path: Path) -> None:
        """So whatever has become of a certificate meanwhile is looked at."""
        side, peer = found_one(tmp_path)
        text = side.toml.read_text()
        side.toml.write_text(text.replace("[timing]\n", "[timing]\nconnection_age_s = 1\n"))
        async with serve(side, peer) as node, counted(node) as (client, begun):
            async with asyncio.timeout(60):
                while begun() < 3:
                    await client.ledger.GetInfo(INFO)


@asynccontextmanager
async def counted(node: Node) -> AsyncIterator[tuple[Client, Callable[[], int]]]:
    """The operator behind a proxy, and how many connections were begun through it."""
    begun: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(writer)
        there, back = await asyncio.open_connection("localhost", node.port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async with await asyncio.start_server(carry, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client(Node(node.side, node.peer, port), node.operator.credentials)
        yield client, lambda: len(begun)
        await client.channel.close()
        await client.node.close()


class TestFilesThatDoNotFitTogether:
    async def test_are_not_taken_at_a_start(self, sides: tuple[Side, Side]) -> None:
        config = sides[0].config
        config.tls.key.write_bytes(TlsKey.generate().pem)
        with pytest.raises(InputError):
            NodeTls.load(config, load_trust(config))

    async def test_change_nothing_in_a_node_that_runs(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            before = await shown(node)
            node.side.config.tls.key.write_bytes(TlsKey.generate().pem)
            install = approved(node.side)
            assert await shown(node) == before
            install_certificate(node.side.config, install)
            await until_shown(node, der_of(node.side))

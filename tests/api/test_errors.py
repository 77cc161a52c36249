"""Errors on the wire, as any gRPC client reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ledger.world import World
from nodes import Client, Node, make_sides, refused
from structlog.testing import capture_logs

from ledgerd.api.identity import Identities
from ledgerd.api.ledger import Log
from ledgerd.api.limits import Rates
from ledgerd.api.roles import Access
from ledgerd.api.server import Server, Services
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.replicated import Standby
from ledgerd.observe.metrics import Metrics
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.identity import PEER

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def details(call: Any) -> list[Any]:
    """The details of a call that failed, read with google.rpc's own library."""
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    status = await rpc_status.aio.from_call(call)
    assert status is not None
    return [_unpack(packed) for packed in status.details]


def _unpack(packed: Any) -> Any:
    for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
        message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(packed)


class TestDetails:
    async def test_say_in_google_rpc_terms_what_happened(self, exporter: Client) -> None:
        (info,) = await details(exporter.ledger.GetEntry(pb.GetEntryRequest(index=10**9)))
        assert (info.domain, info.reason) == ("ledgerd", "NOT_FOUND")

    async def test_say_what_to_do(self, exporter: Client) -> None:
        (info,) = await details(exporter.ledger.GetReceipt(pb.GetReceiptRequest()))
        assert info.metadata["action"] == "mend the call, then try again"

    async def test_say_when_to_try_again_where_that_helps(
        self, node: Node, exporter: Client
    ) -> None:
        request = pb.GetKeyHistoryRequest(origin=node.peer.origin)
        _, retry = await details(exporter.ledger.GetKeyHistory(request))
        assert retry.retry_delay.seconds == 1

    async def test_come_with_the_status_code_of_the_error(self, exporter: Client) -> None:
        call = exporter.ledger.GetEntry(pb.GetEntryRequest(index=10**9))
        await details(call)
        assert await call.code() is grpc.StatusCode.NOT_FOUND


class BrokenWitness:
    """Fails in a way that nobody has thought of."""

    def vouched(self) -> bytes:
        raise ZeroDivisionError("what nobody is to see")

    def key_history(self) -> None: ...


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """A real server whose witness fails; the parts that are None nobody asks for."""
    side, peer = sides = make_sides(tmp_path_factory.mktemp("broken"))
    world, none = World().mainland, cast("Any", None)
    keyring = Keyring(world.store, world.log.origin, world.log.authority.public)
    own, theirs = ([one.authority.tls.der] for one in sides)
    log = Log(
        origin=side.origin, peer_origin=peer.origin, reader=world.reader, keyring=keyring,
        admission=none, sequencer=none, checker=none,
        own_cosigned=cast("Any", SimpleNamespace(newest=none)),
        witness=cast("Any", BrokenWitness()),
    )  # fmt: skip
    services = Services(
        log=log,
        desk=cast("Any", SimpleNamespace(replica=none)),
        access=Access(
            keyring,
            operators=(),
            peer=peer.name,
            clock=none,
            last_time=none,
            peer_keys=lambda: keyring.history,
        ),
        identities=Identities(side.config.spiffe_id, own, side.config.peer_spiffe_id, theirs),
        standing=cast("Any", SimpleNamespace(mentioned=none)),
        metrics=Metrics(),
        in_thread=none,
        clock=none,
        sign=none,
        prepare=none,
        evidence=none,
        heard=none,
        settled=none,
        connection_age_s=300,
        rates=Rates(),
        status=none,
        standby=Standby(None),
    )
    server, tls = Server(services), side.issue(PEER, side.name)
    port = await server.start(
        "localhost:0", certificate=tls.certificate, key=tls.tls_key, authorities=own + theirs
    )
    node = Node(side, peer, port)
    yield node
    await node.close()
    await server.stop(0)


class TestFaultsOfTheNode:
    async def test_are_internal_and_not_shown(self, broken: Node) -> None:
        error = await refused(broken.the_peer().peer.GetCosigned(pb.GetCosignedRequest()))
        assert (type(error), error.reason) == (LedgerError, "INTERNAL")
        assert "nobody" not in error.message

    async def test_are_logged_once_with_a_traceback(self, broken: Node) -> None:
        with capture_logs() as logged:
            await refused(broken.the_peer().peer.GetCosigned(pb.GetCosignedRequest()))
        (line,) = [line for line in logged if line["event"] == "call_failed"]
        assert isinstance(line["exc_info"], ZeroDivisionError)

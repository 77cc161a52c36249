"""With standby.wait nothing leaves the node before its standby has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nodes import Client, Node, found_one, refused, serve

from ledgerd.api.standby_client import StandbyClient
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.identity import PEER

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT = "\n[standby]\nwait = true\nwait_s = 1.5\n"


@dataclass
class Follower:
    """A standby that says what it likes of how far it has come."""

    client: Client
    start: int = 0
    held: bytes = b""

    def call(self) -> grpc.aio.UnaryStreamCall:
        asked = pb.ReplicateRequest(start=self.start, held=self.held)
        return rpc.StandbyServiceStub(self.client.channel).Replicate(asked)

    async def take(self) -> None:
        """Have what there is from start on; the node is not told yet."""
        async for response in self.call():
            self.held = response.page.checkpoint or self.held
            self.start += len(response.page.entries)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    side, peer = found_one(tmp_path_factory.mktemp("standby"))
    side.toml.write_text(side.toml.read_text() + WAIT)
    async with serve(side, peer) as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standby(waiting: Node) -> Follower:
    return Follower(waiting.client(waiting.side.issue(PEER, waiting.side.name)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def institution(waiting: Node, standby: Follower) -> Client:
    """Admitted while the standby follows."""
    await standby.take()
    admitting = asyncio.create_task(waiting.institution())
    await standby.take()
    said = standby.call()
    admitted = await admitting
    said.cancel()
    return admitted


async def committed(standby: Follower, record: pb.Record, by: Client) -> asyncio.Task[object]:
    """A record that is in the log, and in the standby, which has not said so."""
    before = standby.start
    appending = asyncio.create_task(by.append(record))
    while standby.start == before:
        if appending.done():  # refused: the standby had been away for a moment too long
            appending.exception()
            appending = asyncio.create_task(by.append(record))
        await standby.take()
    # Whatever was answered by now has come.
    await by.ledger.GetInfo(pb.GetInfoRequest())
    return appending


async def again(record: pb.Record, by: Client) -> pb.AppendOutcome:
    """What becomes of a record that is sent until the standby's call has come."""
    for _ in range(1000):
        appending = asyncio.create_task(by.append(record))
        await asyncio.wait([appending])
        if appending.exception() is None:
            return appending.result().outcomes[0]
    raise AssertionError("never taken")


class TestAnAppend:
    async def test_waits_until_the_standby_says_that_it_has_it(
        self, standby: Follower, institution: Client
    ) -> None:
        appending = await committed(standby, institution.transfer(), institution)
        assert not appending.done()
        said = standby.call()
        await appending
        said.cancel()

    async def test_is_refused_when_it_never_says_so(
        self, standby: Follower, institution: Client
    ) -> None:
        appending = await committed(standby, institution.transfer(), institution)
        error = await refused(appending)
        assert (type(error), error.reason) == (UnavailableError, "STANDBY_BEHIND")

    async def test_comes_again_as_the_same_record(
        self, standby: Follower, institution: Client
    ) -> None:
        record = institution.transfer()
        await refused(await committed(standby, record, institution))
        said = standby.call()
        outcome = await again(record, institution)
        said.cancel()
        assert outcome.WhichOneof("result") == "repeated"

    async def test_is_not_recorded_at_all_without_a_standby(
        self, waiting: Node, institution: Client
    ) -> None:
        while (error := await refused(institution.append(institution.transfer()))).reason != (
            "STANDBY_AWAY"
        ):
            pass  # it was here a moment ago
        before = (await institution.ledger.GetInfo(pb.GetInfoRequest())).size
        await refused(institution.append(institution.transfer()))
        after = (await institution.ledger.GetInfo(pb.GetInfoRequest())).size
        assert (error.retryable, after) == (True, before)

    async def test_whoever_asks_for_health_is_told_that_it_is_not(
        self, standby: Follower, institution: Client
    ) -> None:
        asked = health_pb2.HealthCheckRequest(service="append")
        watch = health_pb2_grpc.HealthStub(institution.channel).Watch(asked)
        while (await watch.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
        said = standby.call()
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        said.cancel()
        watch.cancel()


class TestWhatElseLeaves:
    @pytest_asyncio.fixture(loop_scope="module")
    async def unsaid(self, standby: Follower, institution: Client) -> int:
        """The index of a record that the standby has not said that it has."""
        await standby.take()
        await refused(await committed(standby, institution.transfer(), institution))
        return standby.start - 1

    async def test_no_receipt_does(self, institution: Client, unsaid: int) -> None:
        asked = pb.GetReceiptRequest(index=unsaid)
        error = await refused(institution.ledger.GetReceipt(asked))
        assert error.reason == "STANDBY_BEHIND"

    async def test_no_receipt_of_an_earlier_one_under_a_newer_checkpoint(
        self, institution: Client, unsaid: int
    ) -> None:
        asked = pb.GetReceiptRequest(index=unsaid - 1)
        error = await refused(institution.ledger.GetReceipt(asked))
        assert error.reason == "STANDBY_BEHIND"

    async def test_no_entry_does(self, institution: Client, unsaid: int) -> None:
        error = await refused(institution.ledger.GetEntry(pb.GetEntryRequest(index=unsaid - 1)))
        assert error.reason == "STANDBY_BEHIND"

    async def test_no_checkpoint_does_that_the_peer_could_cosign(
        self, waiting: Node, unsaid: int
    ) -> None:
        headers = waiting.the_peer().peer.ListHeaders(pb.ListHeadersRequest())
        error = await refused(headers.read())
        assert error.reason == "STANDBY_BEHIND"


class TestTheWayToIt:
    async def test_is_for_who_bears_the_nodes_own_name(self, waiting: Node) -> None:
        call = rpc.StandbyServiceStub(waiting.the_peer().channel).Replicate(pb.ReplicateRequest())
        assert (await refused(call.read())).reason == "WRONG_ROLE"

    async def test_carries_the_peers_log_too(self, waiting: Node, standby: Follower) -> None:
        """Of which this node has heard nothing."""
        way = StandbyClient(lambda *_: standby.client.channel, b"", b"", lambda: b"")
        request = pb.FollowRequest(origin=waiting.peer.origin)
        pages = [page async for page in way.follow(request)]
        assert [page.checkpoint for page in pages] == [b""]


class TestASecondStandby:
    async def test_is_refused_while_the_first_one_follows(
        self, waiting: Node, standby: Follower
    ) -> None:
        """It has a certificate of its own for the same name, as the page on standbys says."""
        # From the first entry on, so that the node need not wait for one.
        await Follower(standby.client).take()
        second = Follower(waiting.client(waiting.side.issue(PEER, waiting.side.name)))
        assert (await refused(second.call().read())).reason == "SECOND_STANDBY"

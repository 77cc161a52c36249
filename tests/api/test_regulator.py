"""RegulatorService as a node serves it: over the network, and on record."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from builders import WHOLE
from nodes import Client, Node, bodies, found_one, refused, serve

from ledgerd.ledger.reader import Reader
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import NODE
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import ForbiddenError
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.supervision import KIND_NUMBERS as KINDS
from ledgerd_client.transport import from_rpc_error

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUERY_LOG = pb.Query(kinds=[KINDS["query_log"]])


async def asked_by(regulator: Client) -> list[body_pb2.QueryLog]:
    """What is on record of a regulator."""
    request = pb.ListEntriesRequest(query=QUERY_LOG, page_size=500)
    found = bodies(await regulator.regulator.ListEntries(request))
    return [body.query_log for body in found if body.query_log.regulator == regulator.id]


class TestAQuery:
    async def test_is_in_the_log_before_its_answer(self, node: Node) -> None:
        regulator = await node.regulator("cac.record")
        answer = await regulator.regulator.ListEntries(pb.ListEntriesRequest())
        size = Checkpoint.parse(parse_note(answer.checkpoint).text).size
        (first, *_) = await asked_by(regulator)
        assert [(asked.method, asked.size) for asked in first.asked] == [
            ("RegulatorService/ListEntries", size)
        ]

    async def test_is_answered_as_of_before_it_was_put_on_record(self, node: Node) -> None:
        regulator = await node.regulator("cac.before")
        assert await asked_by(regulator) == []

    async def test_that_is_refused_is_not_on_record(self, node: Node) -> None:
        regulator = await node.regulator("cac.wrong")
        query = pb.Query(first=2, end=1)
        await refused(regulator.regulator.ListEntries(pb.ListEntriesRequest(query=query)))
        assert await asked_by(regulator) == []


class TestEveryMethod:
    async def test_is_served(self, regulator: Client, exporter: Client) -> None:
        await exporter.place(exporter.transfer())
        stub = regulator.regulator
        assert (await stub.Summarize(pb.SummarizeRequest())).groups
        first, *_ = [reply async for reply in stub.Follow(pb.FollowRequest())]
        assert first.checkpoint
        tail = stub.Tail(pb.TailRequest())
        assert (await tail.read()).entry.index == 0
        tail.cancel()
        request = pb.RegulatorServiceGetContractRequest(contract_id="NONE")
        assert (await refused(stub.GetContract(request))).reason == "NOT_FOUND"
        transfer = pb.RegulatorServiceGetTransferRequest(ref=bytes(32))
        assert (await refused(stub.GetTransfer(transfer))).reason == "NOT_FOUND"


class TestAGrant:
    async def test_that_ends_in_the_middle_of_a_tail_ends_the_tail(self, node: Node) -> None:
        grant = body_pb2.Grant()
        grant.CopyFrom(WHOLE)
        grant.valid_until = time.time_ns() // 1000 + 1_500_000
        regulator = await node.regulator("cac.soon", grant)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in regulator.regulator.Tail(pb.TailRequest()):
                pass
        error = from_rpc_error(caught.value)
        assert (type(error), error.reason) == (ForbiddenError, "GRANT_EXPIRED")

    async def test_is_shown_to_everybody_in_the_key_history(self, node: Node) -> None:
        await node.regulator("cac.open", body_pb2.Grant(
            places=[440300], valid_from=WHOLE.valid_from, valid_until=WHOLE.valid_until,
        ))  # fmt: skip
        history = await node.history()
        key = next(key for _, key in history.of_subject(body_pb2.ROLE_REGULATOR, "cac.open"))
        assert key.grant is not None
        assert list(key.grant.places) == [440300]


class TestAStop:
    async def test_puts_on_record_what_is_not_yet(self, tmp_path: Path) -> None:
        """The rest of the minute, after the last answer has left."""
        side, peer = found_one(tmp_path / "border")
        async with serve(side, peer) as node:
            regulator = await node.regulator()
            for page_size in range(1, 6):
                await regulator.regulator.ListEntries(pb.ListEntriesRequest(page_size=page_size))
        with closing(LmdbStore.open(side.config.store, readonly=True)) as store:
            entries = Reader(store).page(0, author=NODE, count=1000).entries
        logs = [body_pb2.Body.FromString(body).query_log for _, body in entries]
        assert sum(asked.times for log in logs for asked in log.asked) == 5

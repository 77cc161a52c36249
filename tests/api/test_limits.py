"""What a node takes at once, and no more."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from ledger.law_world import LawWorld, at
from ledger.test_erasure import order, submit
from ledger.world import Node, World
from nodes import Client, refused

from ledgerd.api.encode import Views
from ledgerd.api.guard import MAX_CALLS, MAX_CALLS_OF_ONE
from ledgerd.api.identity import Caller, set_caller
from ledgerd.api.ledger import MAX_IN_FLIGHT_BYTES, LedgerHandlers, Log
from ledgerd.api.limits import Rates
from ledgerd.api.roles import Access
from ledgerd.api.threads import InThread
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.views import TransferAnswer
from ledgerd.observe.metrics import Metrics
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import BusyError
from ledgerd_client.core.header import Header
from ledgerd_client.identity import INSTITUTION
from ledgerd_client.transport import MAX_REQUEST_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE: Any = None
NO_PEER: Any = SimpleNamespace(key_history=NONE, newest=NONE)
ROOT = Path(__file__).parents[2]
LARGEST = bytes(MAX_REQUEST_BYTES)


@asynccontextmanager
async def appending(handlers: LedgerHandlers, count: int) -> AsyncIterator[list[Any]]:
    """So many of the largest appends, under way."""
    tasks = [asyncio.create_task(handlers.Append(LARGEST, NONE)) for _ in range(count)]
    await asyncio.wait(tasks, timeout=0)
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Hanging:
    """An admission that comes to no end, behind a sequencer that takes appends."""

    refuse = None

    async def check(self, _request: object) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def handlers() -> LedgerHandlers:
    world, hanging = World().mainland, cast("Any", Hanging())
    keyring = Keyring(world.store, world.log.origin, world.log.authority.public)
    log = Log(
        origin=world.log.origin, peer_origin=world.peer.origin, reader=world.reader,
        keyring=keyring, admission=hanging, sequencer=hanging, checker=NONE, own_cosigned=NO_PEER,
        witness=NO_PEER,
    )  # fmt: skip
    return LedgerHandlers(log, NONE, NONE, Metrics(), NONE, Rates())


@contextmanager
def listening(node: Node, caller: str) -> Iterator[tuple[LedgerHandlers, list[str]]]:
    """Handlers for a caller, and the names of the threads in which transfers are read."""
    made_by: list[str] = []

    class Listening(Reader):
        def transfer(self, ref: bytes) -> TransferAnswer:
            made_by.append(threading.current_thread().name)
            return super().transfer(ref)

    reader = Listening(node.store)
    keyring = Keyring(node.store, node.log.origin, node.log.authority.public)
    log = Log(
        origin=node.log.origin, peer_origin=node.peer.origin, reader=reader,
        keyring=keyring, admission=NONE, sequencer=NONE, checker=NONE, own_cosigned=NO_PEER,
        witness=NO_PEER,
    )  # fmt: skip
    views = Views(node.log.origin, node.peer.origin, reader.header, NONE)
    access = Access(
        keyring,
        operators=(),
        peer="",
        clock=lambda: 0,
        last_time=lambda: 0,
        peer_keys=lambda: keyring.history,
    )
    set_caller(Caller(INSTITUTION, caller))
    with ThreadPoolExecutor(1, "reader") as pool:
        yield LedgerHandlers(log, access, views, Metrics(), InThread(pool), Rates()), made_by


class TestATransferThatIsLong:
    """It may have two hundred halves and as many findings."""

    async def test_is_not_shown_from_the_event_loop(self) -> None:
        world = World()
        item = world.transfer()
        world.mainland.place(item)
        with listening(world.mainland, world.exporter.id) as (handlers, made_by):
            await handlers.GetTransfer(pb.GetTransferRequest(ref=item.facts.ref), NONE)
        assert made_by == ["reader_0"]

    async def test_is_not_read_from_it_for_a_finding_either(self) -> None:
        law = LawWorld()
        law.agree()
        law.mainland.place(law.transfer(law.terms(delete_by=0)))
        finding = law.mainland.size - 1
        with listening(law.mainland, law.exporter.id) as (handlers, made_by):
            reply = await handlers.GetEntry(pb.GetEntryRequest(index=finding), NONE)
        assert (made_by, bool(reply.body)) == (["reader_0"], True)


class TestAnEntryThatWasErased:
    async def test_is_shown_to_its_author_with_receipt_and_reason(self) -> None:
        law = LawWorld()
        index = law.mainland.place(law.pipia())
        law.clock.now = at("2030-01-01")
        erasure = submit(law, order(law, index))
        with listening(law.mainland, law.exporter.id) as (handlers, _):
            reply = await handlers.GetEntry(pb.GetEntryRequest(index=index), NONE)
        assert Header.parse(reply.receipt.header).index == index
        assert (reply.body, reply.erased.index, reply.erased.reason) == (
            b"", erasure, "kept long enough",
        )  # fmt: skip


class TestInFlight:
    async def test_appends_of_one_over_half_of_the_limit_are_told_to_come_again(
        self, handlers: LedgerHandlers
    ) -> None:
        set_caller(Caller(INSTITUTION, "uscc.BUSY"))
        async with appending(handlers, MAX_IN_FLIGHT_BYTES // 2 // MAX_REQUEST_BYTES):
            with pytest.raises(BusyError) as caught:
                await asyncio.wait_for(handlers.Append(b"one more", NONE), 10)
        assert (caught.value.reason, caught.value.retryable) == ("TOO_MANY_IN_FLIGHT", True)

    async def test_appends_of_another_are_taken_all_the_same(
        self, handlers: LedgerHandlers
    ) -> None:
        set_caller(Caller(INSTITUTION, "uscc.BUSY"))
        async with appending(handlers, MAX_IN_FLIGHT_BYTES // 2 // MAX_REQUEST_BYTES):
            set_caller(Caller(INSTITUTION, "uscc.OTHER"))
            async with appending(handlers, 1) as (task,):
                assert not task.done()

    async def test_a_caller_that_goes_away_makes_room(self, handlers: LedgerHandlers) -> None:
        set_caller(Caller(INSTITUTION, "uscc.BUSY"))
        for _ in range(2 * MAX_IN_FLIGHT_BYTES // MAX_REQUEST_BYTES):
            task = asyncio.create_task(handlers.Append(LARGEST, NONE))
            await asyncio.wait((task,), timeout=0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


class TestCalls:
    async def test_fit_with_their_messages_in_half_of_what_the_unit_gives(self) -> None:
        unit = (ROOT / "deploy" / "ledgerd.service").read_text()
        (gibibytes,) = re.findall(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)
        assert int(gibibytes) * 2**30 // 2 >= MAX_CALLS * MAX_REQUEST_BYTES

    async def test_of_one_caller_leave_room_for_others(
        self, exporter: Client, other: Client
    ) -> None:
        """Each of its calls is let in, and then never says what it asks."""
        info = exporter.channel.stream_unary("/ledger.v1.LedgerService/GetInfo")
        calls = [info() for _ in range(MAX_CALLS_OF_ONE + 1)]
        # Whichever comes last is told so; the others go on waiting.
        done, waiting = await asyncio.wait(
            [asyncio.create_task(refused(call)) for call in calls],
            return_when=asyncio.FIRST_COMPLETED,
        )
        answer = await other.ledger.GetInfo(pb.GetInfoRequest())
        for call in calls:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        (error,) = [task.result() for task in done]
        assert (type(error), error.reason, answer.appends) == (BusyError, "TOO_MANY_CALLS", True)

    async def test_that_ended_make_room(self, exporter: Client) -> None:
        for _ in range(2 * MAX_CALLS_OF_ONE):
            assert (await exporter.ledger.GetInfo(pb.GetInfoRequest())).appends


class TestMessages:
    async def test_may_be_as_large_as_the_node_says(self, exporter: Client) -> None:
        info = await exporter.ledger.GetInfo(pb.GetInfoRequest())
        append = exporter.channel.unary_unary("/ledger.v1.LedgerService/Append")
        error = await refused(append(b"\xff" * info.max_message_bytes))
        assert error.reason == "MALFORMED"

    async def test_of_a_thousand_records_as_they_are_stay_below_half_the_limit(
        self, exporter: Client
    ) -> None:
        assert 2 * 1000 * exporter.transfer().ByteSize() < MAX_REQUEST_BYTES

    async def test_over_the_limit_are_refused(self, exporter: Client) -> None:
        """By gRPC, before any of it is looked at."""
        node, credentials = exporter.node, exporter.credentials
        channel = grpc.aio.secure_channel(
            f"localhost:{node.port}",
            grpc.ssl_channel_credentials(
                node.side.authority.tls.pem, credentials.tls_key, credentials.certificate
            ),
            options=(("grpc.max_send_message_length", -1),),
        )
        append = channel.unary_unary("/ledger.v1.LedgerService/Append")
        error = await refused(append(LARGEST + b"\x00"))
        await channel.close()
        assert isinstance(error, BusyError)

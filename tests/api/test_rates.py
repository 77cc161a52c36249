"""How fast one caller may go on, and that the others do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nodes import Client, Node, found_one, refused, serve

from ledgerd.api.identity import Caller
from ledgerd.api.limits import BURST_S, Rates, Shares
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import BusyError
from ledgerd_client.identity import INSTITUTION, PEER

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE, OTHER = Caller(INSTITUTION, "uscc.ONE"), Caller(INSTITUTION, "uscc.OTHER")
INFO = pb.GetInfoRequest()
RECORDS_PER_S = 2
ALLOWANCE = int(RECORDS_PER_S * BURST_S)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(records_per_s=10, bytes_per_s=1000, clock=clock)


def debt(rates: Rates, caller: Caller) -> float:
    """For how long a caller is told to wait."""
    try:
        rates.check(caller)
    except BusyError as error:
        return error.retry_after_s
    return 0


class TestRates:
    async def test_let_a_caller_use_ten_seconds_of_its_rate_at_once(self, rates: Rates) -> None:
        rates.used(ONE, records=100, size=10_000)
        assert debt(rates, ONE) == 0

    @pytest.mark.parametrize(("records", "size"), [(130, 0), (0, 13_000), (130, 13_000)])
    async def test_say_when_a_debt_is_worked_off(
        self, rates: Rates, records: int, size: int
    ) -> None:
        rates.used(ONE, records=records, size=size)
        assert debt(rates, ONE) == 3

    async def test_let_it_in_again_then(self, rates: Rates, clock: Clock) -> None:
        rates.used(ONE, records=130)
        clock.now += 3
        assert debt(rates, ONE) == 0

    async def test_save_nothing_up_beyond_the_ten_seconds(self, rates: Rates, clock: Clock) -> None:
        rates.used(ONE, records=1)
        clock.now += 1_000_000
        rates.used(ONE, records=101)
        assert debt(rates, ONE) == pytest.approx(0.1)

    async def test_keep_each_caller_apart(self, rates: Rates) -> None:
        rates.used(ONE, records=1_000_000)
        assert (debt(rates, OTHER), debt(rates, Caller(PEER, ONE.id))) == (0, 0)

    async def test_are_without_end_unless_they_are_given(self) -> None:
        rates = Rates()
        rates.used(ONE, records=1 << 60, size=1 << 60)
        assert debt(rates, ONE) == 0

    async def test_hold_a_stream_up_and_do_not_end_it(self, clock: Clock) -> None:
        rates = Rates(bytes_per_s=1000, clock=clock)
        pacing = asyncio.create_task(rates.pace(ONE, 1_000_000))
        await asyncio.wait((pacing,), timeout=0)
        held_up = not pacing.done()
        pacing.cancel()
        await rates.pace(OTHER, 10_000)
        assert held_up


class TestShares:
    @pytest.fixture
    def shares(self) -> Shares:
        return Shares(120, each=120, what="things", reason="TOO_MANY")

    async def test_give_one_half_and_two_a_third_each(self, shares: Shares) -> None:
        with shares.hold(ONE, 40), shares.hold(OTHER, 40):
            for caller in (ONE, OTHER):
                with pytest.raises(BusyError), shares.hold(caller, 1):
                    pass

    async def test_give_nobody_more_than_the_most_for_each(self) -> None:
        shares = Shares(120, each=30, what="things", reason="TOO_MANY")
        with shares.hold(ONE, 30), pytest.raises(BusyError), shares.hold(ONE, 1):
            pass

    async def test_always_leave_some_for_whoever_comes_next(self, shares: Shares) -> None:
        held = [shares.hold(Caller(INSTITUTION, f"uscc.{n}"), 120 >> n + 1) for n in range(6)]
        for each in held:
            each.__enter__()
        with shares.hold(ONE, 1):
            assert True
        for each in held:
            each.__exit__(None, None, None)

    async def test_take_back_what_was_held(self, shares: Shares) -> None:
        for _ in range(10):
            with shares.hold(ONE, 60):
                pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """A node that takes two records a second of each caller."""
    side, peer = found_one(tmp_path_factory.mktemp("slow"))
    text = side.toml.read_text()
    limits = f"[limits]\nrecords_per_second = {RECORDS_PER_S}\nbytes_per_second = 65536\n"
    side.toml.write_text(text.replace("[limits]\n", limits))
    async with serve(side, peer) as node:
        yield node


async def over_the_limit(client: Client) -> Client:
    await client.append(*(client.transfer() for _ in range(10 * ALLOWANCE)))
    return client


class TestAnInstitutionThatIsOverItsRecordsASecond:
    async def test_has_what_it_sent_recorded(self, slow: Node) -> None:
        client = await slow.institution("uscc.FAST1")
        reply = await client.append(*(client.transfer() for _ in range(2 * ALLOWANCE)))
        assert all(each.WhichOneof("result") == "recorded" for each in reply.outcomes)

    async def test_is_refused_from_then_on(self, slow: Node) -> None:
        client = await over_the_limit(await slow.institution("uscc.FAST2"))
        error = await refused(client.append(client.transfer()))
        assert (type(error), error.reason) == (BusyError, "TOO_FAST")

    async def test_is_told_in_google_rpc_terms_when_to_come_again(self, slow: Node) -> None:
        client = await over_the_limit(await slow.institution("uscc.FAST3"))
        call = client.ledger.GetInfo(INFO)
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        status = await rpc_status.aio.from_call(call)
        assert status is not None
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        status.details[0].Unpack(info)
        status.details[1].Unpack(retry)
        owed_s = 10 * ALLOWANCE / RECORDS_PER_S - BURST_S
        # The more it waited since, the less it owes.
        assert 0 < retry.retry_delay.seconds <= owed_s
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def test_slows_no_other_down(self, slow: Node) -> None:
        await over_the_limit(await slow.institution("uscc.FAST4"))
        other = await slow.institution("uscc.SLOW4")
        assert [await other.place(other.transfer()) for _ in range(3)]


class TestACallerThatIsOverItsBytesASecond:
    async def test_is_refused_whatever_it_is(self, slow: Node) -> None:
        client = await slow.regulator("cac.fast")
        await refused(
            client.channel.unary_unary("/ledger.v1.RegulatorService/ListEntries")(
                b"\xff" * 1_000_000
            )
        )
        error = await refused(client.regulator.ListEntries(pb.ListEntriesRequest()))
        assert error.reason == "TOO_FAST"

    async def test_pays_for_what_it_is_sent_too(self, slow: Node) -> None:
        client = await slow.institution("uscc.READER")
        await client.place(client.transfer())
        error = None
        while error is None:
            try:
                await client.ledger.GetKeyHistory(pb.GetKeyHistoryRequest())
            except grpc.aio.AioRpcError as caught:
                error = caught
        assert "TOO_FAST" in str(error.trailing_metadata())

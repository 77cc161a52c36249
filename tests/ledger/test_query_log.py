"""What regulators ask is on record before they are answered, and costs two entries a minute."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from ledger.stores import reopened
from ledger.threaded import InThread
from ledger.world import World

from ledgerd.ledger.committer import Committer
from ledgerd.ledger.own_entry import sign_own
from ledgerd.ledger.query_log import QueryLog, Spool
from ledgerd.ledger.sequencer import Sequencer
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import NotReadyError, UnavailableError
from ledgerd_client.core.record import Admitted, sign_admitted

MINUTE = 60_000_000
CAC = "cac.shenzhen"
METHOD = "RegulatorService/ListEntries"
READ_ONLY = NotReadyError("nothing is appended", reason="UNCONFIRMED")


def query(first: int = 0, **page: object) -> pb.ListEntriesRequest:
    return pb.ListEntriesRequest(query=pb.Query(first=first), **page)


class Desk:
    """A query log over the Mainland's ledger."""

    def __init__(self, world: World, spool: Path) -> None:
        self.world, self.spool, node = world, spool, world.mainland
        node.store = reopened(node.store, spool)
        self.sequencer = Sequencer(
            InThread(
                Committer(node.store, lambda: node.new_writer(node.store), reserve_bytes=1000)
            ),
            on_commit=lambda _: None,
            on_fatal=lambda _: None,
            linger_s=0.0,
        )
        # Whose entries cannot be made.
        self.unsigned = ""
        self.log = self.new_log()

    def new_log(self) -> QueryLog:
        key, origin = self.world.mainland.log.entry_key, self.world.mainland.log.origin

        def sign(query_log: body_pb2.QueryLog) -> Admitted:
            if query_log.regulator == self.unsigned:
                raise UnavailableError("not now")
            return sign_own(key, origin, self.world.clock(), os.urandom, query_log=query_log)

        return QueryLog(
            self.sequencer,
            self.spool,
            sign=sign,
            sign_body=lambda body: sign_admitted(body, key, key_index=0),
            clock=self.world.clock,
        )

    async def ask(
        self, request: pb.ListEntriesRequest | None = None, regulator: str = CAC, size: int = 3
    ) -> None:
        await self.log.note(regulator, METHOD, request or query(), size)

    async def next_minute(self) -> None:
        self.world.clock.now += MINUTE
        await self.log._step()

    @property
    def recorded(self) -> list[body_pb2.QueryLog]:
        node = self.world.mainland
        bodies = [node.body(index) for index in range(node.size)]
        return [body.query_log for body in bodies if body.HasField("query_log")]


@pytest.fixture
async def desk(world: World, tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(world, tmp_path / "queries.spool")
    await desk.sequencer.start()
    yield desk
    await desk.sequencer.stop()


class TestTheFirstQueryOfAMinute:
    async def test_is_in_the_log_when_its_answer_may_leave(self, desk: Desk) -> None:
        await desk.ask()
        assert [log.regulator for log in desk.recorded] == [CAC]

    async def test_says_what_was_asked_and_at_which_size(self, desk: Desk) -> None:
        await desk.ask(query(7), size=9)
        (asked,) = desk.recorded[0].asked
        stated = query(7).SerializeToString(deterministic=True)
        assert (asked.method, asked.request, asked.digest) == (
            METHOD, stated, sha256(stated).digest(),
        )  # fmt: skip
        assert (asked.size, asked.times) == (9, 1)

    async def test_says_when_the_minute_began(self, desk: Desk) -> None:
        desk.world.clock.now += 59_999_999
        await desk.ask()
        assert desk.recorded[0].since == desk.world.clock() // MINUTE * MINUTE

    async def test_of_each_regulator_is_its_own(self, desk: Desk) -> None:
        await desk.ask()
        await desk.ask(regulator="hkma")
        assert [log.regulator for log in desk.recorded] == [CAC, "hkma"]

    async def test_that_come_at_once_are_one(self, desk: Desk) -> None:
        await asyncio.gather(*(desk.ask(query(n)) for n in range(20)))
        assert len(desk.recorded) == 1

    async def test_costs_one_entry_if_nobody_waits_for_the_answer(self, desk: Desk) -> None:
        for _ in range(20):
            call = asyncio.create_task(desk.ask())
            await asyncio.sleep(0)
            call.cancel()
        await asyncio.sleep(0)
        await desk.log.stop()
        assert [sum(a.times for a in log.asked) for log in desk.recorded] == [1, 19]

    async def test_in_a_body_of_a_long_request_is_its_digest_alone(self, desk: Desk) -> None:
        long = pb.ListEntriesRequest(query=pb.Query(institutions=["x" * 60] * 20))
        await desk.ask(long)
        (asked,) = desk.recorded[0].asked
        stated = long.SerializeToString(deterministic=True)
        assert (asked.request, asked.digest) == (b"", sha256(stated).digest())


class TestTheRestOfAMinute:
    async def test_is_one_entry(self, desk: Desk) -> None:
        for n in range(1000):
            await desk.ask(query(n % 5))
        assert len(desk.recorded) == 1
        await desk.next_minute()
        assert [sum(a.times for a in log.asked) for log in desk.recorded] == [1, 999]

    async def test_counts_pages_of_one_query_as_one_asked_often(self, desk: Desk) -> None:
        for page in (b"", b"one", b"two"):
            await desk.ask(query(page_token=page))
        await desk.next_minute()
        assert [asked.times for asked in desk.recorded[1].asked] == [2]

    async def test_counts_one_query_at_several_checkpoints_as_one(self, desk: Desk) -> None:
        for note in (b"", b"one", b"two"):
            await desk.ask(pb.ListEntriesRequest(query=pb.Query(checkpoint=note)))
        await desk.next_minute()
        assert [asked.times for asked in desk.recorded[1].asked] == [2]

    async def test_lists_so_many_and_counts_the_others(self, desk: Desk) -> None:
        for n in range(31):
            await desk.ask(query(n))
        await desk.next_minute()
        assert (len(desk.recorded[1].asked), desk.recorded[1].unlisted) == (24, 6)

    async def test_comes_before_what_is_asked_in_the_next(self, desk: Desk) -> None:
        for n in range(2):
            await desk.ask(query(n))
        desk.world.clock.now += MINUTE
        await desk.ask(query(2))
        asked = [
            pb.ListEntriesRequest.FromString(log.asked[0].request).query.first
            for log in desk.recorded
        ]
        assert asked == [0, 1, 2]

    async def test_of_nothing_is_no_entry(self, desk: Desk) -> None:
        await desk.ask()
        await desk.next_minute()
        await desk.next_minute()
        assert len(desk.recorded) == 1

    async def test_is_recorded_when_the_node_stops(self, desk: Desk) -> None:
        for n in range(2):
            await desk.ask(query(n))
        await desk.log.stop()
        assert len(desk.recorded) == 2

    @pytest.mark.parametrize("when", ["its minute ends", "the node stops"])
    async def test_is_recorded_though_another_regulators_cannot_be(
        self, desk: Desk, when: str
    ) -> None:
        for n in range(2):
            for regulator in (CAC, "sfc"):
                await desk.ask(query(n), regulator)
        desk.unsigned = CAC
        await (desk.log.stop() if when == "the node stops" else desk.next_minute())
        assert [log.regulator for log in desk.recorded] == [CAC, "sfc", "sfc"]


class TestWhileNothingIsAppended:
    @pytest.fixture(autouse=True)
    async def read_only(self, desk: Desk) -> None:
        desk.sequencer.refuse = READ_ONLY

    async def test_each_query_is_on_the_disk_when_its_answer_may_leave(self, desk: Desk) -> None:
        for n in range(3):
            await desk.ask(query(n))
            assert len(Spool(desk.spool).read()) == n + 1
        assert desk.recorded == []

    async def test_it_is_appended_once_appends_are_taken_again(self, desk: Desk) -> None:
        for n in range(3):
            await desk.ask(query(n))
        desk.sequencer.refuse = None
        await desk.next_minute()
        await desk.next_minute()
        asked = [
            pb.ListEntriesRequest.FromString(log.asked[0].request).query.first
            for log in desk.recorded
        ]
        assert (asked, Spool(desk.spool).read()) == ([0, 1, 2], [])

    async def test_it_survives_the_process(self, desk: Desk) -> None:
        await desk.ask()
        desk.log = desk.new_log()
        desk.sequencer.refuse = None
        await desk.next_minute()
        assert len(desk.recorded) == 1

    async def test_it_is_appended_once_even_if_the_spool_was_not_cut(self, desk: Desk) -> None:
        await desk.ask()
        spooled = desk.spool.read_bytes()
        desk.sequencer.refuse = None
        await desk.next_minute()
        desk.spool.write_bytes(spooled)
        await desk.next_minute()
        assert len(desk.recorded) == 1

    async def test_what_was_collected_before_goes_the_same_way(self, desk: Desk) -> None:
        desk.sequencer.refuse = None
        for n in range(2):
            await desk.ask(query(n))
        desk.sequencer.refuse = READ_ONLY
        await desk.log.stop()
        assert (len(desk.recorded), len(Spool(desk.spool).read())) == (1, 1)

    async def test_a_spool_that_cannot_be_written_leaves_a_query_unanswered(
        self, desk: Desk
    ) -> None:
        desk.spool.mkdir()
        with pytest.raises(UnavailableError) as caught:
            await desk.ask()
        assert caught.value.reason == "SPOOL"


class TestASpool:
    def test_of_no_file_is_empty(self, tmp_path: Path) -> None:
        assert Spool(tmp_path / "spool").read() == []

    @pytest.mark.parametrize("cut", [1, 3, 4, 5, 8])
    def test_that_ends_within_a_body_ends_before_it(self, tmp_path: Path, cut: int) -> None:
        """What was being written when the machine failed was not answered."""
        path = tmp_path / "spool"
        for body in (b"one", b"three"):
            Spool(path).add(body)
        path.write_bytes(path.read_bytes()[:-cut])
        Spool(path).add(b"four")
        assert Spool(path).read() == [b"one", b"four"]

    def test_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        Spool(tmp_path / "spool").add(b"one")
        assert (tmp_path / "spool").stat().st_mode & 0o077 == 0

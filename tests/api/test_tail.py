"""Entries as they come: none missed, none twice, and not for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from api.office import CAC, Office
from ledger.world import World

from ledgerd.api import streams
from ledgerd.projections.erased import ErasedBody, erase
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import (
    BusyError,
    FieldError,
    ForbiddenError,
    NotFoundError,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.remains import remains_of
from ledgerd_client.core.supervision import KIND_NUMBERS as KINDS


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for news all the time, and not for ever."""
    monkeypatch.setattr(streams, "_LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(streams, "TAIL_S", 10)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def office(world: World) -> Iterator[Office]:
    office = Office(world.mainland, world.hong_kong)
    office.admit()
    yield office
    office.close()


async def take(tail: AsyncIterator[pb.TailResponse], count: int) -> list[int]:
    """Indexes of the next entries."""
    found: list[int] = []
    while len(found) < count:
        reply = await anext(tail)
        if reply.HasField("entry"):
            found.append(reply.entry.index)
    return found


class TestATail:
    async def test_begins_at_the_beginning(self, office: Office) -> None:
        assert await take(office.tail(), 3) == [0, 1, 2]

    async def test_begins_where_it_is_told_to(self, office: Office) -> None:
        assert await take(office.tail(first=2), 1) == [2]

    async def test_begins_at_a_time(self, world: World, office: Office) -> None:
        world.clock.advance(1)
        index = world.mainland.place(world.transfer())
        assert await take(office.tail(**{"from": world.clock()}), 1) == [index]

    async def test_begins_at_a_time_to_come(self, world: World, office: Office) -> None:
        tail = office.tail(**{"from": world.clock() + 1})
        world.mainland.place(world.transfer())
        world.clock.advance(1)
        index = world.mainland.place(world.transfer())
        assert await take(tail, 1) == [index]

    async def test_begins_at_the_end_and_waits(self, world: World, office: Office) -> None:
        tail = office.tail(first=office.node.size)
        index = world.mainland.place(world.transfer())
        assert await take(tail, 1) == [index]

    async def test_begins_nowhere_beyond_the_end(self, office: Office) -> None:
        with pytest.raises(FieldError) as caught:
            await anext(office.tail(first=office.node.size + 1))
        assert caught.value.reason == "BEYOND_THE_END"

    @pytest.mark.parametrize("commit", [1, 7, 500])
    async def test_has_every_entry_once_in_log_order_whatever_the_commits(
        self, world: World, office: Office, commit: int
    ) -> None:
        tail = office.tail()
        found = await take(tail, office.node.size)
        for _ in range(3):
            # Long ago: each raises a finding.
            items = [world.transfer(at=1) for _ in range(commit)]
            world.mainland.append(*items)
            found += await take(tail, world.mainland.size - len(found))
        assert found == list(range(world.mainland.size))

    async def test_has_what_its_query_finds_alone(self, world: World, office: Office) -> None:
        tail = office.tail(kinds=[KINDS["transfer"]])
        expected = []
        for _ in range(3):
            world.mainland.place(world.mainland.by_node(tick=body_pb2.Tick()))
            expected.append(world.mainland.place(world.transfer()))
        assert await take(tail, 3) == expected

    async def test_is_on_record_when_it_begins(self, office: Office) -> None:
        await anext(office.tail())
        assert [noted[1] for noted in office.recorder.noted] == ["RegulatorService/Tail"]

    async def test_shows_signs_of_life_with_the_size_looked_through(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "_SIGN_OF_LIFE_S", 0.0)
        reply = await anext(office.tail(kinds=[KINDS["loss"]]))
        assert (reply.HasField("entry"), reply.size) == (False, office.node.size)

    async def test_ends_after_a_while(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "TAIL_S", 0.05)
        assert [r.entry.index async for r in office.tail()] == list(range(office.node.size))

    async def test_is_gone_on_with_where_it_ended(
        self, world: World, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "TAIL_S", 0.05)
        sizes = [reply.size async for reply in office.tail()]
        index = world.mainland.place(world.transfer())
        assert await take(office.tail(first=sizes[-1]), 1) == [index]

    async def test_ends_when_the_node_does(self, office: Office) -> None:
        tail = office.tail()
        await take(tail, office.node.size)
        office.handlers.end_tails()
        assert [reply async for reply in tail] == []

    async def test_of_four_may_go_on_at_once(self, office: Office) -> None:
        tails = [office.tail() for _ in range(5)]
        for tail in tails[:4]:
            await anext(tail)
        with pytest.raises(BusyError):
            await anext(tails[4])

    async def test_that_ended_makes_room(self, office: Office) -> None:
        for _ in range(5):
            tail = office.tail()
            await anext(tail)
            await tail.aclose()  # type: ignore[attr-defined] # a generator

    @pytest.mark.parametrize(
        "query",
        [
            {"checkpoint": b"x"}, {"end": 5}, {"until": 5}, {"states": ["open"]}, {"standing": 1},
            {"newest_first": True},
        ],
    )  # fmt: skip
    async def test_takes_no_query_that_has_an_end_or_changes(
        self, office: Office, query: dict[str, object]
    ) -> None:
        with pytest.raises(FieldError) as caught:
            await anext(office.tail(**query))
        assert caught.value.reason == "CONTRADICTION"

    async def test_has_no_proofs(self, office: Office) -> None:
        request = pb.TailRequest(parts=[pb.ENTRY_PART_PROOF])
        with pytest.raises(FieldError):
            await anext(office.ask(CAC).Tail(request, None))  # type: ignore[arg-type]


async def followed(office: Office, **request: object) -> list[pb.FollowResponse]:
    return [reply async for reply in office.follow(**request)]


class TestFollowing:
    async def test_gives_the_newest_checkpoint_first(self, office: Office) -> None:
        replies = await followed(office)
        checkpoints = [reply.checkpoint for reply in replies]
        assert (checkpoints[0], any(checkpoints[1:])) == (
            office.node.reader.head().checkpoint, False,
        )  # fmt: skip

    async def test_gives_every_entry_below_it_whole(self, office: Office) -> None:
        entries = [entry for reply in await followed(office) for entry in reply.entries]
        assert [(entry.header, entry.body) for entry in entries] == [
            office.node.reader.entry(index) for index in range(office.node.size)
        ]

    async def test_goes_on_from_where_it_is_told_to(self, office: Office) -> None:
        first, *rest = await followed(office, start=2)
        assert (first.first, rest[0].first) == (2, 2)
        assert Header.parse(rest[0].entries[0].header).index == 2

    async def test_of_nothing_new_is_the_checkpoint_alone_and_not_on_record(
        self, office: Office
    ) -> None:
        assert len(await followed(office, start=office.node.size)) == 1
        assert office.recorder.noted == []

    async def test_of_what_regulators_asked_is_not_on_record(
        self, world: World, office: Office
    ) -> None:
        """Or what is on record of one would be news to the other, for ever."""
        asked = body_pb2.Asked(method="x", digest=bytes(32), times=1)
        query_log = body_pb2.QueryLog(regulator=CAC, since=1, asked=[asked])
        index = world.mainland.place(world.mainland.by_node(query_log=query_log))
        await followed(office, start=index)
        assert office.recorder.noted == []

    async def test_of_anything_else_is_on_record_and_one_question(
        self, world: World, office: Office
    ) -> None:
        for start in (0, 1):
            await followed(office, start=start)
        noted = {
            (method, bytes(r.SerializeToString())) for _, method, r, _ in office.recorder.noted
        }
        assert noted == {("RegulatorService/Follow", b"")}

    async def test_from_beyond_the_end_is_refused(self, office: Office) -> None:
        with pytest.raises(FieldError) as caught:
            await followed(office, start=office.node.size + 1)
        assert caught.value.reason == "BEYOND_THE_END"

    async def test_of_another_log_is_refused(self, office: Office) -> None:
        with pytest.raises(NotFoundError):
            await followed(office, origin="elsewhere")

    async def test_ends_when_the_grant_does(self, world: World) -> None:
        office = Office(world.mainland, world.hong_kong)
        office.admit(valid_until=world.clock() + 1)
        stream = office.follow()
        await anext(stream)
        world.clock.advance(1)
        with pytest.raises(ForbiddenError) as caught:
            await anext(stream)
        assert caught.value.reason == "GRANT_EXPIRED"


class TestThePeersLog:
    async def test_has_headers_and_the_bodies_that_nodes_share(
        self, world: World, office: Office
    ) -> None:
        world.hong_kong.place(world.ack(world.terms()))
        replies = await followed(office, origin=world.hong_kong.log.origin)
        entries = [entry for reply in replies for entry in reply.entries]
        shared = [bool(entry.body) for entry in entries]
        assert (len(entries), shared) == (world.hong_kong.size, [True, False, True, False])

    async def test_comes_with_its_own_checkpoint(self, world: World, office: Office) -> None:
        first, *_ = await followed(office, origin=world.hong_kong.log.origin)
        checkpoint = Checkpoint.parse(parse_note(first.checkpoint).text)
        assert checkpoint.origin == world.hong_kong.log.origin


class TestAnErasedBody:
    """What remains of it comes in its place; made here as a store that was erased from holds it."""

    async def test_comes_as_what_remains_of_it(self, world: World, office: Office) -> None:
        index = world.mainland.place(world.transfer())
        remains = remains_of(world.mainland.reader.entry(index)[1])
        with world.mainland.store.write() as transaction:
            erase(transaction, index, ErasedBody(99, remains))
        entries = [entry for reply in await followed(office) for entry in reply.entries]
        assert (entries[index].body, entries[index].remains, entries[index].erased_by) == (
            b"", remains, 99,
        )  # fmt: skip

"""grpc.health.v1: whether a node serves, whether it is fresh, whether its peer is in step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nodes import Client, Node, Side, found_one, found_sides, refused, serve

from ledgerd.ledger.high_water import MARK_FILE
from ledgerd_client._proto import service_pb2 as pb

UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return found_one(tmp_path)


@pytest.fixture
async def node(sides: tuple[Side, Side]) -> AsyncIterator[Node]:
    async with serve(*sides) as node:
        yield node


def health(client: Client) -> Any:
    return health_pb2_grpc.HealthStub(client.channel)


def ask(service: str) -> Any:
    return health_pb2.HealthCheckRequest(service=service)


async def check(node: Node, service: str = "") -> int:
    return (await health(node.operator).Check(ask(service))).status


class Watch:
    """One Watch of a part of a node."""

    def __init__(self, client: Client, service: str = "") -> None:
        self._call = health(client).Watch(ask(service))
        self._replies = aiter(self._call)

    async def next(self) -> int:
        return (await anext(self._replies)).status

    async def rest(self) -> list[int]:
        return [reply.status async for reply in self._replies]

    def end(self) -> None:
        self._call.cancel()


def break_mark(side: Side) -> Path:
    """Have the node not be able to write its high-water mark, until this is removed."""
    in_the_way = side.config.data / f"{MARK_FILE}.new"
    in_the_way.mkdir()
    return in_the_way


class TestANodeWhosePeerIsSilent:
    @pytest.mark.parametrize("part", ["", "append", "fresh"])
    async def test_is_well_itself(self, node: Node, part: str) -> None:
        assert await check(node, part) == SERVING

    async def test_is_not_in_step_with_it(self, node: Node) -> None:
        assert await check(node, "peer") == NOT_SERVING

    async def test_serves_each_of_its_services(self, node: Node) -> None:
        services = pb.DESCRIPTOR.services_by_name.values()
        assert {await check(node, each.full_name) for each in services} == {SERVING}

    async def test_lists_all_that_may_be_asked_for(self, node: Node) -> None:
        reply = await health(node.operator).List(health_pb2.HealthListRequest())
        told = {name: each.status for name, each in reply.statuses.items()}
        assert told == {name: await check(node, name) for name in told}
        assert {"", "append", "fresh", "peer", "ledger.v1.LedgerService"} <= set(told)


class TestTwoNodes:
    async def test_that_hear_each_other_are_in_step(self, tmp_path: Path) -> None:
        sides = found_sides(tmp_path)
        async with serve(*sides) as one, serve(*sides[::-1]) as other:
            for node in (one, other):
                watch = Watch(node.operator, "peer")
                while await watch.next() != SERVING:
                    pass


class TestANodeThatTakesNoAppends:
    @pytest.mark.parametrize("part", ["", "append"])
    async def test_tells_whoever_watches_and_again_when_it_does(
        self, node: Node, part: str
    ) -> None:
        watch = Watch(node.operator, part)
        seen = [await watch.next()]
        in_the_way = break_mark(node.side)
        await node.institution()
        seen.append(await watch.next())
        in_the_way.rmdir()
        seen.append(await watch.next())
        assert seen == [SERVING, NOT_SERVING, SERVING]

    async def test_is_fresh_all_the_same(self, node: Node) -> None:
        watch = Watch(node.operator)
        await watch.next()
        break_mark(node.side)
        await node.institution()
        assert (await watch.next(), await check(node, "fresh")) == (NOT_SERVING, SERVING)


class TestWatching:
    async def test_ends_with_the_node_which_does_not_wait_for_it(
        self, sides: tuple[Side, Side]
    ) -> None:
        async with serve(*sides) as node:
            watcher = Client(node, node.operator.credentials)
            watch = Watch(watcher)
            while await watch.next() != SERVING:
                pass  # a busy machine may keep it from being fresh
        assert await watch.rest() == [NOT_SERVING]
        await watcher.channel.close()

    async def test_what_there_is_not_is_allowed(self, node: Node) -> None:
        assert await Watch(node.operator, "no.such.Service").next() == SERVICE_UNKNOWN

    async def test_more_than_a_few_times_at_once_is_not(self, node: Node) -> None:
        watches = [Watch(node.operator) for _ in range(4)]
        await asyncio.gather(*(watch.next() for watch in watches))
        assert (await refused(Watch(node.operator).rest())).reason == "TOO_MANY_TAILS"

    async def test_again_is_allowed_once_one_has_ended(self, node: Node) -> None:
        watches = [Watch(node.operator) for _ in range(4)]
        await asyncio.gather(*(watch.next() for watch in watches))
        watches[0].end()
        assert await begun(node) == SERVING


async def begun(node: Node) -> int:
    """The first word of a watch, asked for until the node has noticed that there is room for it."""
    while True:
        try:
            return await Watch(node.operator).next()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise


class TestChecking:
    async def test_what_there_is_not_is_not_found(self, node: Node) -> None:
        error = await refused(health(node.operator).Check(ask("no.such.Service")))
        assert error.reason == "NOT_FOUND"

"""RecoveryService: what an institution is asked for, and what is taken of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from builders import EXPORTER
from recovery.scene import Scene

from ledgerd.api.identity import Caller, set_caller
from ledgerd.api.recovery import RecoveryHandlers
from ledgerd.peer.recovery import Recovery
from ledgerd.recovery import collecting
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError
from ledgerd_client.identity import INSTITUTION

CONTEXT: Any = None


@dataclass
class Desk:
    """The handlers of a node that has lost the bodies of two records, by whoever calls."""

    recovery: Recovery
    bodies: list[bytes]
    indexes: list[int]
    looked: list[bool] = field(default_factory=list)

    @property
    def handlers(self) -> RecoveryHandlers:
        return RecoveryHandlers(self.recovery.bodies, lambda: self.looked.append(True))

    async def missing(self, start: int = 0) -> pb.ListMissingResponse:
        request = pb.ListMissingRequest(**{"from": start})
        return await self.handlers.ListMissing(request, CONTEXT)

    async def give(self, *bodies: bytes) -> pb.ReturnBodiesResponse:
        return await self.handlers.ReturnBodies(pb.ReturnBodiesRequest(bodies=bodies), CONTEXT)


@pytest.fixture
async def desk(scene: Scene) -> AsyncIterator[Desk]:
    items = [scene.declared(), scene.declared()]
    placed = [await scene.node.append(item) for item in items]
    await scene.settle()
    await scene.lose()
    await scene.recover()
    async with collecting.opened(scene.node.config, **scene.how) as recovery:
        indexes = [each.index for each in placed if each is not None]
        yield Desk(recovery, [item.body for item in items], indexes)


class TestWhoWroteThem:
    @pytest.fixture(autouse=True)
    def _caller(self) -> None:
        set_caller(Caller(INSTITUTION, EXPORTER))

    async def test_is_told_what_is_missing(self, desk: Desk) -> None:
        assert list((await desk.missing()).indexes) == desk.indexes

    async def test_from_where_it_asks(self, desk: Desk) -> None:
        assert list((await desk.missing(desk.indexes[1])).indexes) == desk.indexes[1:]

    async def test_goes_on_where_the_answer_ends(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long the log, a call looks through so much of it and no more."""
        monkeypatch.setattr("ledgerd.peer.bodies._LOOKED_THROUGH", 2)
        found, start, calls = [], 0, 0
        while calls == 0 or start:
            reply = await desk.missing(start)
            found += reply.indexes
            start, calls = reply.next, calls + 1
        assert found == desk.indexes
        assert calls == -(-desk.recovery.own.verified_size // 2)

    async def test_asks_beyond_the_end_for_nothing(self, desk: Desk) -> None:
        reply = await desk.missing(2**64 - 1)
        assert (list(reply.indexes), reply.next) == ([], 0)

    async def test_gives_them_back(self, desk: Desk) -> None:
        reply = await desk.give(*desk.bodies)
        assert [outcome.HasField("refused") for outcome in reply.outcomes] == [False, False]

    async def test_is_told_what_is_left(self, desk: Desk) -> None:
        assert [(await desk.give(body)).left for body in desk.bodies] == [1, 0]

    async def test_may_give_one_twice(self, desk: Desk) -> None:
        await desk.give(desk.bodies[0])
        assert (await desk.give(desk.bodies[0])).left == 1

    async def test_one_that_is_refused_keeps_no_other_back(self, desk: Desk) -> None:
        reply = await desk.give(b"a letter", desk.bodies[0])
        assert [outcome.refused.reason for outcome in reply.outcomes] == ["NOT_IN_LOG", ""]

    async def test_then_it_is_asked_for_no_more(self, desk: Desk) -> None:
        await desk.give(*desk.bodies)
        assert not (await desk.missing()).indexes

    async def test_each_call_is_looked_at(self, desk: Desk) -> None:
        await desk.give(*desk.bodies)
        assert desk.looked == [True]

    @pytest.mark.parametrize("count", [0, 1001])
    async def test_gives_a_bounded_number_at_once(self, desk: Desk, count: int) -> None:
        with pytest.raises(FieldError):
            await desk.give(*([b"x"] * count))


class TestAnybodyElse:
    @pytest.fixture(autouse=True)
    def _caller(self) -> None:
        set_caller(Caller(INSTITUTION, "uscc.91440300000000000X"))

    async def test_is_asked_for_nothing(self, desk: Desk) -> None:
        assert not (await desk.missing()).indexes

    async def test_gives_nothing(self, desk: Desk) -> None:
        reply = await desk.give(*desk.bodies)
        assert {outcome.refused.reason for outcome in reply.outcomes} == {"OTHERS_RECORD"}

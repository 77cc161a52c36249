"""A witness that may not cosign, and a peer that loses what it had replayed of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

import pytest
from peer.sides import rounds
from recovery.scene import Scene
from stateful.node import NotedWire
from stateful.test_border_machine import World

from ledgerd.peer.notes import parse_known
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.loss_request import LossRequest


@dataclass
class Held(NotedWire):
    """A wire on which headers wait to be let through."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        self.asked.set()
        await self.answers.wait()
        async for message in super().list_headers(start):
            yield message


class TestALossBelowWhatWasReplayed:
    async def spent(self, scene: Scene) -> None:
        """The peer has forgotten what it cosigned; it replays one entry more, and cosigns none."""
        await scene.settle()
        await scene.peer.close()
        shutil.rmtree(scene.peer.config.data / "peer")
        await scene.peer.open()
        await scene.declare()
        await scene.meet()

    async def test_is_followed_all_the_same(self, scene: Scene) -> None:
        await self.spent(scene)
        assert scene.peer.peer.replica.verified_size > scene.peer.peer.witness.cosigned_size
        await scene.lose()
        await scene.come_back()
        await scene.meet()
        assert scene.peer.peer.replica.verified_size == scene.size

    async def test_accuses_nobody(self, scene: Scene) -> None:
        await self.spent(scene)
        await scene.lose()
        await scene.come_back()
        await scene.meet()
        assert not scene.peer.accusations


class TestAnEndThatThePeerGaveUpMeanwhile:
    """Fetched for a recovery, and cosigned by nobody, when the peer itself came back by a LOSS."""

    async def test_is_not_cosigned_afterwards(self, scene: Scene, founded: World) -> None:
        peer = replace(scene, side=founded.sides[1], node=scene.peer, peer=scene.node)
        await scene.settle()
        await scene.declare()
        approval = await self.asked(scene)
        await peer.node.close()
        await peer.recover()
        await peer.node.open()
        await self.declared(scene, approval)
        await self.declared(peer, peer.approve(await self.request(peer)))
        (message,) = [each async for each in scene.node.wire.list_replica(0)]
        cosigned = parse_known(message.checkpoint)
        assert scene.node.reader.root(cosigned.size) == cosigned.checkpoint.root

    async def asked(self, scene: Scene) -> Approval:
        await scene.node.close()
        await scene.recover()
        approval = scene.approve(await scene.request())
        await scene.node.open()
        return approval

    async def request(self, scene: Scene) -> LossRequest:
        await scene.node.close()
        return await scene.request()

    async def declared(self, scene: Scene, approval: Approval) -> None:
        await scene.node.close()
        await scene.declare_loss(approval)
        await scene.node.open()


class TestWhatItSaysThatItCosigned:
    async def test_waits_for_the_round_that_is_under_way(self, scene: Scene) -> None:
        """Else more would be cosigned after it was said what was."""
        await scene.declare()
        wire = Held(seen=scene.peer.wire.seen, other=scene.node)
        scene.peer.peer.monitor._client = wire
        fetching = asyncio.create_task(scene.peer.peer.monitor.step())
        await wire.asked.wait()
        said = asyncio.create_task(scene.peer.peer.monitor.settled())
        await scene.peer.peer._store.run(int)
        wire.answers.set()
        await fetching
        assert parse_known(await said).size == scene.size


class TestARotationThatItCosignedBeforeItForgot:
    """Of the log key, beyond its newest own anchor: the old key is destroyed, and signs no more."""

    @pytest.fixture
    async def forgotten(self, scene: Scene) -> Scene:
        await scene.acknowledge(scene.border.transfer())
        await scene.settle()
        # No time passes, so no anchor is due.
        await scene.peer.rotate("log")
        await rounds(scene.node, scene.peer)
        assert scene.peer.peer.own_cosigned.size == scene.peer.reader.head().size
        await scene.acknowledge(scene.border.transfer())
        await scene.lose()
        await scene.come_back()
        return scene

    async def test_is_cosigned_with_one_signature(self, forgotten: Scene) -> None:
        await forgotten.meet()
        assert forgotten.peer.peer.own_cosigned.size == forgotten.peer.reader.head().size

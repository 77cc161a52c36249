"""What the peer may do to a node that comes back: contradict it, lie to it, be restored itself."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator

import pytest
from recovery.scene import Scene
from stateful.node import NotedWire, Seen

from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import LedgerError, NotReadyError


class Blind(Seen):
    """Looks away."""

    def take(self, note: bytes) -> None:
        pass


class Forgetful(NotedWire):
    """A peer that says that it cosigned nothing."""

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        _, seen = await super().get_cosigned()
        return b"", seen


class Hiding(NotedWire):
    """A peer that shows of our log what it had cosigned some time ago."""

    shown: list[pb.ListReplicaResponse]

    async def list_replica(self, start: int) -> AsyncGenerator[pb.ListReplicaResponse, None]:
        for message in self.shown:
            yield message


class TestAStoreThatContradictsThePeer:
    @pytest.fixture
    async def forked(self, scene: Scene) -> Scene:
        """An operator got the node to append to an old copy: it holds another end than the peer."""
        copy = await scene.copy_store()
        await scene.declare()
        await scene.settle()
        await scene.lose()
        # Two trees of a size under one key: what no test of a node that is let be ever sees.
        for node in scene.nodes:
            node.wire.seen = Blind()
        shutil.copytree(copy, scene.node.config.store)
        instance = scene.instance_of(copy)
        write_mark(scene.data, HighWater(instance, 1))
        await scene.node.open()
        await scene.declare()
        return scene

    async def test_stops_when_they_meet(self, forked: Scene) -> None:
        await forked.meet()
        assert forked.refusal == "ROLLED_BACK"

    async def test_the_peers_history_is_the_one_that_stands(self, forked: Scene) -> None:
        cosigned = forked.peer.peer.witness.cosigned_size
        await forked.meet()
        await forked.node.close()
        await forked.come_back()
        (loss,) = forked.node.keyring.history.losses()
        assert loss.size == cosigned

    async def test_and_is_gone_on_with(self, forked: Scene) -> None:
        await forked.meet()
        await forked.node.close()
        await forked.come_back()
        await forked.declare()
        forked.node.audit()


class TestAPeerThatLies:
    async def test_that_it_cosigned_nothing_its_own_anchors_tell(self, scene: Scene) -> None:
        copy = await scene.copy_store()
        await scene.declare()
        await scene.settle()
        await scene.lose()
        scene.restore(copy)
        wire = Forgetful(seen=scene.node.wire.seen, other=scene.peer)
        scene.node.wire = wire
        await scene.node.open()
        await scene.meet()
        assert scene.refusal == "ROLLED_BACK"

    async def test_that_it_cosigned_less_our_own_disk_tells(self, scene: Scene) -> None:
        await scene.settle()
        shown = [message async for message in scene.node.wire.list_replica(0)]
        await scene.declare()
        await scene.settle()
        await scene.lose("store")
        hiding = Hiding(seen=scene.node.wire.seen, other=scene.peer)
        hiding.shown = shown
        scene.node.wire = hiding
        with pytest.raises(NotReadyError) as refused:
            await scene.recover()
        assert refused.value.reason == "PEER_BEHIND"
        scene.node.wire = NotedWire(seen=hiding.seen, other=scene.peer)
        await scene.come_back()

    async def test_nor_is_it_believed_when_the_loss_is_taken(self, scene: Scene) -> None:
        await scene.settle()
        shown = [message async for message in scene.node.wire.list_replica(0)]
        await scene.node.close()
        await scene.recover()
        approval = scene.approve(await scene.request())
        await scene.node.open()
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        hiding = Hiding(seen=scene.node.wire.seen, other=scene.peer)
        hiding.shown = shown
        scene.node.wire = hiding
        with pytest.raises(NotReadyError) as refused:
            await scene.declare_loss(approval)
        assert refused.value.reason == "PEER_BEHIND"
        scene.node.wire = NotedWire(seen=hiding.seen, other=scene.peer)
        await scene.node.open()

    async def test_what_it_has_not_cosigned_it_cannot_make_ours(self, scene: Scene) -> None:
        await scene.settle()
        messages = [message async for message in scene.node.wire.list_replica(0)]
        note = messages[0].checkpoint.rpartition("— ".encode())[0]
        messages[0].checkpoint = note
        hiding = Hiding(seen=scene.node.wire.seen, other=scene.peer)
        hiding.shown = messages
        await scene.lose()
        true, scene.node.wire = scene.node.wire, hiding
        with pytest.raises(LedgerError) as refused:
            await scene.recover()
        assert refused.value.reason == "NOT_TRUSTED"
        scene.node.wire = true
        await scene.come_back()


class TestBothRestoredAtOnce:
    """What both had cosigned since, neither knows any more: so neither vouches for the other."""

    async def test_neither_takes_appends(self, scene: Scene) -> None:
        await self.both(scene)
        await scene.meet()
        refusals = [node.standing.refusal for node in scene.nodes]
        assert {refusal and refusal.reason for refusal in refusals} == {"UNCONFIRMED"}

    async def test_neither_cosigns(self, scene: Scene) -> None:
        await self.both(scene)
        before = [node.peer.witness.cosigned_size for node in scene.nodes]
        await scene.meet()
        assert [node.peer.witness.cosigned_size for node in scene.nodes] == before

    async def test_one_that_comes_back_by_a_loss_appends(self, scene: Scene) -> None:
        await self.both(scene)
        await scene.meet()
        await scene.node.close()
        await scene.come_back()
        await scene.declare()
        scene.node.audit()

    async def both(self, scene: Scene) -> None:
        await scene.settle()
        for node in scene.nodes:
            await node.close()
            copy = node.config.data.parent / "copy"
            shutil.copytree(node.config.store, copy)
            await node.open()
        await scene.declare()
        await scene.settle()
        for node in scene.nodes:
            await node.close()
            shutil.rmtree(node.config.data)
            node.config.data.mkdir(mode=0o700)
            scene.restore(node.config.data.parent / "copy", of=node)
            await node.open()


class TestAPeerThatCameBackItselfByALoss:
    """After it had been asked: what was fetched of its log then is not its log any more."""

    @pytest.fixture
    async def fetched(self, scene: Scene) -> Scene:
        """With an end that is cosigned by nobody, and lost right after it was fetched."""
        await scene.settle()
        await scene.acknowledge(scene.border.transfer())
        await scene.node.close()
        await scene.recover()
        await scene.node.open()
        await scene.peer.close()
        await scene.peer.declare(await scene.peer.ask_for_loss([]))
        await scene.peer.open()
        await scene.acknowledge(scene.border.transfer())
        await scene.lose("store", "peer", "high-water")
        return scene

    async def test_is_followed_from_its_beginning(self, fetched: Scene) -> None:
        await fetched.come_back()
        await fetched.meet()
        assert fetched.node.peer.replica.verified_size == fetched.peer.reader.head().size

    async def test_is_accused_of_nothing(self, fetched: Scene) -> None:
        await fetched.come_back()
        await fetched.meet()
        assert not fetched.node.accusations

    async def test_is_accused_of_what_no_loss_explains(self, scene: Scene) -> None:
        """An operator put an older copy of its store in place, mark and all."""
        await scene.settle()
        await scene.peer.close()
        config, copy = scene.peer.config, scene.peer.config.data.parent / "copy"
        shutil.copytree(config.store, copy)
        await scene.peer.open()
        for node in scene.nodes:
            node.wire.seen = Blind()
        await scene.acknowledge(scene.border.transfer())
        await scene.node.close()
        await scene.recover()
        await scene.peer.close()
        shutil.rmtree(config.store)
        shutil.copytree(copy, config.store)
        write_mark(config.data, HighWater(scene.instance_of(copy), 1))
        await scene.peer.open()
        await scene.acknowledge(scene.border.transfer())
        await scene.come_back()
        await scene.meet()
        assert len(scene.node.accusations) == 1

"""The node is gone, and its peer has lost what it cosigned: what a standby may go on with."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest
from recovery.following import Following, cosigned
from recovery.scene import Scene
from stateful.node import MortalNode

from ledgerd.standby.promoting import promote, request_promotion
from ledgerd_client.core.errors import LedgerError, NotReadyError
from ledgerd_client.keyfile import read_file
from ledgerd_client.loss_request import LossRequest


async def forget(scene: Scene) -> None:
    """The peer's disk with its replica and what it cosigned; its own log lives."""
    await scene.peer.close()
    shutil.rmtree(scene.peer.config.data / "peer")
    await scene.peer.open()


async def take_over(following: Following) -> None:
    """As the operator who knows that the node ran with standby.wait."""
    out = following.home / "loss.json"
    wire, how = following.scene.node.wire, following.scene.how
    await request_promotion(following.config, out, wire, random=how["random"], waited=True)
    approval = following.scene.approve(LossRequest.parse(read_file(out)))
    await promote(following.config, approval, wire, waited=True, **how)
    await following.open()


@pytest.fixture
async def alone(scene: Scene, following: Following) -> Following:
    """The standby has what the peer had cosigned, and more."""
    await scene.settle()
    await scene.declare()
    await following.step()
    await scene.node.close()
    await forget(scene)
    return following


class TestAStandbyThatTheNodeWaitedFor:
    async def test_is_not_promoted_unless_somebody_says_so(self, alone: Following) -> None:
        with pytest.raises(NotReadyError) as caught:
            await alone.request()
        assert caught.value.reason == "PEER_FORGOT"

    async def test_takes_no_appends_while_the_peers_cosigner_is_spent(
        self, alone: Following
    ) -> None:
        await take_over(alone)
        await alone.meet()
        assert alone.refusal() == "UNCONFIRMED"

    @pytest.fixture
    async def back(self, scene: Scene, alone: Following) -> MortalNode:
        """It goes on, and the peer has another cosigner key."""
        await take_over(alone)
        await scene.peer.rotate("cosigner")
        await alone.meet()
        assert alone.promoted is not None
        return alone.promoted

    async def test_takes_them_once_the_peer_cosigns_by_another_key(self, back: MortalNode) -> None:
        assert back.appends

    async def test_keeps_every_entry_that_was_cosigned(
        self, scene: Scene, alone: Following
    ) -> None:
        size, root = scene.node.wire.seen.cosigned[scene.node.origin]
        await take_over(alone)
        assert alone.promoted is not None
        assert alone.promoted.reader.root(size) == root

    async def test_is_audited_and_goes_on(
        self, scene: Scene, alone: Following, back: MortalNode
    ) -> None:
        assert await back.append(scene.declared()) is not None
        await alone.meet()
        back.audit()
        assert cosigned(back) == back.reader.head().size

    async def test_is_fenced_from_the_old_node_as_ever(
        self, scene: Scene, back: MortalNode
    ) -> None:
        await scene.node.open()
        for _ in range(2):
            with suppress(LedgerError):
                await scene.node.peer.submitter.step()
        assert (scene.refusal, back.appends) == ("REPLACED", True)


class TestAStandbyThatLacksWhatThePeerHasAnchored:
    async def test_is_not_promoted_whatever_somebody_says(
        self, scene: Scene, following: Following
    ) -> None:
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        await forget(scene)
        with pytest.raises(NotReadyError) as caught:
            await take_over(following)
        assert caught.value.reason == "STANDBY_BEHIND"

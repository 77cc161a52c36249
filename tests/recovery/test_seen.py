"""A peer that knows of more than it cosigned says so to a node that was restored."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from recovery.scene import Scene

from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import NotReadyError, TrustError, UnavailableError


async def latch(scene: Scene) -> None:
    """Somebody else had the log key, and signed a second tree with it: the peer cosigns no more."""
    forged = Checkpoint(scene.node.origin, scene.size, bytes(32))
    await scene.peer.peer.witness.look_at(sign_checkpoint(forged, scene.node.keys.log_signer))
    assert scene.peer.peer.accusations.latched


async def copy_and_lose(scene: Scene, *, after: int) -> Path:
    """The peer comes to see four records more; the copy that is restored has the first of them."""
    copy = Path()
    for number in range(4):
        if number == after:
            copy = await scene.copy_store()
        await scene.declare()
    if after == 4:
        copy = await scene.copy_store()
    return copy


async def restore(scene: Scene, copy: Path) -> None:
    await scene.lose()
    scene.restore(copy)
    await scene.node.open()


async def ask(scene: Scene) -> None:
    """The restored node asks; the peer has not called it yet."""
    await scene.node.peer.monitor.step()
    with suppress(NotReadyError, TrustError, UnavailableError):  # of what it asks for next
        await scene.node.peer.submitter.step()


@pytest.fixture
async def latched(scene: Scene) -> Scene:
    await scene.settle()
    await latch(scene)
    return scene


class TestAPeerThatVerifiedMoreThanItCosigned:
    """Evidence waits to be acknowledged: what comes is replayed, and not cosigned."""

    async def verified(self, scene: Scene, *, after: int) -> Path:
        copy = await copy_and_lose(scene, after=after)
        await scene.peer.peer.monitor.step()
        peer = scene.peer.peer
        assert peer.replica.verified_size == scene.size > peer.witness.cosigned_size
        return copy

    async def test_confirms_no_copy_that_lacks_some_of_it(self, latched: Scene) -> None:
        await restore(latched, await self.verified(latched, after=2))
        await ask(latched)
        assert latched.refusal == "ROLLED_BACK"

    async def test_confirms_one_that_has_all_of_it(self, latched: Scene) -> None:
        await restore(latched, await self.verified(latched, after=4))
        await ask(latched)
        assert latched.refusal == ""

    async def test_is_told_no_second_tree(self, latched: Scene) -> None:
        """NotedWire would see it: one size, one key, two roots."""
        copy = await self.verified(latched, after=2)
        latched.node.wire.seen.take(latched.peer.peer.replica.newest()[1])
        await restore(latched, copy)
        await ask(latched)
        item = latched.declared()
        assert await latched.node.append(item) is None

    async def test_lets_the_log_come_back_with_a_loss(self, latched: Scene) -> None:
        await restore(latched, await self.verified(latched, after=2))
        await ask(latched)
        await latched.node.close()
        await latched.come_back()
        accusations = latched.peer.peer.accusations
        await latched.meet()
        (kept,) = accusations.kept()
        await accusations.acknowledge(kept.digest)
        await latched.meet()
        assert (latched.refusal, len(accusations.kept())) == ("", 1)


class TestAPeerThatWasShownMoreThanItHasReplayed:
    async def test_confirms_no_copy_that_lacks_it(self, scene: Scene) -> None:
        """It was asked to cosign it, and had not come so far when the disk died."""
        await scene.settle()
        copy = await copy_and_lose(scene, after=2)
        with pytest.raises(UnavailableError):
            await scene.node.peer.submitter.step()
        await restore(scene, copy)
        await ask(scene)
        assert scene.refusal == "ROLLED_BACK"

    async def test_says_so_after_a_restart_too(self, scene: Scene) -> None:
        await scene.settle()
        copy = await copy_and_lose(scene, after=2)
        with pytest.raises(UnavailableError):
            await scene.node.peer.submitter.step()
        await scene.peer.reopen()
        await restore(scene, copy)
        await ask(scene)
        assert scene.refusal == "ROLLED_BACK"

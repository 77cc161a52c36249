"""A witness that may not cosign, and a peer that loses what it had replayed of it."""

from __future__ import annotations

import shutil

import pytest
from peer.sides import rounds
from recovery.scene import Scene


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

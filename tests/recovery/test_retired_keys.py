"""The files of keys that were replaced: there as long as something may need them, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from recovery.scene import Scene

from ledgerd.credentials import RETIRED, beside, key_path
from ledgerd_client.node_key_request import NODE_KEY_ROLES

NAMES = list(NODE_KEY_ROLES)


def retired(scene: Scene, name: str) -> Path:
    return beside(key_path(scene.node.config, NODE_KEY_ROLES[name]), RETIRED)


def settle_keys(scene: Scene) -> None:
    scene.node.live_keys.settle(scene.node.peer.own_cosigned.size)


@pytest.mark.parametrize("name", NAMES)
class TestARetiredKey:
    @pytest.fixture
    async def rotated(self, scene: Scene, name: str) -> Scene:
        await scene.settle()
        await scene.node.rotate(name)
        return scene

    async def test_stays_until_the_peer_has_cosigned_its_rotation(
        self, rotated: Scene, name: str
    ) -> None:
        settle_keys(rotated)
        assert retired(rotated, name).exists()

    async def test_is_destroyed_then(self, rotated: Scene, name: str) -> None:
        await rotated.settle()
        settle_keys(rotated)
        assert not retired(rotated, name).exists()

    async def test_is_not_missed_by_a_node_that_starts(self, rotated: Scene, name: str) -> None:
        await rotated.settle()
        settle_keys(rotated)
        await rotated.node.reopen()
        await rotated.declare()
        await rotated.settle()
        assert rotated.node.peer.own_cosigned.size == rotated.size

    async def test_is_not_missed_by_one_that_recovers(self, rotated: Scene, name: str) -> None:
        await rotated.settle()
        settle_keys(rotated)
        await rotated.lose()
        await rotated.come_back()
        await rotated.declare()
        await rotated.settle()
        assert rotated.node.peer.own_cosigned.size == rotated.size

    async def test_that_is_in_force_again_stays(self, rotated: Scene, name: str) -> None:
        """Whoever put it there, and whatever its name."""
        await rotated.settle()
        path = retired(rotated, name)
        path.write_bytes(key_path(rotated.node.config, NODE_KEY_ROLES[name]).read_bytes())
        settle_keys(rotated)
        assert path.exists()

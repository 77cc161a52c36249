from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import pytest
from peer.sides import Clock
from recovery.following import Following
from recovery.scene import Scene
from stateful.test_border_machine import World, make_nodes, world


@pytest.fixture(scope="session")
def founded() -> World:
    """A border at which both nodes have met, made once."""
    return world()


@pytest.fixture
async def scene(founded: World, tmp_path: Path) -> AsyncIterator[Scene]:
    shutil.copytree(founded.directory, tmp_path, dirs_exist_ok=True)
    clock = Clock()
    clock.now = founded.left_at
    mainland, hong_kong = make_nodes(tmp_path, founded.sides, clock, deepcopy(founded.seen))
    scene = Scene(founded.sides[0], mainland, hong_kong, founded.border, clock)
    for node in scene.nodes:
        await node.open()
    yield scene
    for node in scene.nodes:
        if node.runs:
            await node.close()


@pytest.fixture
async def following(scene: Scene, tmp_path: Path) -> AsyncIterator[Following]:
    """In step with a node of which the peer has cosigned all."""
    await scene.declare()
    await scene.settle()
    following = Following.make(scene, tmp_path / "standby")
    await following.step()
    yield following
    if following.promoted is not None:
        await following.promoted.close()

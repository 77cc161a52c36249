"""What takes long on the way back says how far it is, of each log to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from recovery.scene import Scene

from ledgerd.backup.assembling import as_store
from ledgerd.backup.making import backup
from ledgerd.recovery import collecting, declaring


class Watching:
    """Whoever looks at the bar."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        assert 0 < done <= total
        self.told.append((done, total))

    @property
    def ends(self) -> list[int]:
        """How large what came to its end was."""
        return [total for done, total in self.told if done == total]


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
async def sizes(scene: Scene) -> tuple[int, int]:
    """How many entries our log and the peer's have, all of them cosigned."""
    await scene.declare()
    await scene.settle()
    return scene.size, scene.node.peer.replica.verified_size


async def test_of_a_backup_that_is_made_a_store_of(
    scene: Scene, sizes: tuple[int, int], watching: Watching, tmp_path: Path
) -> None:
    own, peer = sizes
    await scene.node.close()
    config, to = scene.node.config, tmp_path / "backups"
    backup(config, to, keep=1, clock=scene.clock, progress=lambda *_: None)
    async with as_store(config, to, **scene.how, progress=watching):
        assert watching.ends == [peer, own]


async def test_of_what_the_peer_and_copies_give_back(
    scene: Scene, sizes: tuple[int, int], watching: Watching
) -> None:
    own, peer = sizes
    copy = await scene.copy_store()
    await scene.lose()
    config, wire = scene.node.config, scene.node.wire
    await collecting.recover(config, wire, [copy], **scene.how, progress=watching)
    # Each copy is gone through twice: first for what the node itself wrote.
    assert watching.ends == [own, peer, 2 * own]


async def test_of_the_log_that_is_made_anew(
    scene: Scene, sizes: tuple[int, int], watching: Watching
) -> None:
    await scene.lose()
    await scene.recover()
    approval = scene.approve(await scene.request())
    config, wire = scene.node.config, scene.node.wire
    await declaring.declare(config, approval, wire, **scene.how, progress=watching)
    assert watching.ends == [sizes[0]]

"""What a mirror says of a log that goes on otherwise than it had followed it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from recovery.following import Following, InProcess, check
from recovery.scene import Scene
from recovery.test_peers import Blind

from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd.mirror.follower import Follower
from ledgerd.mirror.store import MirrorStore
from ledgerd_client.core.errors import ForkError, VerificationError
from ledgerd_client.core.evidence import Evidence


async def refused(following: Following, *, at_once: int = 0) -> VerificationError:
    """Why the mirror does not follow."""
    with closing(MirrorStore(following.config.data, following.config.origin, os.urandom)) as store:
        follower = Follower(
            store, InProcess(following.scene.node), following.scene.node.trust, check=check,
            progress=lambda *_: None, at_once=at_once,
        )  # fmt: skip
        try:
            with pytest.raises(VerificationError) as caught:
                await follower.step()
        finally:
            await follower.close()
    return caught.value


def kept(following: Following) -> Sequence[Path]:
    return list(following.config.data.glob("*.evidence"))


@pytest.fixture
async def ahead(scene: Scene, following: Following) -> Following:
    """It has followed three records that the peer never cosigned."""
    for _ in range(3):
        await scene.declare()
    await following.step()
    return following


class TestAnEndThatWasGivenUp:
    @pytest.fixture
    async def back(self, scene: Scene, ahead: Following) -> Following:
        await scene.lose()
        await scene.come_back()
        return ahead

    @pytest.mark.parametrize("records", [0, 1, 2, 3, 9])
    async def test_is_told_as_that_however_far_the_log_has_gone_on(
        self, scene: Scene, back: Following, records: int
    ) -> None:
        await scene.meet()
        for _ in range(records):
            await scene.declare()
        error = await refused(back)
        assert (error.reason, "LOSS" in error.message) == ("ROLLED_BACK", True), error.message

    async def test_is_evidence_of_nothing(self, scene: Scene, back: Following) -> None:
        await scene.meet()
        await refused(back)
        assert kept(back) == []


class TestTwoHistories:
    """An operator got the node to append to an old copy: no LOSS gave the other end up."""

    @pytest.fixture
    async def forked(self, scene: Scene, following: Following) -> Following:
        copy = await scene.copy_store()
        for _ in range(3):
            await scene.declare()
        await following.step()
        await scene.lose()
        for node in scene.nodes:
            node.wire.seen = Blind()
        shutil.copytree(copy, scene.node.config.store)
        write_mark(scene.data, HighWater(scene.instance_of(copy), 1))
        await scene.node.open()
        await scene.declare()
        return following

    @pytest.mark.parametrize("records", [0, 1, 2, 3, 9])
    async def test_are_told_as_a_fork_whichever_is_longer(
        self, scene: Scene, forked: Following, records: int
    ) -> None:
        for _ in range(records):
            await scene.declare()
        assert isinstance(await refused(forked), ForkError)

    @pytest.mark.parametrize("records", [0, 9])
    async def test_are_proved_by_a_file_that_is_kept(
        self, scene: Scene, forked: Following, records: int
    ) -> None:
        for _ in range(records):
            await scene.declare()
        error = await refused(forked)
        (path,) = kept(forked)
        assert str(path) in error.action
        smaller, larger = Evidence.parse(path.read_bytes()).verify(scene.node.keyring.history)
        assert smaller.origin == larger.origin == scene.node.origin

    async def test_are_kept_once(self, scene: Scene, forked: Following) -> None:
        for _ in range(2):
            await refused(forked)
        assert len(kept(forked)) == 1


class TestAnEarlierState:
    async def test_is_no_fork(self, scene: Scene, following: Following) -> None:
        """Nothing was signed anew: the node has only lost it."""
        copy = await scene.copy_store()
        await scene.declare()
        await following.step()
        await scene.lose("store")
        scene.restore(copy)
        await scene.node.open()
        error = await refused(following)
        assert (type(error), error.reason) == (VerificationError, "ROLLED_BACK")

"""A node on a copy of its store: confirmed by its peer, or stopped; and its cosigner key is spent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from recovery.scene import Scene

from ledgerd.backup.assembling import as_store
from ledgerd.backup.making import backup
from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd.peer.spent import Spent
from ledgerd.recovery import collecting
from ledgerd_client.core.errors import FieldError, InputError, StoreError, TrustError


@pytest.fixture
async def copy(scene: Scene) -> Path:
    """Of a log that both have cosigned."""
    await scene.declare()
    await scene.settle()
    return await scene.copy_store()


class TestACopyThatHasEverything:
    @pytest.fixture
    async def restored(self, scene: Scene, copy: Path) -> Scene:
        await scene.lose()
        scene.restore(copy)
        await scene.node.open()
        return scene

    async def test_takes_no_appends_at_first(self, restored: Scene) -> None:
        assert restored.refusal == "UNCONFIRMED"

    async def test_takes_them_once_the_peer_has_said_what_it_knows(self, restored: Scene) -> None:
        await restored.meet()
        assert restored.refusal == ""

    async def test_has_spent_its_cosigner_before_it_starts(self, scene: Scene, copy: Path) -> None:
        await scene.lose()
        scene.restore(copy)
        assert Spent(scene.data).key() == scene.node.keys.cosigner.public

    async def test_is_another_instance(self, restored: Scene, copy: Path) -> None:
        assert restored.instance_of(copy) != restored.node.dying.instance

    async def test_cosigns_nothing_by_the_key_that_it_had(self, restored: Scene) -> None:
        before = restored.node.peer.witness.cosigned_size
        await restored.meet()
        await restored.acknowledge(restored.border.transfer())
        await restored.meet()
        assert restored.node.peer.witness.cosigned_size == before

    async def test_goes_on_to_be_cosigned(self, restored: Scene) -> None:
        await restored.meet()
        await restored.declare()
        await restored.meet()
        assert restored.node.peer.own_cosigned.size == restored.size

    async def test_passes_the_audit(self, restored: Scene) -> None:
        await restored.meet()
        await restored.declare()
        restored.node.audit()


class TestACopyThatIsTooOld:
    async def test_is_stopped_by_the_mark_that_stayed(self, scene: Scene, copy: Path) -> None:
        await scene.declare()
        await scene.node.standing.write_mark()
        await scene.lose("store")
        scene.restore(copy)
        await scene.node.open()
        await scene.meet()
        assert scene.refusal == "ROLLED_BACK"

    async def test_on_another_machine_by_what_the_peer_cosigned(
        self, scene: Scene, copy: Path
    ) -> None:
        await scene.declare()
        await scene.settle()
        await scene.lose()
        scene.restore(copy)
        await scene.node.open()
        await scene.meet()
        assert scene.refusal == "ROLLED_BACK"

    async def test_or_by_what_an_institution_was_shown(self, scene: Scene, copy: Path) -> None:
        await scene.declare()
        shown = scene.node.reader.head().checkpoint
        await scene.lose()
        scene.restore(copy)
        await scene.node.open()
        scene.node.standing.mentioned(shown)
        await scene.meet()
        assert scene.refusal == "ROLLED_BACK"

    async def test_still_after_the_operator_has_restored_it_again(
        self, scene: Scene, copy: Path
    ) -> None:
        await scene.declare()
        await scene.settle()
        for _ in range(2):
            await scene.lose()
            scene.restore(copy)
            await scene.node.open()
            await scene.meet()
        assert scene.refusal == "ROLLED_BACK"

    async def test_shows_itself_no_more_to_a_peer_that_has_more(
        self, scene: Scene, copy: Path
    ) -> None:
        """Also to one that has forgotten all but what it anchored."""
        await scene.declare()
        await scene.settle()
        await scene.lose("store")
        await scene.peer.close()
        shutil.rmtree(scene.peer.config.data / "peer")
        await scene.peer.open()
        scene.restore(copy)
        await scene.node.open()
        with pytest.raises(TrustError) as refused:
            await scene.node.peer.submitter.step()
        assert refused.value.reason == "ROLLED_BACK"

    async def test_is_what_bodies_are_taken_from(self, scene: Scene, copy: Path) -> None:
        await scene.declare()
        await scene.settle()
        await scene.lose()
        await scene.come_back(copy)
        assert scene.kinds(0).count("lost") < scene.kinds(0).count("transfer") + 1

    async def test_then_the_node_serves_again(self, scene: Scene, copy: Path) -> None:
        await scene.declare()
        await scene.settle()
        await scene.lose("store")
        scene.restore(copy)
        await scene.node.open()
        await scene.meet()
        await scene.node.close()
        await scene.come_back()
        await scene.declare()
        await scene.settle()
        scene.node.audit()


class TestWhatIsNotRestored:
    async def test_over_a_store_that_is_there(self, scene: Scene, copy: Path) -> None:
        with pytest.raises(StoreError) as refused:
            scene.restore(copy)
        assert refused.value.reason == "STORE_EXISTS"

    async def test_a_directory_without_a_store(self, scene: Scene, tmp_path: Path) -> None:
        await scene.lose("store")
        with pytest.raises(StoreError) as refused:
            scene.restore(tmp_path / "nothing")
        assert refused.value.reason == "NO_STORE"
        await scene.come_back()

    async def test_a_copy_from_before_a_loss(self, scene: Scene, copy: Path) -> None:
        await scene.lose()
        await scene.come_back()
        await scene.settle()
        await scene.lose("store")
        with pytest.raises(FieldError) as refused:
            scene.restore(copy)
        assert refused.value.reason == "WRONG_KEYS"
        await scene.come_back(copy)

    async def test_a_copy_that_is_refused_is_not_left_behind(
        self, scene: Scene, copy: Path
    ) -> None:
        await scene.lose()
        await scene.come_back()
        await scene.settle()
        await scene.lose("store")
        before = {path.name for path in scene.data.iterdir()}
        with pytest.raises(FieldError):
            scene.restore(copy)
        assert {path.name for path in scene.data.iterdir()} == before
        await scene.come_back(copy)


class TestANewDisk:
    @pytest.mark.parametrize("kind", ["store", "backup"])
    async def test_gets_a_directory_for_its_owner_alone(
        self, scene: Scene, copy: Path, tmp_path: Path, kind: str
    ) -> None:
        if kind == "backup":
            await scene.node.close()
            of, copy = scene.node.config, tmp_path / "backups"
            backup(of, copy, keep=7, clock=scene.clock, progress=lambda *_: None)
        config = scene.node.config.model_copy(update={"data": tmp_path / "disk" / "data"})
        async with as_store(config, copy, **scene.how):
            assert config.data.stat().st_mode & 0o777 == 0o700

    async def test_that_cannot_be_written_to_is_named(
        self, scene: Scene, copy: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "disk").touch()
        config = scene.node.config.model_copy(update={"data": tmp_path / "disk" / "data"})
        with pytest.raises(InputError, match="cannot make"):
            async with as_store(config, copy, **scene.how):
                pass
        with pytest.raises(InputError, match="cannot make"):
            await collecting.recover(config, scene.node.wire, (), **scene.how)


class TestAStoreWhoseEndWasCut:
    """A copy put in its place by hand: the same instance, and the mark says that it held more."""

    async def test_takes_no_appends(self, scene: Scene, copy: Path) -> None:
        await scene.declare()
        await scene.node.standing.write_mark()
        await scene.node.close()
        shutil.rmtree(scene.node.config.store)
        shutil.copytree(copy, scene.node.config.store)
        await scene.node.open()
        await scene.meet()
        assert scene.refusal == "ROLLED_BACK"

    async def test_nor_where_the_mark_was_put_back_as_well(self, scene: Scene, copy: Path) -> None:
        """Its own disk knows what the peer cosigned."""
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        shutil.rmtree(scene.node.config.store)
        shutil.copytree(copy, scene.node.config.store)
        write_mark(scene.data, HighWater(scene.instance_of(copy), 1))
        await scene.node.open()
        assert scene.refusal == "ROLLED_BACK"

    async def test_comes_back_with_a_loss(self, scene: Scene, copy: Path) -> None:
        await scene.declare()
        await scene.settle()
        await scene.declare()
        await scene.node.close()
        shutil.rmtree(scene.node.config.store)
        shutil.copytree(copy, scene.node.config.store)
        await scene.come_back()
        await scene.declare()
        await scene.settle()
        assert scene.node.peer.own_cosigned.size == scene.size
        scene.node.audit()


class TestADiskThatIsPutBackWhole:
    """Store, mark, peer store and all: only what others say of it shows that it is old."""

    @pytest.fixture
    async def back(self, scene: Scene) -> Scene:
        await scene.settle()
        await scene.node.close()
        image = shutil.copytree(scene.data, scene.data.parent / "image")
        await scene.node.open()
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        shutil.rmtree(scene.data)
        shutil.copytree(image, scene.data)
        await scene.node.open()
        await scene.meet()
        return scene

    async def test_takes_no_appends(self, back: Scene) -> None:
        assert back.refusal == "ROLLED_BACK"

    async def test_nor_after_a_restart(self, back: Scene) -> None:
        await back.node.reopen()
        assert back.refusal == "ROLLED_BACK"

    async def test_cosigns_nothing_more_by_the_key_that_it_had(self, back: Scene) -> None:
        before = back.node.peer.witness.cosigned_size
        await back.acknowledge(back.border.transfer())
        await back.meet()
        assert back.node.peer.witness.cosigned_size == before

"""Promotion as the operator goes through it: what is wrong is told first, and any step may be killed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from recovery import killed
from recovery.following import Following, cosigned
from recovery.scene import Scene

from ledgerd.mirror.store import MirrorStore
from ledgerd.standby.following import check_keys
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.keyfile import KeyFile, public_key, read_secret
from ledgerd_client.loss_request import LossRequest


def in_way(following: Following) -> Path:
    return following.home / "loss.json"


async def refused(following: Following) -> LedgerError:
    """Why the authority is not asked."""
    with pytest.raises(LedgerError) as caught:
        await following.request()
    assert not (following.home / "loss.json").exists()
    return caught.value


class TestTheRequest:
    async def test_says_how_far_the_standby_is_behind(
        self, scene: Scene, following: Following
    ) -> None:
        held = scene.size
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        missing = cosigned(scene.node) - held
        error = await refused(following)
        assert f"{held} are here: {missing} are missing" in error.message

    async def test_says_what_to_do_then(self, scene: Scene, following: Following) -> None:
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        error = await refused(following)
        assert "`ledgerd standby --once`" in error.action
        assert "`ledgerd recover --from`" in error.action

    async def test_is_not_made_by_a_standby_whose_first_copy_was_cut(
        self, scene: Scene, following: Following
    ) -> None:
        shutil.rmtree(following.config.data)
        await following.step(cut_after=3, at_once=0)
        await scene.node.close()
        assert (await refused(following)).reason == "STANDBY_BEHIND"

    async def test_is_not_made_without_the_entry_key(
        self, scene: Scene, following: Following
    ) -> None:
        """No LOSS replaces it: the promoted node could not start."""
        await scene.node.close()
        following.config.keys.entry.unlink()
        assert (await refused(following)).reason == "WRONG_KEYS"

    async def test_is_not_made_with_an_entry_key_that_was_replaced(
        self, scene: Scene, following: Following
    ) -> None:
        await scene.node.close()
        path = following.config.keys.entry
        path.write_bytes(KeyFile(SigningKey(b"another one's".ljust(32))).format())
        error = await refused(following)
        assert error.reason == "WRONG_KEYS"
        assert str(path) in error.message

    async def test_is_not_made_while_the_peer_has_forgotten_what_it_cosigned(
        self, scene: Scene, following: Following
    ) -> None:
        """What that was, its anchors here show in part: the old node may have been cosigned since."""
        await scene.settle()
        await following.step()
        await scene.node.close()
        scene.node.wire.other = _Forgetful()  # type: ignore[assignment] # all that is asked of it
        assert (await refused(following)).reason == "PEER_FORGOT"

    async def test_is_made_where_the_peer_cosigns_by_a_key_that_the_standby_never_heard_of(
        self, scene: Scene, following: Following
    ) -> None:
        """The old node died before it had replayed the rotation, or told the standby."""
        await scene.declare()
        await following.step()
        await scene.peer.rotate("cosigner")
        await scene.peer.peer.monitor.step()
        with suppress(LedgerError):  # it does not know the key either
            await scene.node.peer.submitter.step()
        size = scene.size
        await scene.node.close()
        assert (await following.request()).end.size == size

    async def test_is_not_made_on_the_machine_of_a_node(
        self, scene: Scene, following: Following
    ) -> None:
        await scene.node.close()
        following.config = scene.node.config
        error = await refused(following)
        assert (type(error), error.reason) == (InputError, "STORE_EXISTS")
        assert "run this on the standby's machine" in error.action

    async def test_is_not_made_where_a_loss_was_taken(self, following: Following) -> None:
        await following.take_over()
        assert following.promoted is not None
        await following.promoted.close()
        (following.home / "loss.json").unlink()
        error = await refused(following)
        assert "start it with `ledgerd serve`" in error.action

    async def test_made_again_it_stays(self, scene: Scene, following: Following) -> None:
        await scene.node.close()
        await following.request()
        before = in_way(following).read_bytes()
        await following.ask()
        assert in_way(following).read_bytes() == before

    async def test_takes_no_other_files_place(self, scene: Scene, following: Following) -> None:
        await scene.node.close()
        in_way(following).write_text("somebody's")
        with pytest.raises(InputError) as caught:
            await following.ask()
        assert caught.value.reason == "FILE_EXISTS"

    async def test_does_not_pass_for_one_of_what_it_holds_by_now(
        self, scene: Scene, following: Following
    ) -> None:
        await following.request()
        await scene.declare()
        await following.step()
        with pytest.raises(InputError) as caught:
            await following.ask()
        assert caught.value.reason == "FILE_EXISTS"


class TestAStandby:
    async def test_says_when_it_has_another_entry_key(
        self, scene: Scene, following: Following
    ) -> None:
        """When there is time to bring it the right one."""
        following.config.keys.entry.unlink()
        said: list[LedgerError] = []
        store = MirrorStore(following.config.data, following.config.origin, bytes)
        with closing(store):
            check_keys(following.config, store, scene.node.trust, said.append)
        assert [error.reason for error in said] == ["WRONG_KEYS"]

    async def test_says_nothing_of_the_one_in_force(
        self, scene: Scene, following: Following
    ) -> None:
        said: list[LedgerError] = []
        store = MirrorStore(following.config.data, following.config.origin, bytes)
        with closing(store):
            check_keys(following.config, store, scene.node.trust, said.append)
        assert said == []


class _Forgetful:
    """A peer that has lost its store."""

    runs = True

    @property
    def peer(self) -> _Forgetful:
        return self

    @property
    def witness(self) -> _Forgetful:
        return self

    def vouched(self) -> bytes:
        return b""

    def seen(self) -> bytes:
        return b""


@pytest.fixture
async def stopped(scene: Scene, following: Following) -> Following:
    """A standby that holds more than the peer has cosigned, and the node is gone."""
    await scene.declare()
    await following.step()
    await scene.node.close()
    note, _ = await scene.node.wire.get_cosigned()
    (following.home / "cosigned").write_bytes(note)
    return following


def kill(step: str, standby: Following, directory: Path) -> list[str]:
    """What each run was killed after."""
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, str(killed.__file__), step, str(standby.home), str(directory),
         str(standby.scene.clock.now)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return re.findall(r"^killed after (\w+)$", done.stdout, re.MULTILINE)


def state(home: Path) -> dict[str, object]:
    """All that a node goes on with."""
    found: dict[str, object] = {}
    for name in ("store", "peer"):
        path = home / "data" / name
        with closing(LmdbStore.open(path, readonly=True)) as store, store.snapshot() as snapshot:
            found[name] = {table: list(snapshot.scan(table)) for table in Table}
    for path in sorted((*home.glob("data/*"), *home.glob("keys/*"))):
        if path.is_file() and path.name != "serve.lock":
            found[path.name] = path.read_bytes()
    return found


class TestKilledWhileItTakesTheLoss:
    @pytest.fixture
    async def ends(self, stopped: Following, tmp_path: Path) -> list[Path]:
        approval = await stopped.approval()
        (stopped.home / "loss.approval").write_bytes(approval.format())
        after = kill("take", stopped, tmp_path / "ends")
        # The LOSS, what the peer store is told, two small files, two keys; and what it is no more.
        assert after[0] == after[-1] == "commit"
        assert {"fsync", "replace"} < set(after)
        return [tmp_path / "ends" / f"again-{number + 1}" for number in range(len(after) + 1)]

    async def test_and_called_again_it_ends_as_if_it_had_not_been(self, ends: list[Path]) -> None:
        *others, whole = [state(home) for home in ends]
        assert [other == whole for other in others] == [True] * len(others)


class TestKilledWhileItAsks:
    async def test_and_called_again_it_asks_with_keys_that_it_has(
        self, stopped: Following, tmp_path: Path
    ) -> None:
        after = kill("request", stopped, tmp_path / "ends")
        for number in range(len(after) + 1):
            home = tmp_path / "ends" / f"again-{number + 1}"
            request = LossRequest.parse((home / "loss.json").read_bytes())
            held = [public_key(read_secret(home / "keys" / f"{name}.key.next"))
                    for name in ("log", "cosigner")]  # fmt: skip
            assert [request.log_key, request.cosigner_key] == held, after[:number]
        assert len(after) > 3

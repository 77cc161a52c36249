from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from store.processes import started

from ledgerd.ledger.child import Child
from ledgerd.store.lock import DirectoryLock, hold
from ledgerd_client.core.errors import NotReadyError, StoreError

HOLDING = """
import sys
from pathlib import Path
from ledgerd.ledger.child import Child
from ledgerd.store.lock import DirectoryLock

with DirectoryLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


ENTERING = """
import sys
from pathlib import Path
from ledgerd.ledger.child import Child
from ledgerd.store.lock import DirectoryLock

with DirectoryLock(Path(sys.argv[1])):
    pass
"""


class TestDirectoryLock:
    def test_a_second_process_is_refused(self, tmp_path: Path) -> None:
        with (
            started(HOLDING, tmp_path),
            pytest.raises(NotReadyError) as caught,
            DirectoryLock(tmp_path),
        ):
            pass
        assert caught.value.reason == "ALREADY_SERVED"

    def test_it_is_told_who_holds_the_lock(self, tmp_path: Path) -> None:
        with (
            started(HOLDING, tmp_path) as process,
            pytest.raises(NotReadyError, match=rf"\b{process.pid}\b"),
            DirectoryLock(tmp_path),
        ):
            pass

    def test_a_holder_that_is_gone_is_not_told_to_hold_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it left holds the lock still: whose number is not in the file."""
        monkeypatch.setattr("ledgerd.store.lock._PATIENCE_S", 0.0)
        with subprocess.Popen(["true"]) as dead:
            pass
        with started(HOLDING, tmp_path):
            (tmp_path / "serve.lock").write_text(str(dead.pid))
            with (
                pytest.raises(NotReadyError, match=f"process {dead.pid}, .* has ended"),
                DirectoryLock(tmp_path),
            ):
                pass

    def test_a_refused_process_does_not_disturb_the_holder(self, tmp_path: Path) -> None:
        with started(HOLDING, tmp_path) as process:
            for _ in range(2):
                with pytest.raises(NotReadyError, match=str(process.pid)), DirectoryLock(tmp_path):
                    pass

    def test_the_same_process_does_not_get_it_twice(self, tmp_path: Path) -> None:
        with DirectoryLock(tmp_path), pytest.raises(NotReadyError), DirectoryLock(tmp_path):
            pass

    def test_it_is_free_after_the_block(self, tmp_path: Path) -> None:
        for _ in range(2):
            with DirectoryLock(tmp_path):
                pass

    def test_it_is_free_after_an_exception(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), DirectoryLock(tmp_path):
            raise KeyboardInterrupt
        with DirectoryLock(tmp_path):
            pass

    def test_it_is_free_after_kill_9(self, tmp_path: Path) -> None:
        with started(HOLDING, tmp_path):
            pass
        with DirectoryLock(tmp_path):
            pass

    def test_a_file_left_behind_means_nothing(self, tmp_path: Path) -> None:
        left = tmp_path / "serve.lock"
        left.write_text("12345678901234567890")
        with DirectoryLock(tmp_path):
            assert left.read_text() == str(os.getpid())

    def test_nobody_else_may_hold_it(self, tmp_path: Path) -> None:
        """Whoever can open the file can lock it, and so keep the daemon from starting."""
        with DirectoryLock(tmp_path):
            assert stat.S_IMODE((tmp_path / "serve.lock").stat().st_mode) == 0o600

    def test_directories_are_apart(self, tmp_path: Path) -> None:
        for name in ("cn", "hk"):
            (tmp_path / name).mkdir()
        with DirectoryLock(tmp_path / "cn"), DirectoryLock(tmp_path / "hk"):
            pass

    def test_a_directory_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError), DirectoryLock(tmp_path / "absent"):
            pass
        assert list(tmp_path.iterdir()) == []


class TestHold:
    def test_many_hold_a_directory_together(self, tmp_path: Path) -> None:
        with hold(tmp_path), hold(tmp_path):
            pass

    @pytest.mark.parametrize("alone", [False, True])
    def test_beside_one_who_holds_it_alone_nobody_does(self, tmp_path: Path, alone: bool) -> None:
        with hold(tmp_path, alone=True), pytest.raises(NotReadyError), hold(tmp_path, alone=alone):
            pass

    def test_nobody_holds_it_alone_beside_another(self, tmp_path: Path) -> None:
        with hold(tmp_path), pytest.raises(NotReadyError), hold(tmp_path, alone=True):
            pass

    def test_it_is_free_after_an_exception(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), hold(tmp_path, alone=True):
            raise KeyboardInterrupt
        with hold(tmp_path, alone=True):
            pass

    def test_it_leaves_no_file(self, tmp_path: Path) -> None:
        with hold(tmp_path, alone=True):
            assert list(tmp_path.iterdir()) == []


def keeping(lock: DirectoryLock) -> Callable[[], DirectoryLock]:
    return lambda: lock


def enter(directory: Path) -> None:
    with DirectoryLock(directory):
        pass


class TestSharedWithAProcess:
    """A node's writer may outlive it by a commit."""

    async def test_it_is_held_until_both_have_ended(self, tmp_path: Path) -> None:
        with DirectoryLock(tmp_path) as lock:
            child = Child(keeping, lock)
            await child.start()
        with pytest.raises(NotReadyError):
            enter(tmp_path)
        await child.close()
        enter(tmp_path)

    async def test_while_we_hold_it_the_others_end_does_not_free_it(self, tmp_path: Path) -> None:
        with DirectoryLock(tmp_path) as lock:
            child = Child(keeping, lock)
            await child.start()
            await child.close()
            with started(ENTERING, tmp_path) as process:
                assert process.wait() == 1

    async def test_the_next_node_waits_for_a_dead_ones_writer(self, tmp_path: Path) -> None:
        with DirectoryLock(tmp_path) as lock:
            child = Child(keeping, lock)
            await child.start()
        dead = await asyncio.create_subprocess_exec("true")
        await dead.wait()
        (tmp_path / "serve.lock").write_text(str(dead.pid))
        entering = asyncio.create_task(asyncio.to_thread(enter, tmp_path))
        await child.close()
        await entering

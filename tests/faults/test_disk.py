"""
P1: a disk that has no room, before a commit and in one, and one that fails after it said yes.

The standby's, too: it goes on by itself, as the node does.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from border import PATIENCE
from faults.disks import Mount, moved_to, needs_mounts
from faults.trial import Trial
from institutions import until
from standbys import Standby

pytestmark = [pytest.mark.timeout(300), needs_mounts]

MIB = 1 << 20
STORE_FAILED = 70


@contextmanager
def filled(directory: Path, left: int) -> Iterator[None]:
    """While the block lasts, a disk has so many bytes left."""
    disk, filler = os.statvfs(directory), directory / "filler"
    try:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - left)
        yield
    finally:
        filler.unlink()


def keep_free(trial: Trial, size: int) -> None:
    """Have the node keep so much of its disk."""
    config = trial.node.config
    config.write_text(config.read_text() + f"reserve_bytes = {size}\n")


def test_the_disk_is_full(trial: Trial) -> None:
    """The reserve is kept: appends are refused, the node runs, and goes on when there is room."""
    data = trial.node.config.parent / "data"
    keep_free(trial, 4 * MIB)
    with moved_to(data, "-t", "tmpfs", "-o", "size=64M,mode=0700", "tmpfs"):
        trial.border.start()
        for left in (2 * MIB, 0):
            with filled(data, left):
                until(trial.is_batch_lost, bool)
                assert trial.node.process is not None
                assert trial.node.process.poll() is None
            trial.loader.finish()
            trial.again(f"{left} bytes left")
        trial.finish()


def test_the_disk_of_the_standby_is_full(tmp_path: Path) -> None:
    """It stops following and says so; the node misses it, and with room it goes on by itself."""
    with ExitStack() as stack:
        trial = stack.enter_context(Trial(tmp_path))
        keep_free(trial, 4 * MIB)
        standby = Standby.make(trial.border, tmp_path / "standby", wait=True)
        data = standby.node.config.parent / "data"
        data.mkdir(mode=0o700)
        stack.enter_context(moved_to(data, "-t", "tmpfs", "-o", "size=64M,mode=0700", "tmpfs"))
        stack.enter_context(closing(standby.node))
        standby.node.launch()
        trial.border.start()
        standby.node.wait_for("READY=1")
        assert standby.node.process is not None
        for times, left in enumerate((2 * MIB, 0), 1):
            with filled(data, left):
                until(trial.is_batch_lost, bool)
                until(standby.node.tail, lambda said, n=times: said.count("(DISK_FULL)") == n)
                assert standby.node.process.poll() is None
            trial.loader.finish()
        assert standby.node.stop() == 0
        trial.finish()


def test_the_disk_is_full_in_a_commit(trial: Trial) -> None:
    """No reserve was kept: the node ends, and is started again when there is room."""
    data = trial.node.config.parent / "data"
    keep_free(trial, 0)
    with moved_to(data, "-t", "tmpfs", "-o", "size=64M,mode=0700", "tmpfs"):
        trial.border.start()
        trial.load()
        with filled(data, 0):
            until(trial.is_batch_lost, bool)
            assert trial.node.process is not None
            assert trial.node.process.wait(PATIENCE) == STORE_FAILED, trial.node.tail()
        trial.again("a full disk in a commit")
        trial.finish()


def test_a_sync_fails_for_writes_that_were_taken(trial: Trial, tmp_path: Path) -> None:
    """
    The disk promised more than it has: writes go well, the sync after them does not.

    The next sync would go well, with the writes forgotten; so the node ends with the first.
    """
    data, medium = trial.node.config.parent / "data", tmp_path / "medium"
    medium.mkdir()
    keep_free(trial, 0)
    with Mount(medium, "-t", "tmpfs", "-o", "size=24M", "tmpfs"):
        image = medium / "image"
        subprocess.run(["truncate", "--size=128M", str(image)], check=True)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        with moved_to(data, "-o", "loop", str(image)) as disk:
            trial.border.start()
            trial.load()
            with filled(medium, 0):
                until(trial.is_batch_lost, bool)
                assert trial.node.process is not None
                assert trial.node.process.wait(PATIENCE) == STORE_FAILED, trial.node.tail()
            trial.stop()
            disk.again()  # with what it holds, and not what was cached of it
            trial.again("a failed sync")
            trial.finish()

"""Disks that fail, mounted for a test; each leaves nothing behind when it is closed."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pytest

# In which a batch is written on any machine, or else the next one is sent.
SOON_S = 1.0
PROGRAM = Path(__file__).with_name("lossyfs.py")


def missing_fuse() -> str:
    """Why there can be no FUSE layer here; empty when there can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    return "" if shutil.which("fusermount3") else "fuse3 is not installed"


def missing_mounts() -> str:
    """Why nothing can be mounted here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("mkfs.ext4") is None:
        return "e2fsprogs is not installed"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


needs_mounts = pytest.mark.skipif(bool(missing_mounts()), reason=missing_mounts())
needs_fuse = pytest.mark.skipif(bool(missing_fuse()), reason=missing_fuse())


class Lost(NamedTuple):
    """When power went (monotonic, ns), and how many writes were not synced then."""

    at: int
    writes: int


class LossyDisk:
    """A directory on lossyfs.py from now on, with what it held; mounted while the block lasts."""

    def __init__(self, directory: Path) -> None:
        self._mount = directory
        self._backing = directory.with_name(directory.name + ".backing")

    def __enter__(self) -> Self:
        self._mount.rename(self._backing)
        self._mount.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self._backing), str(self._mount)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not self._mount.is_mount():
            assert self._process.poll() is None, "the layer ended"
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self._mount)], check=False)
        self._process.kill()
        self._process.communicate()
        self._mount.rmdir()
        self._backing.rename(self._mount)

    def photograph(self, calls: int, to: Path) -> None:
        """Have what the disk holds before its nth write or sync from now copied to a directory."""
        self._say(f"photo {calls} {to}")

    def cut(self, calls: int) -> None:
        """Have power go before the nth write or sync from now."""
        self._say(f"cut {calls}")

    def lost(self, within: float = SOON_S) -> Lost | None:
        """When the photograph was taken, or power went; None if it has not come to that, in s."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within)[0]:
            return None
        at, writes = self._hear().split()
        return Lost(int(at), int(writes))

    def power_on(self) -> None:
        self._say("on")
        assert self._hear() == "on"

    def fail(self, *what: str) -> None:
        """From now on every call (write, fsync) fails by an error's name; none, if none is named."""
        self._say(" ".join(("fail", *what)))
        assert self._hear() == "ok"

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the layer ended"
        return line.strip()


class Mount:
    """Something mounted, with `mount` and these options, while the block lasts."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options

    def __enter__(self) -> Self:
        subprocess.run(["mount", *self._options, str(self._directory)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        # What a failed test left there is killed later.
        subprocess.run(["umount", "--lazy", str(self._directory)], check=True)

    def again(self) -> None:
        """Take it away and put it back: nothing cached is left."""
        subprocess.run(["umount", str(self._directory)], check=True)
        self.__enter__()


@contextmanager
def moved_to(directory: Path, *options: str) -> Iterator[Mount]:
    """While the block lasts, a directory is on something mounted, with what it held."""
    before = directory.rename(directory.with_name(directory.name + ".before"))
    directory.mkdir()
    with Mount(directory, *options) as mount:
        shutil.copytree(before, directory, dirs_exist_ok=True)
        yield mount

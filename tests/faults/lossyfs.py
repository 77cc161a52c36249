"""
A disk that can lose its power: a FUSE layer that holds what is written in memory until it is synced.

usage: lossyfs.py BACKING MOUNT

MOUNT shows the directory BACKING. Data written to a file reaches BACKING when that file is synced,
or written through a descriptor that was opened with O_DSYNC or O_SYNC; metadata (names, and files
that are cut) reaches it at once. Commands on standard input, one a line, each answered by one line:

photo N DIR   before the Nth write or sync from now, copy to DIR what the disk would hold if power
              went at that moment; answers `TIME WRITES`: monotonic ns, and unsynced writes until then
cut N         at that moment lose power: from then on every call fails; answers likewise
on            power is back, over what the disk holds; answers `on`
fail CALL ERRNO, fail   every CALL (write or fsync) fails by ERRNO until told otherwise; answers `ok`

Of what was not synced a disk may hold any part: each 512-byte sector of each write is kept or
forgotten by itself, with a chance that is drawn once for each loss of power (none and all included).
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mfusepy

SECTOR = 512
SYNCHRONOUS = os.O_DSYNC | os.O_SYNC


class Moment:
    """When power goes: at the Nth write or sync from now, and what is done then."""

    def __init__(self, calls: int, act: Callable[[], None]) -> None:
        self.calls = calls
        self.act = act


class Unsynced:
    """What was written to the files of a directory and not synced yet."""

    def __init__(self, backing: Path) -> None:
        self._backing = backing
        # By path: writes as (offset, data), in order.
        self._writes: dict[str, list[tuple[int, bytes]]] = {}

    def count(self) -> int:
        return sum(map(len, self._writes.values()))

    def add(self, path: str, offset: int, data: bytes) -> None:
        self._writes.setdefault(path, []).append((offset, data))

    def size(self, path: str, synced: int) -> int:
        return max([synced, *(at + len(data) for at, data in self._writes.get(path, ()))])

    def read(self, path: str, offset: int, synced: bytes, size: int) -> bytes:
        """What stands at offset, given what is synced there."""
        writes = self._writes.get(path, ())
        end = max([offset + len(synced), *(at + len(data) for at, data in writes)])
        found = bytearray(synced.ljust(min(size, end - offset), b"\0"))
        for at, data in writes:
            first, last = max(at, offset), min(at + len(data), offset + len(found))
            if first < last:
                found[first - offset : last - offset] = data[first - at : last - at]
        return bytes(found)

    def sync(self, path: str) -> None:
        """Write a file's data to the backing."""
        if writes := self._writes.pop(path, None):
            with (self._backing / path.lstrip("/")).open("r+b") as file:
                for offset, data in writes:
                    file.seek(offset)
                    file.write(data)

    def forget(self, path: str) -> None:
        self._writes.pop(path, None)

    def rename(self, old: str, new: str) -> None:
        self.forget(new)
        if old in self._writes:
            self._writes[new] = self._writes.pop(old)

    def lose(self, directory: Path) -> None:
        """Write to a directory what a disk may hold of all this."""
        chance = random.choice((0.0, 1.0, random.random()))
        for path, writes in self._writes.items():
            with (directory / path.lstrip("/")).open("r+b") as file:
                for offset, data in writes:
                    for start in range(0, len(data), SECTOR):
                        if random.random() < chance:
                            file.seek(offset + start)
                            file.write(data[start : start + SECTOR])


class LossyDisk(mfusepy.Operations):
    """The file system: one thread, which the one that obeys changes only by single assignments."""

    use_ns = True

    def __init__(self, backing: Path) -> None:
        self._backing = backing
        self._unsynced = Unsynced(backing)
        self._moment: Moment | None = None
        self._failing: dict[str, int] = {}
        self._synchronous: set[int] = set()
        self._on = True

    # -- what is told on standard input -----------------------------------------------------

    def obey(self) -> None:
        for line in sys.stdin:
            match line.split():
                case ["photo", calls, to]:
                    self._at(int(calls), lambda to=to: self._photograph(Path(to)))
                case ["cut", calls]:
                    self._at(int(calls), self._cut)
                case ["on"]:
                    self._power_on()
                case ["fail", call, name]:
                    self._failing = {call: getattr(errno, name)}
                    say("ok")
                case ["fail"]:
                    self._failing = {}
                    say("ok")

    def _at(self, calls: int, act: Callable[[], None]) -> None:
        self._moment = Moment(calls, act)

    def _photograph(self, to: Path) -> None:
        told = f"{time.monotonic_ns()} {self._unsynced.count()}"
        shutil.copytree(self._backing, to)
        self._unsynced.lose(to)
        say(told)

    def _cut(self) -> None:
        told = f"{time.monotonic_ns()} {self._unsynced.count()}"
        self._on = False
        self._unsynced.lose(self._backing)
        self._unsynced = Unsynced(self._backing)
        say(told)

    def _power_on(self) -> None:
        self._on = True
        say("on")

    def _comes(self, call: str) -> None:
        """A write or sync comes: power may go before it, and it may fail."""
        if self._moment is not None:
            self._moment.calls -= 1
            if not self._moment.calls:
                act, self._moment = self._moment.act, None
                act()
        self._need_power()
        if call in self._failing:
            raise OSError(self._failing[call], "told to fail")

    def _need_power(self) -> None:
        if not self._on:
            raise OSError(errno.EIO, "no power")

    # -- what the kernel asks ---------------------------------------------------------------

    def _path(self, path: str) -> Path:
        return self._backing / path.lstrip("/")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        found = os.lstat(self._path(path))
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino")
        shown = {name: getattr(found, name) for name in names}
        shown |= {f"st_{k}time": getattr(found, f"st_{k}time_ns") for k in "amc"}
        return shown | {"st_size": self._unsynced.size(path, found.st_size)}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(entry.name for entry in self._path(path).iterdir())]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._backing)
        names = (
            "f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files",
            "f_frsize", "f_namemax",
        )  # fmt: skip
        return {name: getattr(found, name) for name in names}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        self._need_power()
        return self._opened(os.open(self._path(path), os.O_CREAT | os.O_RDWR, mode), 0)

    def open(self, path: str, flags: int) -> int:
        self._need_power()
        if flags & os.O_TRUNC:
            self.truncate(path, 0)
        return self._opened(os.open(self._path(path), os.O_RDWR), flags)

    def _opened(self, descriptor: int, flags: int) -> int:
        if flags & SYNCHRONOUS:
            self._synchronous.add(descriptor)
        return descriptor

    def release(self, path: str, fh: int) -> int:
        self._synchronous.discard(fh)
        os.close(fh)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._unsynced.read(path, offset, os.pread(fh, size, offset), size)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._comes("write")
        self._unsynced.add(path, offset, bytes(data))
        if fh in self._synchronous:
            self.fsync(path, 1, fh)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._comes("fsync")
        self._unsynced.sync(path)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._comes("fsync")
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self._need_power()
        self._unsynced.sync(path)
        os.truncate(self._path(path), length)
        return 0

    def unlink(self, path: str) -> int:
        self._need_power()
        self._unsynced.forget(path)
        self._path(path).unlink()
        return 0

    def rename(self, old: str, new: str) -> int:
        self._need_power()
        self._unsynced.rename(old, new)
        self._path(old).rename(self._path(new))
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        self._need_power()
        self._path(path).mkdir(mode)
        return 0

    def rmdir(self, path: str) -> int:
        self._need_power()
        self._path(path).rmdir()
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._path(path).chmod(mode)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the test reads it


def main() -> None:
    backing, mount = sys.argv[1:]
    disk = LossyDisk(Path(backing).absolute())
    threading.Thread(target=disk.obey, daemon=True).start()
    # Without attr_timeout the kernel would believe a size of before the cut.
    mfusepy.FUSE(
        disk, mount, foreground=True, nothreads=True, attr_timeout=0, entry_timeout=0,
        negative_timeout=0, default_permissions=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()

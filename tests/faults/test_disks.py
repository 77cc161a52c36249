"""The lossy disk loses what it should, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from border import PATIENCE
from faults.disks import LossyDisk, needs_fuse

pytestmark = [pytest.mark.timeout(60), needs_fuse]

# More than one in a thousand million that all of it is kept by chance.
SECTORS = 64
DATA = b"n" * 512 * SECTORS


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LossyDisk]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_bytes(b"old")
    with LossyDisk(tmp_path / "data") as made:
        yield made


def write(path: Path, *, sync: bool) -> None:
    with path.open("wb") as file:
        file.write(DATA)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def write_on(path: Path) -> None:
    while True:
        write(path, sync=True)


def lose_power(disk: LossyDisk, path: Path) -> None:
    """At the next write after it has heard of it, which is not made."""
    disk.cut(1)
    with pytest.raises(OSError, match="Input/output error"):
        write_on(path / "last")
    assert disk.lost(PATIENCE) is not None
    disk.power_on()


def kept(path: Path) -> bytes:
    return (path / "file").read_bytes()


def test_what_was_there_is_there(disk: LossyDisk, tmp_path: Path) -> None:
    assert (tmp_path / "data" / "old").read_bytes() == b"old"


def test_what_is_not_synced_is_seen_before_power_is_lost(disk: LossyDisk, tmp_path: Path) -> None:
    write(tmp_path / "data" / "file", sync=False)
    assert kept(tmp_path / "data") == DATA


def test_what_is_synced_outlives_a_loss_of_power(disk: LossyDisk, tmp_path: Path) -> None:
    write(tmp_path / "data" / "file", sync=True)
    lose_power(disk, tmp_path / "data")
    assert kept(tmp_path / "data") == DATA


def test_so_does_what_is_written_synchronously(disk: LossyDisk, tmp_path: Path) -> None:
    write(tmp_path / "data" / "file", sync=True)
    descriptor = os.open(tmp_path / "data" / "file", os.O_WRONLY | os.O_DSYNC)
    os.pwrite(descriptor, b"new", 0)
    os.close(descriptor)
    lose_power(disk, tmp_path / "data")
    assert kept(tmp_path / "data") == b"new" + DATA[3:]


def test_of_what_is_not_synced_any_part_may_be_lost(disk: LossyDisk, tmp_path: Path) -> None:
    sizes = set()
    for _ in range(40):
        write(tmp_path / "data" / "file", sync=False)
        lose_power(disk, tmp_path / "data")
        sizes.add(kept(tmp_path / "data").count(b"n") // 512)
    assert 0 in sizes
    assert len(sizes) > 2

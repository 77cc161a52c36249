"""P1, P7: power goes, and with it whatever was written and not synced, or any part of it."""

from __future__ import annotations

import random
import shutil

import pytest
from faults.disks import LossyDisk, Lost, needs_fuse
from faults.oracle import config_of
from faults.trial import Trial

# Batches sent for each loss, and one more than the writes and syncs that they make at least.
BATCHES, FAR = 2, 7
PATIENT = 60
# Losses of power of which the disk is photographed, for each one in which it is really gone.
PHOTOGRAPHS = 9

pytestmark = [pytest.mark.timeout(1200), needs_fuse]


def test_power_is_lost(trial: Trial, cuts: int) -> None:
    """
    At any write or sync: what was acknowledged by then is on the disk.

    Most cuts are photographs: what the disk would hold is copied, judged, and the node runs on. In
    the others it is gone, and both nodes start again over what is left.
    """
    dice = random.Random()
    with LossyDisk(trial.node.config.parent / "data") as disk:
        trial.border.start()
        for number in range(cuts):
            about = f"cut {number}"
            if number % (PHOTOGRAPHS + 1) < PHOTOGRAPHS:
                photograph(trial, disk, dice.randrange(1, FAR), about)
            else:
                cut(trial, disk, dice.randrange(1, FAR), about)
        trial.finish()


def photograph(trial: Trial, disk: LossyDisk, calls: int, about: str) -> None:
    to = trial.directory / "photograph"
    disk.photograph(calls, to)
    lost = load_until_lost(trial, disk)
    by_then = [one for one in trial.loader.said() if one.at < lost.at]
    trial.tally.judge(config_of(trial.node.config, to), by_then, about)
    trial.tally.runs += 1
    shutil.rmtree(to)


def cut(trial: Trial, disk: LossyDisk, calls: int, about: str) -> None:
    disk.cut(calls)
    load_until_lost(trial, disk)
    trial.node.kill()
    disk.power_on()
    trial.again(about)


def load_until_lost(trial: Trial, disk: LossyDisk) -> Lost:
    for _ in range(PATIENT):
        trial.loader.send(BATCHES)
        if lost := disk.lost():
            return lost
    raise AssertionError("the node writes nothing")

"""
P5: a node's clock is a day ahead, or a day behind, and set right again.

Steps are made in a running node, by libfaketime. A time ahead of the peer's bound is a failure of
the peer's replay, never evidence; `recorded_at` never goes back, so a log that was ahead is followed
again when the peer's clock has come that far.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from border import Border
from faults.oracle import Tally
from faults.sides import Sides, recorded_at
from institutions import until

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
# For how long libfaketime may believe what it has read: reading at each call takes all the time.
CACHED_S = 1
RIGHT, AHEAD, BEHIND = "+0d", "+1d", "-1d"

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not LIBRARIES, reason="faketime is not installed"),
]


class Clocks:
    """Of both nodes: files that say how wrong each is."""

    def __init__(self, directory: Path) -> None:
        self._files = [directory / "mainland.clock", directory / "hongkong.clock"]
        self.set(RIGHT, RIGHT)

    def set(self, *offsets: str) -> None:
        for file, offset in zip(self._files, offsets, strict=True):
            file.write_text(offset + "\n")

    @property
    def wrappers(self) -> list[list[str]]:
        return [
            [
                "env", f"LD_PRELOAD={LIBRARIES[0]}", f"FAKETIME_TIMESTAMP_FILE={file}",
                f"FAKETIME_CACHE_DURATION={CACHED_S}", "FAKETIME_DONT_FAKE_MONOTONIC=1",
            ]
            for file in self._files
        ]  # fmt: skip


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    return Clocks(tmp_path)


@pytest.fixture
def sides(tmp_path: Path, clocks: Clocks, tally: Tally) -> Iterator[Sides]:
    border = Border(
        tmp_path / "border", "--acknowledge-within", "1000000", "--record-within", "1000000"
    )
    with closing(Sides(border, clocks.wrappers)) as made:
        made.start()
        made.settle(made.exchange(1))
        yield made
        made.judge(tally)


def test_a_clock_goes_a_day_ahead(sides: Sides, clocks: Clocks) -> None:
    """Nothing new is cosigned until a day has passed; then all is matched."""
    clocks.set(AHEAD, RIGHT)
    declared = sides.exchange()
    until(lambda: "PEER_CLOCK_AHEAD" in sides.nodes[1].tail(), bool)
    clocks.set(RIGHT, RIGHT)
    declared += sides.exchange()
    clocks.set(AHEAD, AHEAD)
    sides.settle(declared)
    sides.hospital.wait_cosigned(declared[-1])


def test_a_clock_goes_a_day_back(sides: Sides, clocks: Clocks) -> None:
    """The log's time stands still meanwhile, and appends go on."""
    clocks.set(BEHIND, RIGHT)
    declared, end = [], time.monotonic() + 2 * CACHED_S
    while time.monotonic() < end:
        declared += sides.exchange(1)
    still, last = map(recorded_at, sides.exchange(2))
    assert still == last
    clocks.set(RIGHT, RIGHT)
    sides.settle(declared)
    sides.hospital.wait_cosigned(declared[-1])

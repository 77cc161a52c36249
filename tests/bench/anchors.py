"""
What entanglement costs: the bytes of an ANCHOR, and how long the commit of one takes.

    PYTHONPATH=tests python -m bench.anchors

The Mainland's ledger on LMDB, with real signatures and syncs, anchors the other side's log. What an
anchor takes up is transfers that both sides have stated, so each of them is judged with it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.report import Row, show
from ledger.world import World

from ledgerd.ledger.writer import Item
from ledgerd.store.lmdb import LmdbStore

# Headers that an anchor takes up: of an idle minute, a busy one, and the most there may be.
TAKEN_UP = (1, 100, 1000)
ROUNDS = 15
# Most anchors a day, at one in `anchor_interval_s`.
A_DAY = 24 * 60
# So many of one's own entries a minute make a log of which anchors are the share shown.
BUSY = 60


def main() -> None:
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-anchors-"))
    try:
        with closing(LmdbStore.create(scratch / "store", instance=os.urandom(16))) as store:
            show(measure(World(store=store)))
    finally:
        shutil.rmtree(scratch)


def measure(world: World) -> dict[str, Row]:
    node = world.mainland
    entry = statistics.median(took(node.place, world.transfer()) for _ in range(ROUNDS))
    transfer, anchor = (size_of(world, index) for index in (node.size - 1, anchored(world, 1)))
    rows = {
        "anchor_bytes": Row(
            anchor / transfer, anchor, transfer, "bytes of an ANCHOR over a transfer's", None
        ),
        "anchor_bytes_a_day": Row(
            anchor * A_DAY / (transfer * BUSY * A_DAY), anchor * A_DAY, transfer * BUSY * A_DAY,
            f"bytes a day, at most, over those of {BUSY} transfers a minute", None,
        ),
    }  # fmt: skip
    for count in TAKEN_UP:
        times = []
        for _ in range(ROUNDS):
            exchange(world, count)
            times.append(took(node.place, node.anchor(world.hong_kong.size)))
        median = statistics.median(times)
        what = f"s of the commit of an ANCHOR that takes up {count} over a transfer's"
        rows[f"anchor_commit_{count}"] = Row(median / entry, median, entry, what, None)
    return rows


def exchange(world: World, count: int) -> None:
    """So many transfers, stated by both sides, the other side's half not known here yet."""
    made = [world.terms() for _ in range(count)]
    world.mainland.append(*map(world.transfer, made))
    world.hong_kong.append(*map(world.ack, made))
    world.clock.advance(1 / 60)


def anchored(world: World, count: int) -> int:
    exchange(world, count)
    return world.mainland.place(world.mainland.anchor(world.hong_kong.size))


def size_of(world: World, index: int) -> int:
    return sum(map(len, world.mainland.reader.entry(index)))


def took(place: Callable[[Item], int], item: Item) -> float:
    started = time.perf_counter()
    place(item)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

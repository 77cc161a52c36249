"""
P1, P7: a disk that errs, is full, or a process that is killed, at each single call of a commit.

The calls are counted once, LMDB's meta page included; then each of them meets each fault, one run
for each. After an error out of a commit a node ends and does not try again, because the page cache
lies from then on; the next start finds the state before the commit or the one after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from border import PATIENCE, Node
from faults.strace import FAULTS, Call, calls_in, injecting, needs_strace, tracing
from faults.trial import Trial
from institutions import until

pytestmark = [pytest.mark.timeout(600), needs_strace]

KILLED, FAILED, STORE_FAILED = -9, 1, 70
# Its pages are synced; the page is written that makes them count.
LMDB_STEPS = ("fdatasync", "pwrite64")


@dataclass(frozen=True, slots=True)
class Place:
    """
    Files that are written for one batch, below data, and the process that does it.

    steps: calls by which what was written becomes durable, in this order, others between them.
    error, killed: exit codes of the node after EIO or ENOSPC, and SIGKILL; None where it goes on.
    """

    paths: tuple[str, ...]
    process: Callable[[Node], int]
    steps: tuple[str, ...]
    error: int | None
    killed: int

    def code(self, fault: str) -> int | None:
        return self.killed if fault == "SIGKILL" else self.error

    def in_(self, node: Node) -> list[Path]:
        return [node.config.parent / "data" / path for path in self.paths]


def test_each_call_of_a_commit_fails(trial: Trial) -> None:
    """The writer's: EIO and ENOSPC end the node with 70, so that nobody tries again."""
    place = Place(("store/data.mdb",), Node.writer, LMDB_STEPS, STORE_FAILED, FAILED)
    fail_each_call(trial, place)


def test_each_call_of_a_commit_to_the_replica_fails(trial: Trial) -> None:
    """Of the peer's log, and of what it has cosigned of ours: the same."""
    place = Place(("peer/data.mdb",), Node.daemon, LMDB_STEPS, STORE_FAILED, KILLED)
    fail_each_call(trial, place)


def test_each_call_for_the_high_water_mark_fails(trial: Trial) -> None:
    """Appends are refused until it is written; nobody has to do anything."""
    place = Place(
        ("high-water.new", ""), Node.daemon, ("write", "fsync", "rename", "fsync"), None, KILLED
    )
    fail_each_call(trial, place)


def fail_each_call(trial: Trial, place: Place) -> None:
    trial.border.start()
    for call, fault in product(count(trial, place), FAULTS):
        node, code = trial.node, place.code(fault)
        with injecting(place.process(node), place.in_(node), call, fault):
            until(trial.is_batch_lost, bool)
            assert node.process is not None
            if code is not None:
                assert node.process.wait(PATIENCE) == code, node.tail()
            else:
                trial.loader.finish()
        trial.again(f"{fault} at {call}")
    trial.finish()


def count(trial: Trial, place: Place) -> list[Call]:
    """The calls of the first time that it is done since strace was attached, in order."""
    trace = trial.directory / "trace"
    trial.load()
    with tracing(place.process(trial.node), place.in_(trial.node), trace):
        trial.load()
        return until(lambda: up_to(place.steps, calls_in(trace)), bool)


def up_to(steps: Sequence[str], calls: Sequence[Call]) -> list[Call]:
    """The calls until the last of the steps is taken; none before that."""
    left = deque(steps)
    for number, call in enumerate(calls, 1):
        if call.name == left[0]:
            left.popleft()
        if not left:
            return list(calls[:number])
    return []

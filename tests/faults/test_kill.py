"""
P1 and P7: kill -9 of a node at any moment under load.

Only installed programs are started. The load is another process, which fsyncs what was
acknowledged; a kill counts only if a batch was in flight and its answer did not come.
"""

from __future__ import annotations

import random

import pytest
from border import PATIENCE
from faults.strace import needs_strace
from faults.trial import Trial
from institutions import until

pytestmark = pytest.mark.timeout(1200)


def test_kill_9_under_load(trial: Trial, kills: int) -> None:
    """Of the whole node, the daemon alone, whose writer may still end a commit, or the writer."""
    node, dice = trial.node, random.Random()
    trial.border.start()
    while trial.tally.runs < kills:
        trial.loader.send(4)
        for _ in range(dice.randint(1, 4)):
            trial.loader.wait_for("sent")
        spin(dice.randint(0, 20_000))
        node.kill(dice.choice(("all", "daemon", "writer")))
        # In flight, or answered just before: only the former counts.
        trial.tally.runs += trial.loader.wait_for("lost", "done") == "lost"
        trial.judge(f"kill {trial.tally.runs}")
        node.start()
    trial.finish()


def spin(turns: int) -> None:
    """Let up to about a millisecond pass, so that kills fall anywhere in a commit."""
    for _ in range(turns):
        pass


@needs_strace
@pytest.mark.parametrize("nth", [30, 45])
def test_kill_9_as_a_reply_leaves(trial: Trial, nth: int) -> None:
    """At a message to whoever asked, which nothing of a commit comes after."""
    trace = ["strace", "-f", "-qq", "-o", "/dev/null"]
    trial.node.start([*trace, "-e", f"inject=sendmsg:signal=SIGKILL:when={nth}"])
    until(trial.is_batch_lost, bool)
    assert trial.node.process is not None
    assert trial.node.process.wait(PATIENCE) != 0, "the node was not killed"
    trial.again(f"sendmsg {nth}")
    trial.finish()

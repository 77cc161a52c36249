"""
`make soak`: a border under steady load, and everything that a year brings, in half an hour.

usage: python -m faults.soak SECONDS

In the first part both nodes are backed up, have their keys and certificate replaced, are killed and
cut off from each other; in the last two fifths nothing happens but load, and memory and descriptors
must stay what they are. Prints the row of the fault table, and what was measured on the way. Exits
with 1 when anything was lost, or grew.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from border import LEDGERD, Node, run
from faults.line import reroute
from faults.oracle import Tally
from faults.table import render, rendered
from faults.trial import Trial
from institutions import client, until
from operators import renew_certificate, rotate
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

# Of the load: batches a second, records in each, and how many may wait for a node that is down.
RATE, BATCH, BACKLOG = 10, 5, 100
SAMPLES = 120
# When nothing happens any more, as a part of the whole.
QUIET = 0.6
# What may be more at the end than at the beginning of that time.
GROWTH, SLACK_MIB, SLACK_FILES = 1.1, 8, 8


@dataclass(frozen=True, slots=True)
class Sample:
    """Of all processes of a node: memory of their own in MiB, and open descriptors."""

    at: float
    acknowledged: int
    memory: tuple[float, float]
    files: tuple[int, int]
    event: str


@dataclass
class Soak:
    """One run, and what it has seen so far."""

    trial: Trial
    seconds: float
    mend: Callable[[], None]
    cut: Callable[[], None]
    began: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)

    def run(self) -> None:
        events = dict(enumerate(self._events()))
        at = {
            int(QUIET * SAMPLES * (number + 1) / (len(events) + 1)): event
            for number, event in events.items()
        }
        for number in range(SAMPLES + 1):
            name = ""
            if number in at:
                name, act = at[number]
                act()
            self._load_until(self.began + self.seconds * number / SAMPLES)
            self.samples.append(self._sample(name))

    def _events(self) -> Iterator[tuple[str, Callable[[], None]]]:
        border, node, peer = self.trial.border, self.trial.node, self.trial.peer
        backups = self.trial.directory / "backups"
        back_up = ("backup", "--config", str(node.config), "--to", str(backups))
        yield "backup", lambda: run(LEDGERD, *back_up) and None
        yield "the lines are cut", self.cut
        yield "kill -9, the lines cut", lambda: restart(node)
        yield "the lines are mended", self.mend
        yield "log key rotated", lambda: self._rotate("log")
        yield "certificate replaced", lambda: renew_certificate(border)
        yield "kill -9 of the peer", lambda: restart(peer)
        yield "entry key rotated", lambda: self._rotate("entry")
        yield "backup", lambda: run(LEDGERD, *back_up) and None
        yield "kill -9 of the writer", lambda: restart(node, "writer")
        yield "cosigner key rotated", lambda: self._rotate("cosigner")

    def _rotate(self, name: str) -> None:
        self._until_cosigned()
        rotate(self.trial.border, name)

    def _until_cosigned(self) -> None:
        """Until the peer has cosigned all that is there now."""
        with client(self.trial.border, "sz-hospital") as hospital:
            size = hospital.info().size
            until(hospital.info, lambda info: info.cosigned_size >= size)

    def _load_until(self, end: float) -> None:
        """Load until then, a second at a time."""
        while (left := end - time.monotonic()) > 0:
            if self.trial.loader.waiting < BACKLOG:
                self.trial.loader.send(RATE)
            time.sleep(min(left, 1.0))

    def _sample(self, event: str) -> Sample:
        nodes = (self.trial.node, self.trial.peer)
        return Sample(
            time.monotonic() - self.began,
            BATCH * self.trial.loader.done,
            (memory(nodes[0]), memory(nodes[1])),
            (files(nodes[0]), files(nodes[1])),
            event,
        )

    def grown(self) -> list[str]:
        """What is more at the end of the quiet time than at its beginning."""
        quiet = self.samples[int(QUIET * len(self.samples)) :]
        third = len(quiet) // 3
        first, last = quiet[:third], quiet[-third:]
        found = []
        for number, name in enumerate(("mainland", "hongkong")):
            before = median(sample.memory[number] for sample in first)
            after = median(sample.memory[number] for sample in last)
            if after > max(GROWTH * before, before + SLACK_MIB):
                found.append(f"memory of {name}: {before:.0f} MiB, then {after:.0f} MiB")
            opened = median(sample.files[number] for sample in first)
            open_now = median(sample.files[number] for sample in last)
            if open_now > opened + SLACK_FILES:
                found.append(f"descriptors of {name}: {opened:.0f}, then {open_now:.0f}")
        return found

    def table(self) -> str:
        table = Table(
            "minute", "acknowledged", "mainland MiB", "descriptors", "hongkong MiB", "descriptors",
            "what happened", box=MARKDOWN,
        )  # fmt: skip
        for number, sample in enumerate(self.samples):
            if sample.event or number % (SAMPLES // 8) == 0:
                table.add_row(
                    f"{sample.at / 60:.1f}", f"{sample.acknowledged:,}",
                    f"{sample.memory[0]:.0f}", str(sample.files[0]),
                    f"{sample.memory[1]:.0f}", str(sample.files[1]), sample.event,
                )  # fmt: skip
        return rendered(table)


def restart(node: Node, victim: str = "all") -> None:
    node.kill(victim)
    node.start()


def memory(node: Node) -> float:
    """MiB that are the processes' own: the mapped file is the page cache's."""
    lines = [
        line
        for pid in node.processes
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    ]
    return sum(int(line.split()[1]) for line in lines) / 1024


def files(node: Node) -> int:
    return sum(len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in node.processes)


@contextmanager
def soaking(directory: Path, seconds: float, tally: Tally) -> Iterator[Soak]:
    """A border that runs, its nodes a line apart; both are gone when the block ends."""
    with ExitStack() as stack:
        trial = stack.enter_context(
            Trial(directory, "--acknowledge-within", "86400", tally=tally, batch=BATCH)
        )
        lines = [reroute(trial.node, trial.peer), reroute(trial.peer, trial.node)]
        for line in lines:
            stack.enter_context(closing(line))
        trial.border.start()
        yield Soak(
            trial,
            seconds,
            mend=lambda: [line.mend() for line in lines] and None,
            cut=lambda: [line.cut() for line in lines] and None,
        )


def main() -> int:
    seconds, tally = float(sys.argv[1]), Tally(f"a soak of {float(sys.argv[1]) / 60:g} minutes")
    scratch, console = Path(tempfile.mkdtemp(prefix="ledgerd-soak-")), Console()
    try:
        with soaking(scratch, seconds, tally) as soak:
            soak.run()
            tally.runs += 1
            soak.trial.finish()
        console.print(soak.table(), render([tally]), sep="\n\n", soft_wrap=True)
        for found in (grown := soak.grown()):
            console.print(f"grew: {found}")
        return 1 if grown else 0
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())

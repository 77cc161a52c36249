"""
`make scenarios`: a year of the pilot sectors on both nodes, live, killed and rebuilt.

Every rule must find what the edge table planted, and nothing else: on nodes that ran through, on
nodes whose process was killed at three moments and started again, and in what an audit builds anew
from the logs. Writes build/scenarios.json; exit 0 only if all is found and nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scenarios import refusals, year
from scenarios.compare import Comparison, Found, row, table, wrong_severities
from scenarios.story import Expected, load

BUILD = Path(__file__).resolve().parents[2] / "build"
TRANSFERS = 200_000
KILLS = 3
SIDES = ("mainland", "hongkong")
_ROOM = 12 << 30
_SPAWN = multiprocessing.get_context("spawn")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scenarios")
    parser.add_argument("--transfers", type=int, default=TRANSFERS)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the kills' moments")
    options = parser.parse_args()
    console = Console(width=100, highlight=False)
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-scenarios-", dir=_fast_place()))
    try:
        return report(scratch, options.transfers, options.seed, console)
    finally:
        shutil.rmtree(scratch)


def _fast_place() -> Path | None:
    """Memory, if there is enough: a killed process loses nothing of it, and an fsync is free."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM else None


def report(scratch: Path, transfers: int, seed: int, console: Console) -> int:
    started = time.monotonic()
    console.print(f"{transfers:,} everyday transfers and the edge table; kills by seed {seed}")
    record(scratch, transfers, Random(seed), console)
    outcomes = refused(scratch)
    expected, live = year.told(scratch / "live")
    _, killed = year.told(scratch / "killed")
    variants = {"live": live, "killed": killed, "rebuilt": rebuild(scratch / "live", console)}
    held, told = True, {}
    for name, found in variants.items():
        comparison = Comparison.of(expected, found)
        rows = comparison.rows() | outcomes
        told[name] = rows
        explain(console, name, comparison, wrong_severities(found, load()["severity"]))
        held &= not comparison.missing and not comparison.extra
        held &= all(each["recall"] == each["precision"] == 1.0 for each in rows.values())
    console.print(table("live", told["live"]))
    BUILD.mkdir(exist_ok=True)
    worst = {rule: min((rows[rule] for rows in told.values()), key=_worth) for rule in told["live"]}
    (BUILD / "scenarios.json").write_text(json.dumps(worst, indent=2) + "\n")
    state = "[bold green]All found, and nothing else" if held else "[bold red]NOT as planted"
    console.print(f"{state}[/]: live, killed, rebuilt ({time.monotonic() - started:.0f} s)")
    return 0 if held else 1


def _worth(figures: dict[str, Any]) -> tuple[float, float]:
    return figures["recall"], figures["precision"]


def explain(console: Console, name: str, comparison: Comparison, severities: list[str]) -> None:
    for wanted in comparison.missing:
        console.print(f"{name}: missing {_edge_name(wanted)}", markup=False)
    for found in comparison.extra:
        console.print(f"{name}: extra {found}", markup=False)
    for message in severities:
        console.print(f"{name}: {message}", markup=False)


def _edge_name(wanted: Expected) -> str:
    return f"{wanted.node} {wanted.rule} on {wanted.edge}/{wanted.label} closed={wanted.closed}"


def refused(scratch: Path) -> dict[str, dict[str, Any]]:
    """K1 and K21: a refusal that was wanted and came is found; one that came otherwise is wrong."""
    edges = load()
    tried = {"K1": refusals.try_records(edges), "K21": refusals.try_erasures(edges, scratch)}
    return {
        rule: row(
            sum(bool(each.wanted) and each.came == each.wanted for each in outcomes),
            sum(bool(each.wanted) and each.came != each.wanted for each in outcomes),
            sum(bool(each.came) and each.came != each.wanted for each in outcomes),
        )
        for rule, outcomes in tried.items()
    }


# -- processes -------------------------------------------------------------------------------------


def record(scratch: Path, transfers: int, dice: Random, console: Console) -> None:
    """Both variants at once: one runs through, one is killed three times and started again."""
    total = 2 * transfers
    kills = sorted(dice.randrange(total // 20, total * 19 // 20) for _ in range(KILLS))
    _run(
        console,
        {
            name: _Work(_play, (transfers, scratch / name), moments)
            for name, moments in (("live", []), ("killed", kills))
        },
    )


def rebuild(directory: Path, console: Console) -> list[Found]:
    """Audit both stores at once; what the rebuilt ones say was found."""
    _run(console, {f"audit of {side}": _Work(_rebuild, (directory, side)) for side in SIDES})
    return [each for side in SIDES for each in year.rebuilt(directory, side)]


def _run(console: Console, works: dict[str, _Work]) -> None:
    with _bar(console) as bar:
        tasks = {name: bar.add_task(name) for name in works}
        running = True
        while running:
            ended = [work.step() for work in works.values()]
            running = not all(ended)
            for name, work in works.items():
                done, total = work.progress
                bar.update(tasks[name], completed=done, total=total or None)
            time.sleep(0.05)


class _Work:
    """A process, how far it is, and the moments at which it is killed and started again."""

    def __init__(
        self, target: Callable[..., None], args: tuple[Any, ...], kills: Sequence[int] = ()
    ) -> None:
        self.target, self.args, self.kills = target, args, list(kills)
        self._start()

    def _start(self) -> None:
        # Done, and in all.
        self.progress = _SPAWN.Array("q", 2)
        args = (*self.args, self.progress)
        self.process = _SPAWN.Process(target=self.target, args=args, daemon=True)
        self.process.start()

    def step(self) -> bool:
        """Whether it has ended well."""
        if self.kills and self.progress[0] >= self.kills[0]:
            assert self.process.pid is not None
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.join()
            self.kills.pop(0)
            self._start()
        if self.process.is_alive():
            return False
        self.process.join()
        assert self.process.exitcode == 0, f"{self.args}: exit code {self.process.exitcode}"
        return True


def _play(transfers: int, directory: Path, shared: Any) -> None:
    # Beside transfers and their ACKs there are contracts, filings, disposals and the table.
    shared[1] = 2 * transfers + 4_000

    def progress(more: int) -> None:
        shared[0] += more

    year.play(transfers, directory, progress)
    shared[1] = shared[0]


def _rebuild(directory: Path, side: str, shared: Any) -> None:
    def progress(done: int, total: int) -> None:
        shared[0], shared[1] = done, total

    year.rebuild(directory, side, progress)


def _bar(console: Console) -> Progress:
    columns = TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, TimeElapsedColumn(), console=console)


if __name__ == "__main__":
    sys.exit(main())

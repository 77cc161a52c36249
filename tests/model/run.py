"""
Check the protocol's model: in every order of steps its promises hold, and none without a guard.

The bases must come to an end without an error; with any one guard taken away there must be one.
Needs spin and a C compiler; skipped, and said so, where one is missing. docs/model.md says more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Column, Table

MODEL = Path(__file__).with_name("border.pml")
# What pan says when it gave up before it had seen every state.
INCOMPLETE = re.compile("Search not completed|max search depth too small|out of memory")


@dataclass(frozen=True, slots=True)
class Check:
    """One search: what it is about, with which constants, and whether it must find an error."""

    about: str
    constants: tuple[str, ...]
    finds: bool


@dataclass(frozen=True, slots=True)
class Found:
    error: bool
    complete: bool
    states: str
    seconds: float


BASES = (
    Check("three entries, two mishaps", (), finds=False),
    Check(
        "two entries, two losses, four mishaps",
        ("MAX=2", "KEYS=3", "COSIGNERS=3", "MISHAPS=4"),
        finds=False,
    ),
    Check("a log that lies", ("MAX=2", "LIAR=1"), finds=False),
    Check("a recovered log is cosigned under new keys", ("GOAL=1",), finds=True),
)
SMALL = ("MAX=2",)
LYING = ("MAX=2", "LIAR=1")
# By guard: the constants under which it is missed.
GUARDS = {
    "SHOW_AFTER_COMMIT": SMALL,
    "MARK": SMALL,
    "INSTANCE": SMALL,
    "CONFIRM": SMALL,
    "MENTION": SMALL,
    "PERSIST": SMALL,
    "EXTENDING": LYING,
    "SPENT": LYING,
    "KEY_IN_FORCE": SMALL,
    "NEW_KEY": SMALL,
    "FROM_COSIGNED": SMALL,
    "OWN_COSIGNED": SMALL,
    "ASKED_AGAIN": SMALL,
    "ROUND_OVER": SMALL,
    "FETCHED_AGAIN": SMALL,
}


def main() -> int:
    console = Console(width=100)
    missing = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
    if missing:
        console.print(f"skipped: {' and '.join(missing)} not found (Debian: apt install spin gcc)")
        return 0
    checks = [*BASES, *(Check(f"without {g}", (*c, f"{g}=0"), True) for g, c in GUARDS.items())]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(zip(checks, pool.map(search, checks), strict=True))
    table = Table("search", Column("states", justify="right"), Column("s", justify="right"), "")
    wrong = 0
    for check, found in results:
        right = found.error if check.finds else found.complete and not found.error
        wrong += not right
        table.add_row(check.about, found.states, f"{found.seconds:.1f}", verdict(found, right))
    console.print(table)
    console.print(f"{len(results) - wrong} passed, {wrong} failed", highlight=False)
    return 1 if wrong else 0


def verdict(found: Found, right: bool) -> str:
    if not (found.error or found.complete):
        said = "not searched to the end"
    else:
        said = "an error was found" if found.error else "no error"
    return said if right else f"WRONG: {said}"


def search(check: Check) -> Found:
    started = perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        constants = [f"-D{constant}" for constant in check.constants]
        call(["spin", *constants, "-a", str(MODEL)], directory)
        optimised = "-O0" if check.finds else "-O2"
        flags = ["-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=3000", "-w", optimised]
        call(["gcc", *flags, "-o", "pan", "pan.c"], directory)
        # -E: that nothing more can happen in the end is no error.
        output = call(["./pan", "-E", "-m100000"], directory)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if errors is None or states is None:
        sys.exit(f"{check.about}: pan did not end as it should\n{output}")
    return Found(
        error=errors[1] != "0",
        complete=INCOMPLETE.search(output) is None,
        states=states[1],
        seconds=perf_counter() - started,
    )


def call(command: list[str], directory: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

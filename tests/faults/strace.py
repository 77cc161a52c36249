"""Faults at named system calls of a process that runs: strace attaches, counts and injects."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from border import PATIENCE

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

# By these a file is written, or made to stay.
CALLS = "write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,msync,ftruncate,rename"
FAULTS = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "SIGKILL": "signal=SIGKILL"}


class Call(NamedTuple):
    """The nth call of a name since strace was attached."""

    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.name} #{self.nth}"


def calls_in(trace: Path) -> list[Call]:
    """Those in strace's output, in order."""
    seen: Counter[str] = Counter()
    found = []
    for name in re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE):
        seen[name] += 1
        found.append(Call(name, seen[name]))
    return found


@contextmanager
def tracing(pid: int, paths: Sequence[Path], trace: Path) -> Iterator[None]:
    """While the block lasts, write to a file which CALLS a process makes on paths."""
    with _attached(pid, paths, "-o", str(trace), "-e", f"trace={CALLS}"):
        yield


@contextmanager
def injecting(pid: int, paths: Sequence[Path], call: Call, fault: str) -> Iterator[None]:
    """While the block lasts, one call of a process on paths fails, or ends it: see FAULTS."""
    inject = f"inject={call.name}:{FAULTS[fault]}:when={call.nth}"
    with _attached(pid, paths, "-o", "/dev/null", "-e", inject):
        yield


@contextmanager
def _attached(pid: int, paths: Sequence[Path], *options: str) -> Iterator[None]:
    of_paths = [word for path in paths for word in ("-P", str(path))]
    process = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), *of_paths, *options],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = ""
        while "attached" not in said:
            said = process.stderr.readline()
            assert said, "strace did not attach"
        yield
    finally:
        process.terminate()  # it lets go of what it is attached to
        process.communicate(timeout=PATIENCE)

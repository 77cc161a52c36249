"""
The primary's disk dies under load, with a standby in step.

Institutions append through their SDK all the while. What the primary acknowledged is in the log
that the standby goes on with, once; the peer cosigns that log alone; and the old primary, should it
come back, stops and says why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from border import Border
from faults import exporter
from institutions import client
from standbys import Standby

HOSPITAL = "sz-hospital"


class Exporter:
    """An institution that declares without end; every line is a record that it has a receipt of."""

    def __init__(self, border: Border) -> None:
        program = Path(exporter.__file__ or "")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(border.client(HOSPITAL)), "stream", "row"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(program.parents[1])},
        )  # fmt: skip
        self.acknowledged: dict[str, int] = {}

    def wait_for_more(self, count: int) -> None:
        """Return when so many more records are acknowledged."""
        assert self._process.stdout is not None
        for _ in range(count):
            self._take(self._process.stdout.readline())

    def stop(self) -> None:
        for line in self._process.communicate(timeout=60)[0].splitlines():
            self._take(line)
        assert self._process.returncode == 0

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _take(self, line: str) -> None:
        said = json.loads(line)
        self.acknowledged[said["record_id"]] = said["index"]


@dataclass
class Scene:
    """The primary's data is kept at `old`, for the day it comes back."""

    border: Border
    standby: Standby
    old: Path
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)

    def records(self) -> Counter[str]:
        """How often each record of the institution stands in the log, as its own SDK is told."""
        with client(self.border, HOSPITAL) as hospital:
            return Counter(
                record_id
                for record_id in (*self.before, *self.after)
                if hospital.receipt(bytes.fromhex(record_id))
            )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The standby is promoted and serves; all that waits for it is set."""
    scratch = tmp_path_factory.mktemp("standby")
    border = Border(scratch / "border")
    standby = Standby.make(border, scratch / "standby", wait=True)
    load: Exporter | None = None
    try:
        standby.node.launch()
        border.start()
        standby.node.wait_for("READY=1")
        load = Exporter(border)
        load.wait_for_more(100)
        border.mainland.kill()
        # A client may have heard of more by then; what counts is what it heard.
        shutil.move(border.mainland.config.parent / "data", scratch / "old")
        before = dict(load.acknowledged)
        assert standby.node.stop() == 0
        seconds = standby.promote()
        load.wait_for_more(100)
        load.stop()
        print(f"\nthe primary's disk died; promoted and ready after {seconds:.1f} s")  # noqa: T201
        yield Scene(border, standby, scratch / "old", before, load.acknowledged)
    finally:
        if load is not None:
            load.close()
        standby.node.close()
        border.close()


class TestPromoted:
    def test_nothing_acknowledged_is_lost(self, scene: Scene) -> None:
        with client(scene.border, HOSPITAL) as hospital:
            for index in scene.before.values():
                assert hospital.receipt(index).index == index

"""
The outbox loses nothing and sends nothing twice, whoever is killed: the program, or its node.

The peer never runs, so that the log grows by what institutions declare and by nothing else: their
records stand at exactly the indexes by which it grew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from border import Border, audit
from institutions import ledgerctl, log_size, second_client

PROGRAM = Path(__file__).with_name("exporter.py")
HOSPITAL = "sz-hospital"
ROWS = 40

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Line(TypedDict):
    """What the exporter says of a record that is safe."""

    record_id: str
    index: int | None
    ticket: str
    receipt: str


class Exporter:
    """A process of the hospital."""

    def __init__(self, border: Border, *command: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])}
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(border.client(HOSPITAL)), *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def read(self, count: int) -> list[Line]:
        """The next lines, when they have come."""
        return [json.loads(self._output.readline()) for _ in range(count)]

    def kill(self) -> list[Line]:
        """SIGKILL; what it had said and nobody has read."""
        self._process.kill()
        said = self._output.readlines()
        self.close()
        # The last line may be cut short.
        return [json.loads(line) for line in said if line.endswith("\n")]

    def end(self) -> list[Line]:
        """Let it come to its end, which must be a good one; the rest of what it says."""
        self._input.close()
        said = self._output.readlines()
        assert self._process.wait() == 0
        return [json.loads(line) for line in said]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()


Start = Callable[..., Exporter]


@pytest.fixture
def border(tmp_path: Path) -> Iterator[Border]:
    """Its Mainland node runs."""
    made = Border(tmp_path / "border")
    try:
        made.mainland.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def start(border: Border) -> Iterator[Start]:
    started = []

    def begin(*command: str) -> Exporter:
        started.append(Exporter(border, *command))
        return started[-1]

    yield begin
    for exporter in started:
        exporter.close()


def places(border: Border, record_ids: set[str], home: Path) -> list[int]:
    """Where the node has each record, as another machine of the hospital is told."""
    with second_client(border, HOSPITAL, home) as ledger:
        return sorted(ledger.receipt(bytes.fromhex(record_id)).index for record_id in record_ids)


def test_another_process_drains_what_a_killed_one_left(
    border: Border, start: Start, tmp_path: Path
) -> None:
    """
    SIGKILL with signed records in the outbox, while the node is down; each arrives once.
    """
    before = log_size(border, HOSPITAL)
    assert border.mainland.stop() == 0
    exporter = start("queue")
    said = [*exporter.read(12), *exporter.kill()]
    left = {str(row["record_id"]) for row in ledgerctl(border.client(HOSPITAL), "outbox", "list")}
    assert {line["record_id"] for line in said} <= left
    border.mainland.start()
    ledgerctl(border.client(HOSPITAL), "outbox", "flush")
    after = log_size(border, HOSPITAL)
    assert places(border, left, tmp_path / "second") == list(range(before, after))
    assert border.mainland.stop() == 0
    audit(border.mainland.config)


def test_two_processes_on_one_outbox_outlive_their_node(
    border: Border, start: Start, tmp_path: Path
) -> None:
    """
    The node is killed thrice while both declare; each declaration arrives once, with a receipt.
    """
    before = log_size(border, HOSPITAL)
    both = [start("stream", name) for name in ("one", "two")]
    said = []
    for _ in range(3):
        said += [line for exporter in both for line in exporter.read(10)]
        border.mainland.kill()
        border.mainland.start()
    said += [line for exporter in both for line in exporter.read(10)]
    said += [line for exporter in both for line in exporter.end()]
    after = log_size(border, HOSPITAL)
    assert sorted(line["index"] or 0 for line in said) == list(range(before, after))
    ids = {line["record_id"] for line in said}
    assert places(border, ids, tmp_path / "second") == list(range(before, after))
    assert all(line["receipt"] for line in said)
    assert border.mainland.stop() == 0
    audit(border.mainland.config)


def test_a_job_run_again_declares_what_is_left_and_nothing_twice(
    border: Border, start: Start
) -> None:
    """
    SIGKILL in the middle of a batch; the next run gets the first one's tickets and receipts.
    """
    before = log_size(border, HOSPITAL)
    job = start("job", str(ROWS))
    first = [*job.read(5), *job.kill()]
    second = start("job", str(ROWS)).end()
    assert second[: len(first)] == first
    after = log_size(border, HOSPITAL)
    assert [line["index"] for line in second] == list(range(before, after))
    assert start("job", str(ROWS)).end() == second
    assert log_size(border, HOSPITAL) == after == before + ROWS

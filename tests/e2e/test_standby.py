"""
The primary's disk dies under load, with a standby in step.

Institutions append through their SDK all the while. What the primary acknowledged is in the log
that the standby goes on with, once; the peer cosigns that log alone; and the old primary, should it
come back, stops and says why.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from border import LEDGERD, PATIENCE, Border, audit, run
from faults import exporter
from faults.strace import Call, injecting, needs_strace
from institutions import STATEMENT, client, until
from standbys import Standby, address

from ledgerd.ledger.reader import Reader
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2

# Each call of a commit that writes or syncs: the pages, their sync, the meta page.
KILLED_AT = (Call("pwrite64", 1), Call("fdatasync", 1), Call("pwrite64", 2), Call("fdatasync", 2))
PAYLOAD = b"name;score\nA;700\n"
HOSPITAL = "sz-hospital"


class Exporter:
    """An institution that declares without end; every line is a record that it has a receipt of."""

    def __init__(self, border: Border) -> None:
        program = Path(exporter.__file__ or "")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(border.client(HOSPITAL)), "stream", "row"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            env={**os.environ, "PYTHONPATH": str(program.parents[1])},
        )  # fmt: skip
        self.acknowledged: dict[str, int] = {}

    def wait_for_more(self, count: int) -> None:
        """Return when so many more records are acknowledged."""
        assert self._process.stdout is not None
        for _ in range(count):
            self._take(self._process.stdout.readline())

    def read_what_is_there(self) -> None:
        """Take what was said until now."""
        while select.select([self._process.stdout], [], [], 0)[0]:
            self.wait_for_more(1)

    def stop(self) -> None:
        for line in self._process.communicate(timeout=60)[0].splitlines():
            self._take(line)
        assert self._process.returncode == 0

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _take(self, line: bytes) -> None:
        said = json.loads(line)
        self.acknowledged[said["record_id"]] = said["index"]


@dataclass
class Scene:
    """
    The primary's data is kept at `old`, for the day it comes back; seconds: until all went on.

    served: whether anybody listened at the node's address while only the standby ran. renewed: what
    the standby had said soon after its certificate was replaced.
    """

    border: Border
    standby: Standby
    old: Path
    # At each kill of the standby: what was acknowledged, and where that stood on its disk.
    killed: list[tuple[dict[str, int], dict[str, list[int]]]]
    before: dict[str, int]
    after: dict[str, int]
    seconds: float
    served: bool
    renewed: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The standby serves in the primary's place, and all is said and cosigned."""
    scratch = tmp_path_factory.mktemp("standby")
    border = Border(scratch / "border")
    standby = Standby.make(border, scratch / "standby", wait=True)
    load: Exporter | None = None
    try:
        standby.node.launch()
        border.start()
        standby.node.wait_for("READY=1")
        standby.certify("renewed")
        renewed = until(standby.node.tail, lambda said: "SECOND_STANDBY" in said)
        load = Exporter(border)
        killed = []
        for call in KILLED_AT if shutil.which("strace") else ():
            load.wait_for_more(20)
            kill_standby(standby, call)
            load.read_what_is_there()
            killed.append((dict(load.acknowledged), recorded(standby.node.config)))
            standby.node.start()
        load.wait_for_more(20)
        border.mainland.kill()
        began = time.monotonic()
        shutil.move(border.mainland.config.parent / "data", scratch / "old")
        served = is_served(address(standby.node.config))
        assert standby.node.stop() == 0
        # What it said before its disk died; some of that the load has not read yet.
        load.read_what_is_there()
        before = dict(load.acknowledged)
        standby.promote()
        load.wait_for_more(1)
        seconds = time.monotonic() - began
        load.wait_for_more(100)
        load.stop()
        print(f"\nfrom the disk's death to the next receipt: {seconds:.1f} s")  # noqa: T201
        yield Scene(
            border, standby, scratch / "old", killed, before, load.acknowledged, seconds, served,
            renewed,
        )  # fmt: skip
    finally:
        if load is not None:
            load.close()
        standby.node.close()
        border.close()


def is_served(place: str) -> bool:
    """Whether connections are taken at host:port."""
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


def kill_standby(standby: Standby, call: Call) -> None:
    """SIGKILL at its next such call for its store, in a commit."""
    process = standby.node.process
    assert process is not None
    store = standby.node.config.parent / "data" / "store" / "data.mdb"
    with injecting(process.pid, [store], call, "SIGKILL"):
        assert process.wait(PATIENCE) == -signal.SIGKILL


def recorded(config: Path) -> dict[str, list[int]]:
    """Where each record stands in the store of a node that does not run."""
    found: dict[str, list[int]] = {}
    with closing(LmdbStore.open(config.parent / "data" / "store", readonly=True)) as store:
        for index, (_, body) in enumerate(Reader(store).page(0, count=1 << 62).entries):
            record_id = body_pb2.Body.FromString(body).record_id.hex()
            found.setdefault(record_id, []).append(index)
    return found


class TestUntilThen:
    def test_the_standby_serves_no_method_to_anybody(self, scene: Scene) -> None:
        assert not scene.served

    def test_it_goes_over_to_a_certificate_that_is_put_in_its_place(self, scene: Scene) -> None:
        """For the node it is another standby at first; under load it is then followed by that."""
        assert "SECOND_STANDBY" in scene.renewed


@needs_strace
class TestTheStandbyKilledInACommit:
    """With `standby.wait`, of which nobody gets a receipt while it is down."""

    def test_has_all_that_was_acknowledged(self, scene: Scene) -> None:
        lacking = [
            {record: at for record, at in acknowledged.items() if held.get(record) != [at]}
            for acknowledged, held in scene.killed
        ]
        assert lacking == [{}] * len(KILLED_AT)


class TestPromoted:
    def test_the_same_command_again_changes_nothing(self, scene: Scene) -> None:
        """By an operator who does not know that it had come to its end."""
        config = scene.standby.node.config
        asked, given = config.with_name("loss.json"), config.with_name("loss.approval")
        before = asked.read_bytes()
        done = run(
            LEDGERD, "promote", "--config", str(config), "--request", str(asked),
            "--loss", str(given),
        )  # fmt: skip
        assert done.stdout.endswith("Start the node with `ledgerd serve`.\n")
        assert "Send " not in done.stdout
        assert asked.read_bytes() == before

    def test_it_serves_where_the_node_did(self, scene: Scene) -> None:
        assert is_served(address(scene.standby.node.config))

    def test_the_peer_cosigns_what_comes_now(self, scene: Scene) -> None:
        with client(scene.border, HOSPITAL) as hospital:
            declared = hospital.declare(payload=PAYLOAD, **STATEMENT)
            assert hospital.wait_cosigned(declared.record_id).index > max(scene.after.values())

    def test_the_old_primary_is_never_cosigned_and_says_why(self, scene: Scene) -> None:
        """It comes back on another address, with its keys and its disk, and waits for no standby."""
        old = scene.border.mainland
        text = old.config.read_text().split("[standby]")[0]
        old.config.write_text(text.replace(address(old.config), "127.0.0.1:0"))
        shutil.move(scene.old, old.config.parent / "data")
        old.start()
        until(old.tail, lambda said: '"reason": "REPLACED"' in said)
        assert old.stop() == 0
        old.start()
        until(old.tail, lambda said: said.count('"reason": "REPLACED"') > 1)
        assert old.stop() == 0

    def test_every_acknowledged_record_is_there_once(self, scene: Scene) -> None:
        for node in (scene.standby.node, scene.border.hongkong):
            assert node.stop() == 0
        found = recorded(scene.standby.node.config)
        assert scene.before
        assert {i: [at] for i, at in (scene.before | scene.after).items()} == {
            i: found.get(i) for i in scene.before | scene.after
        }

    def test_both_nodes_pass_the_audit(self, scene: Scene) -> None:
        audit(scene.standby.node.config)
        audit(scene.border.hongkong.config)

    def test_nobody_has_evidence_against_anybody(self, scene: Scene) -> None:
        for config in (scene.standby.node.config, scene.border.hongkong.config):
            assert not list((config.parent / "data").glob("evidence/*"))

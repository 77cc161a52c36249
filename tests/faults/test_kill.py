"""
P1 and P7: kill -9 of a node at any moment under load.

Only installed programs are started. The load is another process, which fsyncs what was
acknowledged; a kill counts only if a batch was in flight and its answer did not come.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from bench.load import connect
from border import Border, audit
from faults.loader import key_history

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client.config import Settings
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.merkle import verify_consistency
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.receipt import Receipt, verify_receipt

LOADER = Path(__file__).with_name("loader.py")
KILLS = 50


class Line(TypedDict):
    """What the loader's journal has of one acknowledged batch."""

    records: dict[str, int]
    note: str


class Loader:
    """The load process, and what it says."""

    def __init__(self, client: Path, journal: Path, batch: int) -> None:
        self.journal = journal
        environment = {**os.environ, "PYTHONPATH": str(LOADER.parents[1])}
        self._process = subprocess.Popen(
            [sys.executable, str(LOADER), str(client), str(journal), str(batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def wait_for(self, *words: str) -> str:
        """Read on until one of words comes; returns it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word = line.split()[0]
            if word in words:
                return word
        raise AssertionError("the loader ended: an answer did not verify")

    def stop(self) -> list[Line]:
        """End it, and return what it has in its journal."""
        self._process.communicate()
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@pytest.fixture
def border(tmp_path: Path) -> Iterator[Border]:
    made = Border(tmp_path / "border")
    yield made
    made.close()


def assert_everything_is_there(border: Border, journal: list[Line]) -> None:
    """Each acknowledged record at its index, each checkpoint ever shown a prefix of the tree."""
    settings = Settings.from_file(border.client("sz-hospital"))
    asyncio.run(_ask_for_everything(settings, journal))


async def _ask_for_everything(settings: Settings, journal: list[Line]) -> None:
    async with connect(settings) as channel:
        stub = LedgerServiceStub(channel)
        history = await key_history(settings)
        newest = (await stub.GetCheckpoint(pb.GetCheckpointRequest())).checkpoint
        head = Checkpoint.parse(parse_note(newest).text)
        for line in journal:
            shown = Checkpoint.parse(parse_note(line["note"].encode()).text)
            request = pb.GetConsistencyProofRequest(old_size=shown.size, new_size=head.size)
            proof = list((await stub.GetConsistencyProof(request)).proof)
            verify_consistency(shown.size, shown.root, head.size, head.root, proof)
            for record_id, index in line["records"].items():
                wanted = pb.GetReceiptRequest(record_id=bytes.fromhex(record_id))
                given = (await stub.GetReceipt(wanted)).receipt
                receipt = Receipt(given.header, tuple(given.proof), given.checkpoint)
                assert verify_receipt(receipt, history, strict=False).header.index == index


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_acknowledged_record_is_lost_in_fifty_kills(border: Border, tmp_path: Path) -> None:
    """
    After each kill the store audits; after all, every acknowledged record is at its index.

    Killed is the whole node, the daemon alone, whose writer may still end a commit, or the writer.
    """
    node, dice = border.mainland, random.Random()
    node.start()
    loader = Loader(border.client("sz-hospital"), tmp_path / "journal", 10)
    counted = 0
    while counted < KILLS:
        for _ in range(dice.randint(1, 4)):
            loader.wait_for("sent")
        spin(dice.randint(0, 20_000))
        node.kill(dice.choice(("all", "daemon", "writer")))
        # In flight, or answered just before: only the former counts.
        counted += loader.wait_for("lost", "done") == "lost"
        audit(node.config)
        node.start()
    journal = loader.stop()
    assert_everything_is_there(border, journal)
    assert node.stop() == 0
    audit(node.config)


def spin(turns: int) -> None:
    """Let up to about a millisecond pass, so that kills fall anywhere in a commit."""
    for _ in range(turns):
        pass


# LMDB's commit, as the kernel sees it on the store's file, and the reply that follows it. The first
# commit of a start changes nothing; those after it carry batches.
STEPS = {
    "its pages are written": ("writev", True, (4, 9)),
    "its pages are synced": ("fdatasync", True, (2, 5)),
    "the page is written that makes it count": ("pwrite64", True, (4, 5, 7)),
    "its reply leaves": ("sendmsg", False, (30, 45)),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    ("step", "nth"), [(step, nth) for step, (_, _, times) in STEPS.items() for nth in times]
)
def test_kill_as_a_commit_comes_to_a_step(
    border: Border, tmp_path: Path, step: str, nth: int
) -> None:
    """
    SIGKILL at a named step of a commit leaves the state before it or after it, and a retry works.
    """
    node = border.mainland
    call, of_store, _ = STEPS[step]
    store = node.config.parent / "data" / "store" / "data.mdb"
    path = ["-P", str(store)] if of_store else []
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", *path]
    node.start([*trace, "-e", f"inject={call}:signal=SIGKILL:when={nth}"])
    loader = Loader(border.client("sz-hospital"), tmp_path / "journal", 10)
    assert node.process is not None
    assert node.process.wait(60) != 0, "the node was not killed"
    loader.wait_for("lost", "done")
    audit(node.config)
    node.start()
    loader.wait_for("done")
    assert_everything_is_there(border, loader.stop())
    assert node.stop() == 0
    audit(node.config)

"""
A node whose whole data directory was put back while its peer was down, and that went on.

Nobody lied to anybody: its high-water mark went back with its store. When the peer is there again
its log has grown past what was cosigned, over another tree.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.load import connect
from border import LEDGERCTL, PATIENCE, Border, Node, run
from e2e.raw import World, settings

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc

pytestmark = pytest.mark.slow

TAIL = 3


def append(border: Border, name: str, records: list[pb.Record]) -> None:
    """Raises AssertionError unless all are recorded."""

    async def send() -> pb.AppendResponse:
        async with connect(settings(border, name)) as channel:
            stub = rpc.LedgerServiceStub(channel)
            return await stub.Append(pb.AppendRequest(records=records))

    outcomes = asyncio.run(send()).outcomes
    assert [each.WhichOneof("result") for each in outcomes] == ["recorded"] * len(records), outcomes


def told(border: Border, side: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of `ledgerctl status --json`; nothing of a node that does not answer."""
    command = (LEDGERCTL, "status", "--json", "--config", str(border.client(f"{side}-operator")))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def until(
    border: Border, side: str, wanted: Callable[[dict[str, Any]], bool]
) -> tuple[int, dict[str, Any]]:
    end = time.monotonic() + PATIENCE
    while True:
        code, status = told(border, side)
        if status and wanted(status):
            return code, status
        assert time.monotonic() < end, f"{side} still says {status}"


def put_back(node: Node, copy: Path) -> None:
    data = node.config.parent / "data"
    shutil.rmtree(data)
    shutil.copytree(copy, data)


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Border]:
    """Both nodes run again, and the Mainland's log has another end than Hong Kong had cosigned."""
    directory = tmp_path_factory.mktemp("put-back")
    border = Border(directory / "border")
    try:
        border.start()
        world = World.of(border)
        assert border.mainland.stop() == 0
        copy = directory / "copy"
        shutil.copytree(border.mainland.config.parent / "data", copy)
        border.mainland.start()
        append(border, "sz-hospital", [world.transfer() for _ in range(TAIL)])
        size = until(border, "mainland", lambda one: one["cosigned_size"] == one["size"])[1]["size"]
        until(border, "hongkong", lambda one: one["replayed_size"] >= size)
        assert (border.hongkong.stop(), border.mainland.stop()) == (0, 0)
        put_back(border.mainland, copy)
        border.mainland.start()
        append(border, "gz-bank", [world.by_bank() for _ in range(size)])
        border.hongkong.start()
        yield border
    finally:
        border.close()


class TestANodeThatWasPutBackAndWentOn:
    def test_leaves_evidence_with_its_peer(self, forked: Border, tmp_path: Path) -> None:
        _, status = until(forked, "hongkong", lambda one: bool(one["evidence_waits"]))
        (bundle,) = (forked.hongkong.config.parent / "data" / "evidence").glob("*.evidence")
        keys = tmp_path / "keys"
        client = str(forked.client("hk-clinic"))
        of = ("--origin", status["peer"], "--out", str(keys), "--config", client)
        run(LEDGERCTL, "trust", "keys", *of)
        trust = ("--trust", str(forked.directory / "trust.txt"), "--keys", str(keys))
        said = run(LEDGERCTL, "evidence", "verify", str(bundle), *trust)
        assert "contradict each other" in said.stdout

    def test_is_told_as_a_fork_by_its_peer(self, forked: Border) -> None:
        code, status = until(forked, "hongkong", lambda one: one["failing"] == "FORK")
        assert code == 1
        troubles = {each["trouble"]: each["says"] for each in status["troubles"]}
        assert "FORK" in troubles["EVIDENCE"]
        assert "PEER_SILENT" not in troubles

    def test_says_itself_that_it_was_put_back(self, forked: Border) -> None:
        code, _ = until(forked, "mainland", lambda one: one["state"] == "ROLLED_BACK")
        assert code == 1

    def test_is_cosigned_no_more(self, forked: Border) -> None:
        _, status = until(forked, "hongkong", lambda one: bool(one["evidence_waits"]))
        assert status["witnessed_size"] < status["peer_size"]

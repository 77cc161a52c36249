"""
P9: too few descriptors, readers that do not read, thousands of connections that say nothing.

Appends go on, or are refused with a reason; the node's memory stays within bounds, and it needs
nobody once it is over.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from bench.load import connect
from border import Node
from faults.oracle import Tally
from faults.trial import Trial
from institutions import until

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import RegulatorServiceStub
from ledgerd_client.config import Settings

pytestmark = pytest.mark.timeout(300)

IDLE, DESCRIPTORS = 5_000, 16_384
# MiB that they may cost together.
OF_IDLE = 256
# As many streams as one regulator may have, and batches that make a log of some 15 MB: kept for
# each of them, it would be twice what they may cost.
READERS, BATCH, BATCHES = 4, 500, 40
OF_READERS = 32


def memory(node: Node) -> float:
    """MiB of the daemon's own: the mapped file is the page cache's."""
    status = Path(f"/proc/{node.daemon()}/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("RssAnon:"))
    return int(line.split()[1]) / 1024


def opened(node: Node) -> int:
    return len([*Path(f"/proc/{node.daemon()}/fd").iterdir()])


@contextmanager
def bounded(node: Node, most: float) -> Iterator[None]:
    """What the block does costs the daemon no more than so many MiB."""
    before = memory(node)
    yield
    assert memory(node) < before + most


def test_no_descriptor_is_left(trial: Trial) -> None:
    """New connections wait, and the high-water mark can't be written: appends are refused."""
    trial.border.start()
    trial.load()
    pid = trial.node.daemon()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened(trial.node), before[1]))
    until(trial.is_batch_lost, bool)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    trial.loader.finish()
    trial.load()
    trial.tally.runs += 1
    trial.finish()


def test_streams_are_not_read(tmp_path: Path, tally: Tally) -> None:
    """A regulator's, of the whole log."""
    with Trial(tmp_path, tally=tally, batch=BATCH) as trial:
        trial.border.start()
        trial.load(BATCHES)
        with bounded(trial.node, OF_READERS):
            asyncio.run(stall(trial))
        trial.tally.runs += 1
        trial.finish()


async def stall(trial: Trial) -> None:
    """Begin streams, read no more of them while appends go on, and leave."""
    settings = Settings.from_file(trial.border.client("cac"))
    async with connect(settings) as channel:
        stub = RegulatorServiceStub(channel)
        calls = [stub.Follow(pb.FollowRequest()) for _ in range(READERS)]
        for call in calls:
            await call.read()
        await asyncio.to_thread(trial.load, BATCHES // 4)
        for call in calls:
            call.cancel()


def test_5000_connections_say_nothing(trial: Trial) -> None:
    """They are dropped, or kept for what they cost; institutions are answered beside them."""
    needed = IDLE + 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        pytest.skip(f"{hard} descriptors are too few for {IDLE} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    settings = Settings.from_file(trial.border.client("sz-hospital"))
    host, _, port = settings.endpoint.rpartition(":")
    trial.node.start(["prlimit", f"--nofile={DESCRIPTORS}"])
    trial.load()
    before = opened(trial.node)
    with ExitStack() as idle, bounded(trial.node, OF_IDLE):
        for _ in range(IDLE):
            idle.enter_context(socket.create_connection((host, int(port))))
        until(lambda: opened(trial.node), lambda count: count >= IDLE)
        trial.load(10)
        assert opened(trial.node) >= IDLE
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: opened(trial.node), lambda count: count < before + 100)
    trial.tally.runs += 1
    trial.finish()

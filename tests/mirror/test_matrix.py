"""Who may call what at a mirror's socket, where the kernel says who calls: its owner."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from api.callers import LET_IN, MATRIX, METHODS, answer
from mirror.served import Mirror
from mirror.test_node import Running
from nodes import make_sides

from ledgerd_client.identity import REGULATOR
from ledgerd_client.transport import open_channel

SERVICES = ("ledger.v1.LedgerService/", "ledger.v1.RegulatorService/", "grpc.health.v1.Health/")
LOCAL = (("grpc.default_authority", "localhost"),)
NOBODY = 65534
AS_NOBODY = f"""
import asyncio, json, os, sys
import grpc
from api.callers import METHODS, answer

async def ask():
    async with grpc.aio.insecure_channel(sys.argv[1], {LOCAL}) as way:
        return {{method: await answer(way, method) for method in METHODS}}

os.setgroups([])
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
print(json.dumps(asyncio.run(ask())))
"""


@pytest.fixture
async def target(mirror: Mirror) -> AsyncIterator[str]:
    """The socket of a mirror that answers from what it holds, and hears of nothing more."""
    await mirror.step()
    mirror.served.cut_after = 0
    running = Running(mirror)
    async with running.serving():
        await running.said.get()
        yield f"unix:{mirror.directory / 'mirror.sock'}"


def foreseen(method: str) -> str:
    """What its owner is told, who is a regulator."""
    if not method.startswith(SERVICES):
        return "UNIMPLEMENTED"
    return LET_IN if REGULATOR in MATRIX[method].split() else "WRONG_ROLE"


class TestTheMatrix:
    async def test_is_what_its_owner_is_told(self, target: str) -> None:
        async with grpc.aio.insecure_channel(target, LOCAL) as owners:
            answers = {method: await answer(owners, method) for method in METHODS}
        assert answers == {method: foreseen(method) for method in METHODS}

    async def test_is_shut_to_whoever_shows_a_certificate(
        self, target: str, tmp_path: Path
    ) -> None:
        """However good: it speaks no TLS, so nobody takes it for the node."""
        side, _ = make_sides(tmp_path / "border")
        shown = side.issue(REGULATOR, "cac")
        channel = open_channel(
            target,
            authorities=side.authority.trust.certificates,
            certificate=shown.certificate,
            key=shown.tls_key,
        )
        answers = {method: await answer(channel, method) for method in METHODS}
        await channel.close()
        assert answers == dict.fromkeys(METHODS, "UNAVAILABLE")

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
    async def test_is_shut_to_other_users(self, target: str) -> None:
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", AS_NOBODY, target, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        said, _ = await asking.communicate()
        assert json.loads(said) == dict.fromkeys(METHODS, "UNAVAILABLE")

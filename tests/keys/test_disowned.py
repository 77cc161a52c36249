"""A log key that was stolen after it was replaced, and what its authority says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli.tool import Tool
from keys.test_authority import Desk
from keys.test_rotation import approved, path_of
from nodes import Node, Side, found_one, serve

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.authority_directory import save_authority
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import TrustError
from ledgerd_client.core.evidence import Evidence, fork_evidence
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer
from ledgerd_client.keyfile import read_key_file

SINCE = ("--compromised-since", "2026-10-01T08:00Z")


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return found_one(tmp_path / "border")


@dataclass
class Robbed:
    """A node whose log key was replaced, then stolen; and what the thief shows of its log."""

    node: Node
    desk: Desk
    key: SigningKey
    framed: Evidence

    async def disown(self, key: SigningKey, *options: str) -> int:
        """The exit code of what the authority says offline."""
        where = ("--dir", "authority", "--keys", await self.desk.keys(), "--out", "approval.json")
        public = encode_base64(key.public)
        return self.desk.tool("authority", "disown", public, *where, *options, "--yes").code


@pytest.fixture
async def robbed(sides: tuple[Side, Side], tool: Tool) -> AsyncIterator[Robbed]:
    side = sides[0]
    tool.path("authority").mkdir()
    save_authority(side.authority, tool.path("authority"))
    stolen = read_key_file(path_of(side, "log")).key
    async with serve(*sides) as node:
        honest = (await node.operator.ledger.GetCheckpoint(pb.GetCheckpointRequest())).checkpoint
        await node.submit(approved(side, "log").record)
        size = int(honest.split(b"\n")[1])
        other = Checkpoint(side.origin, size, bytes(32))
        forged = sign_checkpoint(other, Signer(side.origin, ED25519, stolen))
        yield Robbed(node, Desk(tool, node), stolen, fork_evidence(honest, forged))


class TestAReplacedLogKeyThatIsStolen:
    async def test_frames_its_log(self, robbed: Robbed) -> None:
        """Whoever it is that signs: nobody can tell."""
        robbed.framed.verify(await robbed.node.history())

    async def test_frames_nobody_once_the_log_says_so(self, robbed: Robbed) -> None:
        assert await robbed.disown(robbed.key, *SINCE) == 0
        await robbed.desk.submit()
        history = await robbed.node.history()
        with pytest.raises(TrustError):
            robbed.framed.verify(history)

    async def test_stops_nothing(self, robbed: Robbed) -> None:
        await robbed.disown(robbed.key, *SINCE)
        await robbed.desk.submit()
        client = await robbed.node.institution()
        assert await client.place(client.transfer()) > 0

    async def test_is_not_the_one_in_force(self, robbed: Robbed) -> None:
        present = read_key_file(path_of(robbed.node.side, "log")).key
        assert await robbed.disown(present, *SINCE) == 2

    @pytest.mark.parametrize("since", ["", "yesterday"])
    async def test_was_so_at_a_time(self, robbed: Robbed, since: str) -> None:
        assert await robbed.disown(robbed.key, "--compromised-since", since) == 2

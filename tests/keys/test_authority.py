"""The authority's own key, rotated: by both keys, over the whole history, and offline."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import EXPORTER
from cli.tool import Ran, Tool
from nodes import Node, Side, found_one, refused, serve

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.authority_directory import load_authority, save_authority
from ledgerd_client.core.errors import FieldError, TrustError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.trust import Trust
from ledgerd_client.identity import INSTITUTION
from ledgerd_client.keyfile import KeyFile, read_key_file, write_new


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    return found_one(tmp_path / "border")


async def rotated(node: Node) -> SigningKey:
    """The new key, once the log says that it is in force."""
    key, authority = SigningKey(os.urandom(32)), node.side.authority
    approval = authority.rotate(key, await node.history(), now=datetime.now(UTC))
    await node.submit(approval.record)
    node.side.authority = replace(authority, key_file=KeyFile(key))
    return key


class TestARotation:
    async def test_puts_the_new_key_in_force(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            key = await rotated(node)
            history = await node.history()
        assert history.key_in_force(pb.ROLE_AUTHORITY).public == key.public

    async def test_lets_the_new_key_admit(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            await rotated(node)
            client = await node.institution()
            assert await client.place(client.transfer()) > 0

    async def test_lets_the_old_key_decide_nothing_more(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            old = node.side.authority
            await rotated(node)
            node.side.authority = old
            error = await refused(node.institution())
        assert error.reason == "KEY_UNKNOWN"

    async def test_of_a_history_that_went_on_is_refused(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            key, history = SigningKey(os.urandom(32)), await node.history()
            await node.institution()
            approval = node.side.authority.rotate(key, history, now=datetime.now(UTC))
            error = await refused(node.submit(approval.record))
        assert error.reason == "HISTORY_MOVED"

    @pytest.mark.parametrize("pinned", ["old", "new"])
    async def test_is_followed_by_a_node_that_trusts_either_key(
        self, sides: tuple[Side, Side], pinned: str
    ) -> None:
        side, peer = sides
        async with serve(*sides) as node:
            await rotated(node)
        if pinned == "new":
            trust = Trust.of([side.authority.trust, peer.authority.trust])
            (side.directory / "trust.txt").write_bytes(trust.format())
        async with serve(*sides) as node:
            client = await node.institution()
            assert await client.place(client.transfer()) > 0

    async def test_of_another_authority_is_not_signed(self, sides: tuple[Side, Side]) -> None:
        async with serve(*sides) as node:
            history = await node.history()
        with pytest.raises(FieldError):
            sides[1].authority.rotate(SigningKey(os.urandom(32)), history, now=datetime.now(UTC))


@dataclass
class Desk:
    """Where an authority works, offline: its directory and what it was sent."""

    tool: Tool
    node: Node

    async def keys(self) -> str:
        """The log's key history, as an operator fetches it."""
        if not self.tool.path("client.toml").exists():
            operator_files(self.tool, self.node)
        self.tool.path("own.keys").unlink(missing_ok=True)
        fetch = ("trust", "keys", "--out", "own.keys", "--config", "client.toml")
        await asyncio.to_thread(self.tool.ok, *fetch)
        return "own.keys"

    async def sign(self) -> None:
        directory = ("--dir", "authority", "--keys", await self.keys())
        self.tool.path("approval.json").unlink(missing_ok=True)
        self.tool.ok("authority", "rotate", *directory, "--out", "approval.json", "--yes")

    async def submit(self) -> None:
        data = self.tool.path("approval.json").read_bytes()
        await self.node.submit(Approval.parse(data).record)

    async def take_over(self) -> int:
        return self.tool(
            "authority", "rotate", "--dir", "authority", "--keys", await self.keys()
        ).code


class TestTheTool:
    async def test_signs_and_takes_over(self, sides: tuple[Side, Side], tool: Tool) -> None:
        side = sides[0]
        tool.path("authority").mkdir()
        save_authority(side.authority, tool.path("authority"))
        old = side.authority.key_file.key.public
        async with serve(*sides) as node:
            desk = Desk(tool, node)
            await desk.sign()
            early = await desk.take_over()
            await desk.submit()
            done = await desk.take_over()
            history = await node.history()
        renewed = load_authority(tool.path("authority"))
        trusted = Trust.parse(tool.path("authority/trust.txt").read_bytes())
        public = history.key_in_force(pb.ROLE_AUTHORITY).public
        retired = read_key_file(tool.path("authority/authority.key.retired")).key.public
        assert (early, done, retired) == (2, 0, old)
        assert public == renewed.verifier.public == trusted.authority(side.origin) != old

    async def test_signs_again_with_the_same_key_when_the_history_went_on(
        self, sides: tuple[Side, Side], tool: Tool
    ) -> None:
        tool.path("authority").mkdir()
        save_authority(sides[0].authority, tool.path("authority"))
        async with serve(*sides) as node:
            desk = Desk(tool, node)
            await desk.sign()
            await node.institution()
            assert (await refused(desk.submit())).reason == "HISTORY_MOVED"
            await desk.sign()
            await desk.submit()

    async def test_takes_over_nothing_that_was_not_signed(
        self, sides: tuple[Side, Side], tool: Tool
    ) -> None:
        tool.path("authority").mkdir()
        save_authority(sides[0].authority, tool.path("authority"))
        async with serve(*sides) as node:
            keys = await Desk(tool, node).keys()
        ran = tool("authority", "rotate", "--dir", "authority", "--keys", keys)
        assert (ran.code, "with --out first" in ran.err) == (2, True)


class TestAnOperatorWithTheOldTrustFile:
    """The old key, which it pins, vouches for the new one in the log."""

    async def test_hands_in_what_the_new_key_signed(
        self, sides: tuple[Side, Side], tool: Tool
    ) -> None:
        async with serve(*sides) as node:
            operator_files(tool, node)
            await rotated(node)
            assert (await self.submitted(tool, node)).code == 0

    async def test_hands_in_nothing_by_a_key_that_the_log_does_not_name(
        self, sides: tuple[Side, Side], tool: Tool
    ) -> None:
        async with serve(*sides) as node:
            operator_files(tool, node)
            stranger = KeyFile(SigningKey(os.urandom(32)))
            node.side.authority = replace(node.side.authority, key_file=stranger)
            ran = await self.submitted(tool, node)
        assert (ran.code, "NOT_TRUSTED" in ran.err) == (1, True)

    async def submitted(self, tool: Tool, node: Node) -> Ran:
        side = node.side
        record = side.admission(INSTITUTION, EXPORTER, side.issue(INSTITUTION, EXPORTER))
        approval = Approval.of(side.origin, INSTITUTION, EXPORTER, record, None)
        tool.path("approval.json").write_bytes(approval.format())
        return await asyncio.to_thread(
            tool, "enrol", "submit", "approval.json", "--config", "client.toml"
        )


def operator_files(tool: Tool, node: Node) -> None:
    side, credentials = node.side, node.operator.credentials
    tool.path("trust.txt").write_bytes((side.directory / "trust.txt").read_bytes())
    tool.path("tls.crt").write_bytes(credentials.certificate)
    write_new(tool.path("tls.key"), credentials.tls_key, mode=0o600)
    tool.path("client.toml").write_text(
        f'endpoint = "localhost:{node.port}"\norigin = "{side.origin}"\ntrust = "trust.txt"\n'
        'tls_certificate = "tls.crt"\ntls_key = "tls.key"\n'
    )


class TestAnotherTrustFile:
    async def test_is_asked_for_where_an_approval_is_by_another_key(
        self, sides: tuple[Side, Side]
    ) -> None:
        authority = sides[0].authority
        async with serve(*sides) as node:
            history = await node.history()
        key = SigningKey(os.urandom(32))
        approval = authority.rotate(key, history, now=datetime.now(UTC))
        with pytest.raises(TrustError) as caught:
            approval.verify(replace(authority, key_file=KeyFile(key)).trust)
        assert "new trust file" in caught.value.action


class TestAKeyHistory:
    async def test_kept_from_before_is_fetched_anew(self, sides: tuple[Side, Side]) -> None:
        """By whoever trusts the new key alone: what is kept does not reach it yet."""
        async with serve(*sides) as node:
            kept = (await node.history()).format()
            key = await rotated(node)
        with pytest.raises(TrustError):
            KeyHistory.parse(kept, key.public)
        assert not KeyHistory.parse(kept, key.public, partial=True).names_authority(key.public)

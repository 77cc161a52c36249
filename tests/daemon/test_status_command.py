"""`ledgerctl status`, as an operator types it, of nodes that run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import nodes
import pytest
from cli.tool import Ran, Tool
from nodes import Client, Node, Side, found_one, found_sides, serve


@pytest.fixture(autouse=True)
def long_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that do not end soon."""
    monkeypatch.setattr(nodes, "LIFE", timedelta(days=30))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """One whose peer is silent."""
    side, peer = found_one(tmp_path)
    async with serve(side, peer) as node:
        yield node


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    sides = found_sides(tmp_path)
    async with serve(*sides) as one, serve(*sides[::-1]) as other:
        yield one, other


def settings_of(side: Side, port: int, client: Client) -> Path:
    """What `enrol install` writes for somebody who signs nothing."""
    home = side.directory / client.credentials.certificate.hex()[-16:]
    home.mkdir(exist_ok=True)
    for name, data in (
        ("tls.crt", client.credentials.certificate),
        ("tls.key", client.credentials.tls_key),
    ):
        (home / name).write_bytes(data)
        (home / name).chmod(0o600)
    path = home / "client.toml"
    path.write_text(
        f'endpoint = "localhost:{port}"\n'
        f'origin = "{side.origin}"\n'
        f'trust = "{side.directory / "trust.txt"}"\n'
        f'tls_certificate = "{home / "tls.crt"}"\n'
        f'tls_key = "{home / "tls.key"}"\n'
    )
    return path


async def status(node: Node, *options: str, client: Client | None = None) -> Ran:
    path = settings_of(node.side, node.port, client or node.operator)
    tool = Tool(node.side.directory)
    return await asyncio.to_thread(tool.program, "status", "--config", path, *options)


class TestANodeWhosePeerIsSilent:
    async def test_needs_somebody(self, node: Node) -> None:
        assert (await status(node)).code == 1

    async def test_says_who_it_is_and_where_it_stands(self, node: Node) -> None:
        exporter = await node.institution()
        await exporter.append(exporter.transfer(at=1))
        told = (await status(node, "--json")).data
        assert (told["node"], told["state"], told["size"], told["cosigned_size"]) == (
            node.side.origin, "OPEN", 5, 0,
        )  # fmt: skip
        assert told["open_findings"] == {"high": 0, "medium": 0, "information": 1}

    async def test_names_the_trouble_and_its_section(self, node: Node) -> None:
        trouble, *_ = (await status(node, "--json")).data["troubles"]
        assert (trouble["trouble"], trouble["runbook"]) == ("PEER_SILENT", "LedgerdPeerSilent")

    async def test_says_what_to_do_first_to_people_too(self, node: Node) -> None:
        out = (await status(node)).out
        assert "PEER_SILENT" in out
        assert "call the other operator" in " ".join(out.split())

    async def test_fits_on_one_screen(self, node: Node) -> None:
        assert len((await status(node)).out.splitlines()) <= 24

    async def test_says_that_it_never_had_a_backup_nor_an_audit(self, node: Node) -> None:
        assert (await status(node)).out.count("never\n") == 2

    async def test_says_when_its_certificate_ends(self, node: Node) -> None:
        ends = (await status(node, "--json")).data["certificates"]
        assert [end["name"] for end in ends] == ["node", "authority", "peer_authority"]


class TestTwoNodesInStep:
    async def test_need_nobody(self, two: tuple[Node, Node]) -> None:
        for node in two:
            # Until it has heard of the other.
            while (told := await status(node, "--json")).data["fetched_at"] is None:
                pass
            assert (told.code, told.data["troubles"]) == (0, [])


class TestWhoMayAsk:
    async def test_an_institution_may_not(self, node: Node) -> None:
        exporter = await node.institution()
        ran = await status(node, client=exporter)
        assert (ran.code, "WRONG_ROLE" in ran.err) == (3, True)

    async def test_a_node_that_is_down_exits_3(self, tmp_path: Path) -> None:
        side, peer = found_one(tmp_path)
        async with serve(side, peer) as node:
            path = settings_of(side, node.port, node.operator)
        ran = await asyncio.to_thread(Tool(side.directory).program, "status", "--config", path)
        assert ran.code == 3

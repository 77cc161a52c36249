"""SIGHUP: a node takes over what it can, says what it can't, and drops no call for it."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import border
import pytest
from keys.test_tls import shown
from nodes import LIFE, Client, Node, Side, found_one

from ledgerd.ledger.high_water import MARK_FILE
from ledgerd.rules.law import newest_law
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.identity import PEER
from ledgerd_client.pki import Validity

INFO = pb.GetInfoRequest()


@dataclass
class Reloaded:
    """A node as a process, and how it is told to reload."""

    side: Side
    process: border.Node
    node: Node

    def edit(self, old: str, new: str) -> None:
        text = self.side.toml.read_text()
        assert old in text
        self.side.toml.write_text(text.replace(old, new))

    def ask(self) -> str:
        """Tell it to reload, and return the status with which that is over."""
        assert self.process.process is not None
        self.process.process.send_signal(signal.SIGHUP)
        self.process.wait_for("RELOADING=1")
        return self.process.wait_for("READY=1").partition("STATUS=")[2]

    async def reload(self) -> str:
        return await asyncio.to_thread(self.ask)

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self.process.log.read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    async def entries(self) -> int:
        return (await self.node.operator.ledger.GetInfo(INFO)).size

    async def last(self) -> body_pb2.Body:
        """The newest entry of the log."""
        index = await self.entries() - 1
        reader = await self.node.institution()
        reply = await reader.ledger.GetEntry(pb.GetEntryRequest(index=index))
        return body_pb2.Body.FromString(reply.body)


@pytest.fixture
async def reloaded(tmp_path: Path) -> AsyncIterator[Reloaded]:
    side, peer = found_one(tmp_path)
    process = border.Node(side.toml, options=())
    await asyncio.to_thread(process.start)
    lines = map(json.loads, process.log.read_text().splitlines())
    port = next(int(line["port"]) for line in lines if line["event"] == "serving")
    node = Node(side, peer, port)
    yield Reloaded(side, process, node)
    await node.close()
    process.close()


def another_certificate(reloaded: Reloaded, **changes: Any) -> bytes:
    """Put another beside the one in use, name it in the configuration, and return it (DER)."""
    new = reloaded.side.issue(PEER, reloaded.side.name, **changes)
    for name, data in (("new.crt", new.certificate), ("new.key", new.tls_key)):
        path = reloaded.side.directory / name
        path.write_bytes(data)
        path.chmod(0o600)
    reloaded.edit(
        'certificate = "tls.crt"\nkey = "tls.key"', 'certificate = "new.crt"\nkey = "new.key"'
    )
    return ssl.PEM_cert_to_DER_cert(new.certificate.decode())


class TestWhatIsTaken:
    async def test_another_certificate(self, reloaded: Reloaded) -> None:
        wanted = another_certificate(reloaded)
        await reloaded.reload()
        assert await shown(reloaded.node) == wanted

    async def test_the_log_level(self, reloaded: Reloaded) -> None:
        reloaded.edit("origin =", 'log_level = "debug"\norigin =')
        await reloaded.reload()
        await reloaded.entries()
        assert reloaded.logged("call")

    async def test_the_rules_as_an_entry(self, reloaded: Reloaded) -> None:
        reloaded.edit('law = ""', 'law = "newest"')
        await reloaded.reload()
        assert (await reloaded.last()).rule_set.law == newest_law()

    async def test_rules_that_are_in_force_already_are_not_said_again(
        self, reloaded: Reloaded
    ) -> None:
        before = await reloaded.entries()
        await reloaded.reload()
        assert await reloaded.entries() == before


class TestWhatIsNot:
    """The node serves on as it did."""

    async def test_other_settings_are_named(self, reloaded: Reloaded) -> None:
        reloaded.edit("drain_s = 5", "drain_s = 6")
        status = await reloaded.reload()
        assert status.endswith("; not reloaded: timing.drain_s: needs a restart")

    async def test_a_configuration_that_is_wrong(self, reloaded: Reloaded) -> None:
        reloaded.edit("origin =", "nonsense = 1\norigin =")
        status = await reloaded.reload()
        assert "not reloaded: configuration: " in status
        assert "'nonsense' is not a setting" in status

    async def test_a_configuration_that_is_wrong_is_a_warning_and_nothing_else(
        self, reloaded: Reloaded
    ) -> None:
        reloaded.edit("origin =", "nonsense = 1\norigin =")
        await reloaded.reload()
        warned = [line["level"] for line in reloaded.logged("not_reloaded")]
        assert (warned, reloaded.logged("reloaded")) == (["warning"], [])

    async def test_is_forgotten_once_it_can_be(self, reloaded: Reloaded) -> None:
        reloaded.edit("drain_s = 5", "drain_s = 6")
        await reloaded.reload()
        reloaded.edit("drain_s = 6", "drain_s = 5")
        assert "not reloaded" not in await reloaded.reload()

    async def test_a_certificate_of_somebody_else(self, reloaded: Reloaded) -> None:
        before = await shown(reloaded.node)
        another_certificate(reloaded)
        stranger = reloaded.node.peer.issue(PEER, "stranger").certificate
        (reloaded.side.directory / "new.crt").write_bytes(stranger)
        assert "not reloaded: certificate: " in await reloaded.reload()
        assert await shown(reloaded.node) == before

    @pytest.mark.parametrize("ahead", [-LIFE, LIFE / 2])
    async def test_a_certificate_that_is_not_valid_now(
        self, reloaded: Reloaded, ahead: timedelta
    ) -> None:
        before = await shown(reloaded.node)
        start = datetime.now(UTC) + ahead
        another_certificate(reloaded, validity=Validity.starting(start, LIFE / 2))
        assert "not reloaded: certificate: the certificate is valid " in await reloaded.reload()
        assert await shown(reloaded.node) == before

    async def test_a_law_that_this_program_does_not_hold(self, reloaded: Reloaded) -> None:
        before = await reloaded.entries()
        reloaded.edit('law = ""', 'law = "1999.1"')
        assert "not reloaded: rules: " in await reloaded.reload()
        assert await reloaded.entries() == before

    async def test_rules_while_nothing_is_appended(self, reloaded: Reloaded) -> None:
        assert await asyncio.to_thread(reloaded.process.stop) == 0
        (reloaded.side.config.data / MARK_FILE).unlink()
        await asyncio.to_thread(reloaded.process.start)
        reloaded.edit('law = ""', 'law = "newest"')
        assert "not reloaded: rules: there is no high-water mark" in await reloaded.reload()


class TestUnderLoad:
    async def test_no_call_is_dropped(self, reloaded: Reloaded) -> None:
        institutions = [await reloaded.node.institution(f"uscc.{n}") for n in range(4)]
        ended = asyncio.Event()
        loads = [asyncio.create_task(load(each, ended)) for each in institutions]
        for number in range(3):
            if number == 1:
                another_certificate(reloaded)
                reloaded.edit('law = ""', 'law = "newest"')
            await reloaded.reload()
        ended.set()
        placed = [index for each in await asyncio.gather(*loads) for index in each]
        assert len(set(placed)) == len(placed) > 3


async def load(institution: Client, ended: asyncio.Event) -> list[int]:
    """Append one record after the other; the indexes that they got. Fails with the first call."""
    placed: list[int] = []
    while not ended.is_set():
        placed.append(await institution.place(institution.transfer()))
    return placed

"""What an institution's SDK makes of a LOSS: of a record behind it, and of one whose body is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders import EXPORTER
from nodes import Side, serve
from recovery.scene import Scene
from stateful.test_border_machine import World

from ledgerd_client._kept import KeptFile
from ledgerd_client._refresher import Refresher
from ledgerd_client._time import Time
from ledgerd_client._view import LogView
from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.core.header import Header
from ledgerd_client.core.record import Admitted
from ledgerd_client.core.trust import Trust
from ledgerd_client.identity import INSTITUTION
from ledgerd_client.outbox import Outbox, OutboxRecord
from ledgerd_client.transport import GrpcTransport


@dataclass
class Institution:
    """An outbox, and the key history that its process knew before the node lost anything."""

    outbox: Outbox
    scene: Scene
    keys: Path

    def remember_keys(self) -> None:
        file = KeptFile.of_origin(self.keys, self.scene.node.origin, "keys")
        assert file.replace(b"", self.scene.node.keyring.history.format())

    async def record(self) -> bytes:
        """Have a record recorded, and keep its receipt; returns its id."""
        item = self.scene.declared()
        placed = await self.scene.node.append(item)
        assert placed is not None
        self.put(item, Header.parse(placed.header).signature)
        self.receive(item, placed.index)
        return item.facts.record_id

    def put(self, item: Admitted, signature: bytes) -> None:
        record = item.facts.record_id
        self.outbox.put(OutboxRecord(record, item.body, item.key_id, signature, "transfer", b""))

    def receive(self, item: Admitted, index: int) -> None:
        receipt = self.scene.node.reader.receipt(index)
        self.outbox.recorded(item.facts.record_id, receipt.format(), None)


@pytest.fixture
async def institution(scene: Scene, tmp_path: Path) -> AsyncIterator[Institution]:
    keys = tmp_path / "client-keys"
    keys.mkdir()
    with closing(Outbox.open(tmp_path / "outbox.sqlite", now=scene.clock)) as outbox:
        yield Institution(outbox, scene, keys)


@asynccontextmanager
async def refreshing(institution: Institution, founded: World) -> AsyncIterator[Refresher]:
    """Serve the node that came back; what there is to ask it for the outbox."""
    scene = institution.scene
    side: Side = copy(scene.side)
    side.directory = scene.data.parent
    await scene.node.close()
    trust = Trust.parse((side.directory / "trust.txt").read_bytes())
    async with serve(side, founded.sides[1]) as node, AsyncExitStack() as stack:
        client = node.client(side.issue(INSTITUTION, EXPORTER), EXPORTER)
        transport = GrpcTransport(client.channel, 10)
        view = LogView(transport, trust, side.origin, institution.keys)
        events = {"queued": asyncio.Event(), "recorded": asyncio.Event()}
        refresher = Refresher(institution.outbox, view, Time(), **events)
        stack.push_async_callback(transport.close)
        yield refresher


class TestALoss:
    async def test_is_told_from_a_body_that_was_lost_alone(
        self,
        institution: Institution,
        scene: Scene,
        founded: World,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        before = await institution.record()
        institution.remember_keys()
        await scene.settle()
        behind = await institution.record()
        await scene.lose()
        await scene.come_back()
        with caplog.at_level(logging.WARNING, "ledgerd_client"):
            async with refreshing(institution, founded) as refresher:
                for record in (before, behind):
                    with pytest.raises(NotReadyError):
                        await refresher.cosigned(record)
        said = [each.getMessage() for each in caplog.records if each.name == "ledgerd_client"]
        assert said == [
            f"the node lost the body of record {before.hex()}; it is sent again",
            f"the node lost record {behind.hex()}; it is sent again",
        ]

    async def test_is_found_behind_what_is_not_cosigned_yet(
        self, institution: Institution, scene: Scene, founded: World
    ) -> None:
        first = scene.declared()
        institution.put(first, b"another's, so that it is asked for by its index")
        institution.remember_keys()
        await scene.settle()
        behind = await institution.record()
        await scene.lose()
        await scene.come_back()
        placed = await scene.node.append(first)
        assert placed is not None
        institution.receive(first, placed.index)
        async with refreshing(institution, founded) as refresher:
            await refresher.look()
        states = {row.record_id: row.state for row in institution.outbox.list(limit=9)}
        assert states == {first.facts.record_id: "recorded", behind: "queued"}

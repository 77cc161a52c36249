"""Two real nodes over real directories, one of which loses what it had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builders import Border
from nodes import Side
from peer.sides import Clock, rounds
from stateful.node import Acknowledged, MortalNode

from ledgerd.recovery import collecting, declaring, restoring
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.errors import LedgerError, NotFoundError
from ledgerd_client.core.header import Header
from ledgerd_client.core.record import Admitted
from ledgerd_client.keyfile import read_file
from ledgerd_client.loss_request import LossRequest


@dataclass
class Scene:
    """The mainland's node is the one that loses; side is its authority's."""

    side: Side
    node: MortalNode
    peer: MortalNode
    border: Border
    clock: Clock

    @property
    def nodes(self) -> tuple[MortalNode, MortalNode]:
        return self.node, self.peer

    @property
    def data(self) -> Path:
        return self.node.config.data

    # -- the ordinary course of things --------------------------------------------------------

    async def settle(self) -> None:
        """Let the interval between anchors pass, and both do all that there is to do."""
        self.clock.advance(seconds=5)
        await rounds(self.peer, self.node, count=4)
        for node in self.nodes:
            await node.standing.write_mark()

    async def meet(self) -> None:
        """As settle, whatever keeps either from it."""
        self.clock.advance(seconds=5)
        for _ in range(4):
            for node in (self.peer, self.node):
                for step in (node.peer.monitor.step, node.peer.submitter.step):
                    with suppress(LedgerError):
                        await step()

    def instance_of(self, copy: Path) -> bytes:
        with closing(LmdbStore.open(copy, readonly=True)) as store:
            return store.instance

    def declared(self, transfer: pb.Transfer | None = None) -> Admitted:
        return self.node.by(self.border.exporter, transfer=transfer or self.border.transfer())

    async def declare(self, transfer: pb.Transfer | None = None) -> Acknowledged:
        """The mainland's institution states a transfer."""
        acknowledged = await self.node.append(self.declared(transfer))
        assert acknowledged is not None, self.node.standing.refusal
        return acknowledged

    async def acknowledge(self, transfer: pb.Transfer) -> Acknowledged:
        item = self.peer.by(self.border.recipient, ack=self.border.ack(transfer))
        acknowledged = await self.peer.append(item)
        assert acknowledged is not None
        return acknowledged

    @property
    def size(self) -> int:
        return self.node.reader.head().size

    @property
    def refusal(self) -> str:
        refusal = self.node.standing.refusal
        return refusal.reason if refusal is not None else ""

    def kinds(self, start: int) -> list[str]:
        """What the records of the entries from start on are; "lost" of those whose bodies are."""
        return [self._kind(index) for index in range(start, self.size)]

    def _kind(self, index: int) -> str:
        try:
            body = self.node.reader.entry(index)[1]
        except NotFoundError as error:
            return {"BODY_LOST": "lost"}[error.reason]
        return pb.Body.FromString(body).WhichOneof("record") or ""

    # -- what goes wrong ----------------------------------------------------------------------

    async def copy_store(self) -> Path:
        """A backup of the store as it is."""
        await self.node.close()
        copy = self.data.parent / f"backup-{self.clock.now}"
        shutil.copytree(self.node.config.store, copy)
        await self.node.open()
        return copy

    async def lose(self, *names: str) -> None:
        """The node is gone, and so is what its data directory held; or only what is named."""
        await self.node.close()
        for path in list(self.data.iterdir()):
            if not names or path.name in names:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    # -- the way back -------------------------------------------------------------------------

    @property
    def how(self) -> dict[str, Any]:
        return {"clock": self.clock, "random": os.urandom}

    def restore(self, copy: Path, of: MortalNode | None = None) -> int:
        return restoring.restore((of or self.node).config, copy, **self.how)

    async def recover(self, *copies: Path) -> collecting.Found:
        return await collecting.recover(self.node.config, self.node.wire, copies, **self.how)

    async def request(self) -> LossRequest:
        out = self.data / "loss-request.json"
        out.unlink(missing_ok=True)
        await declaring.request_loss(self.node.config, out, **self.how)
        return LossRequest.parse(read_file(out))

    def approve(self, request: LossRequest) -> Approval:
        return self.side.authority.declare_loss(request, now=datetime.now(UTC))

    async def declare_loss(self, approval: Approval, also: Sequence[Approval] = ()) -> int:
        config, wire = self.node.config, self.node.wire
        return await declaring.declare(config, approval, wire, also, **self.how)

    async def come_back(self, *copies: Path, also: Sequence[Approval] = ()) -> None:
        """All of it, and the node serves again."""
        await self.recover(*copies)
        await self.declare_loss(self.approve(await self.request()), also)
        await self.node.open()

    async def give_back(self, institution: str, bodies: Iterable[bytes]) -> None:
        async with collecting.opened(self.node.config, **self.how) as recovery:
            for body in bodies:
                await recovery.bodies.give_back(institution, body)

    async def missing(self) -> list[Header]:
        async with collecting.opened(self.node.config, **self.how) as recovery:
            return list(recovery.bodies.missing())

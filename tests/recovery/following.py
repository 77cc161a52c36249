"""A standby of the scene's node, and how it follows and takes over, step by step."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from recovery.scene import Scene
from stateful.node import MortalNode

from ledgerd.api.standby import StandbyHandlers
from ledgerd.api.tailing import Desk
from ledgerd.config import Config
from ledgerd.ledger.answers import Answers
from ledgerd.ledger.replicated import Standby
from ledgerd.mirror.follower import Follower
from ledgerd.mirror.store import MirrorStore
from ledgerd.observe.notify import Notifier
from ledgerd.standby.following import check_log_key_elsewhere, follow
from ledgerd.standby.promoting import promote, request_promotion
from ledgerd.standby.telling import Course
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.chain import SignatureCheck, check_signatures
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.keyfile import read_file
from ledgerd_client.loss_request import LossRequest

AT_ONCE = 1000


@dataclass
class InProcess:
    """A Way to a node that runs here: through its own handlers."""

    node: MortalNode
    held: bytes = b""
    # After how many entries of the own log it breaks off.
    cut_after: int | None = None
    told: Standby = field(default_factory=lambda: Standby(None))

    async def follow(self, request: pb.FollowRequest) -> AsyncGenerator[pb.FollowResponse, None]:
        node = self.node
        desk = Desk(
            origin=node.origin,
            peer_origin=node.peer.replica.origin,
            answers=Answers(
                node.dying, lambda note: open_log_checkpoint(note, node.keyring.history).checkpoint
            ),
            replica=node.peer.replica,
            grants=None,  # type: ignore[arg-type] # nobody is asked for one
            recorder=None,  # type: ignore[arg-type] # nothing is recorded
            in_thread=_at_once,
            suspect=node.standing.shown,
        )
        # It never rests: there is something, or there was at the start.
        self.told.grown(1 << 60)
        asked = pb.ReplicateRequest(origin=request.origin, start=request.start, held=self.held)
        number = 0
        async for reply in StandbyHandlers(desk, self.told).Replicate(asked, None):  # type: ignore[arg-type]
            if reply.page.checkpoint:
                yield reply.page
            for first, entry in enumerate(reply.page.entries, reply.page.first):
                if not request.origin and number == self.cut_after:
                    return
                number += 1
                yield pb.FollowResponse(first=first, entries=[entry])


async def _at_once(function, *args):  # type: ignore[no-untyped-def] # any function
    return function(*args)


async def check(checks: list[SignatureCheck]) -> None:
    check_signatures(checks)


async def nothing() -> None:
    """Before a step."""


@dataclass
class Following:
    """A standby of the scene's node, in a directory of its own; promoted: the node on it."""

    scene: Scene
    home: Path
    config: Config
    promoted: MortalNode | None = None

    @classmethod
    def make(cls, scene: Scene, home: Path) -> Following:
        """It has the node's configuration, its trust file and its entry key."""
        primary = scene.node.config.data.parent
        shutil.copytree(
            primary, home, ignore=shutil.ignore_patterns("data", "log.key", "cosigner.key")
        )
        return cls(scene, home, Config.load(home / "node.toml"))

    async def step(self, *, cut_after: int | None = None, at_once: int = AT_ONCE) -> int:
        """Come into step with the node; returns how many entries are under a checkpoint here."""
        way = InProcess(self.scene.node, cut_after=cut_after)
        with closing(MirrorStore(self.config.data, self.config.origin, os.urandom)) as store:
            follower = Follower(
                store, way, self.scene.node.trust, check=check, progress=lambda *_: None,
                at_once=at_once,
            )  # fmt: skip
            try:
                with suppress(LedgerError):
                    await follower.step()
            finally:
                await follower.close()
            return follower.head.size

    async def follow(self) -> None:
        """As `ledgerd standby --once` does."""
        trust = self.scene.node.trust
        with closing(MirrorStore(self.config.data, self.config.origin, os.urandom)) as store:
            follower = Follower(
                store, InProcess(self.scene.node), trust, check=check, progress=lambda *_: None,
                at_once=AT_ONCE,
            )  # fmt: skip
            try:
                await follow(
                    follower,
                    Course(follower, Notifier.from_environment()),
                    before=nothing,
                    check_keys=lambda: check_log_key_elsewhere(self.config, store, trust),
                    once=True,
                    say=lambda _error: None,
                )
            finally:
                await follower.close()

    async def request(self) -> LossRequest:
        (self.home / "loss.json").unlink(missing_ok=True)
        return await self.ask()

    async def ask(self) -> LossRequest:
        """As request, whatever was asked before."""
        out = self.home / "loss.json"
        await request_promotion(self.config, out, self.scene.node.wire, random=os.urandom)
        return LossRequest.parse(read_file(out))

    async def take(self, approval: Approval) -> int:
        return await promote(self.config, approval, self.scene.node.wire, **self.scene.how)

    async def approval(self) -> Approval:
        return self.scene.approve(await self.request())

    async def take_over(self) -> MortalNode:
        """The node is gone; the standby goes on, not confirmed yet."""
        await self.scene.node.close()
        await self.take(await self.approval())
        return await self.open()

    async def open(self) -> MortalNode:
        """Start the promoted node, where the peer now looks for its peer."""
        scene = self.scene
        node = self.promoted = MortalNode(self.home, scene.side, scene.clock, scene.node.wire)
        await node.open()
        scene.peer.wire.other = node
        return node

    async def meet(self) -> None:
        """Let promoted node and peer do all that there is to do."""
        assert self.promoted is not None
        self.scene.clock.advance(seconds=5)
        for _ in range(4):
            for node in (self.scene.peer, self.promoted):
                for step in (node.peer.monitor.step, node.peer.submitter.step):
                    with suppress(LedgerError):
                        await step()

    def refusal(self) -> str:
        assert self.promoted is not None
        refusal = self.promoted.standing.refusal
        return refusal.reason if refusal else ""


def cosigned(node: MortalNode) -> int:
    """What the peer vouches for of a node's log."""
    note = node.wire.reached.peer.witness.cosigned()
    return Checkpoint.parse(parse_note(note).text).size if note else 0

"""
A standby that takes over: with all that it holds, and never beside the node that it followed.

Of two that could append one is cosigned: the peer, which has seen either the old node go on or the
LOSS, decides, and the other one stops and says why.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from recovery.following import Following, InProcess, cosigned
from recovery.scene import Scene
from stateful.node import MortalNode

from ledgerd.config import Standby
from ledgerd.ledger.standing import REPLACED_FILE
from ledgerd.mirror.store import MirrorStore
from ledgerd.peer.replaced import find_foreign_loss
from ledgerd.recovery import restoring
from ledgerd.standby.following import check_log_key_elsewhere, stand_by
from ledgerd.store.lock import DirectoryLock
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import FieldError, InputError, LedgerError, NotReadyError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.transfer import ref_of
from ledgerd_client.keyfile import KeyFile


class TestFollowing:
    async def test_holds_what_the_node_has(self, scene: Scene, following: Following) -> None:
        await scene.declare()
        assert await following.step() == scene.size

    async def test_what_it_holds_is_under_a_checkpoint(
        self, scene: Scene, following: Following
    ) -> None:
        """A step that is cut leaves nothing behind: else what it holds could not be gone on with."""
        before = await following.step()
        for _ in range(10):
            scene.clock.advance(seconds=1)
            await scene.declare()
        await following.step(cut_after=7)
        await scene.node.close()
        assert (await following.request()).end.size == before

    async def test_the_node_hears_what_is_held_by_its_own_signature(
        self, scene: Scene, following: Following
    ) -> None:
        way = InProcess(scene.node, held=scene.node.reader.head().checkpoint)
        async for _ in way.follow(pb.FollowRequest()):
            pass
        assert way.told.held == scene.size

    async def test_a_standby_of_another_history_holds_nothing_of_this(
        self, scene: Scene, following: Following
    ) -> None:
        way = InProcess(scene.node, held=scene.peer.reader.head().checkpoint)
        with pytest.raises(InputError):
            async for _ in way.follow(pb.FollowRequest()):
                pass
        assert way.told.held == 0

    async def test_must_not_hold_the_log_key(self, scene: Scene, following: Following) -> None:
        key = KeyFile(scene.node.keys.log).format()
        path = following.config.keys.log
        path.write_bytes(key)
        path.chmod(0o600)
        store = MirrorStore(following.config.data, following.config.origin, os.urandom)
        with closing(store), pytest.raises(FieldError) as caught:
            check_log_key_elsewhere(following.config, store, scene.node.trust)
        assert caught.value.reason == "LOG_KEY_HERE"

    async def test_must_not_hold_the_log_key_at_its_first_start(
        self, scene: Scene, tmp_path: Path
    ) -> None:
        """Which key that is, an empty directory does not tell yet."""
        fresh = Following.make(scene, tmp_path / "fresh")
        shutil.copy2(scene.node.config.keys.log, fresh.config.keys.log)
        with pytest.raises(FieldError) as caught:
            await fresh.follow()
        assert caught.value.reason == "LOG_KEY_HERE"

    async def test_a_nodes_own_ledger_is_no_standby(self, scene: Scene) -> None:
        await scene.node.close()
        with pytest.raises(InputError) as caught:
            MirrorStore(scene.data, scene.node.origin, os.urandom)
        assert caught.value.reason == "STORE_EXISTS"


class TestNotPromoted:
    async def test_nobody_appends_to_it(self, scene: Scene, following: Following) -> None:
        await scene.node.close()
        for key in ("log", "cosigner"):
            name = scene.node.config.data.parent / "keys" / f"{key}.key"
            shutil.copy2(name, getattr(following.config.keys, key))
        with pytest.raises(NotReadyError) as caught:
            await following.open()
        assert caught.value.reason == "STANDBY"

    async def test_nobody_restores_from_it(self, scene: Scene, following: Following) -> None:
        await scene.lose()
        with pytest.raises(NotReadyError) as caught:
            restoring.restore(scene.node.config, following.config.store, **scene.how)
        assert caught.value.reason == "STANDBY"

    async def test_its_unit_tries_again_while_another_process_has_it(
        self, scene: Scene, following: Following
    ) -> None:
        with DirectoryLock(following.config.data):
            code, said = await stood_by(following)
        assert (code, said.count("ALREADY_SERVED")) == (1, 1)


class TestPromoted:
    async def test_keeps_what_the_peer_never_saw(self, scene: Scene, following: Following) -> None:
        acknowledged = await scene.declare()
        await following.step()
        node = await following.take_over()
        assert node.reader.header(acknowledged.index) == acknowledged.header

    async def test_takes_no_appends_at_first(self, following: Following) -> None:
        await following.take_over()
        assert following.refusal() == "UNCONFIRMED"

    async def test_takes_none_on_the_peers_word_about_what_came_before(
        self, scene: Scene, following: Following
    ) -> None:
        """The peer may cosign the old node yet: only a cosigned LOSS ends that."""
        node = await following.take_over()
        with suppress(LedgerError):
            await node.peer.submitter.step()
        await node.peer.monitor.step()
        assert following.refusal() == "UNCONFIRMED"

    async def test_takes_them_once_the_peer_has_cosigned_the_loss(
        self, following: Following
    ) -> None:
        await following.take_over()
        await following.meet()
        assert following.refusal() == ""

    async def test_takes_them_where_an_older_node_was_replaced(self, following: Following) -> None:
        """Its directory was emptied of the store alone, to make it the next standby."""
        (following.config.data / REPLACED_FILE).write_bytes(b"a LOSS")
        await following.take_over()
        await following.meet()
        assert following.refusal() == ""

    async def test_is_cosigned_from_then_on(self, scene: Scene, following: Following) -> None:
        node = await following.take_over()
        await following.meet()
        assert await node.append(node.by(scene.border.exporter, transfer=scene.border.transfer()))
        await following.meet()
        assert cosigned(node) == node.reader.head().size

    async def test_passes_the_audit(self, scene: Scene, following: Following) -> None:
        await scene.declare()
        await following.step()
        node = await following.take_over()
        await following.meet()
        node.audit()

    async def test_matches_what_was_open(self, scene: Scene, following: Following) -> None:
        transfer = scene.border.transfer()
        await scene.declare(transfer)
        await following.step()
        node = await following.take_over()
        await scene.acknowledge(transfer)
        await following.meet()
        await following.meet()
        ref = ref_of(body_pb2.Terms.FromString(transfer.terms))
        assert node.reader.transfer(ref).state.name == "MATCHED"

    async def test_is_no_standby_any_more(self, following: Following) -> None:
        node = await following.take_over()
        await node.close()
        with pytest.raises(InputError) as caught:
            MirrorStore(following.config.data, following.config.origin, os.urandom)
        assert caught.value.reason == "STORE_EXISTS"

    @pytest.fixture
    async def cut_short(self, scene: Scene, following: Following) -> Approval:
        """The LOSS is in its log, and nothing else was done yet."""
        await scene.node.close()
        approval = await following.approval()
        wire, scene.node.wire.other = scene.node.wire.other, _OnceThere(scene.node.wire.other)
        with pytest.raises(_GoneError):
            await following.take(approval)
        scene.node.wire.other = wire
        return approval

    async def test_cut_short_is_promoted_again(
        self, following: Following, cut_short: Approval
    ) -> None:
        await following.take(cut_short)
        await following.open()
        await following.meet()
        assert following.refusal() == ""

    async def test_cut_short_it_follows_nobody(
        self, following: Following, cut_short: Approval
    ) -> None:
        """The LOSS, with which its new key has signed a tree, would be written over."""
        primary = Standby(primary="127.0.0.1:1")
        config = following.config.model_copy(update={"standby": primary})
        with pytest.raises(NotReadyError) as caught:
            await stand_by(config, once=True, progress=lambda *_: None, say=lambda _error: None)
        assert caught.value.reason == "PROMOTION_BEGUN"

    async def test_cut_short_it_is_left_alone_by_its_unit(
        self, following: Following, cut_short: Approval
    ) -> None:
        code, said = await stood_by(following)
        assert (code, said.count("PROMOTION_BEGUN")) == (70, 1)

    async def test_cut_short_it_asks_for_no_other_loss(
        self, following: Following, cut_short: Approval
    ) -> None:
        with pytest.raises(NotReadyError) as caught:
            await following.request()
        assert caught.value.reason == "PROMOTION_BEGUN"

    async def test_promoted_already_it_says_how_large_it_is(
        self, scene: Scene, following: Following
    ) -> None:
        await scene.node.close()
        approval = await following.approval()
        size = await following.take(approval)
        assert await following.take(approval) == size

    async def test_takes_a_loss_once(self, scene: Scene, following: Following) -> None:
        """From a copy of its directory it would sign a second tree by the new key."""
        await scene.node.close()
        approval = await following.approval()
        shutil.copytree(following.config.data, following.home / "before")
        await following.take(approval)
        shutil.rmtree(following.config.data)
        (following.home / "before").rename(following.config.data)
        with pytest.raises(FieldError) as caught:
            await following.take(approval)
        assert caught.value.reason == "WRONG_KEYS"


class TestTheFence:
    async def test_what_the_peer_has_cosigned_beyond_it_is_never_given_up(
        self, scene: Scene, following: Following
    ) -> None:
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        with pytest.raises(NotReadyError) as caught:
            await following.request()
        assert caught.value.reason == "STANDBY_BEHIND"

    async def test_nor_what_it_has_cosigned_since_the_request(
        self, scene: Scene, following: Following
    ) -> None:
        approval = await following.approval()
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        with pytest.raises(NotReadyError) as caught:
            await following.take(approval)
        assert caught.value.reason == "STANDBY_BEHIND"

    async def test_where_the_old_node_is_cosigned_first_the_new_one_takes_nothing(
        self, scene: Scene, following: Following
    ) -> None:
        approval = await following.approval()
        await following.take(approval)
        await scene.declare()
        await scene.settle()
        await scene.node.close()
        await following.open()
        await following.meet()
        assert (following.refusal(), cosigned(scene.node)) == ("UNCONFIRMED", scene_size(scene))

    async def test_where_the_new_one_is_cosigned_first_the_old_node_never_is(
        self, scene: Scene, following: Following
    ) -> None:
        node = await following.take_over()
        await following.meet()
        before = cosigned(node)
        await scene.node.open()
        await scene.declare()
        await scene.meet()
        assert cosigned(scene.node) == before

    async def test_and_it_stops_and_says_why(self, scene: Scene, following: Following) -> None:
        await following.take_over()
        await following.meet()
        await scene.node.open()
        await scene.declare()
        await scene.meet()
        assert scene.refusal == "REPLACED"

    async def test_after_another_start_too(self, scene: Scene, following: Following) -> None:
        await following.take_over()
        await following.meet()
        await scene.node.open()
        await scene.meet()
        await scene.node.reopen()
        assert scene.refusal == "REPLACED"

    async def test_a_loss_that_nobody_took_stops_nobody(
        self, scene: Scene, following: Following
    ) -> None:
        """Approved, and the old node went on: it is in no log that the peer has cosigned."""
        await following.approval()
        await scene.declare()
        await scene.meet()
        assert scene.refusal == ""


class TestWhoeverSaysThatTheLogGoesOnElsewhere:
    """The peer shows the old node a LOSS; it is believed if nobody else can have made it."""

    @pytest.fixture
    async def shown(self, scene: Scene, following: Following) -> list[pb.ListReplicaResponse]:
        before = scene.node.keyring.history
        await following.take_over()
        await following.meet()
        assert not before.losses()
        return [message async for message in scene.node.wire.list_replica(0)]

    async def found(self, scene: Scene, shown: list[pb.ListReplicaResponse]) -> bytes:
        async def messages() -> AsyncGenerator[pb.ListReplicaResponse, None]:
            for message in shown:
                yield message

        return await find_foreign_loss(messages(), scene.node.keyring.history)

    async def test_shows_what_the_authority_signed(
        self, scene: Scene, shown: list[pb.ListReplicaResponse]
    ) -> None:
        assert await self.found(scene, shown)

    async def test_cannot_show_a_loss_that_nobody_took(
        self, scene: Scene, shown: list[pb.ListReplicaResponse]
    ) -> None:
        """Approved perhaps, and thrown away: no checkpoint is by its key."""
        await scene.node.open()
        shown[0].checkpoint = scene.node.reader.head().checkpoint
        assert not await self.found(scene, shown)

    async def test_cannot_make_one(self, scene: Scene, shown: list[pb.ListReplicaResponse]) -> None:
        for message in shown:
            for i, raw in enumerate(message.headers):
                header = Header.parse(raw)
                if header.kind == Kind.LOSS:
                    place = raw.index(header.signature)
                    changed = bytearray(raw)
                    changed[place] ^= 1
                    message.headers[i] = bytes(changed)
        assert not await self.found(scene, shown)


def scene_size(scene: Scene) -> int:
    note = scene.peer.peer.replica.newest()[1]
    return Checkpoint.parse(parse_note(note).text).size


async def stood_by(following: Following) -> tuple[int | None, str]:
    """With what the command ends that its unit runs, and what it says."""
    toml = following.home / "node.toml"
    toml.write_text(f'{toml.read_text()}\n[standby]\nprimary = "127.0.0.1:1"\n')
    command = [Path(sys.executable).with_name("ledgerd"), "standby", "--config", toml]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    _, said = await process.communicate()
    return process.returncode, said.decode()


class _GoneError(Exception):
    """The process ended."""


class _OnceThere:
    """A peer that answers once more, and then whoever asks is no more."""

    def __init__(self, node: MortalNode) -> None:
        self._node = node
        self._asked = 0

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def] # as the node
        if name == "peer":
            self._asked += 1
            if self._asked > 1:
                raise _GoneError
        return getattr(self._node, name)

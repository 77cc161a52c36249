"""What an authority had decided in the end of a log that is lost, and must be handed in again."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from builders import EXPORTER
from recovery.scene import Scene

from ledgerd.credentials import RETIRED, beside
from ledgerd.rotating import request_rotation
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import ConflictError, StoreError
from ledgerd_client.core.header import Header
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.identity import INSTITUTION
from ledgerd_client.node_key_request import NodeKeyRequest


def revocation(scene: Scene) -> Approval:
    """The authority revokes the exporter's key."""
    raw, body = scene.node.reader.entry(scene.border.exporter.admitted_at)
    header = Header.parse(raw)
    admission = SignedRecord(body, header.key_id, header.signature)
    admitted = Approval.of(scene.node.origin, INSTITUTION, EXPORTER, admission, None)
    now = datetime.fromtimestamp(scene.clock() / 1_000_000, UTC)
    return scene.side.authority.revoke(admitted, now=now)


async def revoke(scene: Scene) -> int:
    """It is recorded; the entry's index."""
    placed = await scene.node.append(scene.node.by_authority(revocation(scene).record))
    assert placed is not None
    return placed.index


class TestWhatACopyShowsOfTheLostEnd:
    async def test_is_what_must_be_handed_in_again(self, scene: Scene) -> None:
        await scene.settle()
        index = await revoke(scene)
        await scene.node.close()
        public = encode_base64(scene.border.exporter.key.public)
        assert (await scene.recover()).lost == (
            f"entry {index}: revoke institution {EXPORTER}, key {public}",
        )

    async def test_is_said_of_keys_of_the_node_too(self, scene: Scene) -> None:
        await scene.settle()
        await scene.node.rotate("entry")
        public = scene.node.keyring.history.key_in_force(pb.ROLE_ENTRY).public
        index = scene.size - 1
        await scene.node.close()
        assert (await scene.recover()).lost == (
            f"entry {index}: rotate entry node, key {encode_base64(public)}",
        )

    async def test_is_nothing_of_what_the_peer_has_cosigned(self, scene: Scene) -> None:
        await revoke(scene)
        await scene.settle()
        await scene.node.close()
        assert (await scene.recover()).lost == ()

    async def test_is_nothing_where_no_copy_is_left(self, scene: Scene) -> None:
        await scene.settle()
        await revoke(scene)
        await scene.lose()
        assert (await scene.recover()).lost == ()

    async def test_is_undone_until_it_is(self, scene: Scene) -> None:
        """Why it is said: the key is good again."""
        await scene.settle()
        await revoke(scene)
        await scene.lose()
        await scene.come_back()
        assert (await scene.declare()).index > 0


class TestWhatIsHandedInWithTheLoss:
    async def test_is_decided_again_before_anybody_sends(self, scene: Scene) -> None:
        await scene.settle()
        approval = revocation(scene)
        await scene.node.append(scene.node.by_authority(approval.record))
        await scene.lose()
        await scene.come_back(also=[approval])
        assert await scene.node.append(scene.declared()) is None

    async def test_stands_between_the_loss_and_the_lost_bodies(self, scene: Scene) -> None:
        await scene.declare()
        await scene.settle()
        approval = revocation(scene)
        await scene.lose()
        await scene.come_back(also=[approval])
        (loss,) = scene.node.keyring.history.losses()
        assert scene.kinds(loss.size)[:3] == ["loss", "key_event", "lost_bodies"]
        await scene.settle()
        scene.node.audit()

    async def test_that_the_log_does_not_take_stops_all_of_it(self, scene: Scene) -> None:
        await revoke(scene)
        await scene.settle()
        approval = revocation(scene)
        await scene.node.close()
        with pytest.raises(ConflictError) as refused:
            await scene.come_back(also=[approval])
        assert refused.value.reason == "KEY_REVOKED"


class TestAnEntryKeyThatWasLostAndRotatedInTheLostEnd:
    @pytest.fixture
    async def rotation(self, scene: Scene) -> Approval:
        """The old key is gone, and the entry that puts the new one in force; then the disk is."""
        await scene.settle()
        config, out = scene.node.config, scene.data / "rotation.json"
        await scene.node.close()
        request_rotation(config, "entry", out, lost=True, random=os.urandom)
        await scene.node.open()
        now = datetime.fromtimestamp(scene.clock() / 1_000_000, UTC)
        request = NodeKeyRequest.parse(out.read_bytes())
        approval = scene.side.authority.rotate_node_key(request, now=now)
        await scene.node.live_keys.prepare(approval.read_body().key_event)
        await scene.node.append(scene.node.by_authority(approval.record))
        beside(config.keys.entry, RETIRED).unlink()
        await scene.lose()
        return approval

    async def test_is_put_in_force_again(self, scene: Scene, rotation: Approval) -> None:
        await scene.come_back(also=[rotation])
        public = rotation.read_body().key_event.public_key
        assert scene.node.keyring.history.key_in_force(pb.ROLE_ENTRY).public == public

    async def test_signs_what_the_node_says(self, scene: Scene, rotation: Approval) -> None:
        await scene.come_back(also=[rotation])
        await scene.declare()
        await scene.settle()
        assert scene.node.peer.own_cosigned.size == scene.size
        scene.node.audit()

    async def test_is_asked_for_where_it_is_missing(self, scene: Scene, rotation: Approval) -> None:
        with pytest.raises(StoreError) as refused:
            await scene.come_back()
        said = refused.value.reason, "--also" in (refused.value.action or "")
        assert said == ("WRONG_KEYS", True)

    async def test_may_be_handed_in_then(self, scene: Scene, rotation: Approval) -> None:
        with pytest.raises(StoreError):
            await scene.come_back()
        await scene.come_back(also=[rotation])
        await scene.declare()

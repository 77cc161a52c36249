"""What an authority had decided in the end of a log that is lost, and must be handed in again."""

from __future__ import annotations

from datetime import UTC, datetime

from builders import EXPORTER
from recovery.scene import Scene

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.header import Header
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.identity import INSTITUTION


async def revoke(scene: Scene) -> int:
    """Revoke the exporter's key; the entry's index."""
    raw, body = scene.node.reader.entry(scene.border.exporter.admitted_at)
    header = Header.parse(raw)
    admission = SignedRecord(body, header.key_id, header.signature)
    admitted = Approval.of(scene.node.origin, INSTITUTION, EXPORTER, admission, None)
    now = datetime.fromtimestamp(scene.clock() / 1_000_000, UTC)
    revocation = scene.side.authority.revoke(admitted, now=now)
    placed = await scene.node.append(scene.node.by_authority(revocation.record))
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

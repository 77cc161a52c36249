"""A peer cosigns by another key, before this node has replayed the rotation."""

from __future__ import annotations

import pytest
from builders import new_key
from recovery.scene import Scene

from ledgerd.peer.notes import parse_known
from ledgerd_client.core.checkpoint import cosign
from ledgerd_client.core.errors import TrustError, UnavailableError
from ledgerd_client.core.note import COSIGNATURE_V1, Signer, parse_note


@pytest.fixture
async def rotated(scene: Scene) -> Scene:
    """The peer has rotated its cosigner key, and has cosigned all of our log by the new one."""
    await scene.settle()
    await scene.declare()
    await scene.peer.rotate("cosigner")
    await scene.peer.peer.monitor.step()
    return scene


class TestARotationThatIsNotReplayed:
    async def test_is_waited_for_and_told_nobody(self, rotated: Scene) -> None:
        """REPLAY_BEHIND is the ordinary course of things: it is not logged."""
        with pytest.raises(UnavailableError) as caught:
            await rotated.node.peer.submitter.step()
        assert caught.value.reason == "REPLAY_BEHIND"

    async def test_is_taken_once_it_is(self, rotated: Scene) -> None:
        size = rotated.size
        with pytest.raises(UnavailableError):
            await rotated.node.peer.submitter.step()
        rotated.clock.advance(seconds=1)
        await rotated.node.peer.monitor.step()
        await rotated.node.peer.submitter.step()
        own = rotated.node.peer.own_cosigned
        assert (own.size, own.is_fresh) == (size, True)


class TestACosignatureByAStranger:
    @pytest.fixture
    async def lied(self, scene: Scene) -> Scene:
        """Each time by another key, that no rotation ever puts in force."""
        await scene.settle()
        await scene.declare()
        honest = scene.peer.peer.witness

        async def lie(old_size: int, proof: list[bytes], note: bytes) -> str:
            stranger = Signer(scene.peer.origin, COSIGNATURE_V1, new_key())
            return cosign(parse_known(note).checkpoint, stranger, 1_790_000_000).format()

        scene.node.wire.add_checkpoint = lie  # type: ignore[method-assign] # the peer's lie
        assert honest.cosigned_size < scene.size
        return scene

    async def test_is_told_when_the_peers_log_was_fetched_since_and_has_no_such_key(
        self, lied: Scene
    ) -> None:
        with pytest.raises(UnavailableError):
            await lied.node.peer.submitter.step()
        lied.clock.advance(seconds=1)
        await lied.node.peer.monitor.step()
        with pytest.raises(TrustError) as caught:
            await lied.node.peer.submitter.step()
        assert caught.value.reason == "NOT_TRUSTED"

    async def test_is_never_taken(self, lied: Scene) -> None:
        before = lied.node.peer.own_cosigned.newest()
        await lied.meet()
        assert lied.node.peer.own_cosigned.newest() == before


class TestACheckpointWithoutACosignature:
    async def test_is_told_at_once(self, scene: Scene) -> None:
        note = scene.node.reader.head().checkpoint
        assert len(parse_note(note).signatures) == 1
        with pytest.raises(TrustError):
            await scene.node.peer.own_cosigned.take(note)

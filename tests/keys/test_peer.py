"""What the peer makes of rotations in the log that it follows, and of keys that are lost."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders import new_border, new_key
from peer.conftest import Watch
from peer.sides import Clock, FakePeer, Side

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.note import COSIGNATURE_V1, Signer, parse_note

LOG, ENTRY, COSIGNER = pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER
RULES = pb.RuleSet(version="2026-08", digest=bytes(32))


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    """A side that has cosigned what its peer's log held until now."""
    border, clock = new_border(), Clock()
    peer = FakePeer(border.hong_kong)
    side = Side(tmp_path, border.mainland, border.hong_kong, clock, peer)
    await side.open()
    await side.peer.monitor.step()
    yield Watch(side, peer, border, clock)
    await side.close()


async def cosigned(watch: Watch) -> bool:
    """Whether the newest checkpoint is cosigned after another round."""
    try:
        await watch.side.peer.monitor.step()
    except LedgerError:
        return False
    return watch.side.peer.witness.cosigned_size == len(watch.peer.log.entries)


class TestARotationOfTheLogKey:
    async def test_with_both_signatures_is_cosigned(self, watch: Watch) -> None:
        old = watch.peer.log.log_key
        watch.peer.log.rotate(LOG)
        watch.peer.note = watch.peer.log.checkpoint(also=[old])
        assert await cosigned(watch)

    async def test_with_the_new_signature_alone_is_not(self, watch: Watch) -> None:
        watch.peer.log.rotate(LOG)
        with pytest.raises(LedgerError) as refused:
            await watch.side.peer.monitor.step()
        assert refused.value.reason == "ONE_SIGNATURE"

    async def test_with_the_old_signature_alone_is_not(self, watch: Watch) -> None:
        log = watch.peer.log
        old = log.log_key
        log.rotate(LOG)
        watch.peer.note = replace(log, log_key=old).checkpoint()
        assert not await cosigned(watch)

    async def test_may_come_with_others_in_one_page(self, watch: Watch) -> None:
        log = watch.peer.log
        old = [log.log_key]
        log.rotate(LOG)
        log.by_node(rule_set=RULES)
        old.append(log.log_key)
        log.rotate(LOG)
        watch.peer.note = log.checkpoint(also=old)
        assert await cosigned(watch)

    async def test_once_cosigned_needs_one_signature(self, watch: Watch) -> None:
        log, old = watch.peer.log, watch.peer.log.log_key
        log.rotate(LOG)
        watch.peer.note = log.checkpoint(also=[old])
        await watch.side.peer.monitor.step()
        watch.peer.note = None
        log.by_node(rule_set=RULES)
        assert await cosigned(watch)

    async def test_of_a_lost_key_needs_one_signature(self, watch: Watch) -> None:
        watch.peer.log.rotate(LOG, lost=True)
        assert await cosigned(watch)

    async def test_is_kept_with_both_signatures(self, watch: Watch) -> None:
        old = watch.peer.log.log_key
        watch.peer.log.rotate(LOG)
        watch.peer.note = watch.peer.log.checkpoint(also=[old])
        await watch.side.peer.monitor.step()
        lines = parse_note(watch.side.peer.witness.cosigned()).signatures
        assert len(lines) == 3

    async def test_that_was_refused_is_taken_when_it_comes_as_it_should(self, watch: Watch) -> None:
        old = watch.peer.log.log_key
        watch.peer.log.rotate(LOG)
        refused = await cosigned(watch)
        watch.peer.note = watch.peer.log.checkpoint(also=[old])
        assert (refused, await cosigned(watch)) == (False, True)

    async def test_by_whoever_stole_the_key_counts_for_nothing(self, watch: Watch) -> None:
        log, thief = watch.peer.log, new_key()
        log.by_node(rule_set=RULES)
        watch.peer.note = replace(log, log_key=thief).checkpoint()
        assert not await cosigned(watch)


class TestAWitnessThatHasForgotten:
    """It may have cosigned the rotation, after which the old key signs no more."""

    @pytest.fixture
    async def forgetful(self, watch: Watch) -> Watch:
        """An older copy of what the witness knows was put back, and its cosigner replaced."""
        log, data = watch.peer.log, watch.side.directory
        await watch.side.reopen()
        copy = shutil.copytree(data / "peer", data / "copy")
        old = log.log_key
        log.rotate(LOG)
        watch.peer.note = log.checkpoint(also=[old])
        watch.clock.advance(seconds=5)
        await watch.side.peer.monitor.step()
        await watch.side.close()
        shutil.rmtree(data / "peer")
        copy.rename(data / "peer")
        await watch.side.open()
        watch.side.peer.cosign_by(Signer(watch.side.log.origin, COSIGNATURE_V1, new_key()))
        log.by_node(rule_set=RULES)
        watch.peer.note = None
        return watch

    async def test_takes_one_signature_on_it(self, forgetful: Watch) -> None:
        assert await cosigned(forgetful)

    async def test_needs_both_of_the_next(self, forgetful: Watch) -> None:
        await forgetful.side.peer.monitor.step()
        forgetful.peer.log.rotate(LOG)
        with pytest.raises(LedgerError) as refused:
            await forgetful.side.peer.monitor.step()
        assert refused.value.reason == "ONE_SIGNATURE"


class TestTheFirstLook:
    async def test_takes_a_log_that_was_rotated_long_ago(self, tmp_path: Path) -> None:
        border, clock = new_border(), Clock()
        border.hong_kong.rotate(LOG)
        border.hong_kong.by_node(rule_set=RULES)
        side = Side(tmp_path, border.mainland, border.hong_kong, clock, FakePeer(border.hong_kong))
        await side.open()
        await side.peer.monitor.step()
        assert side.peer.witness.cosigned_size == len(border.hong_kong.entries)
        await side.close()


class TestALoss:
    async def test_in_force_brings_its_own_key(self, watch: Watch) -> None:
        watch.peer.log.lose()
        assert await cosigned(watch)

    async def test_of_another_tree_is_not_cosigned(self, watch: Watch) -> None:
        log = watch.peer.log
        log.by_authority(loss=log.loss(root=bytes(32)))
        assert not await cosigned(watch)


class TestOtherRotations:
    @pytest.mark.parametrize("role", [ENTRY, COSIGNER, pb.ROLE_AUTHORITY])
    async def test_need_one_signature(self, watch: Watch, role: int) -> None:
        watch.peer.log.rotate(role)
        watch.peer.log.by_node(rule_set=RULES)
        assert await cosigned(watch)

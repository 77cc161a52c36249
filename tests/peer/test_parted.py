"""Headers that do not go on from what is replayed: a peer that forked shows it by a proof."""

from __future__ import annotations

from contextlib import suppress

import pytest
from builders import Log
from peer.conftest import Watch
from peer.sides import fork_of
from peer.test_inquest import grow, replayed, rounds

from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ForkError, LedgerError
from ledgerd_client.core.evidence import Evidence


def fork(watch: Watch, at: int, size: int) -> Log:
    """Another history of the peer's log from an entry on, which it shows from now on."""
    log, honest = fork_of(watch.peer.log, at), watch.peer.log
    watch.peer.log = log
    grow(watch, size)
    watch.peer.log = honest
    watch.peer.entries, watch.peer.note, watch.peer.proves = log.entries, log.checkpoint(), log
    return log


def refused(watch: Watch) -> list[bytes]:
    return [refusal.note for refusal in watch.side.peer.witness.refused()]


class TestAForkThatIsLargerThanWhatIsReplayed:
    @pytest.mark.parametrize(
        ("held", "at", "size"), [(8, 6, 12), (8, 6, 9), (9, 8, 16), (300, 255, 600), (300, 3, 301)]
    )
    async def test_is_evidence_that_anybody_can_verify(
        self, watch: Watch, held: int, at: int, size: int
    ) -> None:
        await replayed(watch, held)
        fork(watch, at, size)
        with pytest.raises(ForkError):
            await watch.side.peer.monitor.step()
        (bundle,) = watch.side.bundles
        smaller, larger = Evidence.parse(bundle).verify(watch.peer.log.history())
        assert (smaller.size, larger.size) == (held, size)

    async def test_stops_cosigning_at_once(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork(watch, 6, 12)
        await rounds(watch, 1)
        assert watch.side.peer.status().latched

    async def test_is_told_as_such_in_every_round(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork(watch, 6, 12)
        await rounds(watch)
        with pytest.raises(ForkError):
            await watch.side.peer.monitor.step()
        assert len(watch.side.bundles) == 1

    async def test_leaves_the_replica_as_it_was(self, watch: Watch) -> None:
        await replayed(watch, 8)
        before = watch.side.held()[Table.HEADERS]
        fork(watch, 6, 12)
        await rounds(watch)
        assert watch.side.held()[Table.HEADERS] == before


class TestAPeerThatDoesNotShowIt:
    @pytest.fixture(autouse=True)
    async def forked(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork(watch, 6, 12)

    async def test_is_not_accused(self, watch: Watch) -> None:
        watch.peer.proves_nothing = True
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_has_its_checkpoint_kept_once(self, watch: Watch) -> None:
        watch.peer.proves_nothing = True
        await rounds(watch)
        assert refused(watch) == [watch.peer.note]

    async def test_has_it_kept_too_where_it_proves_another_tree(self, watch: Watch) -> None:
        watch.peer.proves = fork_of(watch.peer.log, 8)
        grow(watch, 12)
        watch.peer.proves = watch.peer.log
        await rounds(watch)
        assert (refused(watch), watch.side.bundles) == ([watch.peer.note], [])

    async def test_is_accused_once_it_does(self, watch: Watch) -> None:
        watch.peer.proves_nothing = True
        await rounds(watch)
        watch.peer.proves_nothing = False
        await rounds(watch)
        assert len(watch.side.bundles) == 1


class TestAnHonestPeer:
    """Whatever else breaks a stream: its tree holds what is replayed."""

    async def test_is_not_accused_for_a_header_that_was_changed_on_the_way(
        self, watch: Watch
    ) -> None:
        await replayed(watch, 8)
        grow(watch, 12)
        entries = list(watch.peer.log.entries)
        entries[9] = (entries[9][0][:-1] + b"x", entries[9][1])
        watch.peer.entries = entries
        await rounds(watch)
        assert (watch.side.bundles, refused(watch)) == ([], [])

    async def test_is_not_accused_for_an_answer_of_another_size(self, watch: Watch) -> None:
        await replayed(watch, 8)
        grow(watch, 12)
        entries, watch.peer.note = list(watch.peer.log.entries), watch.peer.log.checkpoint()
        entries[9], entries[10] = entries[10], entries[9]
        watch.peer.entries, watch.peer.proves = entries, fork_of(watch.peer.log, 10)
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_is_not_accused_for_what_a_loss_gave_up(self, watch: Watch) -> None:
        await replayed(watch, 8)
        log = fork_of(watch.peer.log, 6)
        log.lose()
        watch.peer.log = log
        grow(watch, 12)
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_is_not_accused_by_a_key_that_was_stolen(self, watch: Watch) -> None:
        await replayed(watch, 8)
        old = watch.peer.log.log_key
        thief = fork(watch, 6, 12)
        watch.peer.entries = watch.peer.note = watch.peer.proves = None
        watch.peer.log.rotate(pb.ROLE_LOG, compromised_since=watch.clock())
        watch.peer.note = watch.peer.log.checkpoint(also=[old])
        await watch.side.peer.monitor.step()
        watch.peer.entries, watch.peer.note = thief.entries, thief.checkpoint()
        watch.peer.proves = thief
        with suppress(LedgerError):
            await watch.side.peer.monitor.step()
        assert watch.side.bundles == []

    async def test_is_not_accused_by_a_replica_of_ours_that_is_old(self, watch: Watch) -> None:
        await replayed(watch, 8)
        known = watch.side.peer.replica.verified
        await replayed(watch, 12)
        await watch.side.peer.replica.go_back(known)
        grow(watch, 16)
        await rounds(watch)
        assert (watch.side.bundles, watch.side.peer.replica.verified_size) == ([], 16)

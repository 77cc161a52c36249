"""What the peer asked for in vain is kept, within bounds; and what a client saw of the peer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import pytest
from builders import START, Log, new_key
from peer.conftest import Watch
from peer.sides import fork_of
from peer.test_inquest import grow, replayed, rounds
from peer.test_witness import proof

from ledgerd.peer.notes import parse_known
from ledgerd.peer.refused import FIRST, KEPT
from ledgerd.peer.spent import Spent
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import LedgerError, UnavailableError
from ledgerd_client.core.note import ED25519, Signer


async def ask(watch: Watch, note: bytes, old: int = 8, proof: list[bytes] | None = None) -> None:
    with suppress(LedgerError):
        await watch.side.peer.witness.add_checkpoint(old, proof or [], note)


def forked(watch: Watch, at: int, size: int) -> Log:
    """The peer's log with another history from an entry on."""
    log, honest = fork_of(watch.peer.log, at), watch.peer.log
    watch.peer.log = log
    grow(watch, size)
    watch.peer.log = honest
    return log


class TestRefusedRequests:
    @pytest.fixture(autouse=True)
    async def at_eight(self, watch: Watch) -> None:
        await replayed(watch, 8)

    def reasons(self, watch: Watch) -> list[str]:
        return [refusal.reason for refusal in watch.side.peer.witness.refused()]

    async def test_from_a_size_that_we_have_yet_to_cosign_are_kept(self, watch: Watch) -> None:
        grow(watch, 9)
        await ask(watch, watch.peer.log.checkpoint(), old=9)
        assert self.reasons(watch) == ["SIZE_CONFLICT"]

    async def test_from_a_size_that_we_have_cosigned_beyond_are_not_kept(
        self, watch: Watch
    ) -> None:
        """An honest peer asks so while we cosign what we have replayed."""
        await ask(watch, watch.peer.log.checkpoint(), old=7)
        assert self.reasons(watch) == []

    async def test_with_a_proof_that_fails_are_kept(self, watch: Watch) -> None:
        grow(watch, 9)
        await ask(watch, watch.peer.log.checkpoint(), proof=[bytes(32)])
        assert self.reasons(watch) == ["BAD_PROOF"]

    async def test_are_kept_as_they_were_signed(self, watch: Watch) -> None:
        grow(watch, 9)
        note = watch.peer.log.checkpoint()
        await ask(watch, note, old=9)
        assert [refusal.note for refusal in watch.side.peer.witness.refused()] == [note]

    async def test_outlive_a_restart(self, watch: Watch) -> None:
        grow(watch, 9)
        await ask(watch, watch.peer.log.checkpoint(), old=9)
        await watch.side.reopen()
        assert self.reasons(watch) == ["SIZE_CONFLICT"]

    async def test_are_kept_once(self, watch: Watch) -> None:
        grow(watch, 9)
        for _ in range(5):
            await ask(watch, watch.peer.log.checkpoint(), old=9)
        assert len(self.reasons(watch)) == 1

    async def test_while_evidence_waits_are_not_kept(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", forked(watch, 5, 8).checkpoint())
        await rounds(watch)
        assert watch.side.peer.status().latched
        await ask(watch, watch.peer.log.checkpoint())
        assert self.reasons(watch) == []

    async def test_that_only_wait_for_the_replay_are_not_kept(self, watch: Watch) -> None:
        grow(watch, 9)
        log = watch.peer.log
        await ask(watch, log.checkpoint(), proof=[log.leaves[8]])
        assert self.reasons(watch) == []

    async def test_under_no_signature_of_the_log_are_not_kept(self, watch: Watch) -> None:
        stranger = fork_of(watch.peer.log, 8)
        stranger.log_key = new_key()
        await ask(watch, stranger.checkpoint(), proof=[bytes(32)])
        assert self.reasons(watch) == []

    async def test_are_kept_up_to_a_number(self, watch: Watch) -> None:
        grow(watch, 8 + KEPT + 10)
        for size in range(9, 8 + KEPT + 11):
            await ask(watch, watch.peer.log.checkpoint(size), old=9)
        kept = [refusal.note for refusal in watch.side.peer.witness.refused()]
        first, end = range(9, 9 + FIRST), 8 + KEPT + 11
        sizes = [*first, *range(end - KEPT + FIRST, end)]
        assert kept == [watch.peer.log.checkpoint(size) for size in sizes]

    async def test_are_flushed_out_by_none_of_another_reason(self, watch: Watch) -> None:
        grow(watch, 8 + KEPT + 10)
        await ask(watch, watch.peer.log.checkpoint(9), proof=[bytes(32)])
        for size in range(9, 8 + KEPT + 11):
            await ask(watch, watch.peer.log.checkpoint(size), old=9)
        assert (self.reasons(watch)[0], len(self.reasons(watch))) == ("BAD_PROOF", KEPT + 1)


class TestAViewThatAClientSaw:
    @pytest.fixture(autouse=True)
    async def at_eight(self, watch: Watch) -> None:
        await replayed(watch, 8)

    async def test_of_another_tree_is_evidence(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", forked(watch, 5, 7).checkpoint())
        await rounds(watch)
        assert len(watch.side.bundles) == 1

    async def test_of_the_same_tree_is_nothing(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", watch.peer.log.checkpoint(7))
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_beyond_the_replay_is_met_later(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", forked(watch, 8, 12).checkpoint())
        await rounds(watch, 1)
        await watch.side.reopen()
        grow(watch, 15)
        await rounds(watch)
        assert len(watch.side.bundles) == 1

    async def test_by_another_key_is_nothing(self, watch: Watch) -> None:
        log = forked(watch, 5, 7)
        log.log_key = new_key()
        watch.side.peer.mentioned("a", log.checkpoint())
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_that_is_garbage_is_nothing(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", b"\xff" * 2000)
        await rounds(watch)
        assert watch.side.peer.witness.cosigned_size == 8

    async def test_is_looked_at_once(self, watch: Watch) -> None:
        for _ in range(5):
            watch.side.peer.mentioned("a", watch.peer.log.checkpoint(7))
        assert len(watch.side.peer._mentions.take()) == 1

    async def test_that_is_one_of_very_many_waits_in_a_short_queue(self, watch: Watch) -> None:
        for number in range(5000):
            watch.side.peer.mentioned("a", b"%d" % number)
        assert watch.side.peer._mentions.take() == [b"0", b"1", b"2", b"3"]

    async def test_is_one_of_sixteen_in_a_round(self, watch: Watch) -> None:
        for number in range(40):
            watch.side.peer.mentioned(number, b"%d" % number)
        rounds = [len(watch.side.peer._mentions.take()) for _ in range(4)]
        assert rounds == [16, 16, 8, 0]

    async def test_is_kept_out_by_no_other_caller(self, watch: Watch) -> None:
        """However many notes one of them makes up, round after round."""
        for number in range(100):
            watch.side.peer.mentioned("a", b"%d" % number)
        watch.side.peer.mentioned("b", b"another view")
        assert watch.side.peer._mentions.take()[1] == b"another view"

    async def test_is_of_so_many_callers_and_no_more(self, watch: Watch) -> None:
        for number in range(5000):
            watch.side.peer.mentioned(number, b"%d" % number)
        waiting = 0
        while taken := watch.side.peer._mentions.take():
            waiting += len(taken)
        assert waiting == 256

    async def test_that_was_dropped_is_looked_at_when_it_comes_again(self, watch: Watch) -> None:
        for number in range(20):
            watch.side.peer.mentioned("a", b"%d" % number)
        watch.side.peer._mentions.take()
        watch.side.peer.mentioned("a", b"19")
        assert watch.side.peer._mentions.take() == [b"19"]


class TestAKeyThatWasNotTheLogsAlone:
    """What was signed with it, somebody else may have signed."""

    async def test_accuses_nobody_above_a_loss(self, watch: Watch) -> None:
        await replayed(watch, 8)
        watch.side.peer.mentioned("a", forked(watch, 8, 12).checkpoint())
        await rounds(watch, 1)
        watch.peer.log.lose()
        await replayed(watch, 15)
        assert watch.side.peer.replica.verified_size == 15
        assert (watch.side.bundles, watch.side.peer.witness.cosigned_size) == ([], 15)

    @pytest.mark.parametrize("end", [Log.lose, lambda log: log.rotate(pb.ROLE_LOG, lost=True)])
    async def test_stands_in_nobodys_way_once_it_is_replaced(
        self, watch: Watch, end: Callable[[Log], object]
    ) -> None:
        """What was signed anew at that size is no other tree of it."""
        await self.shown(watch, 12)
        end(watch.peer.log)
        await replayed(watch, 9)
        grow(watch, 12)
        log = watch.peer.log
        with pytest.raises(UnavailableError) as waits:
            await watch.side.peer.witness.add_checkpoint(9, proof(log, 9, 12), log.checkpoint())
        assert waits.value.reason == "REPLAY_BEHIND"

    async def test_holds_up_nobody_where_nothing_was_cosigned(self, watch: Watch) -> None:
        """Our cosigner is spent, and the peer gives up an end that we have replayed."""
        Spent(watch.side.directory).spend(watch.side.log.cosigner_key.public)
        await replayed(watch, 8)
        watch.peer.log = fork_of(watch.peer.log, 6)
        watch.peer.log.lose()
        grow(watch, 12)
        await rounds(watch)
        assert watch.side.peer.replica.verified_size == 12

    async def test_is_met_where_another_key_is_no_loss(self, watch: Watch) -> None:
        """The replay goes back from what is not cosigned, and forgets none of it."""
        Spent(watch.side.directory).spend(watch.side.log.cosigner_key.public)
        await replayed(watch, 8)
        watch.peer.log = fork_of(watch.peer.log, 5)
        grow(watch, 9)
        watch.peer.log.rotate(pb.ROLE_LOG, lost=True)
        await rounds(watch, 3)
        assert len(watch.side.bundles) == 1

    async def test_takes_no_place_above_a_loss(self, watch: Watch) -> None:
        """There is one to remember what the replay must meet."""
        await self.shown(watch, 1000)
        watch.peer.log.lose()
        await replayed(watch, 9)
        watch.side.peer.mentioned("a", forked(watch, 9, 11).checkpoint())
        await rounds(watch, 1)
        await replayed(watch, 12)
        await rounds(watch)
        assert len(watch.side.bundles) == 1

    async def shown(self, watch: Watch, size: int) -> None:
        """Of the peer's log 8 entries are replayed, and more of some other end were seen."""
        await replayed(watch, 8)
        log = watch.peer.log
        tree = Checkpoint(log.origin, size, sha256(b"another end").digest())
        note = sign_checkpoint(tree, Signer(log.origin, ED25519, log.log_key))
        watch.side.peer.mentioned("a", note)
        await rounds(watch, 1)

    async def test_accuses_nobody_once_that_is_declared(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork = forked(watch, 5, 7)
        watch.peer.log.rotate(pb.ROLE_LOG, lost=True, compromised_since=START)
        await replayed(watch, 12)
        assert watch.side.peer.replica.verified_size == 12
        watch.side.peer.mentioned("a", fork.checkpoint())
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_still_accuses_below_a_loss(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork = forked(watch, 5, 7)
        watch.peer.log.lose()
        await replayed(watch, 12)
        watch.side.peer.mentioned("a", fork.checkpoint())
        await rounds(watch)
        assert len(watch.side.bundles) == 1

    async def test_still_accuses_after_a_usual_rotation(self, watch: Watch) -> None:
        await replayed(watch, 8)
        fork = forked(watch, 5, 7)
        log = watch.peer.log
        log.rotate(pb.ROLE_LOG)
        both = [Signer(log.origin, ED25519, key) for key in (log.log_key, fork.log_key)]
        tree = parse_known(log.checkpoint()).checkpoint
        watch.peer.note = sign_checkpoint(tree, *both)
        await watch.side.peer.monitor.step()
        watch.side.peer.mentioned("a", fork.checkpoint())
        await rounds(watch)
        assert len(watch.side.bundles) == 1


class TestARefusedCheckpointThatTheReplayReaches:
    """Nobody asks about it any more: it is compared by itself."""

    @pytest.fixture(autouse=True)
    async def refused(self, watch: Watch) -> None:
        """Of a second history, from a size that is not the one cosigned last."""
        await replayed(watch, 8)
        await ask(watch, forked(watch, 8, 12).checkpoint(), old=9)

    async def test_is_evidence_of_another_tree(self, watch: Watch) -> None:
        grow(watch, 15)
        await rounds(watch)
        assert len(watch.side.bundles) == 1

    async def test_is_nothing_before(self, watch: Watch) -> None:
        grow(watch, 11)
        await rounds(watch)
        assert watch.side.bundles == []

    async def test_is_evidence_after_a_restart_too(self, watch: Watch) -> None:
        await watch.side.reopen()
        grow(watch, 15)
        await rounds(watch)
        assert len(watch.side.bundles) == 1

    async def test_is_evidence_once(self, watch: Watch) -> None:
        grow(watch, 15)
        await rounds(watch)
        await acknowledge(watch)
        await watch.side.reopen()
        await rounds(watch)
        assert (len(watch.side.bundles), watch.side.peer.status().latched) == (1, False)

    async def test_waits_while_other_evidence_does(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", forked(watch, 5, 8).checkpoint())
        await rounds(watch)
        grow(watch, 15)
        await rounds(watch)
        assert len(watch.side.bundles) == 1
        await acknowledge(watch)
        await rounds(watch)
        assert len(watch.side.bundles) == 2

    async def test_holds_back_what_a_client_saw_as_little(self, watch: Watch) -> None:
        watch.side.peer.mentioned("a", forked(watch, 8, 13).checkpoint())
        grow(watch, 15)
        await rounds(watch)
        await acknowledge(watch)
        await rounds(watch)
        assert len(watch.side.bundles) == 2

    async def test_is_nothing_if_it_is_of_the_same_tree(self, watch: Watch) -> None:
        await replayed(watch, 20)
        await acknowledge(watch)
        grow(watch, 22)
        await ask(watch, watch.peer.log.checkpoint(), old=21)
        grow(watch, 24)
        await rounds(watch)
        assert (len(watch.side.bundles), watch.side.peer.status().latched) == (1, False)


async def acknowledge(watch: Watch) -> None:
    """The evidence that waits."""
    accusations = watch.side.peer.accusations
    (digest,) = [kept.digest for kept in accusations.kept() if kept.latched]
    await accusations.acknowledge(digest)

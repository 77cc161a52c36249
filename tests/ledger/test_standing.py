"""Whether a node may append, by what is known of its past."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders import new_key
from ledger.world import Node, World

from ledgerd.ledger.high_water import MARK_FILE, HighWater, write_mark
from ledgerd.ledger.standing import Standing, forget_shown
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import MalformedError, NotReadyError, StoreError, VerificationError
from ledgerd_client.core.merkle import EMPTY_ROOT
from ledgerd_client.core.note import ED25519, Signer

INSTANCE = bytes(range(16))


class Gate:
    """What a standing is told to say, and the files it reads."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.said: list[NotReadyError | None] = []
        self.standing = self.restarted()

    def restarted(self) -> Standing:
        """A standing as a new process makes it."""
        return Standing(
            self.directory, self.node.reader, INSTANCE, self.node.open_own,
            on_change=self.said.append,
        )  # fmt: skip

    def mark(self, size: int, instance: bytes = INSTANCE) -> None:
        write_mark(self.directory, HighWater(instance, size))

    def start(self) -> Standing:
        self.standing.start()
        return self.standing

    def checkpoint(self, size: int, root: bytes = bytes(32)) -> bytes:
        """A checkpoint by the node's own log key."""
        return sign_checkpoint(Checkpoint(self.node.log.origin, size, root), self.node.log_key)


@pytest.fixture
def gate(world: World, tmp_path: Path) -> Gate:
    """Of a log of three entries, marked as it is."""
    gate = Gate(world.mainland, tmp_path)
    gate.mark(gate.node.size)
    return gate


def reason(standing: Standing) -> str:
    return standing.refusal.reason if standing.refusal else ""


class TestStart:
    def test_after_an_ordinary_stop_appends_are_taken(self, gate: Gate) -> None:
        assert gate.start().refusal is None

    def test_after_a_crash_the_mark_may_be_behind_the_store(self, gate: Gate) -> None:
        gate.mark(gate.node.size - 1)
        assert gate.start().refusal is None

    def test_a_store_below_the_mark_was_rolled_back(self, gate: Gate) -> None:
        gate.mark(gate.node.size + 1)
        assert reason(gate.start()) == "ROLLED_BACK"

    def test_the_mark_of_another_store_leaves_it_unconfirmed(self, gate: Gate) -> None:
        gate.mark(1, os.urandom(16))
        assert reason(gate.start()) == "UNCONFIRMED"

    def test_without_a_mark_it_is_unconfirmed(self, gate: Gate) -> None:
        (gate.directory / MARK_FILE).unlink()
        assert reason(gate.start()) == "UNCONFIRMED"

    def test_a_mark_that_cannot_be_understood_is_as_good_as_none(self, gate: Gate) -> None:
        (gate.directory / MARK_FILE).write_bytes(b"ledgerd-high-water/v1\n")
        assert reason(gate.start()) == "UNCONFIRMED"

    def test_a_mark_that_cannot_be_read_is_an_error(self, gate: Gate) -> None:
        (gate.directory / MARK_FILE).unlink()
        (gate.directory / MARK_FILE).mkdir()
        with pytest.raises(StoreError):
            gate.start()


class TestShown:
    def test_ones_own_signature_on_a_larger_tree_stops_appends(self, gate: Gate) -> None:
        gate.start().shown(gate.checkpoint(gate.node.size + 1))
        assert reason(gate.standing) == "ROLLED_BACK"

    def test_ones_own_signature_on_another_tree_stops_appends(self, gate: Gate) -> None:
        gate.start().shown(gate.checkpoint(2))
        assert reason(gate.standing) == "ROLLED_BACK"

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_ones_own_signature_on_ones_own_tree_is_in_order(self, gate: Gate, size: int) -> None:
        gate.start().shown(gate.checkpoint(size, gate.node.reader.root(size)))
        assert gate.standing.refusal is None

    def test_so_it_is_on_no_tree_at_all(self, gate: Gate) -> None:
        gate.start().shown(gate.checkpoint(0, EMPTY_ROOT))
        assert gate.standing.refusal is None

    def test_the_signature_of_another_key_proves_nothing(self, gate: Gate) -> None:
        forger = Signer(gate.node.log.origin, ED25519, new_key())
        note = sign_checkpoint(Checkpoint(gate.node.log.origin, 99, bytes(32)), forger)
        gate.start().shown(note)
        assert gate.standing.refusal is None

    @pytest.mark.parametrize("note", [b"", b"no note", b"\xff" * 100])
    def test_garbage_proves_nothing(self, gate: Gate, note: bytes) -> None:
        gate.start().shown(note)
        assert gate.standing.refusal is None

    def test_a_rollback_is_remembered_across_restarts(self, gate: Gate) -> None:
        gate.start().shown(gate.checkpoint(99))
        again = gate.restarted()
        again.start()
        assert reason(again) == "ROLLED_BACK"

    def test_a_rollback_is_forgotten_once_the_log_holds_what_was_shown(self, gate: Gate) -> None:
        """Because the newest copy of the store was put back."""
        size, root = gate.node.size, gate.node.reader.root(gate.node.size)
        (gate.directory / "rolled-back").write_bytes(gate.checkpoint(size, root))
        assert gate.start().refusal is None

    def test_it_is_said_once(self, gate: Gate) -> None:
        gate.start()
        for size in (98, 99):
            gate.standing.shown(gate.checkpoint(size))
        assert len(gate.said) == 1


class TestMentioned:
    """What comes with every request is looked at only when it claims more than there is."""

    def test_a_larger_tree_stops_appends(self, gate: Gate) -> None:
        gate.start().mentioned(gate.checkpoint(99))
        assert reason(gate.standing) == "ROLLED_BACK"

    def test_a_tree_that_is_no_larger_is_not_looked_at(self, gate: Gate) -> None:
        gate.start().mentioned(gate.checkpoint(2))
        assert gate.standing.refusal is None

    def test_a_commit_that_the_standing_has_not_heard_of_is_no_rollback(
        self, gate: Gate, world: World
    ) -> None:
        """A reply may leave a moment before the loop learns of its commit."""
        gate.start()
        world.mainland.place(world.transfer())
        gate.standing.mentioned(gate.node.reader.head().checkpoint)
        assert gate.standing.refusal is None

    @pytest.mark.parametrize("size", ["-1", "+99", "\uff19\uff19", "9" * 30, "9" * 5000, "x", ""])
    def test_a_size_that_is_no_number_is_not_looked_at(self, gate: Gate, size: str) -> None:
        gate.start().mentioned(f"{gate.node.log.origin}\n{size}\n".encode())
        assert gate.standing.refusal is None


class TestReplaced:
    """The authority has declared a LOSS of this log that it does not hold."""

    LOSS = b"the entry, as it is kept"

    def test_it_stops_appends(self, gate: Gate) -> None:
        gate.start().replaced(self.LOSS)
        assert (reason(gate.standing), gate.standing.is_rolled_back) == ("REPLACED", True)

    def test_it_is_remembered_across_restarts(self, gate: Gate) -> None:
        gate.start().replaced(self.LOSS)
        again = gate.restarted()
        again.start()
        assert reason(again) == "REPLACED"

    def test_until_the_log_goes_on_by_it(self, gate: Gate) -> None:
        gate.start().replaced(self.LOSS)
        forget_shown(gate.directory)
        again = gate.restarted()
        again.start()
        assert again.refusal is None

    def test_the_peers_word_does_not_undo_it(self, gate: Gate) -> None:
        (gate.directory / MARK_FILE).unlink()
        gate.start().replaced(self.LOSS)
        gate.standing.heard()
        gate.standing.confirm(b"")
        assert reason(gate.standing) == "REPLACED"

    def test_a_rollback_stands(self, gate: Gate) -> None:
        gate.start().shown(gate.checkpoint(99))
        gate.standing.replaced(self.LOSS)
        assert reason(gate.standing) == "ROLLED_BACK"


class TestConfirm:
    @pytest.fixture
    def unconfirmed(self, gate: Gate) -> Gate:
        (gate.directory / MARK_FILE).unlink()
        gate.start()
        gate.standing.heard()
        return gate

    def test_a_peer_whose_log_was_not_looked_at_does_not_confirm(self, gate: Gate) -> None:
        (gate.directory / MARK_FILE).unlink()
        gate.start()
        gate.standing.confirm(b"")
        assert reason(gate.standing) == "UNCONFIRMED"

    def test_a_peer_that_cosigned_nothing_confirms(self, unconfirmed: Gate) -> None:
        unconfirmed.standing.confirm(b"")
        assert unconfirmed.standing.refusal is None

    def test_a_checkpoint_of_this_very_tree_confirms(self, unconfirmed: Gate) -> None:
        note = unconfirmed.checkpoint(2, unconfirmed.node.reader.root(2))
        unconfirmed.standing.confirm(note)
        assert unconfirmed.standing.refusal is None

    def test_a_checkpoint_beyond_the_store_shows_a_rollback(self, unconfirmed: Gate) -> None:
        unconfirmed.standing.confirm(unconfirmed.checkpoint(99))
        assert reason(unconfirmed.standing) == "ROLLED_BACK"

    def test_a_note_that_is_not_ours_confirms_nothing(self, unconfirmed: Gate) -> None:
        forger = Signer(unconfirmed.node.log.origin, ED25519, new_key())
        note = sign_checkpoint(Checkpoint(unconfirmed.node.log.origin, 2, bytes(32)), forger)
        with pytest.raises(VerificationError):
            unconfirmed.standing.confirm(note)
        assert reason(unconfirmed.standing) == "UNCONFIRMED"

    def test_a_rollback_that_was_proved_is_not_confirmed_away(self, unconfirmed: Gate) -> None:
        unconfirmed.standing.shown(unconfirmed.checkpoint(99))
        unconfirmed.standing.confirm(b"")
        assert reason(unconfirmed.standing) == "ROLLED_BACK"

    async def test_the_store_is_marked_from_then_on(self, unconfirmed: Gate) -> None:
        unconfirmed.standing.confirm(b"")
        await unconfirmed.standing.write_mark()
        again = unconfirmed.restarted()
        again.start()
        assert again.refusal is None


class TestTheMark:
    async def test_follows_the_log(self, gate: Gate) -> None:
        gate.start().grown(7)
        await gate.standing.write_mark()
        mark = HighWater.parse((gate.directory / MARK_FILE).read_bytes())
        assert mark == HighWater(INSTANCE, 7)

    async def test_of_a_node_that_may_not_append_stays_as_it_is(self, gate: Gate) -> None:
        gate.mark(99)
        await gate.start().write_mark()
        assert HighWater.parse((gate.directory / MARK_FILE).read_bytes()).size == 99

    async def test_is_not_written_again_while_the_log_is_idle(self, gate: Gate) -> None:
        before = (gate.directory / MARK_FILE).stat()
        await gate.start().write_mark()
        assert (gate.directory / MARK_FILE).stat().st_ino == before.st_ino

    async def test_nor_after_the_log_grew_once(self, gate: Gate) -> None:
        gate.start().grown(7)
        await gate.standing.write_mark()
        before = (gate.directory / MARK_FILE).stat()
        await gate.standing.write_mark()
        assert (gate.directory / MARK_FILE).stat().st_ino == before.st_ino

    def test_reads_as_it_is_written_down(self) -> None:
        assert HighWater(INSTANCE, 42).format() == (
            b"ledgerd-high-water/v1\n000102030405060708090a0b0c0d0e0f\n42\n"
        )

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ledgerd-high-water/v1\n000102030405060708090a0b0c0d0e0f\n42",
            "ledgerd-high-water/v2\n000102030405060708090a0b0c0d0e0f\n42\n",
            "ledgerd-high-water/v1\n000102030405060708090A0B0C0D0E0F\n42\n",
            "ledgerd-high-water/v1\n0001\n42\n",
            "ledgerd-high-water/v1\n000102030405060708090a0b0c0d0e0f\n042\n",
            "ledgerd-high-water/v1\n000102030405060708090a0b0c0d0e0f\n-1\n",
            "ledgerd-high-water/v1\n000102030405060708090a0b0c0d0e0f\n42\n\n",
        ],
    )
    def test_has_one_spelling(self, text: str) -> None:
        with pytest.raises(MalformedError):
            HighWater.parse(text.encode())


class TestAMarkThatCannotBeWritten:
    """Appends wait for the disk; the process does not end for it."""

    @pytest.fixture
    async def unmarked(self, gate: Gate) -> Gate:
        gate.start().grown(7)
        (gate.directory / "high-water.new").mkdir()
        await gate.standing.write_mark()
        return gate

    async def test_stops_appends(self, unmarked: Gate) -> None:
        assert reason(unmarked.standing) == "MARK_FAILED"

    async def test_is_tried_again_and_appends_go_on(self, unmarked: Gate) -> None:
        (unmarked.directory / "high-water.new").rmdir()
        await unmarked.standing.write_mark()
        assert unmarked.standing.refusal is None
        assert HighWater.parse((unmarked.directory / MARK_FILE).read_bytes()).size == 7

    async def test_is_said_once(self, unmarked: Gate) -> None:
        await unmarked.standing.write_mark()
        assert len(unmarked.said) == 1

    async def test_does_not_hide_a_rollback(self, unmarked: Gate) -> None:
        unmarked.standing.shown(unmarked.checkpoint(99))
        (unmarked.directory / "high-water.new").rmdir()
        await unmarked.standing.write_mark()
        assert reason(unmarked.standing) == "ROLLED_BACK"

    async def test_the_peers_word_does_not_open_appends(self, unmarked: Gate) -> None:
        unmarked.standing.confirm(b"")
        assert reason(unmarked.standing) == "MARK_FAILED"

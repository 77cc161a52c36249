"""
A courier as an adversary: he has every file that was ever carried, in both directions.

He may withhold files, bring old ones again, cut them, put a part of one beside parts of another,
and edit whatever nobody signed. What he can then do is be late; he accuses and confirms nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from builders import Log, new_border, new_key
from peer.by_files import BothByFiles, ByFiles, Courier, both_by_files, go_round, grow
from peer.sides import DEADLINE_HOURS, Clock, fork_of, listed

from ledgerd.peer.exchange import Outcome
from ledgerd.peer.notes import parse_known
from ledgerd.rules.reconcile import State
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.evidence import Evidence

NOBODY_ASKED = b"n" * 16


@pytest.fixture
async def courier(tmp_path: Path) -> AsyncIterator[Courier]:
    """The side knows eight entries of the peer's; the next question is not asked yet."""
    border, clock = new_border(), Clock()
    side = ByFiles(tmp_path, border.mainland, border.hong_kong, clock, None)
    await side.open()
    courier = Courier(side, border.hong_kong, clock)
    grow(courier.peer, 8)
    await courier.bring(courier.file())
    yield courier
    await side.close()


class TestTheAgeOfThePeersLog:
    """It accuses whoever is silent, so it must not be newer than it is."""

    async def test_is_that_of_the_question_that_was_answered(self, courier: Courier) -> None:
        asked_at = courier.clock()
        answer = courier.answer(courier.ask())
        await courier.bring(courier.file(answer))
        assert courier.fetched_at == asked_at

    async def test_is_not_known_of_a_file_that_answers_nothing(self, courier: Courier) -> None:
        courier.ask()
        await courier.bring(courier.file())
        assert courier.fetched_at == 0

    async def test_is_not_known_by_a_question_of_nobodys(self, courier: Courier) -> None:
        await courier.bring(courier.file(courier.answer(NOBODY_ASKED)))
        assert courier.fetched_at == 0

    async def test_is_not_that_of_an_answer_put_beside_an_older_files_headers(
        self, courier: Courier
    ) -> None:
        """What the peer had by then is not in them, so its silence means nothing."""
        question = courier.ask()
        grow(courier.peer, 9)
        await courier.bring(courier.file(courier.answer(question), size=8))
        assert courier.fetched_at == 0

    async def test_is_that_of_such_an_answer_once_the_headers_have_come(
        self, courier: Courier
    ) -> None:
        """Whichever file they came in: the answer is about the log."""
        asked_at = courier.clock()
        answer = courier.answer(courier.ask())
        grow(courier.peer, 12)
        await courier.bring(courier.file(), courier.file(answer, size=8))
        assert courier.fetched_at == asked_at

    async def test_is_that_of_the_newest_question_that_was_answered(self, courier: Courier) -> None:
        first = courier.answer(courier.ask())
        asked_at = courier.clock()
        second = courier.answer(courier.ask())
        await courier.bring(courier.file(second), courier.file(first))
        assert courier.fetched_at == asked_at

    async def test_is_known_by_either_answer_to_a_question_that_was_answered_twice(
        self, courier: Courier
    ) -> None:
        asked_at = courier.clock()
        answers = [courier.answer(question := courier.ask(), size=8)]
        grow(courier.peer, 9)
        answers.append(courier.answer(question))
        await courier.bring(courier.file(answers[1]), courier.file(answers[0]))
        assert courier.fetched_at == asked_at

    async def test_is_not_known_by_a_peer_that_has_lost_what_was_replayed_of_it(
        self, courier: Courier
    ) -> None:
        """As over a link: a log that was put back says nothing of what came after."""
        await courier.bring(courier.file(courier.answer(courier.ask(), size=7)))
        assert courier.fetched_at == 0


class TestAnAnswer:
    """Nobody but the peer makes one, for nobody else, in other words or to another question."""

    @pytest.mark.parametrize(
        "change",
        [
            {"question": NOBODY_ASKED},
            {"size": 7},
            {"root": bytes(32)},
            {"cosigned": b"another note"},
            {"signature": bytes(64)},
            {"signature": b""},
        ],
        ids=["question", "size", "root", "note", "signature", "no_signature"],
    )
    async def test_that_was_edited_answers_nothing(
        self, courier: Courier, change: dict[str, object]
    ) -> None:
        answer = courier.answer(courier.ask())
        await courier.bring(courier.file(replace(answer, **change)))
        assert courier.fetched_at == 0

    async def test_with_the_newest_question_written_over_an_older_one_answers_nothing(
        self, courier: Courier
    ) -> None:
        old = courier.answer(courier.ask())
        await courier.bring(courier.file(replace(old, question=courier.ask())))
        assert courier.fetched_at == 0

    async def test_to_somebody_else_answers_nothing(self, courier: Courier) -> None:
        answer = courier.answer(courier.ask(), to="other.example/log")
        await courier.bring(courier.file(answer))
        assert courier.fetched_at == 0

    async def test_of_our_own_to_the_peer_answers_nothing(self, courier: Courier) -> None:
        ours = courier.answer(courier.ask(), key=courier.side.log.entry_key)
        await courier.bring(courier.file(ours))
        assert courier.fetched_at == 0

    @pytest.mark.parametrize("key", ["log_key", "cosigner_key", "authority"])
    async def test_by_another_key_of_the_peers_answers_nothing(
        self, courier: Courier, key: str
    ) -> None:
        answer = courier.answer(courier.ask(), key=getattr(courier.peer, key))
        await courier.bring(courier.file(answer))
        assert courier.fetched_at == 0

    @pytest.mark.parametrize(
        "change", [{"question": b"short"}, {"root": b"short"}, {"size": 0}], ids=["q", "r", "s"]
    )
    async def test_that_cannot_be_is_malformed(
        self, courier: Courier, change: dict[str, object]
    ) -> None:
        with pytest.raises(MalformedError):
            replace(courier.answer(NOBODY_ASKED), **change)


class TestAnEntryKeyThatWasReplaced:
    async def test_answers_nothing_once_that_is_known(self, courier: Courier) -> None:
        old = courier.peer.entry_key
        question = courier.ask()
        courier.peer.rotate(pb.ROLE_ENTRY)
        await courier.bring(courier.file(courier.answer(question, size=8, key=old)))
        assert courier.fetched_at == 0

    async def test_is_followed_between_question_and_answer(self, courier: Courier) -> None:
        asked_at = courier.clock()
        question = courier.ask()
        courier.peer.rotate(pb.ROLE_ENTRY)
        await courier.bring(courier.file(courier.answer(question)))
        assert courier.fetched_at == asked_at

    async def test_answers_nothing_after_a_theft_whatever_size_its_thief_names(
        self, courier: Courier
    ) -> None:
        stolen = courier.peer.entry_key
        courier.peer.rotate(pb.ROLE_ENTRY, compromised_since=courier.clock())
        await courier.bring(courier.file())
        question = courier.ask()
        for size in (8, len(courier.peer.entries)):
            await courier.bring(courier.file(courier.answer(question, size, key=stolen), size=8))
        assert courier.fetched_at == 0


class TestAPeerThatDeclaredALoss:
    """What it said of the lost tail is not about its log."""

    @pytest.fixture
    async def lost(self, courier: Courier) -> Courier:
        """The peer has lost the end of its log, from entry 9 on, which nobody has replayed."""
        log = courier.peer
        grow(log, 12)
        courier.peer = fork_of(log, 9)
        courier.peer.lose()
        grow(courier.peer, 14)
        self.before = log
        return courier

    async def test_answers_nothing_by_what_it_said_before(self, lost: Courier) -> None:
        answer = lost.answer(lost.ask(), log=self.before)
        await lost.bring(lost.file(answer))
        assert (lost.replayed, lost.fetched_at) == (14, 0)

    async def test_answers_nothing_beside_headers_of_the_tail(self, lost: Courier) -> None:
        """The tail is longer than what was answered, and does not hold it."""
        answer = lost.answer(lost.ask(), size=11)
        await lost.bring(lost.file(answer, log=self.before))
        assert (lost.replayed, lost.fetched_at) == (12, 0)

    async def test_is_as_new_as_what_it_says_since(self, lost: Courier) -> None:
        asked_at = lost.clock()
        answer = lost.answer(lost.ask())
        await lost.bring(lost.file(answer))
        assert lost.fetched_at == asked_at


class TestANodeThatLostItsMemory:
    """It appends when the peer has said what it knows of this log *now*."""

    @pytest.fixture
    async def restored(self, courier: Courier) -> Courier:
        self.before = courier.ask()
        await courier.side.reopen()
        courier.side.standing.start()
        courier.side.exchange.forget()
        return courier

    def is_open(self, courier: Courier) -> bool:
        return courier.side.standing.refusal is None

    async def test_goes_on_when_its_question_is_answered(self, restored: Courier) -> None:
        await restored.bring(restored.file(restored.answer(restored.ask())))
        assert self.is_open(restored)

    async def test_replays_an_old_file_and_waits(self, restored: Courier) -> None:
        grow(restored.peer, 9)
        await restored.bring(restored.file(restored.answer(self.before)))
        assert (restored.replayed, self.is_open(restored)) == (9, False)

    async def test_waits_for_more_than_an_old_answer_with_its_question_written_over(
        self, restored: Courier
    ) -> None:
        old = restored.answer(self.before)
        await restored.bring(restored.file(replace(old, question=restored.ask())))
        assert not self.is_open(restored)

    async def test_waits_for_the_headers_that_its_answer_is_about(self, restored: Courier) -> None:
        """In them the peer may have anchored more of this log than this node holds."""
        question = restored.ask()
        grow(restored.peer, 9)
        await restored.bring(restored.file(restored.answer(question), size=8))
        assert not self.is_open(restored)

    async def test_hears_the_note_that_was_answered_and_no_older_one(
        self, restored: Courier
    ) -> None:
        note = restored.side.reader.head().checkpoint
        said = restored.answer(restored.ask(), cosigned=note)
        await restored.bring(restored.file(replace(said, cosigned=b"")))
        assert not self.is_open(restored)

    def beyond(self, courier: Courier) -> bytes:
        """What this node signed in the life that it has forgotten."""
        side = courier.side
        tree = Checkpoint(side.log.origin, side.size + 1, bytes(32))
        return sign_checkpoint(tree, side.log_signer)

    async def test_is_stopped_by_what_the_peer_has_seen_of_it_and_not_cosigned(
        self, restored: Courier
    ) -> None:
        answer = restored.answer(restored.ask(), seen=self.beyond(restored))
        await restored.bring(restored.file(answer))
        refusal = restored.side.standing.refusal
        assert refusal is not None
        assert refusal.reason == "ROLLED_BACK"

    async def test_takes_no_answer_out_of_which_that_was_taken(self, restored: Courier) -> None:
        said = restored.answer(restored.ask(), seen=self.beyond(restored))
        await restored.bring(restored.file(replace(said, seen=b"")))
        assert not self.is_open(restored)

    async def test_is_not_confirmed_by_whoever_has_an_entry_key_that_was_replaced(
        self, restored: Courier
    ) -> None:
        old = restored.peer.entry_key
        restored.peer.rotate(pb.ROLE_ENTRY)
        await restored.bring(restored.file(restored.answer(restored.ask(), size=8, key=old)))
        assert not self.is_open(restored)

    async def test_is_not_confirmed_by_a_stranger(self, restored: Courier) -> None:
        await restored.bring(restored.file(restored.answer(restored.ask(), key=new_key())))
        assert not self.is_open(restored)


class TestWhatWeAnswer:
    """To whatever question came: who asked it knows when."""

    async def test_is_under_our_entry_key_for_the_peer(self, courier: Courier) -> None:
        side = courier.side
        answer = side.say().answer
        assert answer is not None
        answer.verify(side.log.entry_key.public, side.log.origin, courier.peer.origin)

    async def test_is_what_the_newest_file_asked(self, courier: Courier) -> None:
        asking = courier.file()
        await courier.bring(asking)
        answer = courier.side.say().answer
        assert answer is not None
        assert answer.question == asking.envelope.asks

    async def test_holds_what_we_have_cosigned_by_then(self, courier: Courier) -> None:
        grow(courier.peer, 9)
        await courier.bring(courier.file())
        assert courier.side.say().cosigned == courier.side.peer.witness.vouched()

    async def test_holds_the_largest_checkpoint_that_we_know_of(self, courier: Courier) -> None:
        """Also while evidence waits, and nothing is cosigned."""
        forged = fork_of(courier.peer, 7)
        grow(forged, 8)
        await courier.side.peer.witness.look_at(forged.checkpoint())
        grow(courier.peer, 9)
        await courier.bring(courier.file())
        answer = courier.side.say().answer
        assert answer is not None
        sizes = [parse_known(note).size for note in (answer.cosigned, answer.seen)]
        assert sizes == [8, 9]

    async def test_is_given_too_where_the_file_is_wrong(self, courier: Courier) -> None:
        """A restored peer that lies about its log is told the truth about it all the same."""
        asking = courier.file(log=replace(fork_of(courier.peer, 7), log_key=new_key()))
        await courier.bring(asking)
        answer = courier.side.say().answer
        assert answer is not None
        assert answer.question == asking.envelope.asks

    async def test_names_no_entry_that_the_file_lacks(self, courier: Courier) -> None:
        said = courier.side.say()
        assert said.answer is not None
        assert said.answer.size <= said.stop

    async def test_is_said_anew_when_the_entry_key_is_replaced(self, courier: Courier) -> None:
        side = courier.side
        side.log.entry_key = key = new_key()
        await courier.bring(courier.file())
        answer = side.say().answer
        assert answer is not None
        answer.verify(key.public, side.log.origin, courier.peer.origin)


class TestWhoeverBroughtAFile:
    """Is told what came of it: what the node's log says, he does not read."""

    def told(self, courier: Courier) -> Outcome:
        outcome = courier.side.exchange.outcome()
        assert outcome is not None
        return outcome

    async def test_hears_that_it_was_replayed_and_what_it_answers(self, courier: Courier) -> None:
        question = courier.ask()
        file = courier.file(courier.answer(question))
        await courier.bring(file)
        assert self.told(courier) == Outcome(
            sha256(file.format()).digest(), question, reason="", message="", action=""
        )

    async def test_hears_that_it_answers_nothing(self, courier: Courier) -> None:
        await courier.bring(courier.file())
        assert self.told(courier).answers == b""

    async def test_hears_why_it_was_refused_and_carries_it_again(self, courier: Courier) -> None:
        await courier.bring(courier.file(log=replace(fork_of(courier.peer, 8), log_key=new_key())))
        told = self.told(courier)
        assert (told.reason, told.action[:14]) == ("NOT_TRUSTED", "carry it again")

    async def test_hears_that_it_begins_too_late_and_what_helps(self, courier: Courier) -> None:
        grow(courier.peer, 10)
        file, page = courier.file(), listed(9, courier.peer.entries[9:])
        page.checkpoint = courier.peer.checkpoint()
        await courier.bring(file._replace(pages=[page]))
        told = self.told(courier)
        assert (told.reason, told.action[:12]) == ("CARRIED_TOO_LITTLE", "carry a file")


class TestAnEnvelope:
    """Nobody signed it, and nothing is believed of it."""

    async def test_with_another_question_gets_an_answer_to_that(self, courier: Courier) -> None:
        """Whoever asked what was written in there; nobody else takes it."""
        file = courier.file()
        edited = file._replace(envelope=replace(file.envelope, asks=NOBODY_ASKED))
        await courier.bring(edited)
        answer = courier.side.say().answer
        assert answer is not None
        assert answer.question == NOBODY_ASKED

    @pytest.mark.parametrize("held", [0, 1, 1 << 60])
    async def test_that_says_to_hold_otherwise_begins_the_next_file_elsewhere(
        self, courier: Courier, held: int
    ) -> None:
        """Too late, and the peer says so; the next honest file mends it."""
        file = courier.file()
        edited = file._replace(envelope=replace(file.envelope, held=held))
        await courier.bring(edited)
        assert courier.side.say().start == min(held, courier.side.size)


class TestHeadersThatWeHaveOtherwise:
    """A file may begin before what is replayed here: then it shows where two trees part."""

    async def forked(self, courier: Courier, held: int, at: int, size: int) -> Log:
        """What the same keys have signed, too, once so many entries are replayed."""
        grow(courier.peer, held)
        await courier.bring(courier.file())
        log = fork_of(courier.peer, at)
        grow(log, size)
        return log

    @pytest.mark.parametrize(
        ("held", "at", "size"), [(8, 6, 12), (8, 1, 9), (9, 8, 300), (300, 255, 600)]
    )
    async def test_are_evidence_under_a_root_that_the_log_has_signed(
        self, courier: Courier, held: int, at: int, size: int
    ) -> None:
        log = await self.forked(courier, held, at, size)
        await courier.bring(courier.file(log=log))
        (bundle,) = courier.side.bundles
        one, other = Evidence.parse(bundle).verify(log.history())
        assert (one.size, other.size) == (held, size)

    async def test_are_none_where_anybody_may_have_changed_them(self, courier: Courier) -> None:
        grow(courier.peer, 12)
        file = courier.file()
        page = file.pages[0]
        page.headers[7] = page.headers[7][:-1] + b"x"
        await courier.bring(file)
        assert courier.side.bundles == []

    async def test_are_none_where_they_are_the_same(self, courier: Courier) -> None:
        grow(courier.peer, 300)
        await courier.bring(courier.file())
        assert (courier.replayed, courier.side.bundles) == (300, [])

    async def test_are_none_by_a_key_that_a_loss_put_in_force(self, courier: Courier) -> None:
        """What it gave up we had replayed; it is not cosigned, and nobody is accused of it."""
        log = await self.forked(courier, 8, 6, 6)
        log.lose()
        grow(log, 12)
        await courier.bring(courier.file(log=log))
        assert (courier.replayed, courier.side.bundles) == (8, [])

    async def test_are_none_by_a_key_that_was_stolen(self, courier: Courier) -> None:
        log = await self.forked(courier, 8, 6, 12)
        old = courier.peer.log_key
        courier.peer.rotate(pb.ROLE_LOG, compromised_since=courier.clock())
        note = courier.peer.checkpoint(also=[old])
        honest = courier.file()
        honest.pages[0].checkpoint = note
        await courier.bring(honest, courier.file(log=log))
        assert (courier.replayed, courier.side.bundles) == (9, [])


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[BothByFiles]:
    async with both_by_files(tmp_path) as both:
        yield both


class TestAnInstitutionThatWasSilent:
    """The deadline has passed on the mainland's log; on what file does it say that nobody came?"""

    @pytest.fixture
    async def sent(self, both: BothByFiles) -> pb.Transfer:
        transfer = both.transfer()
        await both.declare(transfer)
        await both.hong_kong.take(both.mainland.say())
        return transfer

    async def test_is_accused_by_the_answer_to_what_was_asked_since(
        self, both: BothByFiles, sent: pb.Transfer
    ) -> None:
        both.clock.advance(hours=DEADLINE_HOURS + 1)
        await go_round(both)
        assert (both.states(sent)[0], both.mainland.findings) == (
            State.UNACKNOWLEDGED,
            ["K15.unacknowledged"],
        )

    async def test_and_was_not_is_accused_by_no_older_file_with_that_answer(
        self, both: BothByFiles, sent: pb.Transfer
    ) -> None:
        """The courier has the file from before the ACK, and the answer from after it."""
        before = both.hong_kong.say()
        await both.acknowledge(sent)
        both.clock.advance(hours=DEADLINE_HOURS + 1)
        await both.hong_kong.take(both.mainland.say())
        await both.mainland.take(before._replace(answer=both.hong_kong.say().answer))
        assert both.mainland.findings == []

    async def test_and_was_not_is_matched_when_the_file_comes(
        self, both: BothByFiles, sent: pb.Transfer
    ) -> None:
        await both.acknowledge(sent)
        both.clock.advance(hours=DEADLINE_HOURS + 1)
        await go_round(both)
        assert (both.states(sent)[0], both.mainland.findings) == (State.MATCHED, [])

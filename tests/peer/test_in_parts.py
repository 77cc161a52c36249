"""
A log that is too large for one file: each holds some of it, and the next goes on from there.

Here a file ends with its first page; what a log has beyond what was carried fills two and a bit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from peer.by_files import BothByFiles, ByFiles, both_by_files

from ledgerd.ledger.call import Call
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.peer.carried import Carried
from ledgerd_client.core.errors import FieldError

PAGE = SHARED_PAGE_HEADERS
MORE = 2 * PAGE + 7


@dataclass
class Long:
    """Two sides, and how far the log of one is that the other knows little of."""

    both: BothByFiles
    size: int

    @property
    def sender(self) -> ByFiles:
        return self.both.mainland

    @property
    def receiver(self) -> ByFiles:
        return self.both.hong_kong

    @property
    def held(self) -> int:
        """Entries that the receiver has, under a checkpoint or not yet."""
        return self.receiver.peer.replica.size

    @property
    def verified(self) -> int:
        return self.receiver.peer.replica.verified_size

    def part(self, start: int | None = None) -> Carried:
        return self.sender.say(start=start, part=1)

    def parts(self, start: int | None = None) -> list[Carried]:
        """All that there is to carry, written at once."""
        files = [self.part(start)]
        while files[-1].is_part:
            files.append(self.part(files[-1].stop))
        return files

    async def bring(self, *files: Carried) -> None:
        for file in files:
            await self.receiver.take(file)

    async def go_round(self) -> None:
        """A part there, and the answer back."""
        self.both.clock.advance(seconds=5)
        await self.receiver.take(self.part())
        await self.sender.take(self.receiver.say())

    async def converge(self) -> None:
        """As many rounds as there are parts, and two for what was wrong with one of them."""
        for _ in range(MORE // PAGE + 3):
            await self.go_round()


@pytest.fixture
async def long(tmp_path: Path) -> AsyncIterator[Long]:
    async with both_by_files(tmp_path) as both:
        side = both.mainland
        records = [side.by(both.exporter, transfer=both.transfer()) for _ in range(MORE)]
        for first in range(0, MORE, 1000):
            await side.sequencer.append(Call.of(records[first : first + 1000]))
        yield Long(both, side.size)


class TestALogThatWasNotCarriedForLong:
    async def test_comes_over_a_part_a_round(self, long: Long) -> None:
        for _ in range(MORE // PAGE + 1):
            await long.go_round()
        assert long.verified >= long.size

    async def test_comes_over_in_one_round_of_several_files(self, long: Long) -> None:
        await long.bring(*long.parts())
        assert long.verified == long.size

    async def test_goes_in_files_of_which_none_is_larger_than_a_part(self, long: Long) -> None:
        assert [len(file.pages) for file in long.parts()] == [1, 1, 1]

    async def test_is_cosigned_once_it_is_whole(self, long: Long) -> None:
        *before, last = long.parts()
        cosigned = long.receiver.peer.witness.cosigned_size
        await long.bring(*before)
        between = long.receiver.peer.witness.cosigned_size
        await long.bring(last)
        assert (between, long.receiver.peer.witness.cosigned_size) == (cosigned, long.size)

    async def test_is_as_new_as_the_question_that_the_parts_answer(self, long: Long) -> None:
        """And no newer than before, as long as the last part has not come."""
        asked_at = long.both.clock()
        await long.sender.take(long.receiver.say())
        long.both.clock.advance(hours=1)
        *before, last = long.parts()
        await long.bring(*before)
        between = long.receiver.peer.status().fetched_at
        await long.bring(last)
        assert between < long.receiver.peer.status().fetched_at == asked_at

    async def test_goes_on_after_the_receiver_was_restarted(self, long: Long) -> None:
        first, *rest = long.parts()
        await long.bring(first)
        await long.receiver.reopen()
        await long.bring(*rest)
        assert long.verified == long.size

    async def test_goes_on_where_the_receiver_says_that_it_is(self, long: Long) -> None:
        await long.go_round()
        assert long.part().start == long.held > long.verified

    async def test_comes_over_while_it_grows(self, long: Long) -> None:
        await long.bring(long.part())
        await long.sender.enrol("uscc.B")
        await long.bring(*long.parts(long.held))
        assert long.verified == long.size + 1


class TestACourierWithParts:
    """He may do with them as he likes: what comes next mends it."""

    async def test_changes_one(self, long: Long) -> None:
        part = long.part()
        headers = part.pages[0].headers
        # Its time: no signature is over that.
        headers[-1] = headers[-1][:16] + bytes([headers[-1][16] ^ 1]) + headers[-1][17:]
        await long.bring(part)
        await long.converge()
        assert long.verified >= long.size

    async def test_brings_them_again_and_in_another_order(self, long: Long) -> None:
        first, *rest = long.parts()
        await long.bring(first, *reversed(rest), first)
        await long.converge()
        assert long.verified >= long.size

    async def test_brings_an_older_file_between_them(self, long: Long) -> None:
        """Its checkpoint is of less than is held by then."""
        older, (first, *_) = long.sender.say(start=0), long.parts()
        await long.bring(first, older)
        await long.converge()
        assert long.verified >= long.size

    async def test_leaves_one_out_and_hears_what_helps(self, long: Long) -> None:
        await long.bring(long.parts()[1])
        outcome = long.receiver.exchange.outcome()
        assert outcome is not None
        assert outcome.reason == "CARRIED_TOO_LITTLE"

    async def test_hears_that_a_part_was_replayed(self, long: Long) -> None:
        await long.bring(long.part())
        outcome = long.receiver.exchange.outcome()
        assert outcome is not None
        assert outcome.reason == ""

    async def test_leaves_no_evidence_with_an_honest_one(self, long: Long) -> None:
        await long.bring(*long.parts())
        assert long.receiver.bundles == []


class TestAPartFromAnEntryOn:
    async def test_that_the_log_does_not_have_is_refused(self, long: Long) -> None:
        with pytest.raises(FieldError):
            long.part(long.size + 1)

    async def test_at_its_end_holds_no_header(self, long: Long) -> None:
        assert long.part(long.size).pages[0].headers == []

"""The loop: woken at once, never busy, patient with failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog

from ledgerd.peer.rounds import Rounds, backoff
from ledgerd_client.core.errors import LedgerError, UnavailableError

FOREVER = 3600.0


class Steps:
    """A step that counts, and does in each round what a test has listed."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self._changed = asyncio.Condition()

    async def __call__(self) -> bool:
        async with self._changed:
            self.count += 1
            self._changed.notify_all()
        outcome = self.outcomes[self.count - 1] if self.count <= len(self.outcomes) else True
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def reach(self, count: int) -> None:
        async with self._changed, asyncio.timeout(10):
            await self._changed.wait_for(lambda: self.count >= count)


@asynccontextmanager
async def running(steps: Steps, *, gap: float = 0, idle: float = FOREVER) -> AsyncIterator[Rounds]:
    rounds = Rounds("test", steps, gap=gap, idle=idle, random=bytes)
    task = asyncio.create_task(rounds.run())
    await steps.reach(1)
    yield rounds
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def quiet(steps: Steps) -> int:
    """Rounds so far, once the loop has had every chance to make another."""
    for _ in range(50):
        await asyncio.sleep(0)
    return steps.count


class TestBackoff:
    # failures in a row, longest, random byte -> seconds
    TABLE = (
        (1, 5.0, 0, 0.05),
        (2, 5.0, 0, 0.1),
        (3, 5.0, 0, 0.2),
        (8, 5.0, 0, 5.0),
        (1_000_000, 5.0, 0, 5.0),
        (1, 0.01, 0, 0.01),
        (8, 5.0, 128, 3.75),
    )

    @pytest.mark.parametrize(("failures", "longest", "byte", "seconds"), TABLE)
    def test_it_doubles_up_to_the_longest(
        self, failures: int, longest: float, byte: int, seconds: float
    ) -> None:
        assert backoff(failures, longest, bytes([byte])) == seconds

    def test_chance_takes_less_than_half_away(self) -> None:
        assert 2.5 < backoff(8, 5.0, b"\xff") < 2.6


class TestRounds:
    async def test_the_first_round_begins_at_once(self) -> None:
        steps = Steps()
        async with running(steps):
            assert steps.count == 1

    async def test_when_all_is_done_it_waits(self) -> None:
        steps = Steps()
        async with running(steps):
            assert await quiet(steps) == 1

    async def test_woken_it_goes_round_again(self) -> None:
        steps = Steps()
        async with running(steps) as rounds:
            rounds.wake()
            await steps.reach(2)

    async def test_woken_often_it_goes_round_once(self) -> None:
        steps = Steps()
        async with running(steps) as rounds:
            await quiet(steps)
            for _ in range(100):
                rounds.wake()
            assert await quiet(steps) == 2

    async def test_woken_it_still_keeps_the_gap(self) -> None:
        steps = Steps()
        async with running(steps, gap=FOREVER) as rounds:
            rounds.wake()
            assert await quiet(steps) == 1

    async def test_idle_it_goes_round_by_itself(self) -> None:
        steps = Steps()
        async with running(steps, idle=0.001):
            await steps.reach(3)

    async def test_with_more_to_do_it_is_not_idle(self) -> None:
        steps = Steps(False, False, True)
        async with running(steps):
            await steps.reach(3)
            assert await quiet(steps) == 3


class TestFailures:
    @pytest.fixture(params=[UnavailableError("down"), ZeroDivisionError("a fault of our own")])
    def failure(self, request: pytest.FixtureRequest) -> Exception:
        error: Exception = request.param
        return error

    async def test_it_tries_again_by_itself(self, failure: Exception) -> None:
        steps = Steps(failure)
        async with running(steps, idle=0.001):
            await steps.reach(2)

    async def test_being_woken_does_not_cut_the_backoff_short(self, failure: Exception) -> None:
        steps = Steps(failure)
        async with running(steps) as rounds:
            rounds.wake()
            assert await quiet(steps) == 1

    async def test_they_are_counted(self, failure: Exception) -> None:
        steps = Steps(failure, failure, failure)
        async with running(steps, idle=0.001) as rounds:
            await steps.reach(4)
            assert rounds.failures == 3

    async def test_the_newest_is_known_until_a_round_goes_well(self, failure: Exception) -> None:
        steps = Steps(failure, True)
        async with running(steps, idle=0.001) as rounds:
            assert isinstance(rounds.error, LedgerError)
            await steps.reach(3)
            assert rounds.error is None

    async def test_a_peer_that_is_still_reading_is_none(self) -> None:
        steps = Steps(UnavailableError("behind", reason="REPLAY_BEHIND"))
        async with running(steps, idle=0.001) as rounds:
            await steps.reach(2)
            assert rounds.failures == 0

    async def test_a_peer_that_is_still_reading_is_reached_again(self) -> None:
        """What failed before is over, however long it reads."""
        behind = UnavailableError("behind", reason="REPLAY_BEHIND")
        steps = Steps(UnavailableError("down"), behind, behind, behind)
        async with running(steps, idle=0.001) as rounds:
            await steps.reach(3)
            assert rounds.error is None


Line = dict[str, object]


class TestLog:
    """A peer that is down for a day is two lines."""

    async def lines(self, make: Callable[[], Exception], count: int) -> list[Line]:
        steps = Steps(*(make() for _ in range(count)))
        with structlog.testing.capture_logs() as lines:
            async with running(steps, idle=0.001):
                await steps.reach(count + 2)
        return [dict(line) for line in lines]

    async def test_one_when_it_begins_and_one_when_it_ends(self) -> None:
        lines = await self.lines(lambda: UnavailableError("down"), 5)
        assert [line["event"] for line in lines] == ["test_failed", "test_recovered"]

    async def test_the_first_says_what_to_do(self) -> None:
        (line, _) = await self.lines(lambda: UnavailableError("down", action="wait"), 1)
        assert (line["reason"], line["error"], line["action"]) == ("UNAVAILABLE", "down", "wait")

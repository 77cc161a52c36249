"""A process that answers: in order, with its own errors, and not longer than its parent lives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ledger.ends import ended

from ledgerd.ledger.child import Child
from ledgerd_client.core.errors import FieldError, LedgerError, UnavailableError
from ledgerd_client.secrecy import may_be_dumped


@asynccontextmanager
async def running(
    make: Callable[..., Callable[..., object]], *args: object
) -> AsyncIterator[Child]:
    child = Child(make, *args)
    await child.start()
    yield child
    await child.close()


def adder(start: int) -> Callable[[int], int]:
    return lambda number: start + number


def sizer() -> Callable[[bytes], int]:
    return len


def teller() -> Callable[[int], bytes]:
    return told


def told(size: int) -> bytes:
    """As many bytes, of which a stretch put elsewhere shows."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def killed() -> Callable[[], int]:
    return lambda: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[return-value]


def failing(error: Exception) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def failing_by(kind: type[Exception]) -> Callable[[], object]:
    return failing(kind("1", "2"))


def unmade(error: Exception) -> Callable[[], object]:
    raise error


class StrangeError(Exception):
    """What no unpickling makes again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class TestAnswers:
    async def test_are_made_by_what_it_was_started_with(self) -> None:
        async with running(adder, 40) as child:
            assert await child.ask(2) == 42

    async def test_come_in_the_order_of_the_questions(self) -> None:
        async with running(adder, 0) as child:
            assert await asyncio.gather(*map(child.ask, range(100))) == list(range(100))

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 10_000_000])
    async def test_are_to_questions_of_any_size(self, size: int) -> None:
        async with running(sizer) as child:
            assert await child.ask(bytes(size)) == size

    async def test_of_any_size_come_whole_one_after_the_other(self) -> None:
        sizes = [0, 1, 70_000, 2, 5_000_000, 3, 262_140, 262_144]
        async with running(teller) as child:
            asked = asyncio.gather(*map(child.ask, sizes))
            await asyncio.sleep(0)
            # While the loop does something else, they pile up, the long one not whole.
            subprocess.run([sys.executable, "-c", ""], check=True)  # noqa: ASYNC221 - it is to block
            assert await asked == [told(size) for size in sizes]

    async def test_are_not_mixed_up_when_somebody_goes_away(self) -> None:
        async with running(adder, 0) as child:
            gone = asyncio.create_task(child.ask(1))
            await asyncio.sleep(0)
            gone.cancel()
            assert await child.ask(2) == 2


class TestErrors:
    async def test_of_ours_come_back_whole(self) -> None:
        error = FieldError("no", reason="WRONG", action="mend it")
        async with running(failing, error) as child:
            with pytest.raises(FieldError) as caught:
                await child.ask()
        assert (caught.value.message, caught.value.reason, caught.value.action) == (
            "no", "WRONG", "mend it",
        )  # fmt: skip

    @pytest.mark.parametrize("kind", [ValueError, StrangeError])
    async def test_of_any_other_kind_become_ours(self, kind: type[Exception]) -> None:
        async with running(failing_by, kind) as child:
            with pytest.raises(LedgerError, match=kind.__name__):
                await child.ask()

    async def test_leave_it_answering(self) -> None:
        async with running(failing, ValueError("no")) as child:
            for _ in range(3):
                with pytest.raises(LedgerError):
                    await child.ask()

    async def test_at_its_start_are_raised_there(self) -> None:
        child = Child(unmade, FieldError("no", reason="WRONG"))
        with pytest.raises(FieldError) as caught:
            await child.start()
        assert caught.value.reason == "WRONG"
        await child.close()


class TestDeath:
    async def test_is_told_to_everybody_who_waits(self) -> None:
        async with running(killed) as child:
            answers = await asyncio.gather(child.ask(), child.ask(), return_exceptions=True)
        assert [type(answer) for answer in answers] == [UnavailableError] * 2

    async def test_is_told_to_who_asks_later(self) -> None:
        async with running(killed) as child:
            with pytest.raises(UnavailableError):
                await child.ask()
            assert not child.answers
            with pytest.raises(UnavailableError):
                await child.ask()

    async def test_comes_when_it_is_closed(self) -> None:
        async with running(adder, 0) as child:
            pid = child.pid
        assert pid is not None
        assert ended(pid)
        with pytest.raises(UnavailableError):
            await child.ask(1)

    async def test_comes_after_the_answer_to_what_was_asked(self) -> None:
        async with running(adder, 0) as child:
            answer = asyncio.create_task(child.ask(7))
            await asyncio.sleep(0)
        assert await answer == 7

    async def test_is_told_to_who_asks_while_it_is_closed(self) -> None:
        async with running(adder, 0) as child:
            closing = asyncio.create_task(child.close())
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError):
                await child.ask(7)
            await closing

    async def test_is_not_by_a_signal_that_ends_its_parent(self) -> None:
        """A terminal signals both; the parent still has questions."""
        async with running(adder, 0) as child:
            assert child.pid is not None
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(child.pid, number)
            assert await child.ask(7) == 7

    @pytest.mark.parametrize("count", [1, 2])
    def test_follows_its_parents(self, count: int) -> None:
        parent = subprocess.Popen(
            [sys.executable, "-c", ORPHANS, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
        parent.communicate()
        assert [ended(pid) for pid in pids] == [True] * count


ORPHANS = """
import asyncio, signal, sys
from ledgerd.ledger.workers import Workers

async def main():
    workers = Workers(int(sys.argv[1]))
    await workers.start()
    print(*(child.pid for child in workers._children), flush=True)
    signal.pause()

if __name__ == "__main__":
    asyncio.run(main())
"""


SECRETIVE = """
import asyncio
from ledger.test_child import tell_whether_dumped
from ledgerd.ledger.child import Child
from ledgerd_client.secrecy import forbid_dumps

async def main():
    child = Child(tell_whether_dumped)
    await child.start()
    print(await child.ask())
    await child.close()

if __name__ == "__main__":
    forbid_dumps()
    asyncio.run(main())
"""


def tell_whether_dumped() -> Callable[..., bool]:
    return may_be_dumped


class TestSecrecy:
    def test_is_as_its_parents(self, tmp_path: Path) -> None:
        program = tmp_path / "parent.py"
        program.write_text(SECRETIVE)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, program], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stdout == "False\n"

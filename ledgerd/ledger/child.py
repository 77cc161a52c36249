"""
Processes of our own, asked over a socket: one question, one answer, in order.

Threads that drop the GIL wait for it again behind whoever computes, and every signature checked and
every row of the store read or written drops it; processes do not wait. They are spawned, never
forked: a fork would carry the store's open environment along.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from multiprocessing.context import SpawnProcess
from multiprocessing.util import Finalize
from typing import Any, Final

from ledgerd_client.core.errors import LedgerError, UnavailableError
from ledgerd_client.secrecy import forbid_dumps, may_be_dumped

_LENGTH: Final = 4
_BUFFER: Final = 256 * 1024
_SENT: Final = 1024 * 1024
# Given to a process that should end by itself before it is killed, in seconds.
_PATIENCE_S: Final = 30.0
_REAP_S: Final = 1.0


class Child:
    """
    A process that answers questions. Belongs to one event loop.

    In the process, make(*args) makes what answers: called with a question's arguments, it returns
    the answer or raises. Arguments and answers are pickled; make is a module's own function.
    """

    def __init__(
        self,
        make: Callable[..., Callable[..., Any]],
        *args: object,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """on_death is called on the loop when the process ends unasked."""
        self._make = make
        self._args = args
        self._on_death = on_death
        self._link: _Link | None = None
        self._process: SpawnProcess | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def answers(self) -> bool:
        """Whether it was started and is still there."""
        return self._link is not None and self._link.stands

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it, say for want of memory; only once it does not answer."""
        if self._process is None:
            return False
        self._process.join(_REAP_S)
        return self._process.exitcode == -signal.SIGKILL

    async def start(self) -> None:
        """Return when it is ready for questions; raises what make raised, UnavailableError."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            # As far as the system allows: who sends a whole call at once need not wait for us.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT)
        # Whatever ends us early: it must not wait for a question while we wait for its end.
        Finalize(None, ours.close, exitpriority=1)
        with theirs:
            process = multiprocessing.get_context("spawn").Process(
                target=_serve,
                args=(theirs, self._make, self._args, may_be_dumped()),
                daemon=True,
            )
            try:
                process.start()
            except OSError as error:
                ours.close()
                raise UnavailableError(f"no process can be started: {error.strerror}") from error
        self._process = process
        loop = asyncio.get_running_loop()
        _, self._link = await loop.create_connection(lambda: _Link(self._on_death), sock=ours)
        await self._link.answer()

    async def ask(self, *question: object) -> Any:
        """
        Return the answer to a question, or raise what the process raised.

        Questions are answered in the order in which they are asked. Raises UnavailableError
        CHILD_DIED when the process is gone; whether it had acted on the question nobody knows.
        """
        if self._link is None:
            raise _died()
        return await self._link.ask(question)

    async def close(self) -> None:
        """Let it finish what it was asked, and end it."""
        if self._link is not None:
            self._link.end()
        if self._process is not None:
            await asyncio.to_thread(_join, self._process)


class _Link(asyncio.BufferedProtocol):
    """Our end of the socket: frames of a length and so many bytes."""

    def __init__(self, on_death: Callable[[], None]) -> None:
        self._on_death = on_death
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(_BUFFER)
        self._filled = 0
        self._awaited: deque[asyncio.Future[Any]] = deque()
        self._ended = False

    @property
    def stands(self) -> bool:
        return self._transport is not None and not self._ended

    def ask(self, question: tuple[object, ...]) -> asyncio.Future[Any]:
        if self._transport is not None and self.stands:
            self._transport.write(_frame(question))
        return self.answer()

    def answer(self) -> asyncio.Future[Any]:
        """The next answer that nobody awaits yet."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.stands:
            future.set_exception(_died())
        else:
            self._awaited.append(future)
        return future

    def end(self) -> None:
        """Ask no more; what was asked is answered, then the process closes its end."""
        if self._transport is not None and not self._ended:
            self._ended = True
            self._transport.write_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a socket's is one
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> memoryview:
        if self._filled == len(self._buffer):
            self._buffer += bytes(self._filled)
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        received = memoryview(self._buffer)[: self._filled]
        rest = received
        while (end := _LENGTH + int.from_bytes(rest[:_LENGTH], "big")) <= len(rest):
            self._settle(rest[_LENGTH:end])
            rest = rest[end:]
        if len(rest) < self._filled:
            self._filled = len(rest)
            received[: self._filled] = rest

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        while self._awaited:
            self._settle(_died())
        if not self._ended:
            self._on_death()

    def _settle(self, answer: memoryview | LedgerError) -> None:
        future = self._awaited.popleft()
        if future.done():  # whoever asked went away
            return
        if isinstance(answer, LedgerError):
            future.set_exception(answer)
            return
        went_well, value = pickle.loads(answer)  # noqa: S301 - our own process wrote it
        if went_well:
            future.set_result(value)
        else:
            future.set_exception(value)


def _join(process: SpawnProcess) -> None:
    process.join(_PATIENCE_S)
    process.kill()
    process.join()


def _died() -> UnavailableError:
    return UnavailableError("a process of the node died; try again", reason="CHILD_DIED")


def _frame(value: object) -> memoryview:
    """
    A value pickled behind its length.

    Here and where frames are read, nothing large is copied that need not be: new memory for a
    call's records, handed back and got anew for each, costs more than the copy itself.
    """
    frame = BytesIO()
    frame.write(bytes(_LENGTH))
    pickle.dump(value, frame, pickle.HIGHEST_PROTOCOL)
    view = frame.getbuffer()
    view[:_LENGTH] = (len(view) - _LENGTH).to_bytes(_LENGTH, "big")
    return view


# -- in the process ---------------------------------------------------------------------------


def _serve(
    link: socket.socket,
    make: Callable[..., Callable[..., Any]],
    args: Sequence[Any],
    may_be_dumped: bool,
) -> None:
    # The parent drains first and ends us itself, also when a terminal signals both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with link:
        questions = _Questions(link)
        went_well, answerer = _try(make, *args)
        if not may_be_dumped:
            # After make: what it says of itself in /proc is root's from now on.
            forbid_dumps()
        tune_collector()
        _send(link, went_well, None if went_well else answerer)
        # A parent that was killed, and one that has closed the link, look the same: the end.
        while went_well and (question := questions.next()) is not None:
            _send(link, *_try(answerer, *pickle.loads(question)))  # noqa: S301 - our parent's


def tune_collector() -> None:
    """
    Have the garbage collector of this process, once it stands, come less often.

    Records become many objects that live for a moment and are in no cycle: to look through them
    every 700 took an eighth of what a worker does.
    """
    gc.freeze()
    gc.set_threshold(50_000)


def _try(function: Callable[..., Any], *args: Any) -> tuple[bool, Any]:
    try:
        return True, function(*args)
    except LedgerError as error:
        return False, error
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
        # Without its message, which may quote what a caller sent.
        return False, LedgerError(f"a process of the node failed: {type(error).__name__}")


class _Questions:
    """The parent's frames."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._buffer = bytearray(_BUFFER)

    def next(self) -> memoryview | None:
        """A question, good until the next one; None when there are no more."""
        length = self._read(_LENGTH)
        return length and self._read(int.from_bytes(length, "big"))

    def _read(self, size: int) -> memoryview | None:
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        found = left = memoryview(self._buffer)[:size]
        with suppress(ConnectionResetError):
            while left and (count := self._link.recv_into(left)):
                left = left[count:]
        return None if left else found


def _send(link: socket.socket, went_well: bool, value: object) -> None:
    # Otherwise nobody waits for it any more.
    with suppress(BrokenPipeError, ConnectionResetError):
        link.sendall(_frame((went_well, value)))

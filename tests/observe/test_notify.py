"""The protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ledgerd.observe.notify import Notifier

Listen = Callable[[str], socket.socket]


@pytest.fixture
def listen() -> Iterator[Listen]:
    sockets: list[socket.socket] = []

    def listen(address: str) -> socket.socket:
        sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sockets[-1].bind(address)
        sockets[-1].settimeout(10)
        return sockets[-1]

    yield listen
    for one in sockets:
        one.close()


def said(listener: socket.socket) -> str:
    return listener.recv(4096).decode()


def heard(listener: socket.socket) -> list[str]:
    """Everything that was said by now."""
    words = []
    with suppress(BlockingIOError):
        while True:
            words.append(said(listener))
    return words


class TestWhereItSpeaks:
    def test_to_a_socket_with_a_path(self, tmp_path: Path, listen: Listen) -> None:
        address = str(tmp_path / "notify")
        listener = listen(address)
        Notifier.from_environment({"NOTIFY_SOCKET": address}).ready("serves")
        assert said(listener) == "READY=1\nSTATUS=serves"

    def test_to_a_socket_with_an_abstract_name(self, listen: Listen) -> None:
        name = f"ledgerd-test-{os.getpid()}"
        listener = listen(f"\0{name}")
        Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert said(listener) == "STOPPING=1"

    def test_to_nobody_when_nobody_asked(self) -> None:
        Notifier.from_environment({}).ready("serves")

    def test_to_nobody_when_whoever_asked_is_gone(self, tmp_path: Path) -> None:
        Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("serves")


class TestTheWatchdog:
    async def test_is_fed_when_it_watches_this_process(
        self, tmp_path: Path, listen: Listen
    ) -> None:
        address = str(tmp_path / "notify")
        listener = listen(address)
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())}
        feeding = Notifier.from_environment(environ).keep_alive(lambda: 0.0)
        feeding.send(None)
        feeding.close()
        assert said(listener) == "WATCHDOG=1"

    @pytest.mark.parametrize(("stalled_s", "fed"), [(60.0, True), (60.1, False)])
    async def test_is_fed_until_twice_its_time_went_by_without_progress(
        self, tmp_path: Path, listen: Listen, stalled_s: float, fed: bool
    ) -> None:
        address = str(tmp_path / "notify")
        listener = listen(address)
        listener.setblocking(False)
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}
        feeding = Notifier.from_environment(environ).keep_alive(lambda: stalled_s)
        feeding.send(None)
        feeding.close()
        assert heard(listener) == (["WATCHDOG=1"] if fed else [])

    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "x"},
            {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
        ],
    )
    async def test_is_left_alone_when_there_is_none(self, environ: dict[str, str]) -> None:
        await Notifier.from_environment(environ).keep_alive(lambda: 0.0)


class TestAReload:
    def test_is_announced_with_the_time_of_the_clock_that_systemd_has(
        self, tmp_path: Path, listen: Listen
    ) -> None:
        listener = listen(str(tmp_path / "notify"))
        before = time.monotonic_ns() // 1000
        Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")}).reloading()
        word, stamp = said(listener).split("\n")
        assert word == "RELOADING=1"
        assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


class TestTheStatus:
    def test_is_sent_when_it_changes(self, tmp_path: Path, listen: Listen) -> None:
        listener = listen(str(tmp_path / "notify"))
        listener.setblocking(False)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for status in ("3 entries", "3 entries", "4 entries"):
            notifier.status(status)
        assert heard(listener) == ["STATUS=3 entries", "STATUS=4 entries"]

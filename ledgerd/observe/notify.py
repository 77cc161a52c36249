"""What the daemon tells its service manager (sd_notify(3)); without one, nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

# No progress for so many of the watchdog's intervals, and the node is not fed any more.
_PATIENCE: Final = 2


class Notifier:
    """
    Says where the daemon stands to whoever started it with NOTIFY_SOCKET.

    Nothing here raises: a daemon does not stop because nobody listens to it.
    """

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Take up NOTIFY_SOCKET and, when it is meant for this process, WATCHDOG_USEC."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address.startswith("@"):  # an abstract name of Linux
            address = "\0" + address[1:]
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = usec.isdecimal() and int(usec) > 0 and mine
        return cls(address, int(usec) / 1_000_000 if watched else None)

    def ready(self, status: str) -> None:
        """Say that calls are answered; after reloading(), that it is over."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say in one line how things stand, unless that was said last."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being taken over; ready() must follow."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def keep_alive(self, stalled_s: Callable[[], float]) -> None:
        """
        Feed the watchdog from the event loop until cancelled; when the loop hangs, nobody does.

        Nor while stalled_s(), for how many seconds nothing of the work at hand was finished, is
        more than twice what the watchdog waits for.
        """
        while self._watchdog_s is not None:
            if stalled_s() <= _PATIENCE * self._watchdog_s:
                self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
                client.setblocking(False)
                client.sendto(state.encode(), self._address)
        except OSError:
            pass

"""How a standby gets on, for its service manager: what it holds, how far it is behind, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ledgerd.mirror.follower import Follower
from ledgerd.observe.notify import Notifier
from ledgerd_client.core.errors import LedgerError

_TELL_EVERY_S: Final = 1.0


class Course:
    """
    The steps of one Follower, told to a Notifier. Belongs to the event loop.

    clock gives seconds that only go up.
    """

    def __init__(
        self,
        follower: Follower,
        notifier: Notifier,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_ready = False
        self._follower = follower
        self._notifier = notifier
        self._clock = clock
        self._failure: LedgerError | None = None
        self._failing_since = ""
        # How many steps have ended, well or not: what does not follow the node asks it again.
        self._ended = 0
        self._seen = (0, follower.held)
        self._seen_at = clock()

    @property
    def status(self) -> str:
        """One line: what is here, and what of the node's log is not."""
        size, behind = self._follower.size, self._follower.behind
        if self._failure is not None:
            error, since = self._failure, self._failing_since
            line = f"{size} entries; not following since {since}: {error.message} ({error.reason})"
        elif behind:
            line = f"{size} entries, {behind} behind the node"
        elif self.is_ready:
            line = f"in step at {size} entries"
        else:
            line = f"{size} entries; asks the node for more"
        # One line, whatever a message says.
        return line.replace("\n", " ")

    @property
    def stalled_s(self) -> float:
        """For how long nothing has come, and no step has ended; as often as it is asked."""
        seen, now = (self._ended, self._follower.held), self._clock()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return now - self._seen_at

    def stepped(self) -> None:
        """Take note that it is in step with the node; for the first time, that is to be READY."""
        self._ended += 1
        self._failure = None
        if not self.is_ready:
            self.is_ready = True
            self._notifier.ready(self.status)

    def failed(self, error: LedgerError) -> None:
        """Take note of what keeps it from following; it is going to try again."""
        self._ended += 1
        if self._failure is None:
            self._failing_since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        self._failure = error

    async def tell(self) -> None:
        """Say how it gets on, each second in which that changed, until cancelled."""
        while True:
            self._notifier.status(self.status)
            await asyncio.sleep(_TELL_EVERY_S)

    async def keep_alive(self) -> None:
        """Feed the watchdog while it gets on, until cancelled."""
        await self._notifier.keep_alive(lambda: self.stalled_s)

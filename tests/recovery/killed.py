"""
Promotes a standby, killed after the first thing that is on the disk, after the second, and so on.

    python killed.py STEP HOME DIRECTORY CLOCK

HOME is a standby that was stopped, and holds beside it the peer's note, as `cosigned`, and for the
STEP `take` the authority's approval, as `loss.approval`; `request` writes `loss.json`. Each run has
a copy of it in DIRECTORY, of which `killed-N` is as the kill left it, and `again-N` as the next call
made it. Prints what each run was killed after; the last one was not. Only this program forks: it
has nothing open.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledgerd.config import Config
from ledgerd.standby.promoting import promote, request_promotion
from ledgerd.store.base import Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client.approval import Approval


class Peer:
    """Says what it cosigned, and nothing else is asked of it."""

    def __init__(self, note: bytes) -> None:
        self._note = note

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        return self._note, b""


class Mortal:
    """Counts what is made to last, and ends the process after so many; 0: never."""

    def __init__(self, last: int) -> None:
        self._left = last
        for name in ("fsync", "rename", "replace", "link", "unlink"):
            setattr(os, name, self._counted(name, getattr(os, name)))
        write: Any = LmdbStore.write

        @contextmanager
        def counted(store: LmdbStore) -> Iterator[Transaction]:
            with write(store) as transaction:
                yield transaction
            self._step("commit")

        LmdbStore.write = counted  # type: ignore[assignment, method-assign] # here alone

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            self._step(name)
            return result

        return counted

    def _step(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            os.write(1, f"killed after {name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def step(name: str, home: Path, clock: int) -> None:
    """One call of the operator's."""
    config, peer = Config.load(home / "node.toml"), Peer((home / "cosigned").read_bytes())
    call: Any
    if name == "request":
        call = request_promotion(config, home / "loss.json", peer, random=os.urandom)  # type: ignore[arg-type]
    else:
        approval = Approval.parse((home / "loss.approval").read_bytes())
        # The same each time, so that the ends can be compared.
        how: Any = {"clock": lambda: clock, "random": bytes}
        call = promote(config, approval, peer, **how)  # type: ignore[arg-type]
    asyncio.run(call)


def forked(run: Callable[[], None]) -> int:
    """Run it in a process of its own; how that ended, as os.waitstatus_to_exitcode."""
    if not (pid := os.fork()):
        run()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(name: str, home: Path, directory: Path, clock: int) -> None:
    """Until one run comes to its end."""
    ended, number = -signal.SIGKILL, 0
    while ended == -signal.SIGKILL:
        number += 1
        killed, again = directory / f"killed-{number}", directory / f"again-{number}"
        shutil.copytree(home, killed)

        def mortal(last: int = number, there: Path = killed) -> None:
            Mortal(last)
            step(name, there, clock)

        ended = forked(mortal)
        shutil.copytree(killed, again)
        for _ in range(2):  # whoever does not know that it was enough calls once more
            assert forked(lambda there=again: step(name, there, clock)) == 0  # type: ignore[misc]
    assert ended == 0, ended


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))

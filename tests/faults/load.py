"""The load of the fault tests, seen from the test: so many batches at a time, and what came of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from border import PATIENCE
from faults.oracle import Acknowledged

PROGRAM = Path(__file__).with_name("loader.py")
ENDED = "ended"


class Loader:
    """A process (loader.py) that outlives the nodes it talks to."""

    def __init__(
        self, client: Path, journal: Path, *, batch: int = 3, wrapper: Sequence[str] = ()
    ) -> None:
        """wrapper comes before its command, say `ip netns exec …`; journal is made anew."""
        self._journal = journal
        environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])}
        self._process = subprocess.Popen(
            [*wrapper, sys.executable, str(PROGRAM), str(client), str(journal), str(batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._asked = self.done = 0
        self._lines: Queue[str] = Queue()
        self._reading = Thread(target=self._read)
        self._reading.start()

    @property
    def waiting(self) -> int:
        """Batches that it was asked to send and that are not acknowledged, as far as was heard."""
        with suppress(Empty):
            while True:
                self._heard(self._lines.get_nowait())
        return self._asked - self.done

    def send(self, batches: int) -> None:
        """Have so many more batches sent, one after the other; return at once."""
        assert self._process.stdin is not None
        self._asked += batches
        self._process.stdin.write(f"{batches}\n")
        self._process.stdin.flush()

    def wait_for(self, *words: str) -> str:
        """Read on until it says one of words (sent, lost, done); returns it."""
        while True:
            if (word := self._heard(self._lines.get(timeout=PATIENCE))) in words:
                return word

    def finish(self) -> None:
        """Return when all that it was asked to send is acknowledged."""
        while self.done < self._asked:
            self.wait_for("done")

    def said(self) -> list[Acknowledged]:
        """What is acknowledged by now, verified and in the journal."""
        if not self._journal.exists():
            return []
        lines = self._journal.read_text().splitlines(keepends=True)
        return [Acknowledged.parse(line) for line in lines if line.endswith("\n")]

    def close(self) -> None:
        """End it, if it is there still."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._reading.join()

    def _heard(self, line: str) -> str:
        word, *_ = line.split()
        assert word != ENDED, "the loader ended: an answer did not verify"
        self.done += word == "done"
        return word

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(ENDED)

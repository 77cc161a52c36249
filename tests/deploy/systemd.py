"""A real systemd to try the unit under: PID 1 of namespaces of its own (systemd_ns.sh)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

BOOT = Path(__file__).with_name("systemd_ns.sh")
PATIENCE = 60.0


def missing() -> str:
    """Why there can be no systemd here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("unshare", "nsenter", "setpriv", "systemctl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    namespaces = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False)
    return "namespaces are not allowed here" if namespaces.returncode else ""


class Systemd:
    """
    Booted when made; nothing of it is left once closed.

    init: its first process, as seen from outside.
    """

    def __init__(self, directory: Path, *shown: str, lower: Path = Path("/")) -> None:
        """lower: the root of a system, of which it sees a copy to write on."""
        self._directory = directory
        self._console = directory / "console.log"
        self.init = 0
        with self._console.open("wb") as console:
            command = [str(BOOT), str(directory), *shown]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={**os.environ, "LOWER": str(lower)},
            )  # fmt: skip
        try:
            self.init = self._wait_for_init()
            self.wait_until("systemctl", "is-system-running", gives="running")
        except BaseException:
            self.close()
            raise

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run a command inside and return what it says; fail unless it exits with code."""
        done = subprocess.run(
            self._entered(command),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=2 * PATIENCE, check=False,
        )  # fmt: skip
        assert code in {None, done.returncode}, f"{command} exited {done.returncode}\n{done.stdout}"
        return done.stdout.strip()

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """Start a command inside, to be read from; it ends with the system, if not before."""
        return subprocess.Popen(
            self._entered(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def _entered(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self.init}", "--all", "--wd", "--", *command]

    def wait_until(self, *command: str, gives: str) -> None:
        """Run a command until it says what it should; each run is all the waiting there is."""
        end = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < end and self._process.poll() is None:
            said = self.run(*command, code=None)
            if said == gives:
                return
        raise AssertionError(f"{command} says {said!r}\n{self._console.read_text()}")

    def close(self) -> None:
        """End it, as if its power went; done twice, the second time changes nothing."""
        # Init first: it is gone when everything inside is, and only then are the groups empty.
        if self._process.poll() is None:
            os.kill(self.init or self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
        groups = self._directory / "cgroups"
        for group in groups.read_text().split() if groups.exists() else ():
            for path, _, _ in os.walk(group, topdown=False):
                Path(path).rmdir()

    def _wait_for_init(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            for child in children.read_text().split():
                with suppress(OSError):  # one that the script ran before, and gone by now
                    if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                        return int(child)
        raise AssertionError(f"no systemd\n{self._console.read_text()}")

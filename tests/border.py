"""
A border of real processes: what end-to-end, fault and kill tests drive.

It starts the installed programs and imports nothing of the daemon. Readiness is what the daemon
tells systemd (sd_notify), so nobody sleeps.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
LEDGERD = str(BIN / "ledgerd")
LEDGERCTL = str(BIN / "ledgerctl")
# Longer than anything takes on a busy machine; only a failure waits so long.
PATIENCE = 60.0
OWN_SCORE = Path("/proc/self/oom_score_adj")


@dataclass
class Node:
    """
    One `ledgerd serve` process, or another command's that tells systemd when it is ready.

    options are what it is given beside its configuration.
    """

    config: Path
    options: Sequence[str] = ("--throwaway",)
    command: str = "serve"
    notify: socket.socket = field(init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.config.with_name("node.log")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket_path = self.config.with_name("notify.sock")
        self.notify.bind(str(self._socket_path))

    def start(self, wrapper: Sequence[str] = ()) -> None:
        """Start it, and return when it says READY=1; wrapper comes before it, say strace."""
        self.launch(wrapper)
        self.wait_for("READY=1")

    def launch(self, wrapper: Sequence[str] = ()) -> None:
        """Start it and return at once."""
        # A queue full of what the process before this one said takes nothing more.
        while select.select([self.notify], [], [], 0)[0]:
            self.notify.recv(4096)
        command = [*wrapper, LEDGERD, self.command, "--config", str(self.config), *self.options]
        environment = {**os.environ, "NOTIFY_SOCKET": str(self._socket_path)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def wait_for(self, word: str) -> str:
        """Wait until the process has said word, and return all it said with it; fail when it ends."""
        assert self.process is not None
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ready, _, _ = select.select([self.notify], [], [], 0.1)
            said = self.notify.recv(4096).decode() if ready else ""
            if word in said.split("\n"):
                return said
            if not ready and self.process.poll() is not None:
                break
        raise AssertionError(f"the node did not say {word}:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def stop(self) -> int:
        """SIGTERM; return the exit code once it has drained."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self, victim: str = "all") -> None:
        """SIGKILL to the daemon and its processes at once, to the "daemon" or its "writer" alone."""
        assert self.process is not None
        if victim == "writer":
            os.kill(self.writer(), signal.SIGKILL)
        elif victim == "daemon":
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While the block lasts, none of its processes runs."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            while not all(map(is_stopped, self.processes)):
                pass
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    @property
    def processes(self) -> list[int]:
        """Its process ids, the daemon's own first."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def daemon(self) -> int:
        """The process id of the daemon itself."""
        return self.processes[0]

    def writer(self) -> int:
        """The process id of the daemon's writer."""
        return writer_of(self.processes[1:])

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.notify.close()
        self._socket_path.unlink(missing_ok=True)


def is_stopped(pid: int) -> bool:
    """Whether each thread of a process is stopped."""
    states = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(state.read_text().rpartition(")")[2].split()[0] == "T" for state in states)


def writer_of(children: Iterable[int]) -> int:
    """The one of a daemon's processes that writes; what it has open its like may not see."""
    (found,) = (
        child
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        # Workers offer themselves to be killed for their memory before the others.
        and Path(f"/proc/{child}/oom_score_adj").read_text() == OWN_SCORE.read_text()
    )
    return found


class Mirror:
    """A regulator's `ledgerd mirror` process, in a directory of its own."""

    def __init__(self, settings: Path, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "mirror.sock"
        self._command = [
            LEDGERD, "mirror", "--settings", str(settings), "--data", str(directory),
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None

    def catch_up(self, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it once."""
        return run(*self._command, "--once", code=code)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.launch()
        end = time.monotonic() + PATIENCE
        while not self.socket.exists():
            assert self._process is not None
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < end, "the mirror does not answer"
            time.sleep(0.05)

    def launch(self) -> None:
        """Start it and return at once."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


class Border:
    """Two nodes and four institutions below one directory, made by `ledgerd dev --prepare`."""

    def __init__(self, directory: Path, *options: str, law: str = "") -> None:
        """options are for `ledgerd dev`; law: by which contents are judged, by none as a rule."""
        self.directory = directory
        run(LEDGERD, "dev", "--dir", str(directory), "--prepare", "--law", law, *options)
        self.mainland = Node(directory / "mainland" / "node" / "node.toml")
        self.hongkong = Node(directory / "hongkong" / "node" / "node.toml")

    def client(self, name: str) -> Path:
        """The client.toml of an institution or operator, say sz-hospital."""
        return self.directory / name / "client.toml"

    def start(self) -> None:
        """Start both nodes together, and return when each has verified the other's log so far."""
        self.mainland.launch()
        self.hongkong.launch()
        for node, operator in (
            (self.mainland, "mainland-operator"),
            (self.hongkong, "hongkong-operator"),
        ):
            node.wait_for("READY=1")
            self._wait_cosigned(self.client(operator))

    @staticmethod
    def _wait_cosigned(config: Path) -> None:
        command = (LEDGERCTL, "checkpoint", "--cosigned", "--config", str(config))
        end = time.monotonic() + PATIENCE
        while subprocess.run(command, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < end, f"the other side cosigns nothing: {config}"

    def copy_of(self, node: Node, to: Path) -> Path:
        """A copy of a stopped node's directory; returns the copy's configuration."""
        shutil.copytree(node.config.parent, to, ignore=shutil.ignore_patterns("*.sock"))
        return to / "node.toml"

    def close(self) -> None:
        self.mainland.close()
        self.hongkong.close()


def run(*command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run an installed program; fail unless it exits with code."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=10 * PATIENCE, check=False
    )
    assert done.returncode == code, (
        f"{command} exited {done.returncode}\n{done.stdout}{done.stderr}"
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def audit(config: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`ledgerd audit` of a node that does not run."""
    return run(LEDGERD, "audit", "--config", str(config), code=code)

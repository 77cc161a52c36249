"""The program as an operator runs it: its words, exit codes and signals."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from subprocess import PIPE

import pytest
from border import writer_of
from nodes import Node, Side, make_sides, refused

from ledgerd.ledger.head import FOLLOWS_KEY
from ledgerd.store.format import FORMAT_KEY
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import KeyFile, read_file

Sides = tuple[Side, Side]

LEDGERD = Path(sys.executable).with_name("ledgerd")
PATIENCE_S = 60


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return make_sides(tmp_path)


@pytest.fixture
def founded(sides: Sides) -> Side:
    sides[0].found(sides[1])
    return sides[0]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(argument) for argument in (LEDGERD, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


class TestRestore:
    def test_shows_whoever_waits_how_far_it_is(self, founded: Side) -> None:
        config, backups = founded.toml, founded.directory / "backups"
        run("backup", "--config", config, "--to", backups)
        founded.config.store.rename(founded.directory / "lost")
        ours, theirs = pty.openpty()
        command = [LEDGERD, "restore", "--config", config, "--from", backups]
        environment = os.environ | {"TERM": "xterm"}
        with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
            subprocess.run(command, stderr=theirs, env=environment, check=True)
            os.close(theirs)
            assert b"restoring" in terminal.read(4096)


class TestPromote:
    @pytest.mark.parametrize("part", [0, 100, -2], ids=["nothing", "a part", "all but the end"])
    def test_waits_until_the_authoritys_answer_is_whole(self, sides: Sides, part: int) -> None:
        """And then looks at it: here it is no answer, and this is no standby."""
        side, peer = sides
        side.found(peer)
        whole, path = side.approve_genesis(peer).format(), side.directory / "loss.approval"
        path.write_bytes(whole[:part])
        command = [LEDGERD, "promote", "--config", side.toml, "--loss", path]
        with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) as promote:
            assert promote.stdout is not None
            said = promote.stdout.readline()
            path.write_bytes(whole)
            _, why = promote.communicate(timeout=PATIENCE_S)
        assert (f"until its answer at {path} is whole" in said, "STORE_EXISTS" in why) == (
            True,
            True,
        )


class Daemon:
    """A `ledgerd serve` that says READY=1 to the test, as it would to systemd."""

    def __init__(self, side: Side) -> None:
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.settimeout(PATIENCE_S)
        address = side.directory / "notify.sock"
        self._notify.bind(str(address))
        self.process = subprocess.Popen(
            [LEDGERD, "serve", "--config", side.toml],
            env=os.environ | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, word: str) -> None:
        while word not in self._notify.recv(4096).decode().split("\n"):
            pass

    def said(self) -> list[str]:
        """Everything that it has said and nobody has heard yet."""
        self._notify.setblocking(False)
        words: list[str] = []
        with suppress(BlockingIOError):
            while True:
                words += self._notify.recv(4096).decode().split("\n")
        return words

    @property
    def port(self) -> int:
        """The port that it took, as its log says."""
        assert self.process.stderr is not None
        lines = map(json.loads, self.process.stderr)
        return next(int(line["port"]) for line in lines if line["event"] == "serving")

    def children(self) -> set[int]:
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def writer(self) -> int:
        return writer_of(self.children())

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[str]]:
        """Exit code, and the lines on standard error."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, list[str]]:
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        self._notify.close()
        return self.process.returncode, errors.splitlines()


@pytest.fixture
def daemon(founded: Side) -> Iterator[Daemon]:
    daemon = Daemon(founded)
    yield daemon
    if daemon.process.poll() is None:
        daemon.process.kill()
        daemon.end()


class TestServing:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_well_at_a_signal(self, daemon: Daemon, number: int) -> None:
        daemon.wait_for("READY=1")
        assert daemon.stop(number)[0] == 0

    def test_says_to_the_service_manager_where_it_stands(self, daemon: Daemon) -> None:
        daemon.wait_for("READY=1")
        daemon.wait_for("WATCHDOG=1")
        daemon.process.terminate()
        daemon.wait_for("STOPPING=1")

    def test_says_nothing_of_ready_to_it_before_it_has_its_port(self, founded: Side) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            founded.toml.write_text(founded.toml.read_text().replace("localhost:0", listen))
            daemon = Daemon(founded)
            daemon.process.wait(PATIENCE_S)
            said = daemon.said()
            assert daemon.end()[0] == 1
        assert "READY=1" not in said

    def test_logs_one_json_object_a_line(self, daemon: Daemon) -> None:
        daemon.wait_for("READY=1")
        events = [json.loads(line)["event"] for line in daemon.stop()[1]]
        # Between them the peer, which is away, may be missed at any moment.
        course = [event for event in events if event in {"serving", "stopping", "stopped"}]
        assert course == ["serving", "stopping", "stopped"]
        assert events[-1] == "stopped"

    def test_names_the_process_that_serves_already(self, daemon: Daemon, founded: Side) -> None:
        daemon.wait_for("READY=1")
        second = run("serve", "--config", founded.toml)
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert f"already served by process {daemon.process.pid}" in second.stderr

    async def test_ends_with_70_when_its_store_fails(
        self, daemon: Daemon, sides: Sides, founded: Side
    ) -> None:
        daemon.wait_for("READY=1")
        node = Node(*sides, daemon.port)
        # From now on no file grows: what a commit writes fails.
        resource.prlimit(daemon.writer(), resource.RLIMIT_FSIZE, (4096, 4096))
        error = await refused(node.institution())
        await node.close()
        code, lines = daemon.end()
        assert (code, error.reason) == (70, "COMMIT_FAILED")
        assert lines[-1].startswith("ledgerd: a commit failed")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 1), (signal.SIGSEGV, 70)])
    def test_ends_when_its_writer_does(
        self, daemon: Daemon, founded: Side, number: signal.Signals, code: int
    ) -> None:
        """Also when nobody calls. systemd starts it again after 1, and not after 70."""
        daemon.wait_for("READY=1")
        os.kill(daemon.writer(), number)
        ended, lines = daemon.end()
        assert ended == code
        assert lines[-1].startswith("ledgerd: the process that writes the store")

    def test_a_worker_that_is_killed_is_replaced(self, daemon: Daemon, founded: Side) -> None:
        daemon.wait_for("READY=1")
        for pid in daemon.children() - {daemon.writer()}:
            os.kill(pid, signal.SIGKILL)
        assert daemon.stop()[0] == 0

    async def test_finishes_the_calls_in_flight(self, daemon: Daemon, sides: Sides) -> None:
        daemon.wait_for("READY=1")
        node = Node(*sides, daemon.port)
        exporter = await node.institution()
        calls = [
            asyncio.create_task(exporter.append(*(exporter.transfer() for _ in range(500))))
            for _ in range(4)
        ]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        daemon.process.terminate()
        replies = await asyncio.gather(*calls)
        await node.close()
        assert sum(len(reply.headers) for reply in replies) == 2000


class TestWhatIsRefused:
    """One line that says what to do, and never a traceback."""

    def test_a_setting_that_nobody_knows(self, founded: Side) -> None:
        founded.toml.write_text("listn = 1\n" + founded.toml.read_text())
        done = run("serve", "--config", founded.toml)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "'listn' is not a setting (UNKNOWN_SETTING). What to do: at the top" in done.stderr

    def test_a_configuration_that_is_not_there(self, tmp_path: Path) -> None:
        done = run("serve", "--config", tmp_path / "nowhere.toml")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)

    def test_serving_where_no_ledger_was_made(self, sides: Sides) -> None:
        side, peer = sides
        side.approve_genesis(peer)
        side.found(peer)
        side.config.store.rename(side.config.data / "moved")
        done = run("serve", "--config", side.toml)
        assert (done.returncode, done.stderr.count("\n")) == (70, 1)
        assert "NO_STORE" in done.stderr

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            (FORMAT_KEY, b"99", "STORE_TOO_NEW"),
            (FORMAT_KEY, b"0", "STORE_TOO_OLD"),
            (FOLLOWS_KEY, bytes(48), "STANDBY"),
        ],
    )
    def test_serving_what_no_restart_mends(
        self, founded: Side, key: bytes, value: bytes, reason: str
    ) -> None:
        """With 70: systemd tries again what ends with 1."""
        with closing(LmdbStore.open(founded.config.store)) as store, store.write() as transaction:
            transaction.put(Table.META, key, value)
        done = run("serve", "--config", founded.toml)
        assert (done.returncode, f"({reason})" in done.stderr) == (70, True)

    @pytest.mark.parametrize("command", ["restore", "recover"])
    @pytest.mark.parametrize("place", ["empty", "nowhere"])
    def test_coming_back_from_what_is_no_copy(
        self, founded: Side, tmp_path: Path, command: str, place: str
    ) -> None:
        founded.config.store.rename(founded.config.data / "moved")
        (tmp_path / "empty").mkdir()
        done = run(command, "--config", founded.toml, "--from", tmp_path / place)
        assert (done.returncode, "ledgerd init" in done.stderr) == (2, False)
        assert "name a backup, or a directory of backups, or a store" in done.stderr

    @pytest.mark.parametrize("command", ["restore", "recover"])
    def test_coming_back_from_the_store_of_another_log(self, sides: Sides, command: str) -> None:
        side, peer = sides
        side.found(peer)
        peer.found(side)
        side.config.store.rename(side.config.data / "moved")
        done = run(command, "--config", side.toml, "--from", peer.config.data)
        assert (done.returncode, "WRONG_ORIGIN" in done.stderr) == (2, True)
        assert f"is the store of {peer.origin}, and not of {side.origin}" in done.stderr

    def test_throw_away_keys(self, founded: Side) -> None:
        path = founded.config.keys.log
        path.write_bytes(KeyFile(KeyFile.parse(path.read_bytes()).key, throwaway=True).format())
        done = run("serve", "--config", founded.toml)
        assert (done.returncode, "THROWAWAY_KEY" in done.stderr) == (2, True)


class TestInit:
    def test_makes_a_ledger_in_two_steps(self, sides: Sides) -> None:
        side, peer = sides
        request, approval = side.directory / "request.json", side.directory / "approval.json"
        asked = run("init", "--config", side.toml, "--request", request)
        assert asked.stdout.strip() == fingerprint(read_file(request))
        approval.write_bytes(side.approve_genesis(peer, request=request).format())
        done = run("init", "--config", side.toml, "--genesis", approval)
        assert (done.returncode, side.config.store.exists()) == (0, True)

    def test_says_what_the_other_sides_configuration_is_to_hold(self, sides: Sides) -> None:
        ours, theirs = sides
        asked = run("init", "--config", ours.toml, "--request", ours.directory / "request.json")
        said = [line.strip() for line in asked.stderr.splitlines() if line.startswith("    ")]
        text = theirs.toml.read_text().partition("[peer]")[0] + "\n".join(said)
        theirs.toml.write_text(text)
        assert theirs.config.peer_spiffe_id == ours.config.spiffe_id
        assert theirs.config.peer.endpoint == f"{ours.config.tls.hosts[0]}:0"

    def test_makes_none_where_one_is(self, sides: Sides) -> None:
        side, peer = sides
        side.found(peer)
        approval = side.directory / "approval.json"
        approval.write_bytes(side.approve_genesis(peer).format())
        done = run("init", "--config", side.toml, "--genesis", approval)
        assert (done.returncode, "STORE_EXISTS" in done.stderr) == (1, True)

    @pytest.mark.parametrize("steps", [[], ["--request", "a", "--genesis", "b"]])
    def test_takes_one_step_at_a_time(self, sides: Sides, steps: list[str]) -> None:
        done = run("init", "--config", sides[0].toml, *steps)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_its_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout == f"ledgerd {version('ledgerd')}\n"

"""The daemon as an operator meets it: started, refused, stopped under load, and put back from a copy."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from border import LEDGERD, PATIENCE, Border, Node, audit, run
from faults.load import Loader
from faults.oracle import Verdict, config_of, examine
from institutions import STATEMENT, client, second_client, until

from ledgerd_client import Declared, NodeInfo, NotReadyError

PAYLOAD = b"name;score\nA;700\n"


class TestDev:
    """`ledgerd dev`, from a directory that is not there to Ctrl-C."""

    @dataclass(frozen=True, slots=True)
    class Played:
        said: str
        talk: subprocess.CompletedProcess[str]
        code: int
        # In the environment of each of its processes; how many there were.
        mark: str
        ran: int

    @pytest.fixture(scope="class")
    @classmethod
    def played(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
        home = tmp_path_factory.mktemp("dev")
        mark = str(home / "notify.sock")
        with (home / "said").open("wb") as said, listening(mark) as notify:
            dev = start_dev(home / "border", mark, said)
            try:
                both_ready(notify)
                lines = (home / "said").read_text().splitlines()
                (talk,) = (line for line in lines if line.startswith("  ledgerctl "))
                talked = run(str(Path(LEDGERD).with_name("ledgerctl")), *talk.split()[1:])
                ran = len(processes_with(mark))
                dev.send_signal(signal.SIGINT)
                yield cls.Played("\n".join(lines), talked, dev.wait(PATIENCE), mark, ran)
            finally:
                for number in processes_with(mark):
                    with suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
                dev.wait()

    @pytest.mark.parametrize("who", ["mainland.dev.invalid/log", "hkbr.50000001", "throw-away"])
    def test_says_who_is_there(self, played: Played, who: str) -> None:
        assert who in played.said

    def test_says_how_to_talk_to_it(self, played: Played) -> None:
        assert played.talk.stdout.startswith("mainland.dev.invalid/log\n")

    def test_ends_well_at_ctrl_c(self, played: Played) -> None:
        assert played.code == 0

    def test_leaves_no_process_behind(self, played: Played) -> None:
        # What multiprocessing cleans up with ends a moment after its parent.
        left = until(lambda: processes_with(played.mark), lambda left: not left)
        assert (played.ran >= 3, left) == (True, [])


class TestDevWithoutOneOfItsNodes:
    def test_ends_and_says_which(self, tmp_path: Path) -> None:
        mark = str(tmp_path / "notify.sock")
        with listening(mark) as notify, (tmp_path / "said").open("wb") as said:
            dev = start_dev(tmp_path / "border", mark, said)
            try:
                both_ready(notify)
                (node,) = [each for each in processes_with(mark) if serves(each, "hongkong")]
                os.kill(node, signal.SIGKILL)
                code = dev.wait(PATIENCE)
            finally:
                dev.kill()
                dev.wait()
        told = "The node hongkong has ended (SIGKILL)"
        assert (code, told in (tmp_path / "said").read_text()) == (1, True)


class TestDevKilled:
    def test_takes_both_nodes_with_it(self, tmp_path: Path) -> None:
        mark = str(tmp_path / "notify.sock")
        with listening(mark) as notify:
            dev = start_dev(tmp_path / "border", mark)
            try:
                both_ready(notify)
                dev.kill()
                dev.wait()
                assert until(lambda: processes_with(mark), lambda left: not left) == []
            finally:
                for number in processes_with(mark):
                    with suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)


def start_dev(directory: Path, mark: str, said: BinaryIO | None = None) -> subprocess.Popen[bytes]:
    command = [LEDGERD, "dev", "--dir", str(directory)]
    environment = {**os.environ, "NOTIFY_SOCKET": mark}
    return subprocess.Popen(command, env=environment, stdout=said, stderr=said)


def serves(number: int, side: str) -> bool:
    command = Path("/proc", str(number), "cmdline").read_bytes().split(b"\0")
    return b"serve" in command and any(side.encode() in part for part in command)


def both_ready(notify: socket.socket) -> None:
    for _ in ("mainland", "hongkong"):
        while b"READY=1" not in notify.recv(4096).split(b"\n"):
            pass


def listening(path: str) -> socket.socket:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(path)
    notify.settimeout(PATIENCE)
    return notify


def processes_with(mark: str) -> list[int]:
    """Whoever was started with the mark in its environment, and runs."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
    return found


@pytest.fixture
def border(tmp_path: Path) -> Iterator[Border]:
    made = Border(tmp_path / "border")
    yield made
    made.close()


class TestWhatIsRefused:
    """One line that says why and what to do, and an exit code; the node beside it goes on."""

    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
        border = Border(tmp_path_factory.mktemp("refused") / "border")
        border.mainland.start()
        yield border.mainland
        border.close()

    def test_a_second_process_on_one_store(self, node: Node) -> None:
        done = run(LEDGERD, "serve", "--config", str(node.config), "--throwaway", code=1)
        assert node.process is not None
        assert f"process {node.process.pid} (ALREADY_SERVED)" in done.stderr

    def test_keys_that_were_made_for_a_trial(self, border: Border) -> None:
        done = run(LEDGERD, "serve", "--config", str(border.mainland.config), code=2)
        assert "(THROWAWAY_KEY)" in done.stderr

    def test_a_new_ledger_where_one_is(self, node: Node, tmp_path: Path) -> None:
        request = str(tmp_path / "request.json")
        done = run(LEDGERD, "init", "--config", str(node.config), "--request", request, code=1)
        assert "(STORE_EXISTS)" in done.stderr

    def test_a_setting_that_nobody_knows(self, node: Node) -> None:
        config = node.config.with_name("mistaken.toml")
        config.write_text(node.config.read_text().replace("listen =", "listn ="))
        done = run(LEDGERD, "serve", "--config", str(config), code=2)
        assert "'listn' is not a setting (UNKNOWN_SETTING)" in done.stderr

    def test_an_audit_of_a_store_that_is_served(self, node: Node) -> None:
        done = audit(node.config, code=1)
        assert "(ALREADY_SERVED)" in done.stderr


@pytest.fixture
def loader(border: Border, tmp_path: Path) -> Iterator[Loader]:
    made = Loader(border.client("sz-hospital"), tmp_path / "journal", batch=50)
    yield made
    made.close()


@pytest.mark.slow
def test_sigterm_under_load_loses_nothing_that_was_acknowledged(
    border: Border, loader: Loader
) -> None:
    """
    Stopped thrice while batches come: exit code 0 each time, and all of it is there afterwards.
    """
    node = border.mainland
    node.start()
    for _ in range(3):
        loader.send(8)
        for _ in range(5):
            loader.wait_for("sent")
        assert node.stop() == 0
        node.start()
        loader.finish()
    assert node.stop() == 0
    assert examine(config_of(node.config), loader.said()) == Verdict(0, 0, 0, "")


@dataclass(frozen=True, slots=True)
class Copies:
    """A stopped border, and what its Mainland node's data were before and after some more."""

    border: Border
    old: Path
    new: Path
    # Recorded before the old copy was made.
    first: Declared

    def put_back(self, data: Path, *, store: Path) -> None:
        target = self.border.mainland.config.with_name("data")
        shutil.rmtree(target)
        shutil.copytree(data, target, ignore=shutil.ignore_patterns("store"))
        shutil.copytree(store / "store", target / "store")

    def info(self, name: str) -> NodeInfo:
        with client(self.border, name) as ledger:
            return ledger.info()

    def refusal(self, name: str) -> NotReadyError:
        """Why an institution's declaration is not taken."""
        with client(self.border, name) as ledger, pytest.raises(NotReadyError) as caught:
            ledger.declare(PAYLOAD, **STATEMENT)
        return caught.value


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    home = tmp_path_factory.mktemp("copies")
    border, old, new = Border(home / "border"), home / "old", home / "new"
    mainland = border.mainland
    try:
        border.start()
        first = declare(border)
        assert mainland.stop() == 0
        shutil.copytree(mainland.config.with_name("data"), old)
        mainland.start()
        declare(border)
        assert [mainland.stop(), border.hongkong.stop()] == [0, 0]
        shutil.copytree(mainland.config.with_name("data"), new)
        yield Copies(border, old, new, first)
    finally:
        border.close()


def declare(border: Border) -> Declared:
    """By sz-hospital, and cosigned by the other side."""
    with client(border, "sz-hospital") as ledger:
        declared = ledger.declare(PAYLOAD, **STATEMENT)
        ledger.wait_cosigned(declared)
        return declared


class TestAnOldStoreBesideTheNewHighWaterMark:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _node(cls, copies: Copies) -> Iterator[None]:
        copies.put_back(copies.new, store=copies.old)
        copies.border.mainland.start()
        yield
        assert copies.border.mainland.stop() == 0

    def test_takes_no_appends_and_says_why(self, copies: Copies) -> None:
        refusal = copies.refusal("gz-bank")
        assert refusal.reason == "ROLLED_BACK"
        assert "the store was rolled back: the store holds" in refusal.message

    def test_says_what_to_do(self, copies: Copies) -> None:
        assert "start the newest copy there is" in copies.refusal("gz-bank").action

    def test_is_still_read(self, copies: Copies, tmp_path: Path) -> None:
        with second_client(copies.border, "sz-hospital", tmp_path / "second") as ledger:
            assert ledger.receipt(copies.first.record_id).index == copies.first.index

    def test_does_not_forget_it_over_a_restart(self, copies: Copies) -> None:
        assert copies.border.mainland.stop() == 0
        copies.border.mainland.start()
        assert copies.refusal("gz-bank").reason == "ROLLED_BACK"


class TestOldDataWithTheirOldHighWaterMark:
    """Nothing on the machine tells; whoever was shown more does."""

    @pytest.fixture(autouse=True)
    def _old_data(self, copies: Copies) -> Iterator[None]:
        copies.put_back(copies.old, store=copies.old)
        yield
        for node in (copies.border.mainland, copies.border.hongkong):
            if node.process is not None and node.process.poll() is None:
                assert node.stop() == 0

    def test_a_client_that_was_shown_more_stops_appends(self, copies: Copies) -> None:
        copies.border.mainland.start()
        before = copies.info("gz-bank").appends
        assert (before, copies.refusal("sz-hospital").reason) == (True, "ROLLED_BACK")

    def test_then_nobody_else_may_append_either(self, copies: Copies) -> None:
        copies.border.mainland.start()
        copies.info("sz-hospital")
        assert copies.refusal("gz-bank").reason == "ROLLED_BACK"

    def test_a_peer_that_cosigned_more_stops_appends(self, copies: Copies) -> None:
        copies.border.start()
        info = until(lambda: copies.info("gz-bank"), lambda info: not info.appends)
        assert "the store was rolled back: this log has signed" in info.why_not

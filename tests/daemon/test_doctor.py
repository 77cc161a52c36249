"""`ledgerd doctor` and `ledgerd check`: each fault is made, and named; no other one is."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nodes import LIFE, Side, free_port, make_sides, serve

from ledgerd.credentials import NodeFiles
from ledgerd.doctor.examining import CHECKS, examine
from ledgerd.doctor.judging import descriptors
from ledgerd.doctor.result import Result, Verdict
from ledgerd.ledger.head import FOLLOWS_KEY
from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd.store.format import FORMAT_KEY
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd.store.tables import Table
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.identity import PEER
from ledgerd_client.keyfile import KeyFile
from ledgerd_client.pki import TlsKey, Validity

LEDGERD = Path(sys.executable).with_name("ledgerd")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
# An address of nobody's (RFC 5737).
NOWHERE = "203.0.113.1:7443"

Sides = tuple[Side, Side]
Fault = Callable[[Side, Side], None]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
needs_faketime = pytest.mark.skipif(not FAKETIME.exists(), reason="faketime is not installed")


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """Two founded nodes, each with a port of its own."""
    sides = make_sides(tmp_path)
    ports = [free_port() for _ in sides]
    for number, (side, port) in enumerate(zip(sides, ports, strict=True)):
        peer = sides[1 - number]
        side.found(peer)
        side.configure(peer, endpoint=f"localhost:{ports[1 - number]}")
        edit(side, 'listen = "localhost:0"', f'listen = "localhost:{port}"')
    return sides


def edit(side: Side, old: str, new: str) -> None:
    text = side.toml.read_text()
    assert old in text
    side.toml.write_text(text.replace(old, new, 1))


def wrong(results: dict[str, Result]) -> list[str]:
    return [name for name, result in results.items() if result.verdict is Verdict.WRONG]


def run(side: Side, *before: str, code: int) -> dict[str, str]:
    """The installed program, behind others: what it says of each check."""
    command = [*before, str(LEDGERD), "doctor", "--config", str(side.toml), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return {row["check"]: row["verdict"] for row in map(json.loads, done.stdout.splitlines())}


def named(verdicts: dict[str, str]) -> list[str]:
    return [name for name, verdict in verdicts.items() if verdict == "wrong"]


def certify(side: Side, by: Side, *, validity: Validity | None = None) -> None:
    """Give a side's node a certificate by an authority, for the key that it has."""
    config = side.config
    issued = by.issue(
        PEER, side.name, domain=side.domain, tls=config.tls.key.read_bytes(), validity=validity
    )
    config.tls.certificate.write_bytes(issued.certificate)


def lasting(side: Side, start: timedelta) -> None:
    certify(side, side, validity=Validity.starting(datetime.now(UTC) + start, LIFE / 2))


def write_key(path: Path) -> None:
    path.unlink()
    path.write_bytes(KeyFile(SigningKey(os.urandom(32))).format())
    path.chmod(0o600)


def another_tls_key(side: Side, _: Side) -> None:
    side.config.tls.key.write_bytes(TlsKey.generate().pem)


def newer_store(side: Side, _: Side) -> None:
    with closing(LmdbStore.open(side.config.store)) as store, store.write() as transaction:
        transaction.put(Table.META, FORMAT_KEY, b"99")


def store_of_the_peer(side: Side, peer: Side) -> None:
    shutil.rmtree(side.config.store)
    shutil.copytree(peer.config.store, side.config.store)


def known_to_have_been_larger(side: Side, _: Side) -> None:
    with closing(LmdbStore.open(side.config.store, readonly=True)) as store:
        write_mark(side.config.data, HighWater(store.instance, 99))


def swap_the_pair(side: Side, _: Side) -> None:
    edit(
        side, 'certificate = "tls.crt"\nkey = "tls.key"', 'certificate = "tls.key"\nkey = "tls.crt"'
    )


def spoil(path: Path) -> None:
    """As it is, but for what it holds."""
    path.write_bytes(b"garbage")


FAULTS: dict[str, tuple[str, Fault]] = {
    "a trust file that is none": (
        "trust file", lambda side, _: (side.directory / "trust.txt").write_text("x") and None),
    "no trust file": ("trust file", lambda side, _: (side.directory / "trust.txt").unlink()),
    "a key that is none": ("keys", lambda side, _: spoil(side.config.keys.cosigner)),
    "certificate and its key the wrong way round": ("certificate", swap_the_pair),
    "a key that others may read": (
        "keys", lambda side, _: side.config.keys.entry.chmod(0o644)),
    "a key that is gone": ("keys", lambda side, _: side.config.keys.log.unlink()),
    "another key for TLS": ("certificate", another_tls_key),
    "the other side's id": (
        "SPIFFE id", lambda side, _: edit(side, 'id = "mainland"', 'id = "other"')),
    "a certificate by the other side": ("certificate chain", certify),
    "a certificate that has ended": (
        "certificate dates", lambda side, _: lasting(side, -LIFE)),
    "a certificate that is not valid yet": (
        "certificate dates", lambda side, _: lasting(side, LIFE / 4)),
    "data that others may read": (
        "permissions", lambda side, _: side.config.data.chmod(0o755)),
    "no data": ("permissions", lambda side, _: shutil.rmtree(side.config.data)),
    "no store": ("store", lambda side, _: shutil.rmtree(side.config.store)),
    "a store of a newer format": ("store", newer_store),
    "another node's store": ("origin", store_of_the_peer),
    "keys of another ledger": ("owner", lambda side, _: write_key(side.config.keys.log)),
    "a store that was larger": ("standing", known_to_have_been_larger),
    "a reserve that the disk lacks": (
        "free space", lambda side, _: edit(side, "reserve_bytes = 1048576", f"reserve_bytes = {1 << 60}")),
    "an address of another machine": (
        "port", lambda side, _: edit(side, f'listen = "{side.config.listen}"', f'listen = "{NOWHERE}"')),
}  # fmt: skip


class TestDoctor:
    def test_finds_nothing_wrong_with_a_founded_node(self, sides: Sides) -> None:
        results = examine(sides[0].config)
        verdicts = {name: result.verdict for name, result in results.items()}
        # It does not run, nor does its peer.
        not_now = dict.fromkeys(("descriptors", "clock"), Verdict.UNKNOWN)
        assert verdicts == {check.name: Verdict.OK for check in CHECKS} | not_now

    async def test_finds_nothing_wrong_with_one_that_serves(self, sides: Sides) -> None:
        async with serve(sides[1], sides[0]), serve(*sides):
            verdicts = await asyncio.to_thread(lambda: run(sides[0], code=0))
        assert set(verdicts.values()) == {"ok"}

    @pytest.mark.parametrize("fault", FAULTS)
    def test_names_the_one_thing_that_is_wrong(self, sides: Sides, fault: str) -> None:
        name, make = FAULTS[fault]
        make(*sides)
        assert wrong(examine(sides[0].config)) == [name]

    @pytest.mark.parametrize("setting", ["listen", "metrics_listen"])
    def test_names_a_port_that_another_program_has(self, sides: Sides, setting: str) -> None:
        side = sides[0]
        with socket.create_server(("127.0.0.1", 0)) as taken:
            edit(side, f'listen = "{side.config.listen}"', 'listen = "127.0.0.1:0"')
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            if setting == "listen":
                edit(side, "127.0.0.1:0", address)
            else:
                edit(side, "operators", f'metrics_listen = "{address}"\noperators')
            results = examine(side.config)
        assert wrong(results) == ["port" if setting == "listen" else "metrics port"]

    def test_names_a_process_that_has_the_data_and_does_not_serve(self, sides: Sides) -> None:
        with DirectoryLock(sides[0].config.data):
            results = examine(sides[0].config)
        assert wrong(results) == ["lock"]
        assert f"process {os.getpid()} " in results["lock"].found

    @pytest.mark.parametrize(("exists", "names"), [(True, "lock"), (False, "permissions")])
    async def test_names_data_that_the_node_does_not_run_on(
        self, sides: Sides, exists: bool, names: str
    ) -> None:
        elsewhere = sides[0].directory / "elsewhere"
        if exists:
            shutil.copytree(sides[0].config.data, elsewhere)
        async with serve(*sides):
            edit(sides[0], 'data = "data"', 'data = "elsewhere"')
            results = await asyncio.to_thread(examine, sides[0].config)
        assert wrong(results) == [names]
        assert str(elsewhere) in results[names].found

    def test_says_in_words_that_something_is_not_there(self, sides: Sides) -> None:
        shutil.rmtree(sides[0].config.data)
        found = examine(sides[0].config)["permissions"].found
        assert found == f"{sides[0].config.data} is not there"

    @needs_root
    def test_names_a_file_of_another_user(self, sides: Sides) -> None:
        os.chown(sides[0].config.keys.cosigner, 1, 1)
        results = examine(sides[0].config)
        assert wrong(results) == ["permissions"]
        key, data, us = sides[0].config.keys.cosigner, sides[0].config.data, getpass.getuser()
        assert str(key) in results["permissions"].found
        assert results["permissions"].action == (
            f"if the node runs as {us}: chown {us} {key}; if as daemon: chown -R daemon {data}"
        )

    def test_takes_keys_that_are_credentials(
        self, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As systemd hands them in: what the node's user may do shows as a right of the group."""
        keys, credentials = sides[0].config.keys.log.parent, tmp_path / "credentials"
        keys.rename(credentials)
        for key in credentials.iterdir():
            key.chmod(0o440)
        for name in ("log", "entry", "cosigner"):
            edit(sides[0], f"keys/{name}.key", f"{credentials}/{name}.key")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        assert wrong(examine(sides[0].config)) == []

    async def test_names_a_node_that_runs_out_of_descriptors(self, sides: Sides) -> None:
        async with serve(*sides):
            with few_descriptors():
                verdicts = await asyncio.to_thread(lambda: run(sides[0], code=1))
        assert named(verdicts) == ["descriptors"]

    def test_says_that_few_descriptors_are_left(self) -> None:
        assert descriptors(37, 200).found == "37 of 200 are in use: fewer than 256 are left"

    @needs_strace
    def test_names_a_slow_disk(self, sides: Sides) -> None:
        slow = ("strace", "-f", "-qq", "-o", "/dev/null")
        inject = ("-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=150000")
        verdicts = run(sides[0], *slow, *inject, code=1)
        assert named(verdicts) == ["fsync"]

    @needs_faketime
    @pytest.mark.parametrize("ahead", ["-120s", "+120s"])
    async def test_names_a_clock_that_is_not_the_peers(self, sides: Sides, ahead: str) -> None:
        faked = ("env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME={ahead}", "DONT_FAKE_MONOTONIC=1")
        async with serve(sides[1], sides[0]):
            verdicts = await asyncio.to_thread(lambda: run(sides[0], *faked, code=1))
        assert named(verdicts) == ["clock"]

    def test_leaves_everything_as_it_was(self, sides: Sides) -> None:
        before = contents(sides[0].directory)
        examine(sides[0].config)
        assert contents(sides[0].directory) == before

    def test_says_what_to_do_about_whatever_is_wrong(self, sides: Sides) -> None:
        sides[0].config.data.chmod(0o755)
        assert examine(sides[0].config)["permissions"].action == f"chmod 700 {sides[0].config.data}"


SPOILT: dict[str, tuple[Fault, str, str]] = {
    "keys.cosigner": (
        lambda side, _: spoil(side.config.keys.cosigner), "keys/cosigner.key", "rotate --lost"),
    "tls.certificate": (swap_the_pair, "tls.key", "swap tls.certificate and tls.key"),
    "trust": (lambda side, _: spoil(side.config.trust), "trust.txt", "the trust file of both"),
}  # fmt: skip


@pytest.mark.parametrize("setting", SPOILT)
class TestAFileThatIsWrong:
    """It is named, with the setting that names it, and what mends it."""

    def test_is_named_by_the_doctor(self, sides: Sides, setting: str) -> None:
        make, file, cure = SPOILT[setting]
        make(*sides)
        results = examine(sides[0].config)
        (result,) = (results[name] for name in wrong(results))
        assert result.found.startswith(f"{setting}: {sides[0].directory / file}: ")
        assert cure in result.action

    def test_is_named_by_a_start(self, sides: Sides, setting: str) -> None:
        make, file, cure = SPOILT[setting]
        make(*sides)
        with pytest.raises(MalformedError) as refused:
            NodeFiles.load(sides[0].config, throwaway=False)
        assert refused.value.message.startswith(f"{setting}: {sides[0].directory / file}: ")
        assert cure in refused.value.action


class TestAStandby:
    """Its operator must not be sent for the log key of the node that it follows."""

    @pytest.fixture
    def standby(self, sides: Sides) -> Side:
        side = sides[0]
        with closing(LmdbStore.open(side.config.store)) as store, store.write() as transaction:
            transaction.put(Table.META, FOLLOWS_KEY, bytes(48))
        side.config.keys.cosigner.unlink()
        return side

    def test_needs_the_entry_key_alone(self, standby: Side) -> None:
        standby.config.keys.log.unlink()
        assert wrong(examine(standby.config)) == []

    def test_needs_that_one(self, standby: Side) -> None:
        standby.config.keys.log.unlink()
        standby.config.keys.entry.unlink()
        assert wrong(examine(standby.config)) == ["keys"]

    def test_must_not_have_the_log_key(self, standby: Side) -> None:
        results = examine(standby.config)
        assert wrong(results) == ["owner"]
        assert "remove it" in results["owner"].action

    def test_runs_where_nobody_listens(self, standby: Side) -> None:
        standby.config.keys.log.unlink()
        with DirectoryLock(standby.config.data):
            assert wrong(examine(standby.config)) == []


class TestProgram:
    def test_the_doctor_exits_0_when_nothing_is_wrong(self, sides: Sides) -> None:
        run(sides[0], code=0)

    def test_the_table_names_every_check(self, sides: Sides) -> None:
        command = [LEDGERD, "doctor", "--config", sides[0].toml]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert [check.name for check in CHECKS if check.name not in said] == []

    def test_a_check_names_every_fault_with_its_setting(self, sides: Sides) -> None:
        edit(sides[0], 'id = "mainland"', 'id = "main land"')
        edit(sides[0], "workers = 1", "workers = 0\nworker = 1")
        command = [LEDGERD, "check", "--config", sides[0].toml]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        settings = [line.split(": ")[1] for line in done.stdout.splitlines()]
        assert (done.returncode, settings) == (
            2, ["id", "limits.workers", "'limits.worker' is not a setting (UNKNOWN_SETTING). What to do"],
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("setting", "old", "new"),
        [("data", 'data = "data"', 'data = ""'), ("rules.law", 'law = ""', 'law = "2099"')],
    )
    def test_a_check_names_what_no_node_can_be_made_with(
        self, sides: Sides, setting: str, old: str, new: str
    ) -> None:
        edit(sides[0], old, new)
        command = [LEDGERD, "check", "--config", sides[0].toml]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        settings = [line.split(": ")[1] for line in done.stdout.splitlines()]
        assert (done.returncode, settings) == (2, [setting])

    def test_a_check_of_a_whole_configuration_exits_0(self, sides: Sides) -> None:
        command = [LEDGERD, "check", "--config", sides[0].toml]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def contents(directory: Path) -> dict[Path, bytes]:
    """Of every file but LMDB's table of readers, which anybody who reads is in."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "lock.mdb")
    return {path: path.read_bytes() for path in files}


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Let this process have hardly more of them than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

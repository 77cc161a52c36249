"""
No key, and nothing of a record's content, leaves a node by a way that nobody watches.

A node is made to fail in every way that this test knows. Then its log, its output, what others see
of its processes, and whatever it left behind, are searched for its keys, in each spelling, and for
words of a record.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from bench.load import connect
from border import LEDGERCTL, LEDGERD, PATIENCE, Border
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from e2e.raw import APPEND, World, changed, now, settings, sign

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client.keyfile import read_key_file

MARKER = "MARKER-7c1f0b5e-IN-A-RECORD"
KEYS = ("log", "entry", "cosigner")


def spellings(secret: bytes) -> set[bytes]:
    """A secret as it is, in hexadecimal, and in base64 wherever it begins in what was encoded."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        # Without the characters in which its neighbours have a part.
        inner = encoded[-(-before * 8 // 6) : len(encoded) - 4]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def secrets(node: Path) -> dict[str, bytes]:
    """The node's secret bytes, by what they are."""
    found = {name: read_key_file(node / f"{name}.key").key.seed for name in KEYS}
    private = load_pem_private_key((node / "tls.key").read_bytes(), None).private_numbers()
    return {**found, "tls": private.private_value.to_bytes(32, "big"), "record": MARKER.encode()}


class Ruin:
    """A node that goes through all of it; left: what can be found afterwards, by where."""

    def __init__(self, border: Border, directory: Path) -> None:
        self.node = border.mainland
        self.home = self.node.config.parent
        self.directory = directory
        self.left: dict[str, bytes] = {}
        self._world = World.of(border)
        text = self.node.config.read_text()
        self.node.config.write_text(
            f'log_level = "debug"\n{text}'.replace('log_level = "info"', "")
        )

    def go(self) -> None:
        # With every core dump that can be had, to where it would be found.
        self.node.start(("sh", "-c", f'cd {self.directory}; ulimit -c unlimited; exec "$@"', "sh"))
        asyncio.run(self._send())
        self._look_at_processes()
        self._kill("worker", signal.SIGSEGV)
        asyncio.run(self._send())
        self._kill("writer", signal.SIGABRT)
        assert self.node.process is not None
        self.node.process.wait(PATIENCE)
        self.node.start(("sh", "-c", f'cd {self.directory}; ulimit -c unlimited; exec "$@"', "sh"))
        self.node.process.send_signal(signal.SIGSEGV)
        self.node.process.wait(PATIENCE)
        self._start_with_a_broken_key()
        self._ask_with_a_broken_key()
        self.left["the log"] = self.node.log.read_bytes()
        for path in self.directory.iterdir():
            self.left[f"the file {path.name}"] = path.read_bytes()

    async def _send(self) -> None:
        """Records that hold the marker: right ones, wrong ones, and what is no record."""
        world = self._world
        right = world.transfer(contract_id=MARKER)
        other = world.transfer(contract_id=MARKER)
        requests = [
            pb.AppendRequest(records=[each]).SerializeToString()
            for each in (
                right,
                changed(other, signature=bytes(64)),
                changed(other, body=other.body + MARKER.encode()),
                changed(other, body=MARKER.encode()),
                changed(other, key_id=MARKER.encode()),
                sign(right.body, world.bank.key),
                world.transfer(contract_id=MARKER, purposes=[999]),
                world.record(
                    at=now() * 2, cancel=body_pb2.Cancel(terms=world.terms(), reason=MARKER)
                ),
                world.cancel(f"{MARKER} 4111 1111 1111 1111"),
            )
        ]
        async with connect(settings(world.border, "sz-hospital")) as channel:
            for request in (
                *requests,
                MARKER.encode(),
                requests[0][:-3],
                b"\xff" + MARKER.encode(),
            ):
                for method in (APPEND, "/ledger.v1.LedgerService/Check", f"/{MARKER}/None"):
                    with suppress(grpc.aio.AioRpcError):
                        await channel.unary_unary(method)(request, timeout=30)
            # Of this the refusal says it again, to whoever asked.
            asked = pb.GetKeyHistoryRequest(origin=MARKER)
            with pytest.raises(grpc.aio.AioRpcError, match=MARKER):
                await LedgerServiceStub(channel).GetKeyHistory(asked)

    def _look_at_processes(self) -> None:
        for pid in self.node.processes:
            for name in ("cmdline", "environ", "comm", "status"):
                self.left[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
            (core,) = (line.split()[4:6] for line in limits if line.startswith("Max core"))
            assert core == ["0", "0"]

    def _kill(self, which: str, number: int) -> None:
        writer = self.node.writer()
        workers = [pid for pid in self.node.processes[1:] if pid != writer]
        os.kill(writer if which == "writer" else workers[-1], number)

    def _start_with_a_broken_key(self) -> None:
        """Each of its files in turn says something wrong beside the secret."""
        for name in (*(f"{key}.key" for key in KEYS), "tls.key"):
            path = self.home / name
            right = path.read_bytes()
            # A PEM file may hold more than one thing, wherever it begins; one of ours may not.
            wrong = [right[:-5], b"\xff" + right, right + right, right.replace(b"\n", b" ")]
            for data in wrong[:1] if name == "tls.key" else wrong:
                path.write_bytes(data)
                self._run(LEDGERD, "serve", "--config", str(self.node.config), "--throwaway")
            path.write_bytes(right)

    def _ask_with_a_broken_key(self) -> None:
        """As an institution whose files were mixed up with the node's."""
        log_key = (self.home / "log.key").read_text()
        trust, tls = self.home / "trust.txt", self.home / "tls.key"
        for text in (log_key, f"endpoint = {json.dumps(log_key)}\n", f"{log_key} = 1\n"):
            path = self.home / "wrong.toml"
            path.write_text(text)
            self._run(LEDGERCTL, "checkpoint", "--config", str(path))
            path.unlink()
        self._run(LEDGERCTL, "receipt", "verify", str(tls), "--trust", str(trust))

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        assert done.returncode in {1, 2}, done
        self.left[f"what {len(self.left)} said"] = done.stdout + done.stderr


@pytest.fixture(scope="module")
def ruin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ruin]:
    border = Border(tmp_path_factory.mktemp("secrets") / "border")
    ruin = Ruin(border, tmp_path_factory.mktemp("left"))
    try:
        ruin.go()
        yield ruin
    finally:
        border.close()


class TestWhatIsLeft:
    @pytest.mark.parametrize("secret", [*KEYS, "tls", "record"])
    def test_holds_no_secret(self, ruin: Ruin, secret: str) -> None:
        forms = spellings(secrets(ruin.home)[secret])
        found = [where for where, data in ruin.left.items() if any(form in data for form in forms)]
        assert found == []

    def test_is_no_core_dump(self, ruin: Ruin) -> None:
        assert list(ruin.directory.glob("core*")) == []

    def test_is_a_log_of_all_of_it(self, ruin: Ruin) -> None:
        """Else there was nothing to search."""
        lines = ruin.left["the log"].decode().splitlines()
        events = {json.loads(line)["event"] for line in lines if line.startswith("{")}
        assert {"serving", "call", "call_refused"} <= events


class TestTheSearch:
    @pytest.mark.parametrize("name", KEYS)
    def test_finds_a_key_where_it_is(self, ruin: Ruin, name: str) -> None:
        data = (ruin.home / f"{name}.key").read_bytes()
        assert any(form in data for form in spellings(secrets(ruin.home)[name]))

    def test_finds_the_key_of_tls_within_its_file(self, ruin: Ruin) -> None:
        data = b"".join((ruin.home / "tls.key").read_bytes().splitlines()[1:-1])
        assert any(form in data for form in spellings(secrets(ruin.home)["tls"]))

    def test_finds_the_record_in_the_store(self, ruin: Ruin) -> None:
        assert MARKER.encode() in (ruin.home / "data" / "store" / "data.mdb").read_bytes()


DUMPED = """
import os, sys
from ledgerd_client.secrecy import forbid_dumps, may_be_dumped
if sys.argv[1] == "forbidden":
    forbid_dumps()
print(may_be_dumped(), flush=True)
os.abort()
"""


def abort(how: str, directory: Path) -> tuple[str, bool]:
    """What a process said of itself, and whether the kernel made a core dump of it."""
    reading, writing = os.pipe()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", DUMPED_IN.format(hard, directory) + DUMPED, how], os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)],
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read().strip()
    return text, os.WCOREDUMP(os.waitpid(pid, 0)[1])


DUMPED_IN = (
    "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, ({0}, {0})); os.chdir('{1}')\n"
)


class TestACoreDump:
    def test_is_made_of_other_programs_on_this_machine(self, tmp_path: Path) -> None:
        said, dumped = abort("allowed", tmp_path)
        if not dumped:
            pytest.skip("this machine makes no core dumps at all")
        assert said == "True"

    def test_is_not_made_of_ours(self, tmp_path: Path) -> None:
        assert abort("forbidden", tmp_path) == ("False", False)

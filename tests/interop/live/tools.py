"""
Each tool, on honest data and on tampered copies of it.

A tool is run as its users run it. A claim that is true must be accepted (exit code 0), one that is
false refused (exit code 1); any other code is the tool's own trouble and a failure here.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from interop import reference as ref
from interop.live.site import VICTIM, Site, altered

HERE = Path(__file__).parent
GO = HERE.parent / "go"
ACCEPTED, REFUSED = 0, 1
# As their go.mod says.
OLDEST_GO = 26


class MissingError(Exception):
    """What a tool needs is not on this machine; says what."""


@dataclass(slots=True)
class Row:
    """What a tool said: how many true claims it accepted, how many lies it refused, and the rest."""

    tool: str
    version: str
    honest: int = 0
    tampered: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, code: int, *, lie: bool, output: str = "") -> None:
        """Note a claim and the exit code that it got."""
        if code != (REFUSED if lie else ACCEPTED):
            kind = "a lie" if lie else "the truth"
            self.wrong.append(f"{what} ({kind}) ended with {code}: {output.strip()[-300:]}")
        elif lie:
            self.tampered += 1
        else:
            self.honest += 1

    def run(self, what: str, *command: str | Path, lie: bool = False, cwd: Path = HERE) -> None:
        done = subprocess.run(command, capture_output=True, timeout=300, check=False, cwd=cwd)
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        self.expect(what, done.returncode, lie=lie, output=output)


# -- environments ----------------------------------------------------------------------------------


def environment(build: Path, name: str) -> Path:
    """The bin/ of an environment with a tool in it, at the versions of its requirements file."""
    requirements = HERE / "requirements" / f"{name}.txt"
    made, stamp = build / name, build / name / ".made"
    if not (stamp.is_file() and stamp.read_text() == requirements.read_text()):
        shutil.rmtree(made, ignore_errors=True)
        call([new_python(), "-m", "venv", str(made)])
        pip = [str(made / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
        call([*pip, "--require-hashes", "-r", str(requirements)])
        stamp.write_text(requirements.read_text())
    return made / "bin"


def new_python() -> str:
    """A Python that the tools run on, 3.12 or newer, with venv."""
    named = [found for minor in range(12, 16) if (found := shutil.which(f"python3.{minor}"))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = [str(path) for path in sorted(pyenv.glob("3.1[2-9]*/bin/python"))]
    for python in (sys.executable, *named, *kept):
        asked = [python, "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 12))"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return python
    raise MissingError("no Python 3.12 or newer with venv is on this machine")


def go_version() -> str:
    if shutil.which("go") is None:
        raise MissingError("Go is not on this machine")
    version = call(["go", "env", "GOVERSION"]).strip()
    found = re.match(r"go1\.(\d+)", version)
    if found is None or int(found[1]) < OLDEST_GO:
        raise MissingError(f"Go is {version}, older than 1.{OLDEST_GO}")
    return version


def go_program(build: Path, name: str, row: Row) -> Path:
    """One of our Go programs, built of modules that are here."""
    program = build / "go" / name
    program.parent.mkdir(exist_ok=True)
    command = ["go", "build", "-mod=readonly", "-o", str(program), "."]
    row.run("it compiles", *command, cwd=GO / name)
    return program


def call(command: list[str], cwd: Path = HERE) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise MissingError(f"`{' '.join(command[:3])} …` failed: {last}")
    return done.stdout


def version_of(build: Path, name: str) -> str:
    pinned = (HERE / "requirements" / f"{name}.txt").read_text()
    found = re.search(rf"^{name}==(\S+)", pinned, re.MULTILINE)
    assert found is not None
    return found[1]


# -- Go --------------------------------------------------------------------------------------------


def sumdb(build: Path, site: Site) -> Row:
    """golang.org/x/mod/sumdb: note and tlog, those of Go's checksum database."""
    go = go_version()
    call(["go", "mod", "download"], cwd=GO / "sumdb")
    listed = call(["go", "list", "-m", "golang.org/x/mod"], cwd=GO / "sumdb").split()
    row, log = Row("golang.org/x/mod sumdb note, tlog", f"{listed[1]} ({go})"), site.log
    program = go_program(build, "sumdb", row)
    old = f"old={log.old_size}:{log.old_root}"
    every = [str(index) for index in range(log.size)]
    row.run("every entry, and the earlier size", program, site.at("honest"), log.vkey, *every, old)
    row.run("the earlier state", program, site.at("old"), log.vkey, "0", str(log.old_size - 1))
    row.run("the fork by itself", program, site.at("fork"), log.vkey, *every)
    for name in ("tile", "entry"):
        row.run(name, program, site.at(name), log.vkey, str(VICTIM), lie=True)
    for name in ("signature", "root"):
        row.run(name, program, site.at(name), log.vkey, lie=True)
    row.run("fork", program, site.at("fork"), log.vkey, old, lie=True)
    row.run("another key", program, site.at("honest"), another_key(log.origin), lie=True)
    return row


def verifier(build: Path, site: Site) -> Row:
    """The verifier of tests/interop/go/verify, written from docs/format.md alone."""
    row = Row("verify (Go, from docs/format.md)", go_version())
    program = go_program(build, "verify", row)
    row.run("its tests on the vectors", "go", "test", "-count=1", "./...", cwd=GO / "verify")
    trust = ["--trust", site.files / "trust"]
    keys = [*trust, "--keys", site.files / "mainland", "--keys", site.files / "hongkong"]
    asked = {
        "receipt": ("receipt", [*keys, "--require-cosignature"]),
        "early-receipt": ("receipt", keys),
        "bundle": ("bundle", trust),
        "evidence": ("evidence", keys),
        "entry-evidence": ("evidence", keys),
    }
    for name, (what, options) in asked.items():
        file = site.files / name
        row.run(name, program, what, file, *options)
        for number, changed in enumerate(altered_lines(file.read_bytes())):
            copy = site.files / "tampered"
            copy.write_bytes(changed)
            row.run(f"{name}, line {number}", program, what, copy, *options, lie=True)
    return row


def altered_lines(content: bytes) -> Iterator[bytes]:
    """The file with a byte of each line in turn changed."""
    at = 0
    for line in content.splitlines(keepends=True):
        data = bytearray(content)
        data[at + len(line) // 2] ^= 1
        yield bytes(data)
        at += len(line)


def another_key(origin: str) -> str:
    return ref.vkey(origin, ref.LOG, ref.Signer().public)


# -- Python ----------------------------------------------------------------------------------------


def aics_tlog(build: Path, site: Site) -> Row:
    row, log = Row("aics-tlog", version_of(build, "aics-tlog")), site.log
    program = environment(build, "aics-tlog") / "aics-tlog"
    known = ["--log-key", log.vkey, "--origin", log.origin]
    cosigned = [*known, "--witness-key", log.cosigner_vkey, "--quorum", "1"]

    def at(*names: str) -> list[str]:
        return [part for name in names for part in ("--tiles", site.at(name))]

    entry = site.files / "entry"
    entry.write_bytes(log.entries[VICTIM])
    old = site.web / "old" / "checkpoint"
    leaf = ["--leaf", entry, "--index", str(VICTIM)]
    row.run("checkpoint", program, "verify-checkpoint", *cosigned, *at("honest"))
    row.run("inclusion", program, "verify-inclusion", *cosigned, *at("honest"), *leaf)
    grown = ["verify-consistency", "--old-checkpoint", old]
    row.run("consistency", program, *grown, *known, *at("honest"))
    row.run(
        "two sources that agree", program, "verify-inclusion", *known, *at("honest", "old"), *leaf
    )
    for name in ("signature", "root", "cosignature", "fork"):
        row.run(name, program, "verify-checkpoint", *cosigned, *at(name), lie=True)
    row.run("tile", program, "verify-inclusion", *known, *at("tile"), *leaf, lie=True)
    moved = ["--leaf", entry, "--index", str(VICTIM + 1)]
    row.run("place", program, "verify-inclusion", *known, *at("honest"), *moved, lie=True)
    row.run("fork, inclusion", program, "verify-inclusion", *known, *at("fork"), *leaf, lie=True)
    row.run("fork, consistency", program, *grown, *known, *at("fork"), lie=True)
    row.run(
        "split view", program, "verify-inclusion", *known, *at("honest", "fork"), *leaf, lie=True
    )
    return row


def tlog_scales(build: Path, site: Site) -> Row:
    """Its proofs, checked against our leaf hashes; and its own check of a leaf."""
    row, log = Row("tlog-scales", version_of(build, "tlog-scales")), site.log
    program = environment(build, "tlog-scales") / "tlog-tiles"
    for index in (0, VICTIM, 255, 256, log.size - 1):
        leaf = ["get-leaf", "--check", site.at("honest"), str(index)]
        row.run(f"entry {index}", program, *leaf)
        done = subprocess.run(
            [program, "gen-proof", site.at("honest"), str(index)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        wanted = [ref.b64(item) for item in ref.inclusion(index, log.leaves)]
        lines = done.stdout.split("\n\n")[0].split("\n")
        same = lines == ["c2sp.org/tlog-proof@v1", f"index {index}", *wanted]
        row.expect(f"proof of entry {index}", done.returncode or int(not same), lie=False)
    # It takes no hash of the entry itself from a tile, but that of its neighbour.
    for name, index in (("tile", VICTIM ^ 1), ("entry", VICTIM), ("root", VICTIM)):
        row.run(name, program, "get-leaf", "--check", site.at(name), str(index), lie=True)
    return row


_ORACLE = """
import base64, sys
from pymerkle import InmemoryTree, InvalidProof, verify_consistency, verify_inclusion
old_size, old_root, root, *entries = sys.stdin.read().split()
old_size, unb64 = int(old_size), base64.b64decode
tree = InmemoryTree(algorithm="sha256")
for entry in entries:
    tree.append_entry(unb64(entry))
assert tree.get_size() == len(entries)
try:
    for index in range(1, len(entries) + 1):
        proof = tree.prove_inclusion(index)
        verify_inclusion(tree.get_leaf(index), unb64(root), proof, index, len(entries))
    verify_consistency(unb64(old_root), unb64(root), tree.prove_consistency(old_size), old_size)
except InvalidProof as error:
    sys.exit(1)
"""


def pymerkle(build: Path, site: Site) -> Row:
    """An oracle: its own tree over the published entries has the signed roots, and proves them."""
    row, log = Row("pymerkle", version_of(build, "pymerkle")), site.log
    python = environment(build, "pymerkle") / "python"

    def ask(what: str, entries: list[bytes], old_root: str, *, lie: bool) -> None:
        root = log.note.split("\n")[2]
        given = [str(log.old_size), old_root, root, *map(ref.b64, entries)]
        done = subprocess.run(
            [python, "-c", _ORACLE], input="\n".join(given),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        row.expect(what, done.returncode, lie=lie, output=done.stderr)

    entries = list(log.entries)
    swapped = [entries[1], entries[0], *entries[2:]]
    ask("roots, inclusion, consistency", entries, log.old_root, lie=False)
    ask("two entries swapped", swapped, log.old_root, lie=True)
    ask("an entry left out", entries[1:], log.old_root, lie=True)
    ask("an earlier root", entries, ref.b64(bytes(32)), lie=True)
    return row


def aics_witness(build: Path, site: Site) -> Row:
    """It cosigns our checkpoints as long as they are of one history (C2SP tlog-witness)."""
    row, log = Row("aics-witness", version_of(build, "aics-witness")), site.log
    program = environment(build, "aics-witness") / "aics-witness"
    leaves, start = log.leaves, log.old_size
    grown = ref.consistency(start, leaves)
    fork = log.sign([*leaves[:start], *reversed(leaves[start:])])
    text, _, lines = log.note.partition("\n\n")
    own = lines.split("\n")[0]
    wrong = f"{text}\n\n{altered(own)}\n"
    with witness(build, program, site) as submit:
        steps = [
            ("the first checkpoint", 0, (), log.old_note, 200),
            ("one with a wrong old size", 0, grown, log.note, 409),
            ("one with a wrong proof", start, [*grown[:-1], bytes(32)], log.note, 422),
            ("a fork with the proof of another", start, grown, fork, 422),
            ("one whose signature fails", start, grown, wrong, 403),
            ("the next checkpoint", start, grown, log.note, 200),
            ("the same once more", log.size, (), log.note, 200),
            ("a fork of the same size", log.size, (), fork, 422),
            ("a smaller one", log.size, (), log.old_note, 400),
        ]
        for what, old, proof, note, status in steps:
            hashes = "".join(f"{ref.b64(item)}\n" for item in proof)
            got, reply = submit(f"old {old}\n{hashes}\n{note}")
            lie = status != 200
            row.expect(what, int(lie) if got == status else 2, lie=lie, output=f"{got} {reply}")
    return row


@contextmanager
def witness(build: Path, program: Path, site: Site) -> Iterator[Callable[[str], tuple[int, str]]]:
    """Run it on a free port; what is yielded submits a request's body."""
    home = build / "witness"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    config = ["--config", str(home / "witness.json")]
    log = site.log
    call([str(program), "init", *config, "--name", "witness.example/w1", "--listen", listen])
    call([str(program), "add-log", *config, "--origin", log.origin, "--vkey", log.vkey])
    with (home / "log").open("wb") as output:
        process = subprocess.Popen([program, "serve", *config], stdout=output, stderr=output)
    try:
        wait_for(listen, process)
        yield lambda body: post(listen, body)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(listen: str, process: subprocess.Popen[bytes]) -> None:
    host, _, port = listen.partition(":")
    while process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise MissingError("aics-witness does not start")


def post(listen: str, body: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection(listen, timeout=30)) as connection:
        connection.request("POST", "/add-checkpoint", body.encode())
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


ALL: dict[str, Callable[[Path, Site], Row]] = {
    "golang.org/x/mod sumdb": sumdb,
    "verify (Go)": verifier,
    "aics-tlog": aics_tlog,
    "aics-witness": aics_witness,
    "tlog-scales": tlog_scales,
    "pymerkle": pymerkle,
}

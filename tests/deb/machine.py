"""Two clean machines with the package on them: real systemds, and a cable between the two."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from deploy.systemd import Systemd

PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build" / "deb"
# Nothing of the environment that the tests run in, least of all its PATH.
CLEAN = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root")
ADDRESSES = {"mainland": "10.77.0.1", "hongkong": "10.77.0.2"}


def package() -> Path:
    """What `make deb` has built."""
    (found,) = BUILD.glob("ledgerd_*.deb")
    return found


class Machine:
    """One machine; a name per side, whose node's files lie where the package has them."""

    def __init__(self, system: Systemd, side: str) -> None:
        self.system = system
        self.side = side
        self.domain = f"ledger.{side}.example"
        self.origin = f"{self.domain}/transfers"
        self.endpoint = f"node.{self.domain}:7443"

    def sh(self, script: str, code: int | None = 0) -> str:
        """Run a script as root; fail unless it exits with code."""
        return self.system.run(*CLEAN, "bash", "-ec", script, code=code)

    def put(self, path: str, data: bytes) -> None:
        text = b64encode(data).decode()
        self.sh(f"mkdir -p {Path(path).parent}; base64 -d >{path} <<<{text}")

    def get(self, path: str) -> bytes:
        return b64decode(self.sh(f"base64 {path}"))

    def show(self, name: str) -> str:
        """A property of the node's unit."""
        return self.sh(f"systemctl show --property {name} --value ledgerd")


@contextmanager
def two_machines(root: Path) -> Iterator[tuple[Machine, Machine]]:
    """Boot both over copies of a system's root, and put a cable between them."""
    with ExitStack() as stack:
        machines = []
        for side in ADDRESSES:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-deb-"))
            system = Systemd(Path(directory), f"{BUILD}:/srv/package", lower=root)
            machines.append(Machine(stack.enter_context(closing(system)), side))
        _connect(*machines)
        yield machines[0], machines[1]


def _connect(*machines: Machine) -> None:
    first, second = (str(machine.system.init) for machine in machines)
    _ip("link", "add", "eth0", "netns", first, "type", "veth", "peer", "eth0", "netns", second)
    names = "".join(f"{ADDRESSES[m.side]} node.{m.domain}\n" for m in machines)
    for machine in machines:
        address = f"{ADDRESSES[machine.side]}/24"
        inside = ("nsenter", f"--target={machine.system.init}", "--net")
        _ip("address", "add", address, "dev", "eth0", inside=inside)
        _ip("link", "set", "eth0", "up", inside=inside)
        machine.put("/etc/hosts", f"127.0.0.1 localhost\n{names}".encode())


def _ip(*words: str, inside: tuple[str, ...] = ()) -> None:
    subprocess.run([*inside, "ip", *words], check=True)


def clean_root(into: Path) -> str:
    """
    A Debian with what the package depends on, and nothing else, by debootstrap from apt's mirror.

    Returns why there is none; "" when there is.
    """
    if shutil.which("debootstrap") is None:
        return "debootstrap is not installed"
    depends = _run("dpkg-deb", "--field", str(package()), "Depends")
    names = {re.split(r"[ (|]", each.strip())[0] for each in depends.split(",")}
    suite = "bookworm"
    listed = _run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)").splitlines()
    mirrors = [line.split()[1] for line in listed if line.split()[0] == suite]
    if not mirrors:
        return f"apt knows no mirror of {suite}"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(sorted(names))}", suite, str(into),
         mirrors[0]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return f"debootstrap failed: {done.stdout.strip().splitlines()[-1]}"
    # What would fetch lists from mirrors that this machine has no way to.
    for timer in into.glob("etc/systemd/system/timers.target.wants/*"):
        timer.unlink()
    return ""


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

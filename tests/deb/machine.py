"""Clean machines for the package: real systemds, and a network between them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from deb.packages import BUILD
from deploy.systemd import Systemd, missing

NEEDS = ("dh", "dpkg-buildpackage", "lintian", "ip")
ABSENT = [f"{program} is not installed" for program in NEEDS if shutil.which(program) is None]
UNMET = "; ".join(filter(None, [missing(), *ABSENT]))
"""Why nothing of this directory can be tried here."""

# Nothing of the environment that the tests run in, least of all its PATH.
CLEAN = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root")
ADDRESSES = {"mainland": "10.77.0.1", "hongkong": "10.77.0.2", "spare": "10.77.0.3"}


class Machine:
    """One machine of a side, where a node's files lie where the package has them."""

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
        return self.output(f"cat {path}")

    def output(self, script: str) -> bytes:
        """What a script writes that need not be text."""
        return b64decode(self.sh(f"set -o pipefail; ({script}) | base64"))

    def show(self, name: str, unit: str = "ledgerd") -> str:
        """A property of a unit."""
        return self.sh(f"systemctl show --property {name} --value {unit}")


@contextmanager
def booted(root: Path, newer: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    """
    Boot one of each side, and a spare one, over copies of a system's root, on one network.

    What was built is in /srv/package, and below newer in /srv/newer.
    """
    shown = f"{BUILD}:/srv/package", f"{newer}:/srv/newer"
    with ExitStack() as stack:
        machines = []
        for side in ("mainland", "hongkong", "mainland"):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-deb-"))
            system = Systemd(Path(directory), *shown, lower=root)
            machines.append(Machine(stack.enter_context(closing(system)), side))
        _connect(*machines)
        yield machines[0], machines[1], machines[2]


def _connect(mainland: Machine, hongkong: Machine, spare: Machine) -> None:
    """Hong Kong's machine has the switch."""
    _ip(hongkong, "link", "add", "eth0", "type", "bridge")
    for name, machine in (("mainland", mainland), ("spare", spare)):
        far_end = ("peer", "eth0", "netns", str(machine.system.init))
        _ip(hongkong, "link", "add", name, "type", "veth", *far_end)
        _ip(hongkong, "link", "set", name, "up", "master", "eth0")
    names = "".join(f"{ADDRESSES[m.side]} node.{m.domain}\n" for m in (mainland, hongkong))
    machines = mainland, hongkong, spare
    for address, machine in zip(ADDRESSES.values(), machines, strict=True):
        give_address(machine, address)
        machine.put("/etc/hosts", f"127.0.0.1 localhost\n{names}".encode())


def give_address(machine: Machine, address: str) -> None:
    _ip(machine, "address", "add", f"{address}/24", "dev", "eth0")
    _ip(machine, "link", "set", "eth0", "up")


def cut(switch: Machine, name: str) -> None:
    """Take the cable to a machine away, for good."""
    _ip(switch, "link", "delete", name)


def _ip(machine: Machine, *words: str) -> None:
    inside = ("nsenter", f"--target={machine.system.init}", "--net")
    subprocess.run([*inside, "ip", *words], check=True)

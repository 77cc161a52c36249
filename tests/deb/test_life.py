"""
What a node goes through: it gets a standby and a new version, and then its machine dies.

In this order: each class takes the machines as the one before left them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from deb.machine import ADDRESSES, CLEAN, UNMET, Machine, cut, give_address
from deb.packages import NEWER, VERSION
from deb.side import CLINIC, HOSPITAL, INSTALL
from deploy.load import Load
from deploy.page import blocks, section

pytestmark = pytest.mark.skipif(bool(UNMET), reason=UNMET)

SETTINGS = blocks("Standby", "toml")[0]
PREPARE, START, PROMOTE = blocks("Standby")
CERTIFY, DECLARE_LOSS = (
    re.search(rf"`(ledgerctl authority {command} .*?)`", section("Standby"))[1]  # type: ignore[index]
    for command in ("certify-node", "loss")
)
UPGRADE = f"cd /srv/newer\n{INSTALL.replace(VERSION, NEWER)}"
# What an operator has changed since the installation.
CHANGED = ("/etc/ledgerd/node.toml", "/etc/systemd/system/ledgerd.service.d/override.conf")
METRIC = """
import sys
from urllib.request import urlopen
said = urlopen("http://127.0.0.1:9464/metrics").read().decode()
print(*(line for line in said.splitlines() if line.startswith(sys.argv[1])))
"""
PYTHON = "/usr/lib/ledgerd/bin/python"


def carry(source: Machine, target: Machine, paths: str) -> None:
    """Copy files and directories, as they are."""
    target.put("/srv/carried", source.output(f"tar -czP {paths}"))
    target.sh("tar -xzPf /srv/carried; rm /srv/carried")


def sign(machine: Machine, command: str) -> None:
    """Have the authority answer what lies in the node's directory, beside it."""
    asked, given = re.findall(r"\S+\.json", command)
    here = "/var/lib/ledgerd"
    machine.sh(f"cd /srv; cp {here}/{asked} .; {command} --yes; cp {given} {here}/")


def wait_in_step(standby: Machine) -> None:
    """Return when all that the node has is there."""
    in_step = "systemctl show -P StatusText ledgerd-standby | grep -q '^in step at' && echo yes"
    standby.system.wait_until("bash", "-c", in_step, gives="yes")


@pytest.fixture(scope="module")
def standby(transfer: list[Machine], border: tuple[Machine, Machine, Machine]) -> Machine:
    """The spare machine, in step, without which the node acknowledges nothing."""
    node, _, spare = border
    spare.sh(f"cd /srv/package\n{INSTALL}")
    carry(node, spare, f"/etc/ledgerd /srv/authority /srv/operator-1 /srv/{HOSPITAL}")
    spare.put("/srv/standby/entry.key", node.get("/var/lib/ledgerd/keys/entry.key"))
    spare.put("/srv/standby/settings", SETTINGS.encode())
    spare.sh("cat /srv/standby/settings >>/etc/ledgerd/node.toml")
    spare.sh(f"cd /srv/standby\n{PREPARE}")
    sign(spare, CERTIFY)
    spare.sh(START)
    node.sh(
        "printf '\n[standby]\nwait = true\n' >>/etc/ledgerd/node.toml; systemctl restart ledgerd"
    )
    wait_in_step(spare)
    return spare


class TestStandby:
    def test_is_in_step_by_what_the_page_says(self, standby: Machine) -> None:
        assert standby.show("StatusText", "ledgerd-standby").startswith("in step at ")

    def test_the_doctor_finds_nothing_wrong(self, standby: Machine) -> None:
        standby.sh("ledgerd doctor")


@dataclass
class Upgraded:
    """said: where each transfer stood that was declared during the upgrade of the node."""

    node: Machine
    before: dict[str, str]
    after: dict[str, str]
    said: list[str]


def measured(machine: Machine, metric: str) -> str:
    return machine.sh(f"{PYTHON} -c '{METRIC}' {metric}")


def running(machine: Machine) -> dict[str, str]:
    """What runs, and what the operator has written of it."""
    return {
        "pid": machine.show("MainPID"),
        "version": measured(machine, "ledgerd_build_info"),
        "files": machine.sh(f"sha256sum {' '.join(CHANGED)}"),
    }


def load(machine: Machine) -> Load:
    """The hospital, on a machine that lives on."""
    settings = f"/srv/{HOSPITAL}/client.toml"
    return Load(machine.system, python=PYTHON, settings=settings, recipient=CLINIC, check=True)


def entries(machine: Machine) -> int:
    """How many the node's log has."""
    return int(float(measured(machine, "ledgerd_log_entries").split()[1]))


def assert_each_once(said: list[str]) -> None:
    """No index was given twice."""
    indexes = [index for index in said if index != "waits"]
    assert len(set(indexes)) == len(indexes) > 1


@pytest.fixture(scope="module")
def upgraded_standby(standby: Machine, transfer: list[Machine]) -> Machine:
    """Upgraded while its node is away, which comes back then."""
    transfer[0].sh("systemctl stop ledgerd")
    standby.sh(UPGRADE)
    transfer[0].sh("systemctl start ledgerd")
    return standby


@pytest.fixture(scope="module")
def upgraded(upgraded_standby: Machine, transfer: list[Machine]) -> Upgraded:
    node = transfer[0]
    node.put(CHANGED[1], b"[Service]\nWatchdogSec=31\n")
    node.sh("systemctl daemon-reload")
    wait_in_step(upgraded_standby)
    before = running(node)
    declaring = load(upgraded_standby)
    try:
        declaring.go_on()
        node.sh(UPGRADE)
        after = running(node)
        declaring.go_on_from(entries(node))
        said = declaring.end(upgraded_standby.system)
    finally:
        declaring.kill()
    return Upgraded(node, before, after, said)


class TestUpgradeOfAStandby:
    def test_does_not_wait_for_a_node_that_is_away(self, upgraded_standby: Machine) -> None:
        assert upgraded_standby.sh("dpkg-query -Wf '${Version} ${Status}' ledgerd") == (
            f"{NEWER} install ok installed"
        )

    def test_it_follows_again_by_itself(self, upgraded_standby: Machine) -> None:
        wait_in_step(upgraded_standby)


class TestUpgradeUnderLoad:
    def test_the_new_version_runs(self, upgraded: Upgraded) -> None:
        assert f'"{VERSION}"' in upgraded.before["version"]
        assert f'"{NEWER}"' in upgraded.after["version"]

    def test_it_was_started_once(self, upgraded: Upgraded) -> None:
        assert upgraded.before["pid"] != upgraded.after["pid"]
        assert upgraded.node.show("NRestarts") == "0"

    def test_what_the_operator_wrote_is_kept(self, upgraded: Upgraded) -> None:
        assert upgraded.before["files"] == upgraded.after["files"]

    def test_nothing_acknowledged_is_lost(self, upgraded: Upgraded) -> None:
        """The load has asked for each receipt again."""
        assert_each_once(upgraded.said)


@pytest.fixture(scope="module")
def promoted(
    upgraded: Upgraded, standby: Machine, transfer: list[Machine]
) -> tuple[Machine, list[str]]:
    """The node's machine is dead, and the standby goes on; where each transfer stands."""
    wait_in_step(standby)
    declaring = load(standby)
    try:
        declaring.go_on()
        cut(transfer[1], "mainland")
        transfer[0].system.close()
        stop, promote, start = PROMOTE.splitlines()
        standby.sh(stop)
        with standby.system.begin(*CLEAN, "bash", "-c", promote) as promoting:
            assert promoting.stdout is not None
            while "read to it" not in (line := promoting.stdout.readline()):
                assert line, "nothing was asked of the authority"
            sign(standby, DECLARE_LOSS)
            assert "Start the node" in promoting.stdout.read()
        standby.sh(start)
        give_address(standby, ADDRESSES["mainland"])
        transfer[0] = standby
        declaring.go_on_from(entries(standby))
        said = declaring.end(standby.system)
    finally:
        declaring.kill()
    return standby, said


class TestPromotion:
    """By the page's words, and under load."""

    def test_nothing_acknowledged_is_lost(self, promoted: tuple[Machine, list[str]]) -> None:
        """The load has asked for each receipt again."""
        assert_each_once(promoted[1])

    def test_the_next_receipt_verifies_offline_with_the_peers_cosignature(
        self, promoted: tuple[Machine, list[str]]
    ) -> None:
        machine, said = promoted
        newest = max(int(index) for index in said if index != "waits")
        get = f"cd /srv/{HOSPITAL}; ledgerctl receipt get {newest} --cosigned --out next.tlog-proof"
        machine.system.wait_until(
            *CLEAN, "bash", "-c", f"({get}) >/dev/null 2>&1 && echo yes", gives="yes"
        )
        machine.sh(
            f"cd /srv/{HOSPITAL}; ledgerctl receipt verify next.tlog-proof --require-cosignature"
            " --trust /etc/ledgerd/trust.txt --keys keys"
        )

    def test_the_doctor_finds_nothing_wrong(self, promoted: tuple[Machine, list[str]]) -> None:
        promoted[0].sh("ledgerd doctor")

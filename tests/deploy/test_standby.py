"""
A standby under a real systemd, brought up by the very commands of docs/operations.md.

It is on the machine of the node that it follows, so that its files lie elsewhere: in /etc/standby
and /var/lib/standby.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from deploy.installed import HOST, NODE, in_checkout, show, tidy, wait_restarted
from deploy.page import blocks
from deploy.systemd import Systemd, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no systemd to try it under: {missing()}"),
]

UNIT = "ledgerd-standby"
(SETTINGS,) = blocks("Standby", "toml")
PREPARE, START, _PROMOTE = blocks("Standby")
ELSEWHERE = f"/run/systemd/system/{UNIT}.service.d"
CONFIG = "/etc/standby/node.toml"
CERTIFY = (
    "ledgerctl authority certify-node /var/lib/standby/tls.json --dir /srv/ours"
    " --out /var/lib/standby/tls.approval.json --yes"
)


def elsewhere(commands: str) -> str:
    """As the page says it, with the standby's own files."""
    commands = commands.replace("/var/lib/ledgerd", "/var/lib/standby")
    return commands.replace("ledgerd rotate", f"ledgerd rotate --config {CONFIG}")


def drop_in(system: Systemd, name: str, text: str) -> None:
    system.run("bash", "-c", f"mkdir -p {ELSEWHERE}; printf '%b' \"$0\" >{ELSEWHERE}/{name}", text)
    system.run("systemctl", "daemon-reload")


@pytest.fixture(scope="module")
def brought_up(system: Systemd) -> Iterator[Systemd]:
    tidy(system)
    # What the operator brings over from the node's machine.
    in_checkout(
        system,
        f"""
        install -d -m 755 /etc/standby
        install -m 644 /etc/ledgerd/trust.txt /etc/standby/
        sed 's|/var/lib/ledgerd|/var/lib/standby|' {NODE} >{CONFIG}
        install -m 600 /var/lib/ledgerd/keys/entry.key .
    """,
    )
    in_checkout(system, f"cat >>{CONFIG} <<'END'\n\n{SETTINGS}END")
    # What is denied is deadly, instead of an error that somebody might swallow.
    drop_in(
        system, "elsewhere.conf",
        "[Service]\nSystemCallErrorNumber=\nRestartSec=100ms\nStateDirectory=standby\nWorkingDirectory=/var/lib/standby\n"
        f"ExecStart=\nExecStart=/opt/ledgerd/bin/ledgerd standby --config {CONFIG}\n",
    )  # fmt: skip
    in_checkout(system, f"{elsewhere('install -d -o ledgerd -g ledgerd -m 700 /var/lib/ledgerd')}")
    in_checkout(system, elsewhere(PREPARE))
    in_checkout(system, CERTIFY)
    in_checkout(system, elsewhere(START))
    yield system
    system.run("systemctl", "disable", "--now", UNIT, code=None)
    system.run("rm", "-r", ELSEWHERE)
    system.run("systemctl", "daemon-reload")


@pytest.fixture
def standby(brought_up: Systemd) -> Systemd:
    """It and its node run."""
    tidy(brought_up)
    brought_up.run("rm", "-f", f"{ELSEWHERE}/test.conf")
    brought_up.run("systemctl", "daemon-reload")
    brought_up.run("systemctl", "reset-failed", UNIT, code=None)
    brought_up.run("systemctl", "start", UNIT)
    return brought_up


def wait_for_status(system: Systemd, pattern: str) -> None:
    found = f"systemctl show -P StatusText {UNIT} | grep -Eq '^{pattern}' && echo yes"
    system.wait_until("bash", "-c", found, gives="yes")


class TestAStandby:
    def test_that_the_page_names_is_of_the_node_that_runs_here(self) -> None:
        assert f'"{HOST}:7443"' in SETTINGS

    def test_is_active_once_it_is_in_step(self, standby: Systemd) -> None:
        assert re.fullmatch(r"in step at \d+ entries", show(standby, "StatusText", UNIT))

    def test_says_why_it_does_not_follow_and_goes_on_by_itself(self, standby: Systemd) -> None:
        standby.run("systemctl", "stop", "ledgerd")
        wait_for_status(standby, "[0-9]+ entries; not following since ")
        standby.run("systemctl", "start", "ledgerd")
        wait_for_status(standby, "in step at ")
        assert show(standby, "NRestarts", UNIT) == "0"

    def test_stops_cleanly(self, standby: Systemd) -> None:
        standby.run("systemctl", "stop", UNIT)
        stopped = [show(standby, name, UNIT) for name in ("Result", "ExecMainStatus")]
        assert stopped == ["success", "0"]


class TestHanging:
    def test_it_is_started_again(self, standby: Systemd) -> None:
        drop_in(standby, "test.conf", "[Service]\nWatchdogSec=5\n")
        standby.run("systemctl", "restart", UNIT)
        hung = show(standby, "MainPID", UNIT)
        standby.run("kill", "-STOP", hung)
        wait_restarted(standby, hung, UNIT)


class TestItIsLeftAlone:
    def failed(self, system: Systemd) -> tuple[str, str]:
        """Its exit code, and how often it was started again."""
        system.wait_until("systemctl", "is-failed", UNIT, gives="failed")
        return show(system, "ExecMainStatus", UNIT), show(system, "NRestarts", UNIT)

    def test_with_the_nodes_log_key(self, standby: Systemd) -> None:
        key = "/var/lib/standby/keys/log.key"
        standby.run("systemctl", "stop", UNIT)
        standby.run("cp", "-p", "/var/lib/ledgerd/keys/log.key", key)
        standby.run("systemctl", "start", UNIT, code=1)
        failed = self.failed(standby)
        standby.run("rm", key)
        assert failed == ("2", "0")

    def test_when_its_store_fails(self, standby: Systemd) -> None:
        """What comes next does not fit: the node takes up other rules."""
        pid = show(standby, "MainPID", UNIT)
        standby.run("prlimit", "--fsize=4096:4096", "--pid", pid)
        standby.run("sed", "-i", "s/^correct_within_s = .*/correct_within_s = 1000/", NODE)
        standby.run("systemctl", "reload", "ledgerd")
        assert self.failed(standby) == ("70", "0")

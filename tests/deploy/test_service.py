"""The unit under a real systemd, installed by the very commands of deploy/README.md."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.systemd import Systemd, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no systemd to try it under: {missing()}"),
]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
# How to install a node; a mirror comes after it.
STEPS = re.findall(
    r"^```sh\n(.*?)^```$", PAGE.partition("## A regulator's mirror")[0], re.MULTILINE | re.DOTALL
)
SITE = f"/opt/ledgerd/lib/python3.{sys.version_info.minor}/site-packages"
NODE = "/etc/ledgerd/node.toml"
ORIGIN = "ledger.mainland.example/transfers"
PEER_ORIGIN = "ledger.hongkong.example/transfers"
# There is no package index in there: what the two distributions need is shown from outside.
INSTALL = (
    "export PIP_NO_DEPS=1 PIP_NO_BUILD_ISOLATION=0 PIP_IGNORE_INSTALLED=1 PYTHONPATH=/opt/deps"
)
AUTHORITIES = f"""
ledgerctl authority init --dir /srv/ours --origin {ORIGIN}
ledgerctl authority init --dir /srv/theirs --origin {PEER_ORIGIN}
ledgerctl trust make /srv/ours/trust.txt /srv/theirs/trust.txt --out trust.txt
"""
GENESIS = f"""
ledgerctl authority genesis /var/lib/ledgerd/genesis-request.json --dir /srv/ours --yes \
  --peer-origin {PEER_ORIGIN} --out /var/lib/ledgerd/genesis.json \
  --peer-authority "$(sed -n 's/^authority //p' /srv/theirs/trust.txt)"
"""


def in_checkout(system: Systemd, script: str) -> str:
    path = "export PATH=/opt/ledgerd/bin:/opt/python/bin:$PATH"
    return system.run("bash", "-ec", f"{path}; mkdir -p /srv/src; cd /srv/src\n{script}")


def install(system: Systemd) -> None:
    """Do what deploy/README.md says, and what the two authorities do in between."""
    program, service, configuration, request, found, start = STEPS
    # Where the interpreter itself lies is hidden from the service: it may be in somebody's home.
    in_checkout(system, "echo /opt/python/lib >/etc/ld.so.conf.d/00-python.conf; ldconfig")
    in_checkout(system, "cp -r /opt/src/{pyproject.toml,README.md,LICENSE,client,ledgerd,deploy} .")
    in_checkout(system, f"{INSTALL}\n{program}")
    in_checkout(system, f"echo /opt/deps >{SITE}/deps.pth")
    in_checkout(system, service)
    in_checkout(system, AUTHORITIES)
    in_checkout(system, configuration)
    in_checkout(system, request)
    in_checkout(system, GENESIS)
    in_checkout(system, found)
    in_checkout(system, start)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    system = Systemd(
        tmp_path_factory.mktemp("systemd"),
        f"{ROOT}:/opt/src",
        f"{sys.base_prefix}:/opt/python",
        f"{sysconfig.get_path('purelib')}:/opt/deps",
    )
    try:
        install(system)
        yield system
    finally:
        system.close()


@pytest.fixture
def service(system: Systemd) -> Systemd:
    """The installed system with the node running."""
    system.run("systemctl", "reset-failed", "ledgerd")
    system.run("systemctl", "start", "ledgerd")
    return system


def show(system: Systemd, name: str) -> str:
    return system.run("systemctl", "show", "--property", name, "--value", "ledgerd")


def audit(system: Systemd) -> str:
    """What the audit says of the stopped node, which fails the test if anything is wrong."""
    return system.run(
        "runuser", "-u", "ledgerd", "--", "/opt/ledgerd/bin/ledgerd", "audit", "--config", NODE
    )


class TestStart:
    def test_it_is_active_once_it_answers(self, service: Systemd) -> None:
        assert show(service, "StatusText").startswith(f"{ORIGIN}: takes appends; ")

    def test_its_workers_run_inside_the_sandbox(self, service: Systemd) -> None:
        """Main process, two workers, and what Python needs to spawn them."""
        assert int(show(service, "TasksCurrent")) > 3


class TestRestart:
    def test_killed_it_is_started_again(self, service: Systemd) -> None:
        before = int(show(service, "NRestarts"))
        service.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "ledgerd")
        service.wait_until(
            "systemctl", "show", "--property", "NRestarts", "--value", "ledgerd",
            gives=str(before + 1),
        )  # fmt: skip
        service.wait_until("systemctl", "is-active", "ledgerd", gives="active")

    def test_hanging_it_is_started_again(self, service: Systemd) -> None:
        drop_in = "/run/systemd/system/ledgerd.service.d"
        service.run(
            "bash", "-c", f"mkdir {drop_in}; printf '[Service]\nWatchdogSec=2\n' >{drop_in}/t.conf"
        )
        service.run("systemctl", "daemon-reload")
        service.run("systemctl", "restart", "ledgerd")
        hung = show(service, "MainPID")
        service.run("kill", "-STOP", hung)
        service.wait_until("bash", "-c", f"kill -0 {hung} 2>&- || echo gone", gives="gone")
        service.wait_until("systemctl", "is-active", "ledgerd", gives="active")

    def test_with_a_wrong_configuration_it_is_not_tried_again(self, service: Systemd) -> None:
        service.run("systemctl", "stop", "ledgerd")
        service.run("sed", "-i", "1i nonsense = 1", NODE)
        service.run("systemctl", "start", "ledgerd", code=1)
        service.run("sed", "-i", "1d", NODE)
        assert (show(service, "ExecMainStatus"), show(service, "ActiveState")) == ("2", "failed")


class TestStop:
    def test_it_stops_cleanly(self, service: Systemd) -> None:
        service.run("systemctl", "stop", "ledgerd")
        stopped = [show(service, name) for name in ("Result", "ExecMainStatus", "ActiveState")]
        assert stopped == ["success", "0", "inactive"]

    def test_no_state_is_lost_by_kill_and_stop(self, service: Systemd) -> None:
        service.run("systemctl", "stop", "ledgerd")
        before = audit(service)
        service.run("systemctl", "start", "ledgerd")
        service.run("systemctl", "kill", "--kill-who=all", "--signal=KILL", "ledgerd")
        service.run("systemctl", "stop", "ledgerd")
        assert audit(service) == before

"""A node installed under a real systemd by the very commands of deploy/README.md."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

from deploy.systemd import Systemd

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
HOST = "node.ledger.mainland.example"
DROP_IN = "/run/systemd/system/ledgerd.service.d"
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

# An operator, and an institution that the log knows (docs/enrolment.md).
MEMBERS = f"""
enrol() {{
  ledgerctl enrol request --role $1 --id $2 --name A --origin {ORIGIN} --dir /srv/$1 "${{@:3}}"
  ledgerctl enrol approve /srv/$1/request.json --dir /srv/ours --out /srv/$1.json --days 30 --yes
  [[ $1 == operator ]] || ledgerctl enrol submit /srv/$1.json --config /srv/operator/client.toml
  ledgerctl enrol install /srv/$1.json --dir /srv/$1 --trust trust.txt --endpoint {HOST}:7443
}}
enrol operator operator-1
enrol institution uscc.12440300MB0000001U --place 440300 --sector 3
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
    in_checkout(system, f"cp {NODE} {NODE}.installed")
    in_checkout(system, f"echo 127.0.0.1 {HOST} >>/etc/hosts")
    in_checkout(system, start)
    in_checkout(system, MEMBERS)


def boot(directory: Path) -> Systemd:
    """A systemd with the node installed, and the machine's Python and packages shown to it."""
    system = Systemd(
        directory,
        f"{ROOT}:/opt/src",
        f"{sys.base_prefix}:/opt/python",
        f"{sysconfig.get_path('purelib')}:/opt/deps",
    )
    try:
        install(system)
    except BaseException:
        system.close()
        raise
    return system


def show(system: Systemd, name: str, unit: str = "ledgerd") -> str:
    return system.run("systemctl", "show", "--property", name, "--value", unit)


def audit(system: Systemd) -> str:
    """What the audit says of the stopped node, which fails the test if anything is wrong."""
    return system.run(
        "runuser", "-u", "ledgerd", "--", "/opt/ledgerd/bin/ledgerd", "audit", "--config", NODE
    )


def drop_in(system: Systemd, text: str) -> None:
    """Have the unit say something else, from its next start on; tidy() takes it back."""
    system.run("bash", "-c", f"mkdir -p {DROP_IN}; printf '%b' \"$0\" >{DROP_IN}/test.conf", text)
    system.run("systemctl", "daemon-reload")


def tidy(system: Systemd) -> None:
    """Take back whatever a test changed, and have the node run."""
    system.run("bash", "-c", f"rm -rf {DROP_IN}; cp {NODE}.installed {NODE}")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "reset-failed", "ledgerd")
    system.run("systemctl", "start", "ledgerd")


def wait_restarted(system: Systemd, pid: str, unit: str = "ledgerd") -> None:
    """Return when another process than pid serves."""
    system.wait_until("bash", "-c", f"kill -0 {pid} 2>&- || echo gone", gives="gone")
    system.wait_until("systemctl", "is-active", unit, gives="active")

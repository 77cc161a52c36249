"""What happens to a node in its life under a real systemd, and that no call and no record is lost."""

from __future__ import annotations

import json

import pytest
from deploy.installed import HOST, NODE, audit, drop_in, in_checkout, show, wait_restarted
from deploy.load import Load, loaded
from deploy.systemd import Systemd, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no systemd to try it under: {missing()}"),
]

PYTHON = "/opt/ledgerd/bin/python"
CERTIFICATE = f"""
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(socket.create_connection(("{HOST}", 7443))) as connection:
    print(connection.getpeercert(binary_form=True).hex())
"""
IN_PLACE = """
import ssl
from pathlib import Path
print(ssl.PEM_cert_to_DER_cert(Path("/var/lib/ledgerd/keys/tls.crt").read_text()).hex())
"""
# Takes memory in the node's own control group, in which the node is to be killed first.
HOG = """
import sys
from pathlib import Path

(group,) = (
    group for group in map(Path, ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"))
    if (group / "system.slice/ledgerd.service/cgroup.procs").exists()
)
node = Path("/proc", sys.argv[1])
(node / "oom_score_adj").write_text("1000")
(group / "system.slice/ledgerd.service/cgroup.procs").write_text("0")
held = []
while node.exists() and len(held) < 100:
    held.append(b"x" * (8 << 20))
"""
CALLS = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9464/metrics').read().decode())"


def writer(system: Systemd) -> str:
    """The process of the node's own that writes the store."""
    main = show(system, "MainPID")
    find = (
        f"for pid in $(cat /proc/{main}/task/{main}/children); do"
        " ls -l /proc/$pid/fd | grep -q store/data.mdb && echo $pid; done; true"
    )
    return system.run("bash", "-c", find)


def refused_calls(system: Systemd) -> list[str]:
    """Samples of appends that ended with an error since the node was started."""
    samples = system.run(PYTHON, "-c", CALLS).splitlines()
    appends = [line for line in samples if "LedgerService/Append" in line and "calls_total" in line]
    assert appends
    return [line for line in appends if 'code="OK"' not in line]


class TestReload:
    def test_under_load_drops_no_call_and_shows_the_new_certificate(self, service: Systemd) -> None:
        before = service.run(PYTHON, "-c", CERTIFICATE)
        with loaded(service) as load:
            in_checkout(
                service,
                (
                    "rm -f /srv/tls*; as_node='runuser -u ledgerd -- ledgerd rotate --config "
                    f"{NODE}'; chmod 777 /srv\n"
                    "$as_node --key tls --request /srv/tls.json\n"
                    "ledgerctl authority certify-node /srv/tls.json --dir /srv/ours --out /srv/tls.ok.json --yes\n"
                    "$as_node --approval /srv/tls.ok.json"
                ),
            )
            after = service.run(PYTHON, "-c", IN_PLACE)
            service.run("systemctl", "reload", "ledgerd")
            service.wait_until(PYTHON, "-c", CERTIFICATE, gives=after)
            load.go_on()
            said = load.end(service)
        assert before != after
        assert "waits" not in said
        assert refused_calls(service) == []

    def test_what_could_not_be_taken_stands_in_the_status(self, service: Systemd) -> None:
        service.run("sed", "-i", "s/^workers = 2/workers = 3/", NODE)
        service.run("systemctl", "reload", "ledgerd")
        assert "limits.workers: needs a restart" in show(service, "StatusText")

    def test_is_over_when_the_command_returns(self, service: Systemd) -> None:
        """The node sleeps, and its signal was sent: systemd waits for it none the less."""
        node = show(service, "MainPID")
        service.run("kill", "-STOP", node)
        command = service.begin("systemctl", "reload", "ledgerd")
        states = ("--property", "ControlPID", "--property", "SubState", "--value")
        service.wait_until("systemctl", "show", *states, "ledgerd", gives="0\nreload")
        service.run("kill", "-CONT", node)
        command.communicate(timeout=60)
        assert command.returncode == 0
        assert show(service, "SubState") == "running"


class TestStopUnderLoad:
    def test_loses_nothing_that_was_acknowledged(self, service: Systemd) -> None:
        with loaded(service) as load:
            service.run("systemctl", "stop", "ledgerd")
            stopped = [show(service, name) for name in ("Result", "ExecMainStatus")]
            service.run("systemctl", "start", "ledgerd")
            said = load.end(service)
        in_checkout(service, "ledgerctl outbox flush --config /srv/institution/client.toml")
        service.run("systemctl", "stop", "ledgerd")
        acknowledged = [int(line) for line in said if line != "waits"]
        assert stopped == ["success", "0"]
        assert len(set(acknowledged)) == len(acknowledged) > 0
        assert int(audit(service).split()[0]) > max(acknowledged)


class TestAHungCommit:
    def test_starves_the_watchdog(self, service: Systemd) -> None:
        """The event loop runs on: only the process that writes has stopped."""
        drop_in(service, "[Service]\nWatchdogSec=2\n")
        service.run("systemctl", "restart", "ledgerd")
        hung = show(service, "MainPID")
        service.run("kill", "-STOP", writer(service))
        load = Load(service)
        wait_restarted(service, hung)
        assert load.end(service)


class TestFailures:
    def test_a_crash_loop_comes_to_an_end(self, service: Systemd) -> None:
        drop_in(service, "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=100ms\n")
        service.run("systemctl", "stop", "ledgerd")
        service.run("systemctl", "reset-failed", "ledgerd")
        service.run("sed", "-i", 's/^listen = .*/listen = "192.0.2.1:7443"/', NODE)
        service.run("systemctl", "start", "--no-block", "ledgerd")
        service.wait_until("systemctl", "is-failed", "ledgerd", gives="failed")
        assert (show(service, "NRestarts"), show(service, "ExecMainStatus")) == ("3", "1")

    def test_a_store_that_fails_is_left_alone(self, service: Systemd) -> None:
        """Exit code 70: somebody must look first."""
        service.run("prlimit", "--fsize=4096:4096", "--pid", writer(service))
        load = Load(service)
        service.wait_until("systemctl", "is-failed", "ledgerd", gives="failed")
        failed = [show(service, name) for name in ("ExecMainStatus", "NRestarts")]
        service.run("systemctl", "reset-failed", "ledgerd")
        service.run("systemctl", "start", "ledgerd")
        load.end(service)
        assert failed == ["70", "0"]

    def test_short_of_memory_it_is_killed_and_started_again(self, service: Systemd) -> None:
        drop_in(service, "[Service]\nMemoryMax=400M\n")
        service.run("systemctl", "restart", "ledgerd")
        before = show(service, "MainPID")
        hog = service.begin(PYTHON, "-c", HOG, before)
        wait_restarted(service, before)
        hog.communicate(timeout=60)
        said = service.run("journalctl", "-u", "ledgerd", "-o", "cat", "-n", "50")
        service.run("systemctl", "stop", "ledgerd")
        assert "Main process exited, code=killed, status=9/KILL" in said
        audit(service)


class TestCredentials:
    def test_keys_may_be_credentials_plain_or_encrypted(self, service: Systemd) -> None:
        service.run("systemctl", "stop", "ledgerd")
        service.run("bash", "-ec", (
            "cd /var/lib/ledgerd; mkdir -p /etc/credstore.encrypted; cp -rp keys keys.kept\n"
            "systemd-creds encrypt --with-key=host --name=entry.key keys/entry.key"
            " /etc/credstore.encrypted/entry.key\n"
            "install -m 600 keys/log.key /etc/log.key; rm keys/log.key keys/entry.key\n"
            f"sed -Ei 's|/var/lib/ledgerd/keys/(log\\|entry)|/run/credentials/ledgerd.service/\\1|' {NODE}"
        ))  # fmt: skip
        drop_in(
            service,
            "[Service]\nLoadCredential=log.key:/etc/log.key\nLoadCredentialEncrypted=entry.key\n",
        )
        service.run("systemctl", "start", "ledgerd", code=None)
        state = show(service, "ActiveState")
        service.run("bash", "-c", "cd /var/lib/ledgerd; rm -r keys; mv keys.kept keys")
        assert state == "active"


class TestTheSandbox:
    def test_denies_nothing_that_the_node_calls(self, service: Systemd) -> None:
        """With what is denied deadly, instead of an error that somebody might swallow."""
        drop_in(service, "[Service]\nSystemCallErrorNumber=\n")
        service.run("systemctl", "restart", "ledgerd")
        with loaded(service) as load:
            service.run("systemctl", "reload", "ledgerd")
            load.go_on()
            load.end(service)
        before = show(service, "NRestarts")
        service.run("systemctl", "stop", "ledgerd")
        assert (before, show(service, "Result")) == ("0", "success")


class TestTheJournal:
    def test_has_lines_by_priority_and_whole(self, service: Systemd) -> None:
        service.run("systemctl", "restart", "ledgerd")
        lines = service.run("journalctl", "-u", "ledgerd", "-p", "6..6", "-o", "cat", "-n", "50")
        assert "serving" in [
            json.loads(line)["event"] for line in lines.splitlines() if "{" in line
        ]


@pytest.mark.parametrize("name", ["audit", "backup"])
class TestAtNight:
    def test_it_is_due(self, service: Systemd, name: str) -> None:
        assert show(service, "ActiveState", f"ledgerd-{name}.timer") == "active"

    def test_it_is_done_beside_the_node(self, service: Systemd, name: str) -> None:
        drop_in(service, "")
        service.run("systemctl", "start", f"ledgerd-{name}.service")
        result = service.run("cat", f"/var/lib/ledgerd/data/{name}-result.json")
        assert json.loads(result)["entries"] > 0
        assert show(service, "ActiveState") == "active"

"""The unit under a real systemd: start, restart, stop."""

from __future__ import annotations

import pytest
from deploy.installed import NODE, ORIGIN, audit, drop_in, show, wait_restarted
from deploy.systemd import Systemd, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"no systemd to try it under: {missing()}"),
]


LOCK = "/var/lib/ledgerd/data/serve.lock"
# As a node does: whoever holds it says its number in it.
LOCKED = f"exec 9<>{LOCK}; flock 9; echo -n $$ >&9; exec sleep infinity"


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
        drop_in(service, "[Service]\nWatchdogSec=2\n")
        service.run("systemctl", "restart", "ledgerd")
        hung = show(service, "MainPID")
        service.run("kill", "-STOP", hung)
        wait_restarted(service, hung)

    def test_while_another_process_has_its_data_it_is_tried_again(self, service: Systemd) -> None:
        """Each start ends with 1; the first one after that process has ended goes well."""
        drop_in(service, "[Service]\nRestartSec=100ms\n")
        service.run("systemctl", "stop", "ledgerd")
        service.run("systemd-run", "--unit=other", "bash", "-ec", LOCKED)
        service.wait_until("bash", "-c", f"flock -n {LOCK} true || echo locked", gives="locked")
        service.run("systemctl", "start", "ledgerd", code=1)
        service.wait_until(
            "bash", "-c", "(($(systemctl show -P NRestarts ledgerd) > 0)) && echo yes", gives="yes"
        )
        said = service.run("journalctl", "-u", "ledgerd", "-o", "cat", "-n", "20")
        service.run("systemctl", "stop", "other")
        service.wait_until("systemctl", "is-active", "ledgerd", gives="active")
        assert "(ALREADY_SERVED)" in said
        assert "status=1/FAILURE" in said

    def test_with_a_wrong_configuration_it_is_not_tried_again(self, service: Systemd) -> None:
        service.run("systemctl", "stop", "ledgerd")
        service.run("sed", "-i", "1i nonsense = 1", NODE)
        service.run("systemctl", "start", "ledgerd", code=1)
        assert (show(service, "ExecMainStatus"), show(service, "ActiveState")) == ("2", "failed")

    @pytest.mark.parametrize(
        ("spoil", "ended"),
        [("mv store/data.mdb store/away", "70"), ("truncate -s 8192 store/data.mdb", "7")],
        ids=["no store", "a store that was cut short, by SIGBUS"],
    )
    def test_with_a_store_that_no_restart_mends_it_is_not_tried_again(
        self, service: Systemd, spoil: str, ended: str
    ) -> None:
        there = "cd /var/lib/ledgerd/data"
        service.run("systemctl", "stop", "ledgerd")
        service.run("bash", "-ec", f"{there}; cp -p store/data.mdb kept; {spoil}")
        service.run("systemctl", "start", "ledgerd", code=1)
        found = [show(service, name) for name in ("ExecMainStatus", "ActiveState", "NRestarts")]
        service.run("bash", "-ec", f"{there}; mv kept store/data.mdb")
        assert found == [ended, "failed", "0"]


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

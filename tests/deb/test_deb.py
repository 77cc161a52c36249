"""The package as an operator has it: built, installed on clean machines, and used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from deb.machine import UNMET, Machine
from deb.packages import BUILD, PROJECT, VERSION, package
from deb.side import CLINIC, HOSPITAL

pytestmark = pytest.mark.skipif(bool(UNMET), reason=UNMET)


def state(machine: Machine, institution: str) -> str:
    """Of the transfer, as the institution's node sees it."""
    ticket = f"/srv/{institution}/a.ticket"
    return f"ledgerctl show {ticket} --config /srv/{institution}/client.toml --json"


class TestPackage:
    def test_lintian_finds_no_error(self) -> None:
        (changes,) = BUILD.glob("ledgerd_*.changes")
        done = subprocess.run(
            ["lintian", "--allow-root", "--fail-on", "error,warning", str(changes)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "")

    def test_its_version_is_the_programs(self) -> None:
        assert package().name.startswith(f"ledgerd_{VERSION}_")

    def test_nothing_in_it_knows_where_it_was_built(self, tmp_path: Path) -> None:
        subprocess.run(["dpkg-deb", "--raw-extract", package(), tmp_path / "x"], check=True)
        done = subprocess.run(
            ["grep", "-rlF", str(PROJECT), tmp_path / "x"], capture_output=True, check=False
        )
        assert done.stdout == b""


class TestInstalled:
    def test_the_machine_was_a_clean_one(self, root: tuple[Path, str]) -> None:
        if root[1]:
            pytest.skip(f"tried over this machine's own root: {root[1]}")
        assert root[0] != Path("/")

    def test_both_programs_are_on_the_path(self, machines: list[Machine]) -> None:
        assert machines[0].sh("command -v ledgerd ledgerctl").split() == [
            "/usr/bin/ledgerd",
            "/usr/bin/ledgerctl",
        ]

    def test_the_node_runs(self, machines: list[Machine]) -> None:
        assert [machine.show("ActiveState") for machine in machines] == ["active", "active"]

    def test_the_doctor_finds_nothing_wrong(self, machines: list[Machine]) -> None:
        for machine in machines:
            machine.sh("ledgerd check && ledgerd doctor")

    def test_a_shell_completes_commands(self, machines: list[Machine]) -> None:
        """What bash would do at the second TAB after `ledgerd ser`."""
        said = machines[0].sh(
            "source /usr/share/bash-completion/completions/ledgerd\n"
            "COMP_WORDS=(ledgerd ser); COMP_CWORD=1; _ledgerd_completion ledgerd; echo ${COMPREPLY[@]}"
        )
        assert said == "serve"

    @pytest.mark.parametrize("page", ["man8/ledgerd.8", "man1/ledgerctl.1", "man5/node.toml.5"])
    def test_it_has_man_pages(self, machines: list[Machine], page: str) -> None:
        machines[0].sh(f"zgrep -q '^.SH NAME' /usr/share/man/{page}.gz")

    @pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json", "example.toml"])
    def test_it_has_what_is_to_be_copied(self, machines: list[Machine], name: str) -> None:
        shipped = machines[0].get(f"/usr/share/doc/ledgerd/examples/{name}")
        assert shipped == (PROJECT / "deploy" / name).read_bytes()

    def test_nothing_was_compiled_at_the_first_start(self, machines: list[Machine]) -> None:
        """The service could not keep it: it sees its program read-only."""
        machines[0].sh("test -e /usr/lib/ledgerd/lib/python3*/site-packages/ledgerd/__pycache__")


class TestTransfer:
    def test_goes_through_both_nodes(self, transfer: list[Machine]) -> None:
        for machine, institution in zip(transfer, (HOSPITAL, CLINIC), strict=True):
            machine.system.wait_until(
                "bash", "-c", f"{state(machine, institution)} | grep -o '\"state\": *\"[a-z]*\"'",
                gives='"state": "matched"',
            )  # fmt: skip

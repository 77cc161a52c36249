"""The package as an operator has it: built, installed on clean machines, used, removed, purged."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from deb.machine import BUILD, PROJECT, Machine, clean_root, package, two_machines
from deploy.systemd import missing

NEEDS = ("dh", "dpkg-buildpackage", "lintian", "ip")
pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"no systemd to try it under: {missing()}"),
    *(pytest.mark.skipif(shutil.which(p) is None, reason=f"{p} is not installed") for p in NEEDS),
]

PAGE = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
# The three commands of the page, as they stand there.
INSTALL, ASK, FOUND = re.findall(
    r"^```sh\n(.*?)^```$",
    PAGE.partition("## Install\n")[2].partition("\n## ")[0],
    re.MULTILINE | re.DOTALL,
)
EXAMPLE = "/usr/share/doc/ledgerd/examples/example.toml"
QUICK = "\n[timing]\npoll_interval_s = 0.2\nanchor_interval_s = 0.2\n"
AS_NODE = "runuser -u ledgerd --"
HOSPITAL, CLINIC = "uscc.12440300MB0000001U", "hkbr.50000001"

DECLARE = f"""
cd /srv/{HOSPITAL}; echo 'what is sent' >batch.csv
ledgerctl declare batch.csv --to {CLINIC} --contract GBA-SC-2026-0117 --subjects 1 \
  --purpose DiagnosisManagement --category 'health and physiology' \
  --legal-basis 'CN13_1 consent' --ticket a.ticket
"""


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """As `make deb` does."""
    subprocess.run(["bash", PROJECT / "deploy" / "build-deb.sh"], check=True)


@pytest.fixture(scope="session")
def root(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A clean Debian, or this machine's own root and why there is no clean one."""
    directory = tmp_path_factory.mktemp("debian") / "root"
    why_not = clean_root(directory)
    yield (Path("/") if why_not else directory), why_not
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def machines(root: tuple[Path, str]) -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a node each that runs, set up by the commands of the page."""
    with two_machines(root[0]) as (mainland, hongkong):
        for ours in (mainland, hongkong):
            ours.sh(f"cd /srv/package\n{INSTALL}")
            ours.sh(f"ledgerctl authority init --dir /srv/authority --origin {ours.origin}")
        for ours, theirs in ((mainland, hongkong), (hongkong, mainland)):
            ours.put("/srv/theirs.txt", theirs.get("/srv/authority/trust.txt"))
            ours.sh(
                "ledgerctl trust make /srv/authority/trust.txt /srv/theirs.txt"
                " --out /etc/ledgerd/trust.txt"
            )
            configure(ours)
            found(ours, theirs)
        yield mainland, hongkong


@pytest.fixture(scope="session")
def transfer(machines: tuple[Machine, Machine]) -> tuple[Machine, Machine]:
    """One transfer, declared on the one side and acknowledged on the other."""
    mainland, hongkong = machines
    for machine in machines:
        enrol(machine, "operator", "operator-1", "--name Ops")
    enrol(mainland, "institution", HOSPITAL, "--name Hospital --place 440300 --sector 3")
    enrol(hongkong, "institution", CLINIC, "--name Clinic --place 810000 --sector 3")
    mainland.sh(DECLARE.replace("--ticket", "--config client.toml --ticket"))
    for name in ("batch.csv", "a.ticket"):
        hongkong.put(f"/srv/{CLINIC}/{name}", mainland.get(f"/srv/{HOSPITAL}/{name}"))
    hongkong.sh(
        f"cd /srv/{CLINIC}; chmod 600 a.ticket\n"
        "ledgerctl ack a.ticket --payload batch.csv --config client.toml"
    )
    return machines


def configure(machine: Machine) -> None:
    """Write the configuration after the example, which is of the mainland's side."""
    text = machine.get(EXAMPLE).decode()
    if machine.side == "hongkong":
        swapped = {"mainland": "hongkong", "hongkong": "mainland"}
        text = re.sub("mainland|hongkong", lambda name: swapped[name[0]], text)
    machine.put("/etc/ledgerd/node.toml", f"{text}{QUICK}".encode())


def found(ours: Machine, theirs: Machine) -> None:
    """Do what the page says, and what the authority does in between."""
    ours.sh(ASK)
    ours.sh(
        "ledgerctl authority genesis /var/lib/ledgerd/genesis-request.json --dir /srv/authority"
        f" --yes --peer-origin {theirs.origin} --out /var/lib/ledgerd/genesis.json"
        """ --peer-authority "$(sed -n 's/^authority //p' /srv/theirs.txt)" """
    )
    ours.sh(FOUND)


def enrol(machine: Machine, role: str, name: str, options: str) -> None:
    machine.sh(f"""
        mkdir -p /srv; cd /srv
        ledgerctl enrol request --role {role} --id {name} --origin {machine.origin} {options} \
          --dir {name}
        ledgerctl enrol approve {name}/request.json --dir authority --yes --out {name}.json
        ledgerctl enrol install {name}.json --dir {name} --trust /etc/ledgerd/trust.txt \
          --endpoint {machine.endpoint}
    """)
    if role == "institution":
        machine.sh(f"ledgerctl enrol submit /srv/{name}.json --config /srv/operator-1/client.toml")


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
        version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
        assert package().name.startswith(f"ledgerd_{version}_")

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

    def test_both_programs_are_on_the_path(self, machines: tuple[Machine, Machine]) -> None:
        assert machines[0].sh("command -v ledgerd ledgerctl").split() == [
            "/usr/bin/ledgerd",
            "/usr/bin/ledgerctl",
        ]

    def test_the_node_runs(self, machines: tuple[Machine, Machine]) -> None:
        assert [machine.show("ActiveState") for machine in machines] == ["active", "active"]

    def test_the_doctor_finds_nothing_wrong(self, machines: tuple[Machine, Machine]) -> None:
        for machine in machines:
            machine.sh("ledgerd check && ledgerd doctor")

    def test_a_shell_completes_commands(self, machines: tuple[Machine, Machine]) -> None:
        """What bash would do at the second TAB after `ledgerd ser`."""
        said = machines[0].sh(
            "source /usr/share/bash-completion/completions/ledgerd\n"
            "COMP_WORDS=(ledgerd ser); COMP_CWORD=1; _ledgerd_completion ledgerd; echo ${COMPREPLY[@]}"
        )
        assert said == "serve"

    @pytest.mark.parametrize("page", ["man8/ledgerd.8", "man1/ledgerctl.1", "man5/node.toml.5"])
    def test_it_has_man_pages(self, machines: tuple[Machine, Machine], page: str) -> None:
        machines[0].sh(f"zgrep -q '^.SH NAME' /usr/share/man/{page}.gz")

    @pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json", "example.toml"])
    def test_it_has_what_is_to_be_copied(
        self, machines: tuple[Machine, Machine], name: str
    ) -> None:
        shipped = machines[0].get(f"/usr/share/doc/ledgerd/examples/{name}")
        assert shipped == (PROJECT / "deploy" / name).read_bytes()

    def test_nothing_was_compiled_at_the_first_start(
        self, machines: tuple[Machine, Machine]
    ) -> None:
        """The service could not keep it: it sees its program read-only."""
        machines[0].sh("test -e /usr/lib/ledgerd/lib/python3*/site-packages/ledgerd/__pycache__")


class TestTransfer:
    def test_goes_through_both_nodes(self, transfer: tuple[Machine, Machine]) -> None:
        for machine, institution in zip(transfer, (HOSPITAL, CLINIC), strict=True):
            machine.system.wait_until(
                "bash", "-c", f"{state(machine, institution)} | grep -o '\"state\": *\"[a-z]*\"'",
                gives='"state": "matched"',
            )  # fmt: skip


class TestRemoval:
    """In this order: each takes the machines as the one before left them."""

    def test_an_upgrade_starts_the_node_again(self, transfer: tuple[Machine, Machine]) -> None:
        machine = transfer[0]
        before = machine.show("MainPID")
        machine.sh(f"cd /srv/package\n{INSTALL.replace('install', 'install --reinstall')}")
        assert machine.show("ActiveState") == "active"
        assert machine.show("MainPID") not in {"0", before}

    def test_leaves_ledger_and_configuration(self, transfer: tuple[Machine, Machine]) -> None:
        for machine in transfer:
            machine.sh("apt-get remove -y ledgerd")
            machine.sh("test ! -e /usr/bin/ledgerd; test ! -e /usr/lib/ledgerd")
            machine.sh("test -s /var/lib/ledgerd/data/store/data.mdb")
            machine.sh("test -s /etc/ledgerd/node.toml; test -s /var/lib/ledgerd/keys/log.key")

    def test_a_purge_leaves_them_where_nobody_is_asked(
        self, transfer: tuple[Machine, Machine]
    ) -> None:
        machine = transfer[0]
        machine.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y ledgerd")
        machine.sh("test -s /var/lib/ledgerd/data/store/data.mdb; test -s /etc/ledgerd/node.toml")

    def test_what_is_left_is_taken_up_by_the_next_installation(
        self, transfer: tuple[Machine, Machine]
    ) -> None:
        machine = transfer[0]
        machine.sh(f"cd /srv/package\n{INSTALL}\nsystemctl enable --now ledgerd")
        assert machine.show("ActiveState") == "active"

    def test_a_purge_asks_and_deletes_them_only_then(
        self, transfer: tuple[Machine, Machine]
    ) -> None:
        machine = transfer[1]
        # A disk of their own: the place that it is mounted at can't be deleted.
        machine.sh("mkdir -p /var/lib/ledgerd-backup")
        machine.sh("mount -t tmpfs tmpfs /var/lib/ledgerd-backup; touch /var/lib/ledgerd-backup/a")
        machine.sh("mkdir /var/lib/ledgerd/disk; mount -t tmpfs tmpfs /var/lib/ledgerd/disk")
        machine.sh("touch /var/lib/ledgerd/disk/other")
        said = machine.sh("yes | DEBIAN_FRONTEND=teletype dpkg --purge ledgerd 2>&1")
        assert "Delete the ledger, its keys and its configuration?" in said
        assert "Delete the backups of the ledger, too?" in said
        assert "/var/lib/ledgerd/disk" in said
        assert machine.sh("find /var/lib/ledgerd -type f").split() == [
            "/var/lib/ledgerd/disk/other"
        ]
        machine.sh("test ! -e /etc/ledgerd")
        assert machine.sh("ls /var/lib/ledgerd-backup") == ""

    def test_a_purge_leaves_backups_where_only_these_are_to_stay(
        self, transfer: tuple[Machine, Machine]
    ) -> None:
        machine = transfer[0]
        machine.sh("mkdir -p /var/lib/ledgerd-backup/kept; apt-get remove -y ledgerd")
        machine.sh("printf 'y\\nn\\n' | DEBIAN_FRONTEND=teletype dpkg --purge ledgerd")
        machine.sh("test ! -e /var/lib/ledgerd; test -d /var/lib/ledgerd-backup/kept")

"""The package, built, and machines with it: the same ones for all tests of this directory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deb.machine import Machine, booted
from deb.packages import PROJECT, begin_newer, clean_root
from deb.side import CLINIC, DECLARE, HOSPITAL, INSTALL, configure, enrol, found


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """As `make deb` does."""
    subprocess.run(["bash", PROJECT / "deploy" / "build-deb.sh"], check=True)


@pytest.fixture(scope="session")
def newer(
    built: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Where the next version is being built; begun before there is a system to put it on."""
    tree = tmp_path_factory.mktemp("newer") / "checkout"
    building = begin_newer(tree)
    yield tree, building
    building.kill()
    building.wait()
    shutil.rmtree(tree)


@pytest.fixture(scope="session")
def root(newer: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A clean Debian, or this machine's own root and why there is no clean one."""
    directory = tmp_path_factory.mktemp("debian") / "root"
    why_not = clean_root(directory)
    yield (Path("/") if why_not else directory), why_not
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def border(
    root: tuple[Path, str], newer: tuple[Path, subprocess.Popen[bytes]]
) -> Iterator[tuple[Machine, Machine, Machine]]:
    """Two machines with a node each that runs, set up by the commands of the page; a spare one."""
    tree, building = newer
    assert building.wait() == 0, (tree / "log").read_text()
    with booted(root[0], tree / "build" / "deb") as (mainland, hongkong, spare):
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
        yield mainland, hongkong, spare


@pytest.fixture(scope="session")
def machines(border: tuple[Machine, Machine, Machine]) -> list[Machine]:
    """Those on which the nodes run, of the mainland and of Hong Kong."""
    return list(border[:2])


@pytest.fixture(scope="session")
def transfer(machines: list[Machine]) -> list[Machine]:
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

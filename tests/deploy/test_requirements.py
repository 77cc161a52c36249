"""requirements/: what the package installs is what was tested, and all that the node needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text()))


def dependencies(project: str, *extras: str) -> set[str]:
    """Names that a project needs, without its own other distribution."""
    table = tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]
    optional = table.get("optional-dependencies", {})
    lines = [*table["dependencies"], *(line for extra in extras for line in optional[extra])]
    return {re.split(r"[^a-z0-9-]", line)[0] for line in lines} - {"ledgerd-client"}


def test_the_package_has_what_node_and_tool_need() -> None:
    assert dependencies(".") | dependencies("client", "cli", "reports") <= set(pins("node"))


def test_the_package_has_the_versions_that_are_tested() -> None:
    assert pins("node").items() <= pins("dev").items()

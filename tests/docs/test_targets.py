"""Every directory of tests is run by something."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_A_TARGET = {"tests/adversary", "tests/deb", "tests/faults", "tests/stateful"}


def test_each_directory_of_tests_is_in_the_suite_or_has_a_target() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    there = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("tests/*/test_*.py")}
    assert there == {path for path in settings["testpaths"] if path in there} | OF_A_TARGET


def test_each_target_of_its_own_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in OF_A_TARGET:
        assert re.search(rf"pytest -q {path}\b", makefile)


@pytest.mark.parametrize("target", ["adversary", "faults", "stateful"])
def test_ci_runs(target: str) -> None:
    """Not the package's, which takes a Debian from a mirror: that is for before a release."""
    steps = re.search(r"^printf '%s\\n' (.*) \|$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert steps is not None
    assert target in steps[1].split()

"""Every directory of tests is run by something."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_A_TARGET = {"tests/adversary", "tests/deb", "tests/stateful"}


def test_each_directory_of_tests_is_in_the_suite_or_has_a_target() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    there = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("tests/*/test_*.py")}
    assert there == {path for path in settings["testpaths"] if path in there} | OF_A_TARGET


def test_each_target_of_its_own_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in OF_A_TARGET:
        assert f"pytest -q {path}\n" in makefile


def test_the_adversary_is_met_in_ci() -> None:
    """`make stateful` still finds faults now and then: it is no gate before they are mended."""
    assert "step make adversary\n" in (ROOT / ".ci" / "run").read_text()

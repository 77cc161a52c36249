"""Every mutant finds the line that it breaks, and the test that must notice."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]


@cache
def names_in(path: Path) -> set[str]:
    """The classes and functions of a test file, as pytest names them; and "", for all of it."""
    found = {""}
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.ClassDef(name=name, body=body):
                found.add(name)
                found.update(f"{name}::{each.name}" for each in body if hasattr(each, "name"))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
    return found


@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: mutant["name"])
class TestAMutant:
    def test_breaks_a_line_that_is_there_once(self, mutant: dict[str, str]) -> None:
        assert (ROOT / mutant["file"]).read_text().count(mutant["before"]) == 1

    def test_names_a_test_that_is_there(self, mutant: dict[str, str]) -> None:
        path, _, name = mutant["test"].partition("::")
        assert name.partition("[")[0] in names_in(ROOT / path)


def test_no_two_have_one_name() -> None:
    assert len({mutant["name"] for mutant in LISTED}) == len(LISTED)

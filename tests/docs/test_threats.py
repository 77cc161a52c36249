"""Each promise, threat and key of docs/threat-model.md names tests, and there are such tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[^`]+)`")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


HEADINGS = {"Promises": 10, "Threats, each with its tests": 36, "Keys": 9}
ROWS = [(heading, row[0], row[-1]) for heading in HEADINGS for row in rows(heading)]


@cache
def defined(path: str) -> frozenset[str]:
    """Tests of a file: functions and classes, and methods with their class's name before."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {each.name for each in tree.body if isinstance(each, (*functions, ast.ClassDef))}
    for each in tree.body:
        if isinstance(each, ast.ClassDef):
            found |= {f"{each.name}::{m.name}" for m in each.body if isinstance(m, functions)}
    return frozenset(name for name in found if name.startswith(("Test", "test_")))


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    if not (ROOT / path).is_file():
        return False
    return name in defined(path) if name else bool(defined(path))


@pytest.mark.parametrize(
    ("heading", "what", "tests"), ROWS, ids=[f"{h[:8]} {w}" for h, w, _ in ROWS]
)
def test_is_tried_by_tests_that_there_are(heading: str, what: str, tests: str) -> None:
    named = TEST.findall(tests)
    assert named
    assert [test for test in named if not exists(test)] == []


@pytest.mark.parametrize("heading", HEADINGS)
def test_no_row_is_left_out(heading: str) -> None:
    """Of the tables as they were read here."""
    assert len(rows(heading)) >= HEADINGS[heading]


def test_whatever_else_names_a_test_names_one_that_there_is() -> None:
    assert [test for test in TEST.findall(PAGE) if "::" in test and not exists(test)] == []


@pytest.mark.parametrize(
    "test", ["tests/nothing.py", "tests/docs/test_threats.py::test_nothing", "tests/border.py"]
)
def test_the_search_finds_no_test_that_there_is_not(test: str) -> None:
    assert not exists(test)

"""Each fault test fills a row of the table that is printed in the end (docs/reliability.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.oracle import Tally
from faults.table import render
from faults.trial import Trial

TALLIES = pytest.StashKey[dict[str, Tally]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cuts", type=int, default=100, help="losses of power")
    parser.addoption("--rows", action="store_true", help="name the rows that the tests fill")
    parser.addoption("--kills", type=int, default=20, help="kill -9 under load")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLIES] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("--rows"):
        tests = [item for item in session.items if isinstance(item, pytest.Function)]
        for fault in sorted({fault_of(test) for test in tests if "tally" in test.fixturenames}):
            print(f"row: {fault}")  # noqa: T201 - the test of docs/reliability.md reads it


def fault_of(test: pytest.Function) -> str:
    """What its row is called: as the test, whatever its parameters."""
    return test.originalname.removeprefix("test_").replace("_", " ")


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """The row of this test: of all its parameters."""
    fault = fault_of(request.node)
    return request.config.stash[TALLIES].setdefault(fault, Tally(fault))


@pytest.fixture
def cuts(request: pytest.FixtureRequest) -> int:
    number: int = request.config.getoption("--cuts")
    return number


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    number: int = request.config.getoption("--kills")
    return number


@pytest.fixture
def trial(tmp_path: Path, tally: Tally) -> Iterator[Trial]:
    with Trial(tmp_path, tally=tally) as made:
        yield made


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if tallies := config.stash[TALLIES]:
        terminalreporter.write_line(render(tallies.values()))

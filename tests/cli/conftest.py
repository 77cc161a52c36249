"""Every test of the tool runs it in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.enrolled import Border, enrolled
from cli.tool import Ask, Tool
from client.supervised import Planted, config_of, planted_border

from ledgerd_client.cli.output import speak


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    speak("en")


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.chdir(tmp_path)
    return Tool(tmp_path)


@pytest.fixture
def border(tool: Tool) -> Iterator[Border]:
    with enrolled(tool) as border:
        yield border


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    with planted_border() as planted:
        yield planted


@pytest.fixture
def cac(tool: Tool, planted: Planted) -> Ask:
    """Run a command as the Mainland's regulator."""
    config = config_of(planted.cac)
    return lambda *args: tool(*args, "--config", config)

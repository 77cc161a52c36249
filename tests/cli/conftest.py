"""Every test of the tool runs it in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.enrolled import Border, enrolled
from cli.tool import Tool


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.chdir(tmp_path)
    return Tool(tmp_path)


@pytest.fixture
def border(tool: Tool) -> Iterator[Border]:
    with enrolled(tool) as border:
        yield border

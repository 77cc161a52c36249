"""Every test of the tool runs it in a directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.tool import Tool


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.chdir(tmp_path)
    return Tool(tmp_path)

"""What a page of docs/ tells an operator to type, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def section(name: str) -> str:
    """The text of a section of docs/operations.md."""
    text = OPERATIONS.read_text(encoding="utf-8")
    return text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def blocks(name: str, kind: str = "sh") -> list[str]:
    """The code blocks of a kind in a section."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", section(name), re.MULTILINE | re.DOTALL)

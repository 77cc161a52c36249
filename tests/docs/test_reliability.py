"""docs/reliability.md: each row of its table is a fault test, and each fault test a row."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS_OF = "tests/faults"


def section(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without the table's head."""
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    below = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split("|") for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set(row[0]) <= set("- ")]


def printed(heading: str) -> list[list[str]]:
    """Numbered rows, as a run printed them."""
    return [row for row in section(heading) if row[0].isdecimal()]


def filled() -> set[str]:
    """Faults that fill a row: what their tests are called."""
    command = (sys.executable, "-m", "pytest", "-q", "--collect-only", "--rows", ROWS_OF)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"^row: (.+)$", done.stdout, re.MULTILINE))


def test_each_row_is_a_fault_and_each_fault_a_row() -> None:
    assert {row[1] for row in printed("Faults")} == filled()


def test_each_row_is_explained() -> None:
    told = {row[0].strip("`") for row in section("How the faults are made")[1:]}
    assert told == filled()


def test_nothing_was_lost() -> None:
    for row in (*printed("Faults"), *printed("Soak")):
        assert row[4:7] == ["0", "0", "0"], row


def test_every_audit_passed() -> None:
    for row in (*printed("Faults"), *printed("Soak")):
        passed, _, audits = row[7].partition(" of ")
        assert passed == audits, row

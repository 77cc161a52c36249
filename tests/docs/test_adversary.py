"""Every lie that tests/adversary tells stands in docs/threat-model.md, with the promise it tries."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from docs.test_reference import table

ROOT = Path(__file__).resolve().parents[2]
# Where in a log a lie is told is not which lie it is.
PLACE = re.compile(r"-?\b(\d+|first|last)\b-?")
HEADING = "Lies, each of which is a test"


def told() -> dict[str, set[str]]:
    """Lies by the class of tests that tells them, as pytest collects them."""
    command = (sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/adversary")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, set[str]] = defaultdict(set)
    for line in done.stdout.splitlines():
        if not line.startswith("tests/"):
            continue
        _, name, test = line.split("::")
        test, _, parameters = test.rstrip("]").partition("[")
        found[name].add(PLACE.sub("", parameters) or test.removeprefix("test_"))
    return found


def listed() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for name, lies, *_ in table("threat-model.md", HEADING):
        found[name] |= {lie.strip("` ") for lie in lies.split(", ")}
    return found


def test_each_lie_is_in_the_threat_model_and_each_row_is_a_test() -> None:
    assert listed() == told()


def test_each_row_names_promises_that_there_are() -> None:
    promises = {row[0].strip("| ") for row in rows("Promises")}
    named = {name for row in table("threat-model.md", HEADING) for name in row[-1].split(", ")}
    assert named <= promises


def rows(heading: str) -> list[list[str]]:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.split(" | ") for line in section.splitlines() if line.startswith("| P")]

"""The tables of docs/ that repeat what the code says are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from ledgerd.api.roles import ALLOWED
from ledgerd.config import Config
from ledgerd.observe.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]


def table(page: str, heading: str) -> list[list[str]]:
    """The rows below a heading whose first cell is code, which it is without its backticks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    lines = [
        line.strip("| ").replace("\\<", "<")
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [[first.strip("`"), *others] for first, *others in rows]


class TestOperations:
    def test_lists_every_setting_as_the_daemon_describes_it(self) -> None:
        listed = {row[0]: row[-1] for row in table("operations.md", "Configuration")}
        assert listed == {name: field.description for name, field in Config.settings()}

    def test_lists_every_metric(self) -> None:
        listed = {row[0] for row in table("operations.md", "Metrics")}
        families = [f for f in Metrics().registry.collect() if f.name.startswith("ledgerd_")]
        suffixes = {"counter": "_total", "info": "_info"}
        assert listed == {f"{f.name}{suffixes.get(f.type, '')}" for f in families}

    def test_explains_only_reasons_that_the_code_gives(self) -> None:
        sources = [
            path.read_text(encoding="utf-8")
            for package in ("ledgerd", "client/ledgerd_client")
            for path in (ROOT / package).rglob("*.py")
        ]
        explained = [row[0] for row in table("operations.md", "Reasons")]
        assert explained
        code = "".join(sources)
        assert [reason for reason in explained if f'"{reason}"' not in code] == []


class TestProtocol:
    def test_lists_every_method_with_the_roles_that_may_call_it(self) -> None:
        listed = {row[0]: set(row[1].split(", ")) for row in table("protocol.md", "Roles")}
        allowed = {method.rpartition(".")[2]: set(roles) for method, roles in ALLOWED.items()}
        assert listed == allowed

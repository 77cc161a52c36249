"""
`make interop`: other people's tools check a live border and what it publishes.

Prints each tool, its version and how many claims it accepted and refused, as build/interop.json has
it too. A tool that this machine lacks the means for is skipped, and it is said why. Exit 1 when
any says otherwise than it should.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from interop.live.site import served
from interop.live.tools import ALL, MissingError, Row
from rich.console import Console
from rich.table import Table

BUILD = Path(__file__).resolve().parents[3] / "build"


def main() -> int:
    console = Console(width=140, highlight=False)
    began = time.monotonic()
    build = BUILD / "interop"
    build.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="ledgerd-interop-"))
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    try:
        with served(directory) as site:
            console.print(f"{site.log.size} entries of {site.log.origin} are published")
            for name, ask in ALL.items():
                try:
                    rows.append(ask(build, site))
                except MissingError as error:
                    skipped[name] = str(error)
    finally:
        shutil.rmtree(directory)
    report = {"tools": [dataclasses.asdict(row) for row in rows], "skipped": skipped}
    (BUILD / "interop.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    show(console, rows, skipped)
    wrong = sum(len(row.wrong) for row in rows)
    passed = len(rows) - sum(bool(row.wrong) for row in rows)
    console.print(
        f"{passed} passed, {len(rows) - passed} failed, {len(skipped)} skipped"
        f" ({time.monotonic() - began:.0f} s)"
    )
    return int(wrong > 0)


def show(console: Console, rows: list[Row], skipped: dict[str, str]) -> None:
    table = Table("tool", "version", "true, accepted", "false, refused", "wrong")
    for row in rows:
        counts = (row.honest, row.tampered, len(row.wrong))
        table.add_row(row.tool, row.version, *map(str, counts))
    console.print(table)
    for row in rows:
        for what in row.wrong:
            console.print(f"{row.tool}: {what}", markup=False)
    for name, why in skipped.items():
        console.print(f"{name}: skipped: {why}", markup=False)


if __name__ == "__main__":
    sys.exit(main())

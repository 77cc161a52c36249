"""The log: JSON a line, at a level that can change, marked for the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import structlog
from ledgerd.observe.logs import configure_logs, set_level

log = structlog.get_logger()
configure_logs("info")
log.debug("one")
log.info("two", text="a\\nb\\x9b2J\\u202e\\udcff")
set_level("debug")
log.debug("three")
set_level("error")
log.warning("four")
log.error("five")
"""


def logged(tmp_path: Path, **environment: str) -> list[str]:
    """The lines of a program whose standard error is a file, told that it is the journal."""
    out = tmp_path / "log"
    with out.open("wb") as file:
        found = os.fstat(file.fileno())
        stream = environment.get("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        command = [sys.executable, "-c", PROGRAM]
        subprocess.run(
            command, env={**os.environ, "JOURNAL_STREAM": stream}, stderr=file, check=True
        )
    return out.read_text().splitlines()


class TestTheLevel:
    def test_changes_for_loggers_that_are_in_use(self, tmp_path: Path) -> None:
        events = [json.loads(line)["event"] for line in logged(tmp_path, JOURNAL_STREAM="")]
        assert events == ["two", "three", "five"]


RAISING = """
import structlog
from ledgerd.observe.logs import configure_logs

configure_logs("info")
try:
    try:
        {}["what a caller sent"]
    except KeyError:
        raise OSError(28, "No space left on device", "what a caller sent")
except OSError as error:
    structlog.get_logger().error("failed", exc_info=error)
"""


class TestATraceback:
    @pytest.fixture
    def line(self) -> str:
        command = [sys.executable, "-c", RAISING]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return str(json.loads(done.stderr)["exception"])

    def test_says_where_it_was_and_what(self, line: str) -> None:
        where = 'File "<string>", line 8, in <module>'
        assert (where in line, line.count("KeyError"), "OSError: No space" in line) == (
            True,
            1,
            True,
        )

    def test_has_no_message_that_could_quote_a_record(self, line: str) -> None:
        assert "what a caller sent" not in line


class TestALine:
    def test_steers_no_terminal_whatever_is_in_it(self, tmp_path: Path) -> None:
        (two, *_) = logged(tmp_path, JOURNAL_STREAM="")
        assert (two.isprintable(), json.loads(two)["text"]) == (True, "a\nb\x9b2J\u202e\udcff")


class TestTheJournal:
    def test_is_told_the_priority_of_each_line(self, tmp_path: Path) -> None:
        lines = logged(tmp_path)
        assert [line[:4] for line in lines] == ["<6>{", "<7>{", "<3>{"]

    def test_is_told_nothing_when_standard_error_goes_elsewhere(self, tmp_path: Path) -> None:
        assert logged(tmp_path, JOURNAL_STREAM="1:2")[0].startswith("{")

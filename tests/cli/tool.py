"""The tool as its users have it: in this process, and as the installed program."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ledgerd_client.cli import app

LEDGERCTL = Path(sys.executable).with_name("ledgerctl")


@dataclass(frozen=True)
class Ran:
    """What a run of the tool gave."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON object on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)


class Tool:
    """Runs commands in a directory; relative paths are relative to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *args: object, stdin: str = "") -> Ran:
        """Run a command in this process."""
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
        return Ran(result.exit_code, result.stdout, result.stderr)

    def program(self, *args: object) -> Ran:
        """Run the installed program."""
        done = subprocess.run(
            [LEDGERCTL, *map(str, args)],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def path(self, name: str) -> Path:
        return self.directory / name

    def ok(self, *args: object) -> Ran:
        ran = self(*args)
        assert ran.code == 0, ran.err
        return ran

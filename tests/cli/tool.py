"""The tool as its users have it: in this process, and as the installed program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ledgerd_client.cli.deferred import Deferred
from ledgerd_client.cli.program import app

LEDGERCTL = Path(sys.executable).with_name("ledgerctl")


def made(command: Any) -> Any:
    """The command itself, of one that is imported when it is called."""
    return command.command if isinstance(command, Deferred) else command


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


# Runs a command, its options being given.
Ask = Callable[..., Ran]


class Tool:
    """Runs commands in a directory; relative paths are relative to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *args: object, stdin: str = "") -> Ran:
        """Run a command in this process; what it raises, it raises here."""
        with CliRunner().isolation(input=stdin) as (out, err, _):
            try:
                app.main([str(arg) for arg in args], prog_name="ledgerctl")
            except SystemExit as ended:
                code = int(ended.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
            return Ran(code, out.getvalue().decode(), err.getvalue().decode())

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

"""The program as a whole: its version, and how much of what it was given it says back."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from cli.tool import LEDGERCTL, Tool

from ledgerd_client.cli.deferred import Deferred
from ledgerd_client.cli.output import emit, say_error, shorten
from ledgerd_client.cli.program import app
from ledgerd_client.core.errors import LedgerError

OFFLINE = ("absent.tlog-proof", "--trust", "absent.txt", "--keys", "absent")
LONG = "x" * 100_000


class TestVersion:
    def test_it_is_that_of_the_distribution(self, tool: Tool) -> None:
        ran = tool.program("--version")
        assert (ran.code, ran.out) == (0, f"ledgerctl {version('ledgerd-client')}\n")

    def test_the_help_of_the_program_is_still_its_own(self, tool: Tool) -> None:
        assert "Exit codes" in tool("--help").out


KEPT = """
import os, resource, sys
from ledgerd_client.cli import main
from ledgerd_client.secrecy import may_be_dumped

sys.argv = ["ledgerctl", "--version"]
os.umask(0)
try:
    main()
except SystemExit:
    print(may_be_dumped(), resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))
"""


class TestItsProcess:
    def test_leaves_no_core_dump_and_nothing_that_others_may_write(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", KEPT], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "False (0, 0) 0o22"


class TestWhatStrangersWrote:
    """A name in the answer of a node that lies, or of a file."""

    STEERS = "a\x1b[2J\x9b2J\u202e\U000e0041\udcff深"

    def test_steers_no_terminal_as_json_and_is_still_there(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        emit({"name": self.STEERS}, as_json=True)
        (line,) = capsys.readouterr().out.splitlines()
        assert (line.isprintable(), "深" in line, json.loads(line)["name"]) == (
            True, True, self.STEERS,
        )  # fmt: skip

    @pytest.mark.parametrize("where", ["message", "reason", "action", "note"])
    def test_steers_none_in_an_error(self, capsys: pytest.CaptureFixture[str], where: str) -> None:
        told = dict.fromkeys(("message", "reason", "action"), "A") | {where: self.STEERS}
        error = LedgerError(told["message"], reason=told["reason"], action=told["action"])
        error.add_note(f"{told.get('note', 'a note')}\nof two lines")
        say_error(error)
        lines = capsys.readouterr().err.splitlines()
        assert (len(lines), [line for line in lines if not line.isprintable()]) == (3, [])


class TestStarting:
    @pytest.mark.parametrize("name", app.commands)
    def test_what_a_command_is_for_is_what_its_own_help_says_first(self, name: str) -> None:
        deferred = app.commands[name]
        assert isinstance(deferred, Deferred)
        assert deferred.help == " ".join(deferred.command.help.partition("\n\n")[0].split())

    @pytest.mark.parametrize("args", [("--help",), ("receipt", "verify", *OFFLINE), ("codes",)])
    def test_who_asks_no_node_loads_no_grpc(self, tool: Tool, args: tuple[str, ...]) -> None:
        assert "grpc" not in loaded_by(tool, *args)

    def test_who_asks_one_loads_neither_reports_nor_certificates(self, tool: Tool) -> None:
        tool.path("client.toml").write_text("")
        absent = {"rich", "cryptography", "ledgerd_client.reports", "ledgerd_client.bundle"}
        assert absent & loaded_by(tool, "show", "00" * 32) == set()

    def test_a_command_whose_extra_is_not_there_says_what_to_install(self, tool: Tool) -> None:
        program = "import sys; sys.modules['cryptography'] = None"
        ran = run_python(
            tool, program, "authority", "init", "--dir", "a", "--origin", "log.example"
        )
        said = "ledgerctl needs cryptography: pip install 'ledgerd-client[cli]'\n"
        assert (ran.returncode, ran.stderr) == (2, said)


def loaded_by(tool: Tool, *args: str) -> set[str]:
    """The modules that a run of the program had loaded at its end."""
    program = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    return set(run_python(tool, program, *args).stderr.split())


def run_python(tool: Tool, program: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the program after a statement of our own."""
    return subprocess.run(
        (sys.executable, "-c", f"{program}; from ledgerd_client.cli import main; main()", *args),
        cwd=tool.directory,
        capture_output=True,
        text=True,
        check=False,
    )


class TestShorten:
    @pytest.mark.parametrize("length", [0, 1, 200])
    def test_what_is_short_stays_as_it_is(self, length: int) -> None:
        assert shorten("x" * length) == "x" * length

    def test_of_what_is_long_both_ends_are_kept(self) -> None:
        assert shorten(f"cannot read {LONG}: gone").startswith("cannot read x")
        assert shorten(f"cannot read {LONG}: gone").endswith("x: gone")

    def test_nothing_is_longer_than_the_limit_and_a_mark(self) -> None:
        assert len(shorten(LONG)) == 200 + len(" … ")


class TestWhatIsSaidBack:
    @pytest.mark.parametrize(
        "args",
        [
            (LONG,),
            (f"--{LONG}",),
            ("outbox", LONG),
            ("outbox", "list", LONG),
            ("trust", "show", LONG),
            ("keygen", "--out", "a.key", "--name", f"{LONG} "),
            ("checkpoint", "--config", LONG),
            ("authority", "init", "--dir", "a", "--origin", "log.example", "--days", LONG),
            ("authority", "init", "--dir", "a", "--origin", "log.example", "--domain", LONG),
        ],
        ids=lambda args: " ".join(arg[:8] for arg in args),
    )
    def test_no_message_echoes_all_that_was_given(self, tool: Tool, args: tuple[str, ...]) -> None:
        ran = tool(*args)
        assert (ran.code, ran.err.count("x") < 400, len(ran.err) < 2_000) == (2, True, True)

    def test_nor_all_that_a_file_holds(self, tool: Tool) -> None:
        tool.path("client.toml").write_text(f"{LONG} = 1\n")
        ran = tool("checkpoint")
        assert (ran.code, len(ran.err) < 1_000) == (2, True)

    def test_it_is_one_line(self, tool: Tool) -> None:
        assert tool("trust", "show", "a\nb").err.count("\n") == 1


def test_a_full_disk_under_the_output_exits_3_with_one_line(tool: Tool) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 -- a device
        done = subprocess.run(
            [LEDGERCTL, "codes"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)

"""deploy/: what an operator installs is what the daemon is, and systemd takes it as it is."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from border import BIN, LEDGERD

from ledgerd.config import Config

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def exec_start(unit: Path) -> list[str]:
    found = [
        line.removeprefix("ExecStart=")
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    assert len(found) == 1
    return shlex.split(found[0])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
class TestUnit:
    @needs_analyze
    def test_systemd_has_nothing_to_say_about_it(self, unit: Path, tmp_path: Path) -> None:
        """Where the program lies is the machine's, so the installed one is put in."""
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace(exec_start(unit)[0], LEDGERD))
        done = subprocess.run(
            ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @needs_analyze
    def test_its_exposure_is_at_most_1_5_of_10(self, unit: Path) -> None:
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_it_starts_an_installed_program(self, unit: Path) -> None:
        assert (BIN / Path(exec_start(unit)[0]).name).exists()

    def test_its_command_line_is_one_that_the_program_takes(self, unit: Path) -> None:
        _, command, *options = exec_start(unit)
        done = subprocess.run(
            [LEDGERD, command, "--help"], capture_output=True, text=True, check=True
        )
        assert [option for option in options[::2] if option not in done.stdout] == []


class TestExample:
    def test_the_daemon_reads_the_example_configuration(self) -> None:
        Config.load(DEPLOY / "example.toml")

    def test_everything_that_is_written_lies_in_the_state_directory(self) -> None:
        config = Config.load(DEPLOY / "example.toml")
        written = (
            config.data,
            *(config.keys.log, config.keys.entry, config.keys.cosigner),
        )
        assert [path for path in written if not path.is_relative_to("/var/lib/ledgerd")] == []

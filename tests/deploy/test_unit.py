"""deploy/: what an operator installs is what the daemon is, and systemd takes it as it is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from border import BIN, LEDGERD

from ledgerd.commands.exits import BAD_INPUT, FAILED, STORE_FAILED
from ledgerd.config import Config

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
TIMERS = sorted(DEPLOY.glob("*.timer"))

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


def setting(unit: Path, name: str) -> str:
    """The one value of a setting."""
    (value,) = re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    return value


def installed(unit: Path, directory: Path) -> Path:
    """A copy: where the program lies is the machine's, so the installed one is put in."""
    copy = directory / unit.name
    copy.write_text(unit.read_text().replace(exec_start(unit)[0], LEDGERD))
    return copy


def said_of(unit: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
class TestUnit:
    @needs_analyze
    def test_systemd_has_nothing_to_say_about_it(self, unit: Path, tmp_path: Path) -> None:
        assert said_of(installed(unit, tmp_path)) == (0, "", "")

    @needs_analyze
    def test_its_exposure_is_at_most_1_5_of_10(self, unit: Path) -> None:
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_it_leaves_no_core_dump(self, unit: Path) -> None:
        assert setting(unit, "LimitCORE") == "0"

    def test_it_starts_an_installed_program(self, unit: Path) -> None:
        assert (BIN / Path(exec_start(unit)[0]).name).exists()

    def test_its_command_line_is_one_that_the_program_takes(self, unit: Path) -> None:
        _, command, *options = exec_start(unit)
        done = subprocess.run(
            [LEDGERD, command, "--help"], capture_output=True, text=True, check=True
        )
        assert [option for option in options[::2] if option not in done.stdout] == []


@pytest.mark.parametrize("name", ["ledgerd", "ledgerd-mirror", "ledgerd-standby"])
def test_keys_in_memory_are_never_in_the_swap(name: str) -> None:
    assert setting(DEPLOY / f"{name}.service", "MemorySwapMax") == "0"


@pytest.mark.parametrize("timer", TIMERS, ids=lambda timer: timer.stem)
class TestTimer:
    @needs_analyze
    def test_systemd_has_nothing_to_say_about_it(self, timer: Path, tmp_path: Path) -> None:
        installed(timer.with_suffix(".service"), tmp_path)
        assert said_of(Path(shutil.copy(timer, tmp_path))) == (0, "", "")

    def test_makes_up_for_a_night_in_which_the_machine_was_off(self, timer: Path) -> None:
        assert setting(timer, "Persistent") == "yes"


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if "\nRestart=" in unit.read_text()], ids=lambda unit: unit.stem
)
def test_a_crash_loop_comes_to_its_limit(unit: Path) -> None:
    """Starts that fail at once: there is time for more of them than are allowed."""
    burst, every = (int(setting(unit, name)) for name in ("StartLimitBurst", "RestartSec"))
    assert burst * (every + 1) < int(setting(unit, "StartLimitIntervalSec"))


class TestTheNode:
    UNIT = DEPLOY / "ledgerd.service"

    def test_calls_in_flight_have_their_time_when_it_is_stopped(self) -> None:
        drain_s = Config.load(DEPLOY / "example.toml").timing.drain_s
        assert int(setting(self.UNIT, "TimeoutStopSec")) > 2 * drain_s

    @pytest.mark.parametrize("code", [BAD_INPUT, STORE_FAILED])
    def test_is_not_tried_again_where_somebody_must_look(self, code: int) -> None:
        assert str(code) in setting(self.UNIT, "RestartPreventExitStatus").split()


class TestTheStandby:
    UNIT = DEPLOY / "ledgerd-standby.service"

    @pytest.mark.parametrize("code", [BAD_INPUT, STORE_FAILED])
    def test_is_not_tried_again_where_somebody_must_look(self, code: int) -> None:
        assert str(code) in setting(self.UNIT, "RestartPreventExitStatus").split()

    def test_is_tried_again_after_what_may_pass(self) -> None:
        assert str(FAILED) not in setting(self.UNIT, "RestartPreventExitStatus").split()

    def test_has_as_long_as_it_takes_for_its_first_copy(self) -> None:
        assert setting(self.UNIT, "TimeoutStartSec") == "infinity"

    def test_is_shut_in_as_the_node_is(self) -> None:
        """From the limits on, but for what it says beside them."""
        shut_in = [
            [line for line in unit.read_text().partition("\nLimitNOFILE")[2].splitlines()
             if not line.startswith("#")]
            for unit in (self.UNIT, TestTheNode.UNIT)
        ]  # fmt: skip
        assert shut_in[0] == shut_in[1] != [""]


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


def test_the_man_page_has_a_section_of_the_exit_codes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DEPLOY / "manpages.py", tmp_path], check=True)
    _, _, section = (tmp_path / "ledgerd.8").read_text().partition(".SH EXIT STATUS\n")
    codes = re.findall(r"^\.TP\n\\fB(\d+)\\fR\n", section.partition(".SH")[0], re.MULTILINE)
    assert codes == ["0", "1", "2", "70"]

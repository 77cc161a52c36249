"""Reading payload files: what is shown of it, and that a file stays one file meanwhile."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from cli.tool import LEDGERCTL

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.cli.payloads import Watched, payload_of
from ledgerd_client.core.errors import InputError
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.payload import digest_payload

TERMS = pb.Terms(
    exporter=pb.Party(origin="mainland.example", institution="uscc.A"),
    recipient=pb.Party(origin="hongkong.example", institution="hkbr.B"),
    nonce=bytes(16),
    contract_id="SCC-2026-001",
    commitment=bytes(32),
    purposes=[3],
    categories=[7],
    legal_basis=1,
    consent_form=1,
    exemption=1,
    transmission=2,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "batch.csv"
    path.write_bytes(b"customer;score\n" * 100_000)
    return path


def nothing(_: float) -> None:
    pass


def all_that_is_shown(terminal: int) -> str:
    """Read a terminal until nobody has it open for writing."""
    shown = b""
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as file:
        while chunk := file.read(4096):
            shown += chunk
    return shown.decode()


class TestWatched:
    def test_a_watched_file_digests_as_any_other(self, path: Path) -> None:
        assert digest_payload(partial(Watched, path, nothing)) == digest_payload(path)

    def test_all_that_is_read_is_told(self, path: Path) -> None:
        told: list[float] = []
        digest_payload(partial(Watched, path, told.append))
        assert sum(told) == path.stat().st_size

    def test_a_file_that_grows_meanwhile_is_refused(self, path: Path) -> None:
        size = path.stat().st_size

        def grow(_: float) -> None:
            os.truncate(path, size + 1)

        with pytest.raises(InputError) as refused:
            digest_payload(partial(Watched, path, grow))
        assert refused.value.reason == "PAYLOAD_CHANGED"

    def test_a_file_that_is_not_there_is_an_input_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            digest_payload(partial(Watched, tmp_path / "absent", nothing))


class TestPayloadOf:
    def test_no_file_is_no_payload(self) -> None:
        assert payload_of([], [], parts=False) is None

    def test_parts_are_named_as_files_are(self) -> None:
        paths = [Path("a/one.csv"), Path("b/two.csv")]
        assert payload_of(paths, paths, parts=True) == {"one.csv": paths[0], "two.csv": paths[1]}

    def test_one_part_is_a_part_all_the_same(self) -> None:
        path = Path("a/one.csv")
        assert payload_of([path], [path], parts=True) == {"one.csv": path}

    def test_several_files_are_no_single_payload(self) -> None:
        paths = [Path("one"), Path("two")]
        with pytest.raises(InputError):
            payload_of(paths, paths, parts=False)


class TestProgress:
    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        path = tmp_path / "large.bin"
        path.touch()
        os.truncate(path, 65 * 1024 * 1024)
        return path

    @pytest.fixture
    def ticket(self, tmp_path: Path) -> Path:
        """Of some other payload."""
        path = tmp_path / "a.ticket"
        ticket = Ticket(TERMS.SerializeToString(), salt=bytes(32), receipt=b"of no use here")
        path.write_bytes(ticket.encode())
        return path

    def test_a_terminal_shows_how_much_of_a_large_file_was_read(
        self, large: Path, ticket: Path
    ) -> None:
        terminal, program_end = pty.openpty()
        command = (LEDGERCTL, "open", ticket, "--payload", large)
        with subprocess.Popen(command, stderr=program_end, stdout=subprocess.DEVNULL) as program:
            os.close(program_end)
            shown = all_that_is_shown(terminal)
        assert (program.returncode, "reading" in shown) == (1, True)

    def test_a_pipe_is_told_nothing_of_it(self, large: Path, ticket: Path) -> None:
        command = (LEDGERCTL, "open", ticket, "--payload", large)
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)

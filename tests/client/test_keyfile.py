"""Key files, and how files that matter are written and read."""

from __future__ import annotations

import os
import resource
import stat
from base64 import b64encode
from pathlib import Path

import pytest

from ledgerd_client.core.errors import InputError, MalformedError, TooLargeError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.keyfile import (
    KeyFile,
    read_file,
    read_key_file,
    read_secret,
    write_key_file,
    write_new,
    write_together,
)

SEED = bytes(range(32))
# base64 of SEED, by coreutils.
SEED_BASE64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signing.key"


def secret_file(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


class TestFormat:
    def test_a_key_file_is_two_lines(self) -> None:
        written = KeyFile(SigningKey(SEED)).format()
        assert written == f"ledgerd-key/v1\ned25519 {SEED_BASE64}\n".encode()

    def test_a_throwaway_key_says_so_in_the_first_line(self) -> None:
        written = KeyFile(SigningKey(SEED), throwaway=True).format()
        assert written.startswith(b"ledgerd-throwaway-key/v1\n")

    @pytest.mark.parametrize("throwaway", [False, True])
    def test_the_throwaway_mark_survives_a_round_trip(self, path: Path, throwaway: bool) -> None:
        write_key_file(path, KeyFile(SigningKey(os.urandom(32)), throwaway))
        assert read_key_file(path).throwaway is throwaway

    def test_the_key_survives_a_round_trip(self, path: Path) -> None:
        key = SigningKey(os.urandom(32))
        write_key_file(path, KeyFile(key))
        assert read_key_file(path).key.public == key.public

    def test_a_key_file_does_not_print_its_secret(self) -> None:
        shown = repr(KeyFile(SigningKey(SEED)))
        assert SEED_BASE64 not in shown
        assert SEED.hex() not in shown


class TestParse:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ledgerd-key/v1\n",
            f"ledgerd-key/v1\ned25519 {SEED_BASE64}",
            f"ledgerd-key/v1\ned25519 {SEED_BASE64}\n\n",
            f"ledgerd-key/v1\r\ned25519 {SEED_BASE64}\r\n",
            f"ledgerd-key/v2\ned25519 {SEED_BASE64}\n",
            f" ledgerd-key/v1\ned25519 {SEED_BASE64}\n",
            f"ledgerd-key/v1\nED25519 {SEED_BASE64}\n",
            f"ledgerd-key/v1\ned25519  {SEED_BASE64}\n",
            f"ledgerd-key/v1\ned25519 {SEED_BASE64.rstrip('=')}\n",
            f"ledgerd-key/v1\ned25519 {SEED_BASE64[:-2]}9=\n",
            f"ledgerd-key/v1\ned25519 {b64encode(bytes(31)).decode()}\n",
            f"ledgerd-key/v1\ned25519 {b64encode(bytes(64)).decode()}\n",
            f"# mine\nledgerd-key/v1\ned25519 {SEED_BASE64}\n",
            "ledgerd-key/v1\ned25519 \u0661\n",
        ],
    )
    def test_every_other_spelling_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedError):
            KeyFile.parse(text.encode())

    def test_a_refusal_does_not_quote_the_secret(self) -> None:
        with pytest.raises(MalformedError) as refused:
            KeyFile.parse(f"ledgerd-key/v1\ned25519 {SEED_BASE64}\n\n".encode())
        assert SEED_BASE64[:8] not in f"{refused.value.message} {refused.value.action}"


class TestReading:
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
    def test_a_secret_that_others_may_touch_is_refused(self, path: Path, mode: int) -> None:
        secret_file(path, KeyFile(SigningKey(SEED)).format(), mode)
        with pytest.raises(InputError) as refused:
            read_key_file(path)
        assert refused.value.reason == "KEY_EXPOSED"

    def test_a_link_to_an_exposed_secret_is_refused(self, tmp_path: Path, path: Path) -> None:
        path.symlink_to(secret_file(tmp_path / "exposed", b"", 0o644))
        with pytest.raises(InputError):
            read_secret(path)

    def test_a_secret_for_reading_only_is_read(self, path: Path) -> None:
        assert read_secret(secret_file(path, b"pem", 0o400)) == b"pem"

    def test_what_is_no_secret_may_be_seen_by_all(self, path: Path) -> None:
        assert read_file(secret_file(path, b"text", 0o644)) == b"text"

    @pytest.mark.parametrize("name", ["absent", ".", "nul\0name"])
    def test_what_cannot_be_read_is_an_input_error(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError):
            read_file(tmp_path / name)

    def test_a_file_without_end_is_refused(self) -> None:
        with pytest.raises(TooLargeError) as refused:
            read_file("/dev/zero")
        assert (refused.value.reason, refused.value.action) == (
            "FILE_TOO_LARGE", "name the right file",
        )  # fmt: skip


class TestPathsThatCannotBe:
    @pytest.mark.parametrize("name", ["a\0b", "half a \ud800 character", "n" * 300])
    def test_are_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match="cannot read") as caught:
            read_file(tmp_path / name)
        assert caught.value.action == "name a file that can be read"
        with pytest.raises(InputError, match="cannot write"):
            write_new(tmp_path / name, b"", mode=0o600)

    def test_a_pipe_to_which_nobody_writes_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert read_file(tmp_path / "pipe") == b""


class TestWritingTogether:
    def test_makes_all(self, tmp_path: Path) -> None:
        files = {tmp_path / "a": b"1", tmp_path / "b": b"2"}
        write_together(files, mode=0o644)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files

    def test_leaves_none_where_one_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "b").write_bytes(b"mine")
        with pytest.raises(InputError):
            write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"}, mode=0o644)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"mine"}


class TestWriting:
    def test_where_there_is_no_room_advises_to_make_some(self, path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            with pytest.raises(InputError) as caught:
                write_new(path, b"too much", mode=0o600)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert ("make room" in caught.value.action, path.exists()) == (True, False)

    def test_a_key_file_is_for_its_owner_only(self, path: Path) -> None:
        write_key_file(path, KeyFile(SigningKey(SEED)))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_file_that_is_there_stays_as_it_is(self, path: Path) -> None:
        path.write_bytes(b"the only copy")
        with pytest.raises(InputError):
            write_new(path, b"another", mode=0o600)
        assert path.read_bytes() == b"the only copy"

    def test_a_link_is_not_written_through(self, tmp_path: Path, path: Path) -> None:
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError):
            write_new(path, b"secret", mode=0o600)
        assert not (tmp_path / "elsewhere").exists()

    def test_a_missing_directory_is_an_input_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            write_new(tmp_path / "absent" / "file", b"", mode=0o644)

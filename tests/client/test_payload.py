from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    MalformedError,
    VerificationError,
)
from ledgerd_client.payload import PayloadDigest, check_part, digest_payload

# FIPS 180-4: the example of one block, and the empty message.
ABC = bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

# ledger.v1.Manifest by hand: parts = 1 { name = 1, size = 2, digest = 3 }, size 0 left out.
PART_A = b"\x0a\x27" + b"\x0a\x01a" + b"\x10\x03" + b"\x1a\x20" + ABC
PART_B = b"\x0a\x25" + b"\x0a\x01b" + b"\x1a\x20" + EMPTY


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    return path


def refusal(source: object) -> str:
    with pytest.raises(InputError) as refused:
        digest_payload(source)
    return refused.value.reason


class TestOneContent:
    def test_nothing_sent_has_no_digest(self) -> None:
        assert digest_payload(None) == PayloadDigest(digest=b"", manifest=None, size=0)

    @pytest.mark.parametrize("source", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
    def test_bytes_are_hashed(self, source: bytes | bytearray | memoryview) -> None:
        assert digest_payload(source) == PayloadDigest(digest=ABC, manifest=None, size=3)

    def test_content_may_be_empty(self) -> None:
        assert digest_payload(b"") == PayloadDigest(digest=EMPTY, manifest=None, size=0)

    def test_a_view_with_gaps_is_hashed_as_the_bytes_it_shows(self) -> None:
        assert digest_payload(memoryview(b"a-b-c-")[::2]) == PayloadDigest(ABC, None, 3)

    def test_a_view_is_measured_in_bytes(self) -> None:
        assert digest_payload(memoryview(b"12345678").cast("Q")).size == 8

    def test_a_path_is_hashed(self, abc: Path) -> None:
        assert digest_payload(abc) == PayloadDigest(ABC, None, 3)

    def test_a_str_is_a_path(self, abc: Path) -> None:
        assert digest_payload(str(abc)) == PayloadDigest(ABC, None, 3)

    @settings(max_examples=30, deadline=None)
    @given(st.binary(max_size=100), st.integers(0, 3))
    def test_every_source_of_a_content_has_its_digest(self, content: bytes, chunks: int) -> None:
        content += bytes(1024 * 1024) * chunks
        expected = PayloadDigest(sha256(content).digest(), None, len(content))
        assert digest_payload(io.BytesIO(content)) == digest_payload(content) == expected


class TestFileObjects:
    def test_it_is_read_from_its_start(self, abc: Path) -> None:
        with abc.open("rb") as file:
            file.seek(2)
            assert digest_payload(file).digest == ABC

    def test_it_is_left_where_it_was(self, abc: Path) -> None:
        with abc.open("rb") as file:
            file.seek(2)
            digest_payload(file)
            assert file.tell() == 2

    def test_it_is_left_open(self, abc: Path) -> None:
        with abc.open("rb") as file:
            digest_payload(file)
            assert not file.closed

    def test_one_that_returns_little_at_a_time_is_read_to_its_end(self) -> None:
        class Trickle(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(size, 1))

        assert digest_payload(Trickle(b"abc")) == PayloadDigest(ABC, None, 3)

    @pytest.mark.parametrize("content", [b"abc", b"\xff", b""])
    def test_text_mode_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "text"
        path.write_bytes(content)
        with path.open(encoding="utf-8") as file:
            assert refusal(file) == "TEXT_PAYLOAD"

    def test_a_closed_file_is_refused(self, abc: Path) -> None:
        with abc.open("rb") as file:
            pass
        assert refusal(file) == "PAYLOAD_UNREADABLE"


class TestCallables:
    def test_what_it_opens_is_hashed(self, abc: Path) -> None:
        assert digest_payload(lambda: abc.open("rb")) == PayloadDigest(ABC, None, 3)

    def test_what_it_opens_is_closed(self, abc: Path) -> None:
        opened = []
        digest_payload(lambda: opened.append(abc.open("rb")) or opened[0])
        assert opened[0].closed

    def test_what_it_opens_need_not_be_seekable(self) -> None:
        def reopen() -> io.BufferedReader:
            reader, writer = os.pipe()
            os.write(writer, b"abc")
            os.close(writer)
            return os.fdopen(reader, "rb")

        assert digest_payload(reopen) == PayloadDigest(ABC, None, 3)

    def test_what_it_opens_in_text_mode_is_closed_and_refused(self, abc: Path) -> None:
        opened = []
        reason = refusal(lambda: opened.append(abc.open(encoding="utf-8")) or opened[0])
        assert (reason, opened[0].closed) == ("TEXT_PAYLOAD", True)

    def test_one_that_cannot_open_is_refused(self, tmp_path: Path) -> None:
        assert refusal(lambda: (tmp_path / "absent").open("rb")) == "PAYLOAD_UNREADABLE"

    def test_a_generator_function_opens_no_file(self) -> None:
        def rows() -> Iterator[bytes]:
            yield b"abc"

        assert refusal(rows) == "ONE_SHOT_PAYLOAD"


class TestStreams:
    def test_a_pipe_is_refused(self) -> None:
        reader, writer = os.pipe()
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            assert refusal(file) == "ONE_SHOT_PAYLOAD"

    def test_a_path_to_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert refusal(tmp_path / "pipe") == "ONE_SHOT_PAYLOAD"

    def test_a_generator_is_refused(self) -> None:
        with closing(chunk for chunk in (b"abc",)) as chunks:
            assert refusal(chunks) == "ONE_SHOT_PAYLOAD"

    def test_an_asynchronous_generator_is_refused(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"abc"

        assert refusal(chunks()) == "ONE_SHOT_PAYLOAD"

    def test_a_file_that_is_read_asynchronously_is_refused(self) -> None:
        class Upload:
            async def read(self, size: int) -> bytes:
                return b"abc"

        assert refusal(Upload()) == "ONE_SHOT_PAYLOAD"

    def test_the_error_says_what_to_pass_instead(self) -> None:
        with pytest.raises(InputError) as refused:
            digest_payload(iter([b"abc"]))
        assert (
            refused.value.action == "pass a path, bytes, or a callable that opens the content anew"
        )

    @pytest.mark.parametrize("source", [7, [b"abc"], object()])
    def test_what_is_no_payload_at_all_is_refused(self, source: object) -> None:
        assert refusal(source) == "PAYLOAD_TYPE"


class TestPaths:
    def test_one_that_is_absent_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"absent: No such file or directory") as refused:
            digest_payload(tmp_path / "absent")
        assert refused.value.reason == "PAYLOAD_UNREADABLE"

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Is a directory"):
            digest_payload(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_one_that_may_not_be_read_is_refused(self, abc: Path) -> None:
        abc.chmod(0)
        with pytest.raises(InputError, match="Permission denied"):
            digest_payload(abc)

    def test_one_that_cannot_be_a_path_is_refused(self) -> None:
        assert refusal("a\0b") == "PAYLOAD_UNREADABLE"

    @pytest.mark.parametrize(
        "change",
        [
            "path.open('ab').write(b'd')",
            "path.write_bytes(b'abd')",
            "path.write_bytes(b'')",
            "path.with_name('new').write_bytes(b'abc'); path.with_name('new').replace(path)",
        ],
        ids=["longer", "other bytes", "shorter", "another file"],
    )
    def test_one_that_changes_while_it_is_read_is_refused(self, abc: Path, change: str) -> None:
        """The change happens as digest_payload opens the file: after its first look at it."""
        os.utime(abc, (1, 1))
        program = (
            "import sys\n"
            "from pathlib import Path\n"
            "from ledgerd_client.core.errors import InputError\n"
            "from ledgerd_client.payload import digest_payload\n"
            "path, done = Path(sys.argv[1]), []\n"
            "def change(event, arguments):\n"
            "    if event == 'open' and arguments[0] == str(path) and not done:\n"
            "        done.append(True)\n"
            f"        {change}\n"
            "sys.addaudithook(change)\n"
            "try:\n"
            "    digest_payload(path)\n"
            "except InputError as error:\n"
            "    print(error.reason, error.action)\n"
        )
        run = [sys.executable, "-c", program, abc]
        said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        assert said == "PAYLOAD_CHANGED let its writer finish, then try again\n"

    def test_a_large_one_is_never_held_whole(self, tmp_path: Path) -> None:
        size = 64 * 1024 * 1024
        with (tmp_path / "large").open("wb") as file:
            file.truncate(size)
        tracemalloc.start()
        assert digest_payload(tmp_path / "large").size == size
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * 1024 * 1024


class TestParts:
    def test_their_manifest_is_in_order_of_names(self) -> None:
        assert digest_payload({"b": b"", "a": b"abc"}).manifest == PART_A + PART_B

    def test_their_digest_is_that_of_the_manifest(self) -> None:
        digest = digest_payload({"a": b"abc", "b": b""}).digest
        assert digest == sha256(PART_A + PART_B).digest()

    def test_their_size_is_that_of_all_contents(self, abc: Path) -> None:
        assert digest_payload({"a": b"abc", "b": abc, "c": io.BytesIO(b"1234")}).size == 10

    def test_one_part_is_not_the_same_as_its_content(self) -> None:
        assert digest_payload({"a": b"abc"}).digest != digest_payload(b"abc").digest

    def test_names_are_ordered_by_their_utf_8_bytes(self) -> None:
        """As UTF-16, in which many languages keep text, the other would come first."""
        manifest = digest_payload({"\U0001f600": b"", "\uffee": b""}).manifest
        assert manifest.index("\uffee".encode()) < manifest.index("\U0001f600".encode())

    @settings(deadline=None)
    @given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
                           st.binary(max_size=9), min_size=1))  # fmt: skip
    def test_the_order_in_which_they_are_given_changes_nothing(
        self, parts: dict[str, bytes]
    ) -> None:
        backwards = dict(reversed(parts.items()))
        assert digest_payload(parts) == digest_payload(backwards)

    @pytest.mark.parametrize("parts", [{}, {"": b"abc"}, {"\ud800": b"abc"}, {1: b"abc"}])
    def test_names_that_cannot_stand_in_a_manifest_are_refused(
        self, parts: dict[str, bytes]
    ) -> None:
        assert refusal(parts) == "BAD_PARTS"

    @pytest.mark.parametrize("part", [None, {"inner": b"abc"}])
    def test_a_part_is_one_content(self, part: object) -> None:
        assert refusal({"a": part}) == "PAYLOAD_TYPE"


class TestCheckPart:
    def test_the_declared_content_passes(self, abc: Path) -> None:
        check_part(PART_A + PART_B, "a", abc)

    def test_an_empty_part_passes(self) -> None:
        check_part(PART_A + PART_B, "b", b"")

    @pytest.mark.parametrize("content", [b"abd", b"abcd", b""])
    def test_another_content_is_a_mismatch(self, content: bytes) -> None:
        with pytest.raises(VerificationError) as mismatch:
            check_part(PART_A + PART_B, "a", content)
        assert mismatch.value.reason == "PART_MISMATCH"

    def test_a_declared_size_that_is_not_the_contents_is_a_mismatch(self) -> None:
        with pytest.raises(VerificationError):
            check_part(PART_A.replace(b"\x10\x03", b"\x10\x04"), "a", b"abc")

    def test_a_name_that_is_not_in_the_manifest_is_a_slip_of_the_caller(self) -> None:
        with pytest.raises(InputError) as slip:
            check_part(PART_A, "c", b"abc")
        assert slip.value.reason == "OTHER_PARTS"

    @pytest.mark.parametrize(
        ("manifest", "error"),
        [
            (b"\x0a", MalformedError),
            (PART_A + b"\x7a\x00", MalformedError),
            (PART_B + PART_A, FieldError),
            (PART_A + PART_A, FieldError),
            (b"", FieldError),
        ],
        ids=["cut off", "unknown field", "out of order", "twice", "empty"],
    )
    def test_what_is_no_manifest_is_refused(self, manifest: bytes, error: type[InputError]) -> None:
        with pytest.raises(error):
            check_part(manifest, "a", b"abc")

"""Paths, names and files that were made to deceive: each is refused in words, or means nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from nodes import Side, make_sides

from ledgerd.config import Config
from ledgerd.store.lock import DirectoryLock
from ledgerd.synced import replace_file
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    StoreError,
)
from ledgerd_client.identity import OPERATOR, SpiffeId


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return make_sides(tmp_path)[0]


def with_line(side: Side, before: str, after: str) -> Path:
    side.toml.write_text(side.toml.read_text().replace(before, after))
    return side.toml


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        Config.load(path)
    return caught.value


class TestAConfiguration:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ('id = "mainland"', 'id = "mainland"\nid = "mainland"'),  # twice
            ("[limits]", "[limits]\n[limits]"),
            ("[limits]", "limits = 1\n[limits]"),
            ('id = "mainland"', 'id = ["mainland"]'),
            ('id = "mainland"', "id = 2026-05-01"),
            ('id = "mainland"', 'id = ".."'),
            ('id = "mainland"', 'id = "a/../b"'),
            ('id = "mainland"', 'id = "a\\nb"'),
            ('operators = ["ops"]', 'operators = [".."]'),
            ('operators = ["ops"]', 'operators = "ops"'),
            ('data = "data"', "data = true"),
            ('data = "data"', 'data = "a\\u0000b"'),
            ('data = "data"', "data = 1e999"),
            ("workers = 1", 'workers = "1"'),
            ("workers = 1", "workers = true"),
            ("workers = 1", "workers = 1.0"),
            ("workers = 1", "workers = 99999999999999999999"),
            ("poll_interval_s = 0.2", "poll_interval_s = nan"),
            ("poll_interval_s = 0.2", "poll_interval_s = inf"),
            ('law = ""', 'law = "../../etc/passwd"\nlaw2 = ""'),
            ('trust = "trust.txt"', "trust = {}"),
        ],
    )  # fmt: skip
    def test_is_refused_in_words(self, side: Side, before: str, after: str) -> None:
        assert "node.toml" in refusal(with_line(side, before, after)).message

    def test_that_is_nested_without_end_is_refused(self, side: Side) -> None:
        side.toml.write_text("x = " + "[" * 100_000)
        refused = refusal(side.toml)
        assert (refused.reason, refused.action) == ("BAD_CONFIG", f"correct {side.toml}")

    def test_that_is_huge_is_not_parsed(self, side: Side) -> None:
        side.toml.write_bytes(b"#" * (2 << 20))
        refused = refusal(side.toml)
        assert (refused.reason, refused.action) == ("FILE_TOO_LARGE", "name the right file")

    def test_that_is_a_pipe_to_which_nobody_writes_is_not_waited_for(self, side: Side) -> None:
        side.toml.unlink()
        os.mkfifo(side.toml)
        assert refusal(side.toml).reason == "MISSING_SETTING"

    @pytest.mark.parametrize("path", ["", "/dev/null/x", "/proc/self/mem", "n" * 300])
    def test_that_cannot_be_read_is_refused(self, tmp_path: Path, path: str) -> None:
        assert refusal(tmp_path / path)

    def test_may_begin_as_some_editors_begin_a_file(self, side: Side) -> None:
        side.toml.write_bytes(b"\xef\xbb\xbf" + side.toml.read_bytes())
        assert Config.load(side.toml).id == "mainland"


class TestTheDataDirectory:
    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
    def test_that_others_may_write_to_is_refused(self, tmp_path: Path, mode: int) -> None:
        tmp_path.chmod(mode)
        with pytest.raises(StoreError) as caught, DirectoryLock(tmp_path):
            pass
        tmp_path.chmod(0o700)
        assert caught.value.reason == "DATA_EXPOSED"

    @pytest.mark.parametrize("mode", [0o700, 0o755])
    def test_that_others_may_look_at_is_taken(self, tmp_path: Path, mode: int) -> None:
        tmp_path.chmod(mode)
        with DirectoryLock(tmp_path):
            assert (tmp_path / "serve.lock").exists()

    def test_may_be_reached_through_a_link_of_its_owners(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir(mode=0o700)
        (tmp_path / "data").symlink_to("disk")
        with DirectoryLock(tmp_path / "data"):
            assert (tmp_path / "disk" / "serve.lock").exists()


class TestAFileThatIsWrittenAnew:
    def test_takes_the_place_of_a_link_and_leaves_what_it_led_to(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").write_bytes(b"another's")
        (tmp_path / "high-water").symlink_to("elsewhere")
        replace_file(tmp_path / "high-water", b"ours")
        assert (tmp_path / "elsewhere").read_bytes() == b"another's"
        assert not (tmp_path / "high-water").is_symlink()

    def test_does_not_follow_a_link_that_waits_for_it(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").write_bytes(b"another's")
        (tmp_path / "high-water.new").symlink_to("elsewhere")
        with pytest.raises(StoreError):
            replace_file(tmp_path / "high-water", b"ours")
        assert (tmp_path / "elsewhere").read_bytes() == b"another's"

    def test_is_its_owners_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        replace_file(tmp_path / "high-water", b"ours")
        os.umask(before)
        assert stat.S_IMODE((tmp_path / "high-water").stat().st_mode) == 0o600


class TestAName:
    @pytest.mark.parametrize("name", [".", "..", "a/b", "../a", "a\0b", "", "a\n", "%2e%2e", "é"])
    def test_that_could_be_a_path_is_none(self, name: str) -> None:
        with pytest.raises(FieldError):
            SpiffeId("a.invalid", OPERATOR, name)

    @pytest.mark.parametrize(
        "uri", ["spiffe://a/operator/..", "spiffe://a/operator/a/b", "file:///etc/passwd"]
    )
    def test_is_no_path_in_a_uri_either(self, uri: str) -> None:
        with pytest.raises(LedgerError):
            SpiffeId.parse(uri)

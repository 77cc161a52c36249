"""
What the programs make is nobody else's to write, and what is secret nobody else's to read.

Whatever the umask was: here it keeps nothing from anybody.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from border import LEDGERCTL, LEDGERD, Border, Mirror, run

OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITE = stat.S_IWGRP | stat.S_IWOTH
# What is made to be shown to others: certificates, trust, requests, settings, receipts, tiles.
SHOWN = ("*.crt", "trust.txt", "*.json", "*.toml", "*.receipt")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which the programs have made all that they make."""
    home = tmp_path_factory.mktemp("files")
    before = os.umask(0)
    try:
        make_everything(home)
        yield home
    finally:
        os.umask(before)


def make_everything(home: Path) -> None:
    border = Border(home / "border")
    node = str(border.mainland.config)
    mirror = Mirror(border.client("cac"), home / "mirror")
    try:
        border.start()
        use(border, home)
        mirror.start()
        mirror.stop()
        run(LEDGERD, "backup", "--config", node, "--to", str(home / "backups"))
        run(LEDGERD, "publish", "--config", node, "--out", str(home / "published"), "--uncosigned")
        for key in ("log", "tls"):
            request = str(home / f"{key}.json")
            run(LEDGERD, "rotate", "--config", node, "--key", key, "--request", request)
        border.mainland.stop()
        run(LEDGERD, "compact", "--config", node)
        begin_anew(border, home)
        shutil.move(border.mainland.config.parent / "data" / "store", home / "lost")
        run(LEDGERD, "restore", "--config", node, "--from", str(home / "backups"))
        border.mainland.start()
        border.mainland.stop()
        shutil.move(border.mainland.config.parent / "data" / "store", home / "lost again")
        run(LEDGERD, "recover", "--config", node, "--from", str(home / "backups"), "--once")
    finally:
        mirror.close()
        border.close()


def use(border: Border, home: Path) -> None:
    """As an institution does."""
    payload, ticket = home / "border" / "payload.csv", home / "a.ticket"
    payload.write_bytes(b"a\n")
    payload.chmod(0o600)
    hospital = ("--config", str(border.client("sz-hospital")))
    terms = (
        *("--to", "hkbr.50000001", "--contract", "C-1", "--subjects", "1", "--purpose", "12"),
        *("--category", "5", "--legal-basis", "1", "--consent", "separate", "--transmission", "sftp"),
    )  # fmt: skip
    run(LEDGERCTL, "declare", str(payload), *terms, "--ticket", str(ticket), *hospital)
    asked = ("--role", "institution", "--id", "uscc.91440100MA0000003X", "--name", "A")
    origin = ("--origin", "mainland.dev.invalid/log", "--place", "440300", "--sector", "3")
    run(LEDGERCTL, "enrol", "request", *asked, *origin, "--dir", str(home / "applicant"))
    run(LEDGERCTL, "key", "seal", str(home / "applicant" / "signing.key"),
        "--out", str(home / "sealed.key"), "--passphrase-file", str(passphrase(home)))  # fmt: skip


def passphrase(home: Path) -> Path:
    path = home / "passphrase"
    path.touch(mode=0o600)
    path.write_text("a passphrase")
    return path


def begin_anew(border: Border, home: Path) -> None:
    """`ledgerd init`, as far as it gets by itself."""
    directory = home / "new"
    directory.mkdir(mode=0o700)
    text = border.mainland.config.read_text()
    (directory / "node.toml").touch(mode=0o644)
    (directory / "node.toml").write_text(text)
    shutil.copy(border.mainland.config.parent / "trust.txt", directory)
    request = str(directory / "genesis.json")
    run(LEDGERD, "init", "--config", str(directory / "node.toml"), "--request", request)


def modes(home: Path) -> dict[str, tuple[Path, int]]:
    """Every file and directory that is there, by its place; what the test itself keeps apart."""
    found = (path for path in home.rglob("*") if path.name not in {"node.log", "notify.sock"})
    return {str(path.relative_to(home)): (path, path.lstat().st_mode) for path in found}


class TestWhatIsMade:
    def test_is_all_there(self, made: Path) -> None:
        there = {path.split("/")[0] for path in modes(made)}
        assert there >= {"applicant", "backups", "border", "lost", "mirror", "new", "published"}

    def test_is_nobody_elses_to_write(self, made: Path) -> None:
        open_to = [place for place, (_, mode) in modes(made).items() if mode & WRITE]
        assert open_to == []

    def test_is_nobody_elses_to_read_unless_it_is_to_be_shown(self, made: Path) -> None:
        open_to = [
            place
            for place, (path, mode) in modes(made).items()
            if mode & OTHERS
            and not place.startswith("published")
            and not any(path.match(shown) for shown in SHOWN)
        ]
        assert open_to == []

    def test_is_no_link(self, made: Path) -> None:
        assert [place for place, (_, mode) in modes(made).items() if stat.S_ISLNK(mode)] == []

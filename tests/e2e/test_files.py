"""
What the programs make is nobody else's to write, and what is secret nobody else's to read.

Whatever the umask was: here it keeps nothing from anybody.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from border import LEDGERCTL, LEDGERD, PATIENCE, Border, Mirror, run
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from e2e.test_carried import unlink
from e2e.test_secrets import spellings
from institutions import Registry, until
from standbys import Standby

from ledgerd_client.keyfile import KeyFile, is_sealed

OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITE = stat.S_IWGRP | stat.S_IWOTH
# What is made to be shown to others: certificates, trust, requests, settings, receipts, tiles.
SHOWN = ("*.crt", "trust.txt", "*.json", "*.toml", "*.receipt", "*.approval")
# What a record says, and nothing that is shown may.
CONTRACT = "CONTRACT-of-the-record"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which the programs have made all that they make."""
    home = tmp_path_factory.mktemp("files")
    before = os.umask(0)
    try:
        make_everything(home)
        try_out(home / "dev")
        yield home
    finally:
        os.umask(before)


def make_everything(home: Path) -> None:
    border = Border(home / "border")
    node = str(border.mainland.config)
    mirror = Mirror(border.client("cac"), home / "mirror")
    standby = Standby.make(border, home / "standby", wait=False)
    try:
        border.start()
        use(border, home)
        standby.node.start()
        standby.node.stop()
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
        recover(border, home)
        border.hongkong.stop()
        carry(border, home)
    finally:
        standby.node.close()
        mirror.close()
        border.close()


def use(border: Border, home: Path) -> None:
    """As an institution does."""
    payload, ticket = home / "border" / "payload.csv", home / "a.ticket"
    payload.write_bytes(b"a\n")
    payload.chmod(0o600)
    hospital = ("--config", str(border.client("sz-hospital")))
    terms = (
        *("--to", "hkbr.50000001", "--contract", CONTRACT, "--subjects", "1", "--purpose", "12"),
        *("--category", "5", "--legal-basis", "1", "--consent", "separate", "--transmission", "sftp"),
    )  # fmt: skip
    run(LEDGERCTL, "declare", str(payload), *terms, "--ticket", str(ticket), *hospital)
    subject, place = "uscc.91440100MA0000003X", ("--place", "440300", "--sector", "3")
    Registry.of(border, "mainland").enrol(home / "applicant", "institution", subject, *place)
    run(LEDGERCTL, "key", "seal", str(home / "applicant" / "signing.key"),
        "--out", str(home / "sealed.key"), "--passphrase-file", str(passphrase(home)))  # fmt: skip


def recover(border: Border, home: Path) -> None:
    """All three steps; no institution has lost anything."""
    node, directory = str(border.mainland.config), border.directory / "mainland" / "authority"
    asked, signed = str(home / "loss-request.json"), str(home / "loss.json")
    run(LEDGERD, "recover", "--config", node, "--from", str(home / "backups"), "--once")
    run(LEDGERD, "recover", "--config", node, "--request", asked)
    loss = ("authority", "loss", asked, "--dir", str(directory), "--out", signed, "--yes")
    run(LEDGERCTL, *loss)
    run(LEDGERD, "recover", "--config", node, "--loss", signed)


def carry(border: Border, home: Path) -> None:
    """As nodes do that no link connects."""
    for node in (border.mainland, border.hongkong):
        unlink(node)
    carried, hongkong = str(home / "carried.json"), str(border.hongkong.config)
    run(LEDGERD, "peer", "export", carried, "--config", str(border.mainland.config))
    # The node does not run: the file lies there for it.
    run(LEDGERD, "peer", "import", carried, "--config", hongkong, "--wait", "1", code=1)
    run(LEDGERD, "peer", "export", str(home / "answer.json"), "--config", hongkong)


def try_out(directory: Path) -> None:
    """As whoever tries the programs out, until they have seen enough."""
    serving = subprocess.Popen(
        (LEDGERD, "dev", "--dir", str(directory)), stderr=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    settings = str(directory / "sz-hospital" / "client.toml")
    asked = (LEDGERCTL, "checkpoint", "--cosigned", "--config", settings)
    until(
        lambda: subprocess.run(asked, check=False, capture_output=True).returncode,
        lambda code: code == 0,
    )
    serving.send_signal(signal.SIGINT)
    serving.communicate(timeout=PATIENCE)


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


def keys(home: Path) -> set[bytes]:
    """The secret bytes of every key that was made; a sealed one is of a key that is there too."""
    found = set()
    for path in home.rglob("*.key"):
        data = path.read_bytes()
        if data.startswith(b"-----BEGIN"):
            private = load_pem_private_key(data, None).private_numbers()
            found.add(private.private_value.to_bytes(32, "big"))
        elif not is_sealed(data):
            found.add(KeyFile.parse(data).key.seed)
    return found


class TestWhatIsMade:
    def test_holds_the_keys_of_two_borders_and_more(self, made: Path) -> None:
        """Else there was nothing to search for."""
        assert len(keys(made)) > 50

    def test_is_all_there(self, made: Path) -> None:
        there = {path.split("/")[0] for path in modes(made)}
        assert there >= {
            "answer.json", "applicant", "backups", "border", "carried.json", "dev", "lost", "mirror", "new",
            "published", "standby",
        }  # fmt: skip

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

    def test_tells_others_no_key_and_nothing_of_a_record(self, made: Path) -> None:
        shown = {
            place: path.read_bytes()
            for place, (path, mode) in modes(made).items()
            if stat.S_ISREG(mode) and mode & OTHERS
        }
        secret = {CONTRACT.encode(), *(form for key in keys(made) for form in spellings(key))}
        told = [place for place, data in shown.items() if any(each in data for each in secret)]
        assert told == []

    def test_is_no_link(self, made: Path) -> None:
        assert [place for place, (_, mode) in modes(made).items() if stat.S_ISLNK(mode)] == []

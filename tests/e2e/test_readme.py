"""The README, run as it is written, against a border of two real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from border import BIN, Border

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with README.md and a border whose institutions have done what it says."""
    directory = tmp_path_factory.mktemp("readme")
    (directory / "README.md").write_text(README, encoding="utf-8")
    border = Border(directory / "border")
    border.start()
    (script,) = snippets("python")
    (directory / "example.py").write_text(script, encoding="utf-8")
    command(directory, sys.executable, "example.py")
    ack, show = commands("ledgerctl ack", "ledgerctl show")
    command(directory, *ack.split())
    (directory / "shown").write_text(command(directory, *show.split()).stdout, encoding="utf-8")
    assert border.mainland.stop() == 0
    assert border.hongkong.stop() == 0
    yield directory
    border.close()


def commands(*beginnings: str) -> list[str]:
    """The README's command lines that begin so, in its order."""
    lines = [line for snippet in snippets("sh") for line in snippet.splitlines()]
    found = [line for line in lines if line.startswith(beginnings)]
    assert len(found) == len(beginnings), f"the README has no {beginnings}"
    return found


def command(directory: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        words, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


VERIFY = commands("ledgerctl receipt verify")[0].split()


class TestReceipt:
    """Verified with both daemons stopped."""

    def test_verifies_with_the_cosignature_required(self, workplace: Path) -> None:
        command(workplace, *VERIFY)

    def test_verifies_without_requiring_it(self, workplace: Path) -> None:
        command(workplace, *(word for word in VERIFY if word != "--require-cosignature"))

    def test_a_changed_one_does_not_verify(self, workplace: Path) -> None:
        receipt = bytearray((workplace / "transfer.tlog-proof").read_bytes())
        place = receipt.index(b"extra ") + 60
        receipt[place] = ord("B") if receipt[place] == ord("A") else ord("A")
        (workplace / "forged").write_bytes(receipt)
        command(workplace, *(w.replace("transfer.tlog-proof", "forged") for w in VERIFY), code=1)

    def test_any_byte_changed_is_refused(self, workplace: Path) -> None:
        """Each byte in turn, by the verifier that `ledgerctl receipt verify` calls."""
        from ledgerd_client.core.errors import LedgerError
        from ledgerd_client.core.history import KeyHistory
        from ledgerd_client.core.receipt import Receipt, verify_receipt
        from ledgerd_client.core.trust import Trust

        trust = Trust.parse((workplace / "border" / "trust.txt").read_bytes())
        histories = {}
        for file in (workplace / "border" / "sz-hospital" / "keys").glob("*.keys"):
            origin = file.read_text().splitlines()[1]
            histories[origin] = KeyHistory.parse(file.read_bytes(), trust.authority(origin))
        own, peer = (histories[f"{side}.dev.invalid/log"] for side in ("mainland", "hongkong"))
        good = (workplace / "transfer.tlog-proof").read_bytes()
        verify_receipt(Receipt.parse(good), own, peer, require_cosignature=True)
        for place in range(len(good)):
            changed = bytearray(good)
            changed[place] ^= 1 + place % 255
            with pytest.raises(LedgerError):
                verify_receipt(Receipt.parse(bytes(changed)), own, peer)


def test_the_recipient_is_shown_its_acknowledgement(workplace: Path) -> None:
    """
    Matched, or still waiting for the next anchor; nobody is accused.
    """
    shown = (workplace / "shown").read_text(encoding="utf-8")
    assert re.search(r"state\s+(matched|open)", shown), shown
    assert "hkbr.50000001" in shown

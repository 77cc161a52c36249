"""A backup beside a node that serves, and the way back from it, by the operator's commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from border import LEDGERD, Border, audit, run
from institutions import STATEMENT, client, until

from ledgerd_client import Receipt
from ledgerd_client.core.errors import NotReadyError

HOSPITAL = "sz-hospital"
PAYLOAD = b"name;score\nA;700\n"


@dataclass(frozen=True)
class Restored:
    """
    said: by `ledgerd backup`, and beside it, told; refused: by the same on an older store; before: a
    receipt from before; size: when the disk died.
    """

    border: Border
    said: str
    told: str
    refused: str
    before: Receipt
    size: int


def declare(border: Border) -> Receipt:
    with client(border, HOSPITAL) as hospital:
        return hospital.wait_cosigned(hospital.declare(payload=PAYLOAD, **STATEMENT).record_id)


def declare_if_open(border: Border) -> Receipt | None:
    """None while the node is not confirmed."""
    try:
        return declare(border)
    except NotReadyError:
        return None


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    """Both nodes run, the one on what was backed up while it served, to which nothing came since."""
    scratch = tmp_path_factory.mktemp("backup")
    border = Border(scratch / "border")
    try:
        border.start()
        config, backups = border.mainland.config, str(scratch / "backups")
        backup = (LEDGERD, "backup", "--config", str(config), "--to", backups)
        declare(border)
        told = run(*backup).stderr
        assert border.mainland.stop() == 0
        older = shutil.copytree(config.parent / "data" / "store", scratch / "older")
        border.mainland.start()
        before = declare(border)
        # Until an anchor of what was cosigned last makes no more of it.
        said = until(lambda: run(*backup).stdout, lambda said: " 0 of them new" in said)
        assert border.mainland.stop() == 0
        size = int(said.split(": ")[1].split()[0])
        store = config.parent / "data" / "store"
        shutil.rmtree(store)
        shutil.copytree(older, store)
        refused = subprocess.run((*backup, "--keep", "1"), capture_output=True, check=False)
        shutil.rmtree(store)
        run(LEDGERD, "restore", "--config", str(config), "--from", backups)
        border.mainland.start()
        yield Restored(border, said, told, refused.stderr.decode(), before, size)
    finally:
        border.close()


class TestABackup:
    def test_can_be_checked_by_tools_of_others(self, restored: Restored) -> None:
        made = Path(restored.said.split(": ")[0])
        done = subprocess.run(
            ("sha256sum", "--check", "--quiet", "SHA256SUMS"), cwd=made, check=False
        )
        assert done.returncode == 0

    def test_on_the_ledgers_own_file_system_is_made_and_named_as_such(
        self, restored: Restored
    ) -> None:
        assert "keep a copy of it elsewhere" in restored.told

    def test_of_a_store_that_was_rolled_back_is_none(self, restored: Restored) -> None:
        """Its backups would take the place of those that it is to be restored from."""
        assert "(ROLLED_BACK)" in restored.refused

    def test_has_a_result_for_the_node_to_tell(self, restored: Restored) -> None:
        result = restored.border.mainland.config.parent / "data" / "backup-result.json"
        assert f'"entries": {restored.size}' in result.read_text()


class TestTheList:
    def test_has_a_line_for_each(self, restored: Restored) -> None:
        """On a machine that has the backups and nothing else of the node's."""
        made = Path(restored.said.split(": ")[0])
        names = sorted(path.name for path in made.parent.iterdir() if path.is_dir())
        said = run(LEDGERD, "backup", "--to", str(made.parent), "--list", "--verify").stdout
        rows = [line.split() for line in said.splitlines() if line.startswith("2")]
        assert [(row[0], row[-1]) for row in rows] == [(name, "verified") for name in names]

    def test_ends_with_1_where_one_is_not_whole(self, restored: Restored, tmp_path: Path) -> None:
        copy = shutil.copytree(Path(restored.said.split(": ")[0]), tmp_path / "copy")
        (copy / "SHA256SUMS").write_text("")
        done = subprocess.run(
            (LEDGERD, "backup", "--to", copy, "--list", "--verify", "--json"),
            capture_output=True,
            check=False,
        )
        (row,) = map(json.loads, done.stdout.splitlines())
        assert (done.returncode, row["whole"], row["entries"]) == (1, False, restored.size)

    def test_of_a_wrong_directory_is_one_line(self, tmp_path: Path) -> None:
        done = subprocess.run(
            (LEDGERD, "backup", "--to", tmp_path, "--list"),
            capture_output=True,
            check=False,
            text=True,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"there is no backup in {tmp_path}: it is empty (NO_BACKUP)" in done.stderr


class TestTheNodeOnIt:
    def test_has_what_it_had(self, restored: Restored) -> None:
        with client(restored.border, HOSPITAL) as hospital:
            assert hospital.receipt(restored.before.index).header == restored.before.header

    def test_goes_on_once_its_peer_has_confirmed_it(self, restored: Restored) -> None:
        receipt = until(lambda: declare_if_open(restored.border), bool)
        assert receipt is not None
        assert receipt.index > restored.before.index

    def test_passes_the_audit(self, restored: Restored) -> None:
        node = restored.border.mainland
        assert node.stop() == 0
        audit(node.config)
        node.start()

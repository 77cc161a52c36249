"""The node's machine is gone, its peer has lost what it cosigned, and the standby goes on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from border import LEDGERD, Border, audit
from institutions import STATEMENT, client, until
from operators import rotate
from standbys import Standby

from ledgerd_client import Receipt
from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.core.note import parse_note

PAYLOAD = b"name;score\nA;700\n"


@dataclass(frozen=True)
class Scene:
    """refused: what `promote` said without --waited; before and after: receipts of two records."""

    standby: Standby
    refused: str
    before: Receipt
    after: Receipt


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scratch = tmp_path_factory.mktemp("forgotten")
    border = Border(scratch / "border")
    standby = Standby.make(border, scratch / "standby", wait=True)
    try:
        standby.node.launch()
        border.start()
        standby.node.wait_for("READY=1")
        before = declare(border)
        border.mainland.kill()
        border.hongkong.stop()
        shutil.rmtree(border.hongkong.config.parent / "data" / "peer")
        border.hongkong.start()
        standby.node.stop()
        refused = ask(standby)
        standby.promote("--waited")
        rotate(border, "cosigner", side="hongkong")
        after = until(lambda: once_confirmed(border), lambda receipt: receipt is not None)
        assert after is not None
        yield Scene(standby, refused, before, after)
    finally:
        standby.node.close()
        border.close()


def declare(border: Border) -> Receipt:
    with client(border, "sz-hospital") as hospital:
        declared = hospital.declare(payload=PAYLOAD, **STATEMENT)
        return hospital.wait_cosigned(declared.record_id)


def once_confirmed(border: Border) -> Receipt | None:
    """As declare; None while the node waits for the peer, which replays the log from it."""
    with suppress(NotReadyError):
        return declare(border)
    return None


def ask(standby: Standby) -> str:
    config = standby.node.config
    command = (LEDGERD, "promote", "--config", str(config), "--request", f"{config}.loss")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


class TestAStandbyWhosePeerForgot:
    def test_is_told_what_it_hangs_on(self, scene: Scene) -> None:
        assert "PEER_FORGOT" in scene.refused
        assert "--waited" in scene.refused

    def test_goes_on_cosigned_by_the_peers_new_key(self, scene: Scene) -> None:
        lines = [
            {(line.name, line.key_id) for line in parse_note(receipt.checkpoint).signatures}
            for receipt in (scene.before, scene.after)
        ]
        assert (len(lines[1]), lines[0] & lines[1]) == (2, set())

    def test_passes_the_audit(self, scene: Scene) -> None:
        assert scene.standby.node.stop() == 0
        audit(scene.standby.node.config)

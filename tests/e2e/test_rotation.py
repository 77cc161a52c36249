"""All keys of a node rotated under load, on a live border: nobody waits, and the peer goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from border import LEDGERCTL, Border, audit, run
from institutions import STATEMENT, client, second_client, until
from operators import rotate

from ledgerd_client import Receipt
from ledgerd_client.core.note import parse_note

NAMES = ["log", "entry", "cosigner"]
PAYLOAD = b"name;score\nA;700\n"


@dataclass
class Load:
    """An institution that declares one transfer after the other; whether each was recorded."""

    border: Border
    recorded: list[bool] = field(default_factory=list)
    ended: Event = field(default_factory=Event)

    def run(self) -> None:
        with client(self.border, "sz-hospital") as hospital:
            while not self.ended.is_set():
                declared = hospital.declare(payload=PAYLOAD, **STATEMENT)
                self.recorded.append(declared.receipt is not None)


@dataclass(frozen=True)
class Rotated:
    """What came of it: whether each record was taken, and a receipt from before and from after."""

    border: Border
    recorded: list[bool]
    before: Receipt
    after: Receipt


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    border = Border(tmp_path_factory.mktemp("rotation") / "border")
    try:
        border.start()
        with client(border, "sz-hospital") as hospital:
            first = hospital.declare(payload=PAYLOAD, **STATEMENT)
            before = hospital.wait_cosigned(first.record_id)
        load = Load(border)
        thread = Thread(target=load.run)
        thread.start()
        for name in NAMES:
            rotate(border, name)
        load.ended.set()
        thread.join()
        with client(border, "sz-hospital") as hospital:
            last = hospital.declare(payload=PAYLOAD, **STATEMENT)
            after = hospital.wait_cosigned(last.record_id)
        yield Rotated(border, load.recorded, before, after)
    finally:
        border.close()


class TestARotationUnderLoad:
    def test_refuses_nobody(self, rotated: Rotated) -> None:
        assert len(rotated.recorded) > len(NAMES)
        assert all(rotated.recorded)

    def test_leaves_the_peer_cosigning(self, rotated: Rotated) -> None:
        # By the mainland's new log key, and the peer's.
        assert len(parse_note(rotated.after.checkpoint).signatures) == 2

    def test_leaves_receipts_from_before_good(self, rotated: Rotated, tmp_path: Path) -> None:
        verify(rotated, rotated.before, tmp_path)

    def test_leaves_receipts_from_after_good(self, rotated: Rotated, tmp_path: Path) -> None:
        verify(rotated, rotated.after, tmp_path)

    def test_leaves_no_key_behind_that_was_replaced(self, rotated: Rotated) -> None:
        home = rotated.border.mainland.config.parent
        left = until(lambda: [*home.rglob("*.key.retired")], lambda files: not files)
        assert left == []

    def test_is_followed_by_who_knew_the_old_keys_only(self, rotated: Rotated) -> None:
        """The other side's institutions, whose node has cosigned all along."""
        with client(rotated.border, "hk-clinic") as clinic:
            assert until(lambda: clinic.info().size, lambda size: size > 2)

    def test_is_followed_by_who_comes_anew(self, rotated: Rotated, tmp_path: Path) -> None:
        with second_client(rotated.border, "sz-hospital", tmp_path / "anew") as hospital:
            assert hospital.declare(payload=PAYLOAD, **STATEMENT).receipt is not None


def verify(rotated: Rotated, receipt: Receipt, home: Path) -> None:
    file = home / "a.tlog-proof"
    file.write_bytes(receipt.format())
    settings = rotated.border.client("sz-hospital").parent
    known = ("--trust", str(settings / "trust.txt"), "--keys", str(settings / "keys"))
    run(LEDGERCTL, "receipt", "verify", str(file), *known, "--require-cosignature")


class TestAfterwards:
    def test_both_nodes_pass_an_audit(self, rotated: Rotated) -> None:
        rotated.border.mainland.stop()
        rotated.border.hongkong.stop()
        audit(rotated.border.mainland.config)
        audit(rotated.border.hongkong.config)

    def test_the_node_starts_again(self, rotated: Rotated) -> None:
        rotated.border.start()
        with client(rotated.border, "sz-hospital") as hospital:
            assert hospital.declare(payload=PAYLOAD, **STATEMENT).receipt is not None

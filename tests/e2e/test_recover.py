"""A disk is lost, on a live border: by the commands of operator, authority and institution."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from border import LEDGERCTL, LEDGERD, PATIENCE, Border, audit, run
from institutions import STATEMENT, client

from ledgerd_client import Receipt

PAYLOAD = b"name;score\nA;700\n"
HOSPITAL = "sz-hospital"


@dataclass(frozen=True)
class Recovered:
    """
    What came of it.

    before: a receipt that the peer had cosigned; tail: of the record that it had never seen, as it
    was and as it is.
    """

    border: Border
    before: Receipt
    tail: tuple[Receipt, Receipt]
    said: str


def recover(border: Border) -> str:
    """All three steps; returns what the first one said."""
    config, scratch = str(border.mainland.config), border.directory
    first = subprocess.Popen(
        (LEDGERD, "recover", "--config", config), stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    said = first.stderr.readline()
    while "Waiting" not in said:
        said += first.stderr.readline()
    run(LEDGERCTL, "outbox", "return", "--config", str(border.client(HOSPITAL)))
    first.communicate(timeout=PATIENCE)
    request, approval = (str(scratch / name) for name in ("loss.json", "loss.approval"))
    run(LEDGERD, "recover", "--config", config, "--request", request)
    authority = str(scratch / "mainland" / "authority")
    run(LEDGERCTL, "authority", "loss", request, "--dir", authority, "--out", approval, "--yes")
    run(LEDGERD, "recover", "--config", config, "--loss", approval)
    return said


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recovered]:
    border = Border(tmp_path_factory.mktemp("recover") / "border")
    try:
        border.start()
        with client(border, HOSPITAL) as hospital:
            before = hospital.wait_cosigned(
                hospital.declare(payload=PAYLOAD, **STATEMENT).record_id
            )
            assert border.hongkong.stop() == 0
            tail = hospital.declare(payload=PAYLOAD, **STATEMENT)
            assert tail.receipt is not None
            border.mainland.kill()
            data = border.mainland.config.parent / "data"
            shutil.rmtree(data)
            border.hongkong.start()
            said = recover(border)
            audit(border.mainland.config)
            border.mainland.start()
            again = hospital.wait_cosigned(tail.record_id)
        yield Recovered(border, before, (tail.receipt, again), said)
    finally:
        border.close()


class TestALostDisk:
    def test_what_is_missing_is_said_by_author(self, recovered: Recovered) -> None:
        assert "Missing: 1 of the node, 1 of uscc." in recovered.said

    def test_the_outbox_sends_again_what_was_lost(self, recovered: Recovered) -> None:
        lost, again = recovered.tail
        assert lost.header != again.header

    def test_another_process_of_the_institution_goes_on(self, recovered: Recovered) -> None:
        """It has the checkpoint of the lost end in its files."""
        with client(recovered.border, HOSPITAL) as hospital:
            declared = hospital.declare(payload=PAYLOAD, **STATEMENT)
            assert hospital.wait_cosigned(declared.record_id).index

    def test_what_was_cosigned_stands_where_it_stood(self, recovered: Recovered) -> None:
        with client(recovered.border, HOSPITAL) as hospital:
            receipt = hospital.receipt(recovered.before.index)
        assert receipt.header == recovered.before.header

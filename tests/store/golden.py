"""
A golden store of each format that was released: tests/store/golden/FORMAT.tar.xz.

`PYTHONPATH=tests python -m store.golden` makes the one of the present format: a node of a border as
it lies on the disk, without any key. Until a version with that format is released it may be made
anew, and never after: what an operator has is not made anew either.
"""

from __future__ import annotations

import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from border import Border

from ledgerd.store.format import WRITTEN
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client import Declared
from ledgerd_client.sync import LedgerClient

GOLDEN = Path(__file__).with_name("golden")
PAYLOAD = b"what is sent"
# All that lies there but keys and locks.
KEPT = ("node.toml", "trust.txt", "data/high-water", "data/store/data.mdb", "data/peer/data.mdb")


def make(into: Path) -> None:
    """Play a transfer on a new border, and keep the exporter's node."""
    with tempfile.TemporaryDirectory(prefix="ledgerd-golden-") as directory:
        border = Border(Path(directory) / "border", law="newest")
        with closing(border):
            border.start()
            play(border)
            border.mainland.stop()
            border.hongkong.stop()
        node = border.mainland.config.parent
        for store in ("store", "peer"):
            LmdbStore.compact(node / "data" / store)
        with tarfile.open(into, "x:xz", preset=9) as archive:
            for name in KEPT:
                archive.add(node / name, name)


def play(border: Border) -> None:
    """One transfer that is accepted, one that is refused, and one that nobody answers."""
    with (
        LedgerClient.from_file(border.client("sz-hospital")) as hospital,
        LedgerClient.from_file(border.client("hk-clinic")) as clinic,
    ):
        accepted, refused, _ = [declared(hospital) for _ in range(3)]
        clinic.acknowledge(accepted.ticket, PAYLOAD)
        clinic.acknowledge(refused.ticket, PAYLOAD, outcome="rejected", reason="not ours")
        for sent, state in ((accepted, "matched"), (refused, "refused")):
            while hospital.transfer(sent.ref).state != state:
                pass
        hospital.wait_cosigned(declared(hospital))


def declared(hospital: LedgerClient) -> Declared:
    return hospital.declare(
        PAYLOAD,
        recipient="hkbr.50000001",
        contract_id="GBA-SC-2026-0117",
        subjects=1,
        purposes=["DiagnosisManagement"],
        categories=["health and physiology"],
        legal_basis="CN13_1 consent",
    )


if __name__ == "__main__":
    make(GOLDEN / f"{WRITTEN}.tar.xz")

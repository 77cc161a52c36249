"""
`make bench`: the append rows of the performance goals, against floors taken in the same run.

Two nodes of the same side, each with its peer away: one that judges no contents (rows append_*),
and one that judges every transfer by the newest law (rules_append_*), loaded by turns; rules_cost_*
is what that leaves of the rate. The load comes from another process and is of transfers that no
rule objects to. Figures of one machine in one run compare with each other only: it is the ratios
that mean something.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import grpc
from bench import anchors, floors, reading, replay
from bench.load import CONTRACT, RECIPIENT, requests
from bench.report import Row, show
from border import Border
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from ledgerd_client.config import Settings
from ledgerd_client.contracts import Contract, Filing
from ledgerd_client.core.transfer import Side
from ledgerd_client.core.trust import Trust
from ledgerd_client.events import Pipia
from ledgerd_client.sync import LedgerClient

HERE = Path(__file__).resolve().parent
EXPORTER = "sz-hospital"
# About what the node answers to a single append: header, proof and checkpoint.
REPLY_BYTES = 900


# Of one round, by measure: what load.py is told, and which of its results counts.
LOADS = {
    "append_batch": (("batch", "500", "8", "40000"), "500 records a call, 8 calls in flight"),
    "append_batch_100": (("batch", "100", "8", "20000"), "100 records a call, 8 calls in flight"),
    "append_single": (("single", "64", "6000"), "one record a call, 64 calls in flight"),
}
PACED_SECONDS = "8"
ROUNDS = 2


def main() -> None:
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-bench-"))
    try:
        borders = {"": Border(scratch / "off"), "rules_": Border(scratch / "on", law="newest")}
        try:
            rows = measure(borders, scratch)
        finally:
            for border in borders.values():
                border.close()
    finally:
        shutil.rmtree(scratch)
    show(rows)
    anchors.main()
    reading.main()


def measure(borders: dict[str, Border], scratch: Path) -> dict[str, Row]:
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting")
        for border in borders.values():
            border.mainland.start()
            agree(border)
        taken: dict[str, list[float]] = {}
        machine: list[Floors] = []
        # By turns, so that what the machine does meanwhile meets floors and both nodes alike.
        for turn, (prefix, border) in enumerate([*borders.items()] * ROUNDS):
            progress.update(task, description="floors")
            machine.append(Floors.take(border, scratch / f"floor-{turn}"))
            for name, (arguments, what) in LOADS.items():
                progress.update(task, description=f"{prefix}{name}: {what}")
                taken.setdefault(prefix + name, []).append(load(border, *arguments)["rate"])
            progress.update(task, description=f"{prefix}append_p99: at half of that rate")
            pace = str(taken[f"{prefix}append_single"][-1] / 2)
            p99 = load(border, "paced", pace, PACED_SECONDS)["p99"]
            taken.setdefault(f"{prefix}append_p99", []).append(p99)
        value = {name: statistics.median(each) for name, each in taken.items()}
        floor = Floors(*map(statistics.median, zip(*machine, strict=True)))
        progress.update(task, description="replay of what was appended, by the other side's node")
        rows = rows_of(value, floor) | replay.measure(borders[""], EXPORTER, floor.verify)
        for border in borders.values():
            with LedgerClient.from_file(border.client(EXPORTER)) as ledger:
                found = list(ledger.findings(open_only=False))
            assert not found, f"the load is not clean: {found[0]}"
            assert border.mainland.stop() == 0, border.mainland.tail()
    return rows


class Floors(NamedTuple):
    """What the machine can do at all: verifications/s, commit in s, echo calls/s and one in s."""

    verify: float
    commit: float
    echo: float
    round_trip: float

    @classmethod
    def take(cls, border: Border, scratch: Path) -> Floors:
        settings = Settings.from_file(border.client(EXPORTER))
        scratch.mkdir()
        verify, commit = floors.ed25519_rate(), floors.lmdb_commit(scratch)
        tls = tls_files(border)
        bare = floors.echo(lambda: credentials(settings), tls, one(settings), REPLY_BYTES)
        return cls(verify, commit, *asyncio.run(bare))


def rows_of(value: dict[str, float], machine: Floors) -> dict[str, Row]:
    per_verify, per_echo = "records/s over Ed25519 verify/s", "calls/s over bare gRPC+mTLS echo"
    wait = machine.commit + machine.round_trip
    rows: dict[str, Row] = {}
    for prefix in ("", "rules_"):
        batch, smaller = value[f"{prefix}append_batch"], value[f"{prefix}append_batch_100"]
        single, p99 = value[f"{prefix}append_single"], value[f"{prefix}append_p99"]
        rows |= {
            f"{prefix}append_batch": over(batch, machine.verify, per_verify, 0.75),
            f"{prefix}append_batch_100": over(smaller, machine.verify, per_verify, 0.6),
            f"{prefix}append_single": over(single, machine.echo, per_echo, 0.6),
            f"{prefix}append_p99": replace(
                over(p99, wait, "s over one LMDB commit and one echo", 10), at_least=False
            ),
        }
    for name in LOADS:
        on, off = value[f"rules_{name}"], value[name]
        cost = name.replace("append", "rules_cost")
        rows[cost] = over(on, off, "records/s with rules over without", 0.9)
    return rows


def over(value: float, floor: float, unit: str, goal: float) -> Row:
    return Row(value / floor, value, floor, unit, goal)


def agree(border: Border) -> None:
    """State, file and assess the contract of the load, so that no rule objects to a transfer of it."""
    today = datetime.now(UTC).date()
    with LedgerClient.from_file(border.client(EXPORTER)) as ledger:
        settings = Settings.from_file(border.client(EXPORTER))
        assert settings.institution is not None
        contract = Contract(
            exporter=Side(settings.origin, settings.institution),
            recipient=Side(settings.peer_origin or "hongkong.dev.invalid/log", RECIPIENT),
            contract_id=CONTRACT, document=bytes(32), mechanism="GBA_SC_HK", direction="CN_HK",
            exporter_place="Shenzhen", recipient_place="Hong Kong", exporter_sector="HOSPITAL",
            recipient_sector="HOSPITAL", signed_on=today - timedelta(days=9),
            effective_on=today - timedelta(days=7), purposes=[1, 5, 6], categories=[1, 2, 7],
            sensitive_categories=[5], subject_types=["patient"], planned_scale=1_000_000,
            retention_days=3_650, storage_places=["Hong Kong"], transmissions=["api"],
        )  # fmt: skip
        ledger.record(contract)
        ledger.record(Filing(contract=contract, authority="CAC_GD", filed_on=today))
        ledger.record(
            Pipia(
                contract_id=CONTRACT, report=bytes(32), completed_on=today - timedelta(days=8),
                conclusion="go", keep_until=today + timedelta(days=1_200),
            )
        )  # fmt: skip


def load(border: Border, *arguments: str) -> dict[str, float]:
    command = [sys.executable, str(HERE / "load.py"), str(border.client(EXPORTER)), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def one(settings: Settings) -> bytes:
    return requests(settings, 1, 1)[0]


def credentials(settings: Settings) -> grpc.ChannelCredentials:
    trust = Trust.parse(settings.trust.read_bytes())[settings.origin]
    authorities = "".join(map(ssl.DER_cert_to_PEM_cert, trust.certificates))
    pair = settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes()
    return grpc.ssl_channel_credentials(authorities.encode(), *pair)


def tls_files(border: Border) -> Path:
    """The node's own certificate and key, for the echo server to use."""
    node = border.mainland.config.parent
    (node / "node.key").write_bytes((node / "tls.key").read_bytes())
    (node / "node.crt").write_bytes((node / "tls.crt").read_bytes())
    authority = border.directory / "mainland" / "authority" / "tls-ca.crt"
    (node / "ca.crt").write_bytes(authority.read_bytes())
    return node


if __name__ == "__main__":
    main()

"""
`make bench`: the append rows of the performance goals, against floors taken in the same run.

One node, its peer away; the load comes from another process. Figures of one machine in one run
compare with each other only: it is the ratios that mean something.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from bench import floors
from bench.load import requests
from border import Border
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from ledgerd_client.config import Settings
from ledgerd_client.core.trust import Trust

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
# About what the node answers to a single append: header, proof and checkpoint.
REPLY_BYTES = 900


@dataclass(frozen=True, slots=True)
class Row:
    """One goal: value and floor in unit; at_least tells on which side of goal it should be."""

    ratio: float
    value: float
    floor: float
    unit: str
    goal: float
    at_least: bool = True

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


def main() -> None:
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-bench-"))
    console = Console()
    try:
        border = Border(scratch / "border")
        try:
            rows = measure(border, scratch)
        finally:
            border.close()
    finally:
        shutil.rmtree(scratch)
    table = Table("", "ratio", "goal", "value", "floor", "unit")
    for name, row in rows.items():
        bound = f"{'≥' if row.at_least else '≤'} {row.goal}"
        figures = f"{row.value:,.4g}", f"{row.floor:,.4g}"
        mark = "" if row.reached else " (not reached)"
        table.add_row(name, f"{row.ratio:.2f}", bound + mark, *figures, row.unit)
    console.print(table)
    BUILD.mkdir(exist_ok=True)
    report = {name: asdict(row) for name, row in rows.items()}
    (BUILD / "bench.json").write_text(json.dumps(report, indent=2) + "\n")


def measure(border: Border, scratch: Path) -> dict[str, Row]:
    settings = Settings.from_file(border.client("sz-hospital"))
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("floors")
        verify = floors.ed25519_rate()
        (scratch / "floor").mkdir()
        commit = floors.lmdb_commit(scratch / "floor")
        echo_rate, round_trip = asyncio.run(
            floors.echo(
                lambda: credentials(settings), tls_files(border), one(settings), REPLY_BYTES
            )
        )
        border.mainland.start()
        progress.update(task, description="500 records a call, 8 calls in flight")
        batch = load(border, "batch", "500", "8", "40000")["rate"]
        progress.update(task, description="100 records a call, 8 calls in flight")
        smaller = load(border, "batch", "100", "8", "20000")["rate"]
        progress.update(task, description="one record a call, 64 calls in flight")
        single = load(border, "single", "64", "6000")["rate"]
        progress.update(task, description="one record a call at half that rate")
        p99 = load(border, "paced", str(single / 2), "8")["p99"]
        assert border.mainland.stop() == 0, border.mainland.tail()
    return {
        "append_batch": Row(batch / verify, batch, verify, "records/s over Ed25519 verify/s", 0.75),
        "append_batch_100": Row(
            smaller / verify, smaller, verify, "records/s over Ed25519 verify/s", 0.6
        ),
        "append_single": Row(
            single / echo_rate, single, echo_rate, "calls/s over bare gRPC+mTLS echo", 0.6
        ),
        "append_p99": Row(
            p99 / (commit + round_trip),
            p99,
            commit + round_trip,
            "s over one LMDB commit and one echo",
            10,
            at_least=False,
        ),
    }


def load(border: Border, *arguments: str) -> dict[str, float]:
    command = [sys.executable, str(HERE / "load.py"), str(border.client("sz-hospital")), *arguments]
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

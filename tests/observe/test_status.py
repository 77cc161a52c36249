"""The line that `systemctl status` shows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from nodes import found_one, serve
from structlog.testing import capture_logs

from ledgerd.observe.status import describe
from ledgerd.observe.vitals import CertificateEnd, Vitals

WELL: dict[str, Any] = {
    **{field.name: 0 for field in fields(Vitals)}, "why_not": "", "certificates": (),
}  # fmt: skip
LATE = {"size": 12, "cosigned_size": 10, "cosign_lag_s": 59.9}
LATER = {"size": 12, "cosigned_size": 0, "cosign_lag_s": 3700.0}


@pytest.mark.parametrize(
    ("vitals", "not_taken", "line"),
    [
        (
            {"size": 12, "cosigned_size": 12},
            (),
            "takes appends; 12 entries, all cosigned; open findings: 3",
        ),
        (
            LATE,
            (),
            "takes appends; 12 entries, 2 of them not cosigned for less than a minute; open findings: 3",
        ),
        (
            {**LATER, "why_not": "it was rolled back"},
            (),
            "it was rolled back; 12 entries, 12 of them not cosigned for 61 min; open findings: 3",
        ),
        (
            {
                "at": 7,
                "certificates": (
                    CertificateEnd("node", "ab", 6),
                    CertificateEnd("authority", "cd", 8),
                ),
            },
            (),
            (
                "takes appends; the certificate node has ended; 0 entries, all cosigned;"
                " open findings: 3"
            ),
        ),
        (
            {"disk_free": 9, "disk_reserve": 10},
            (),
            "takes no appends: DISK_FULL; 0 entries, all cosigned; open findings: 3",
        ),
        (
            {},
            ["listen: needs a restart", "rules: no\nsuch law"],
            (
                "takes appends; 0 entries, all cosigned; open findings: 3;"
                " not reloaded: listen: needs a restart; not reloaded: rules: no such law"
            ),
        ),
    ],
)
def test_it_says_in_one_line_how_a_node_stands(
    vitals: dict[str, Any], not_taken: Sequence[str], line: str
) -> None:
    assert describe("log", Vitals(**{**WELL, **vitals}), 3, not_taken) == f"log: {line}"


async def test_it_is_told_again_as_the_log_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    side, peer = found_one(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(60)
        listener.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        async with serve(side, peer) as node:
            await node.institution()
            while "; 3 entries, " not in (await asyncio.to_thread(listener.recv, 4096)).decode():
                pass


@pytest.mark.parametrize(("reserve", "logged"), [(1 << 60, ["disk_full"]), (1, [])])
async def test_the_log_says_when_a_full_disk_keeps_appends_out(
    tmp_path: Path, reserve: int, logged: list[str]
) -> None:
    side, peer = found_one(tmp_path)
    text = side.toml.read_text()
    side.toml.write_text(text.replace("reserve_bytes = 1048576", f"reserve_bytes = {reserve}"))
    with capture_logs() as lines:
        async with serve(side, peer):
            pass
    assert [line["event"] for line in lines if line["event"] == "disk_full"] == logged

"""What Prometheus is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from nodes import Node, free_port, make_sides, refused, serve
from prometheus_client.parser import text_string_to_metric_families

from ledgerd.metrics import Metrics
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import UnavailableError


@dataclass
class Watched:
    node: Node
    port: int

    async def value(self, name: str, **labels: str) -> float | None:
        """One sample, as a scrape shows it; None when it is not there."""
        url = f"http://localhost:{self.port}/metrics"
        text = (await asyncio.to_thread(lambda: urlopen(url).read())).decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    side, peer = make_sides(tmp_path)
    side.found(peer)
    port = free_port()
    side.configure(peer, top=f'metrics_listen = "localhost:{port}"')
    async with serve(side, peer) as node:
        yield Watched(node, port)


class TestANode:
    async def test_tells_the_size_of_its_log(self, watched: Watched) -> None:
        await watched.node.institution()
        assert await watched.value("ledgerd_log_entries") == 3

    async def test_counts_records_by_what_became_of_them(self, watched: Watched) -> None:
        exporter = await watched.node.institution()
        record, unsigned = exporter.transfer(), exporter.transfer()
        unsigned.signature = b""
        await exporter.append(record, record, unsigned)
        counts = [
            await watched.value("ledgerd_append_records_total", outcome=outcome)
            for outcome in ("recorded", "repeated", "UNSIGNED")
        ]
        assert counts == [1, 1, 1]

    async def test_counts_calls_by_how_they_ended(self, watched: Watched) -> None:
        exporter = await watched.node.institution()
        await refused(exporter.ledger.GetEntry(pb.GetEntryRequest(index=99)))
        method = "/ledger.v1.LedgerService/GetEntry"
        assert await watched.value("ledgerd_calls_total", method=method, code="NOT_FOUND") == 1

    async def test_measures_its_commits(self, watched: Watched) -> None:
        await watched.node.institution()
        assert await watched.value("ledgerd_commit_seconds_count") == 1

    async def test_says_whether_it_takes_appends(self, watched: Watched) -> None:
        state = {"ledgerd_appends_state": "OPEN"}
        assert await watched.value("ledgerd_appends_state", **state) == 1

    async def test_says_how_long_entries_wait_for_the_peer(self, watched: Watched) -> None:
        assert (await watched.value("ledgerd_cosign_lag_seconds") or 0) > 0


class TestTheEndpoint:
    def test_that_cannot_be_had_is_an_error(self) -> None:
        with pytest.raises(UnavailableError) as caught, Metrics().serve("192.0.2.1:1"):
            pass
        assert caught.value.reason == "CANNOT_LISTEN"

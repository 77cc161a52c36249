"""What Prometheus is told."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from nodes import Client, Node, found_one, free_port, refused, serve
from prometheus_client import Info
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ledgerd.observe.metrics import Metrics
from ledgerd.observe.scraped import MOST_CONNECTIONS
from ledgerd.rules import lateness
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.pki import Certificate


@dataclass
class Watched:
    node: Node
    port: int

    async def scrape(self) -> list[Sample]:
        url = f"http://localhost:{self.port}/metrics"
        text = (await asyncio.to_thread(lambda: urlopen(url).read())).decode()
        return [sample for each in text_string_to_metric_families(text) for sample in each.samples]

    async def value(self, name: str, **labels: str) -> float | None:
        """One sample, as a scrape shows it; None when it is not there."""
        for sample in await self.scrape():
            if sample.name == name and sample.labels == labels:
                return sample.value
        return None

    async def header(self, index: int) -> bytes:
        """Of an entry that everybody may read."""
        history = await self.node.history()
        return history.entries[index][0]

    async def busy(self) -> Client:
        """Have one of everything there: a record, a finding, and a call that was refused."""
        exporter = await self.node.institution()
        await exporter.append(exporter.transfer(), exporter.transfer(at=1))
        await refused(exporter.ledger.GetEntry(pb.GetEntryRequest(index=99)))
        return exporter


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    side, peer = found_one(tmp_path)
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

    async def test_shows_a_sample_of_every_metric(self, watched: Watched) -> None:
        await watched.busy()
        shown = {sample.name for sample in await watched.scrape()}
        assert [
            family.name
            for family in Metrics().registry.collect()
            if not any(name.startswith(family.name) for name in shown)
        ] == []

    async def test_tells_nobody_whose_records_they_are(self, watched: Watched) -> None:
        exporter = await watched.busy()
        labels = [str(sample.labels) for sample in await watched.scrape()]
        assert [each for each in labels if exporter.id in each] == []

    async def test_counts_what_a_commit_holds(self, watched: Watched) -> None:
        await watched.busy()
        entries = await watched.value("ledgerd_commit_entries_sum")
        assert entries == (await watched.value("ledgerd_log_entries") or 0) - 2

    async def test_measures_the_disk_alone_too(self, watched: Watched) -> None:
        await watched.node.institution()
        whole = await watched.value("ledgerd_commit_seconds_sum") or 0
        assert 0 < (await watched.value("ledgerd_commit_sync_seconds_sum") or 0) <= whole

    async def test_counts_transfers_by_their_state(self, watched: Watched) -> None:
        await watched.busy()
        assert await watched.value("ledgerd_transfers", state="open") == 2

    async def test_counts_findings_by_their_rule(self, watched: Watched) -> None:
        await watched.busy()
        findings = [s for s in await watched.scrape() if s.name == "ledgerd_findings_open"]
        assert [(s.labels["rule"], s.value) for s in findings] == [(lateness.RULE, 1)]

    async def test_sees_what_its_writer_fills(self, watched: Watched) -> None:
        exporter = await watched.node.institution()
        used = {"store": "ledger", "state": "used"}
        before = await watched.value("ledgerd_store_bytes", **used)
        await exporter.append(*(exporter.transfer() for _ in range(100)))
        assert (await watched.value("ledgerd_store_bytes", **used) or 0) > (before or 0)

    async def test_says_when_its_certificate_ends(self, watched: Watched) -> None:
        certificate = Certificate.parse(watched.node.side.config.tls.certificate.read_bytes())
        ends = [
            sample.value
            for sample in await watched.scrape()
            if sample.name == "ledgerd_certificate_expiry_timestamp_seconds"
            and sample.labels["certificate"] == "node"
        ]
        assert ends == [certificate.validity.not_after.timestamp()]

    async def test_says_when_those_of_both_authorities_end(self, watched: Watched) -> None:
        named = [
            sample.labels["certificate"]
            for sample in await watched.scrape()
            if sample.name == "ledgerd_certificate_expiry_timestamp_seconds"
        ]
        assert named == ["node", "authority", "peer_authority"]

    async def test_says_since_when_its_keys_are_in_force(self, watched: Watched) -> None:
        founded = Header.parse(await watched.header(0)).recorded_at / 1_000_000
        named = ("log", "entry", "cosigner", "authority")
        since = [
            await watched.value("ledgerd_key_since_timestamp_seconds", key=key) for key in named
        ]
        assert since == [founded] * 4


class TestTheEndpoint:
    def test_that_cannot_be_had_is_an_error(self) -> None:
        with pytest.raises(UnavailableError) as caught, Metrics().serve("192.0.2.1:1"):
            pass
        assert caught.value.reason == "CANNOT_LISTEN"


@dataclass
class Endpoint:
    """One that serves metrics, and connections to it that ask for nothing; closed at the end."""

    port: int
    opened: ExitStack

    def connect(self, count: int) -> list[socket.socket]:
        return [self._connect() for _ in range(count)]

    def _connect(self) -> socket.socket:
        made = self.opened.enter_context(socket.socket())
        # So that little is on its way unless somebody takes it.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(60)
        made.connect(("127.0.0.1", self.port))
        return made


class TestConnectionsThatKeepItWaiting:
    @pytest.fixture
    def metrics(self) -> Metrics:
        return Metrics()

    @pytest.fixture
    def endpoint(self, metrics: Metrics) -> Iterator[Endpoint]:
        with metrics.serve("127.0.0.1:0") as port, ExitStack() as opened:
            yield Endpoint(port, opened)

    @pytest.fixture
    def patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is closed for its lateness while a test lasts."""
        monkeypatch.setattr("ledgerd.observe.scraped._PATIENCE_S", 1_000_000)

    @pytest.fixture
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ledgerd.observe.scraped._PATIENCE_S", 0.1)

    @pytest.mark.usefixtures("patient")
    def test_take_no_more_threads_than_a_few(self, endpoint: Endpoint) -> None:
        before = threading.active_count()
        idle = endpoint.connect(5 * MOST_CONNECTIONS)
        # The last has taken its place: so all have been looked at.
        assert idle[-MOST_CONNECTIONS - 1].recv(1) == b""
        assert threading.active_count() <= before + MOST_CONNECTIONS

    @pytest.mark.usefixtures("patient")
    @pytest.mark.parametrize("said", [b"", b"G", b"GET /metrics HTTP/1.1\r\nA: b\r\n"])
    def test_keep_no_scraper_waiting(self, endpoint: Endpoint, said: bytes) -> None:
        for each in endpoint.connect(MOST_CONNECTIONS):
            each.sendall(said)
        assert b"ledgerd_build_info" in scraped(endpoint.port)

    @pytest.mark.usefixtures("patient")
    def test_nor_do_those_that_do_not_take_what_they_asked_for(
        self, metrics: Metrics, endpoint: Endpoint
    ) -> None:
        Info("much", "More than sockets hold.", registry=metrics.registry).info({"a": "b" * 2**23})
        for each in endpoint.connect(MOST_CONNECTIONS):
            each.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            each.recv(1)
        assert b"ledgerd_build_info" in scraped(endpoint.port)

    @pytest.mark.usefixtures("impatient")
    def test_are_closed_however_many_bytes_they_dribble(self, endpoint: Endpoint) -> None:
        (slow,) = endpoint.connect(1)
        dribbled = 0
        with suppress(ConnectionError):  # it is closed
            while not select.select([slow], [], [], 0.05)[0] and dribbled < 1000:
                dribbled += slow.send(b"G")
        assert 0 < dribbled < 1000

    @pytest.mark.usefixtures("impatient")
    def test_print_nothing(self, endpoint: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
        broken, *idle = endpoint.connect(MOST_CONNECTIONS)
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        broken.close()
        for each in idle:
            each.recv(1)
        assert capfd.readouterr().err == ""


def scraped(port: int) -> bytes:
    """What a scraper is answered at once."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        return bytes(reply.read())

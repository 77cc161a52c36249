"""Traces: one from the SDK's call to the node's commit, with nothing of a record in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from institutions import STATEMENT
from nodes import Node, found_one, serve
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from ledgerd.observe.telemetry import export_traces
from ledgerd_client import LedgerClient, Settings, tracing
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import Header
from ledgerd_client.keyfile import KeyFile

APPEND = "ledger.v1.LedgerService/Append"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where every span of this process goes, of the SDK and of the node."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_provider", lambda: provider)
    return exporter


@pytest.fixture
async def node(tmp_path: Path, spans: InMemorySpanExporter) -> AsyncIterator[Node]:
    side, peer = found_one(tmp_path)
    async with serve(side, peer) as node:
        yield node


@pytest.fixture
async def exporter(node: Node) -> AsyncIterator[LedgerClient]:
    client = await node.institution()
    home = node.side.directory / "client"
    home.mkdir()
    files = {
        "tls.crt": client.credentials.certificate,
        "tls.key": client.credentials.tls_key,
        "signing.key": KeyFile(client.credentials.signing).format(),
    }
    for name, data in files.items():
        (home / name).write_bytes(data)
        (home / name).chmod(0o600)
    settings = Settings(
        endpoint=f"localhost:{node.port}",
        origin=node.side.origin,
        trust=node.side.config.trust,
        tls_certificate=home / "tls.crt",
        tls_key=home / "tls.key",
        institution=client.id,
        signing_key=home / "signing.key",
        outbox=home / "outbox.sqlite",
    )
    async with LedgerClient(settings) as opened:
        yield opened


def declared(spans: InMemorySpanExporter) -> dict[tuple[str, SpanKind], ReadableSpan]:
    """The spans of the one trace that a call of the SDK began, by name and kind."""
    found = spans.get_finished_spans()
    (root,) = (span for span in found if span.name == "submit")
    trace_id = root.context.trace_id
    return {(s.name, s.kind): s for s in found if s.context and s.context.trace_id == trace_id}


class TestACallOfTheSdk:
    async def test_is_one_trace_down_to_the_commit(
        self, exporter: LedgerClient, spans: InMemorySpanExporter
    ) -> None:
        await exporter.declare(b"data", **STATEMENT)
        trace = declared(spans)
        chain = [
            ("submit", SpanKind.INTERNAL),
            ("send", SpanKind.INTERNAL),
            (APPEND, SpanKind.CLIENT),
            (APPEND, SpanKind.SERVER),
            ("commit", SpanKind.INTERNAL),
        ]
        parents = [trace[step].parent for step in chain]
        assert [parent and parent.span_id for parent in parents] == [
            None, *(trace[step].context.span_id for step in chain[:-1]),
        ]  # fmt: skip

    async def test_crosses_the_wire_by_its_metadata(
        self, exporter: LedgerClient, spans: InMemorySpanExporter
    ) -> None:
        await exporter.declare(b"data", **STATEMENT)
        parent = declared(spans)[APPEND, SpanKind.SERVER].parent
        assert parent is not None
        assert parent.is_remote

    async def test_tells_counts_sizes_and_indexes(
        self, exporter: LedgerClient, spans: InMemorySpanExporter
    ) -> None:
        receipt = (await exporter.declare(b"data", **STATEMENT)).receipt
        assert receipt is not None
        index, trace = Header.parse(receipt.header).index, declared(spans)
        assert trace["submit", SpanKind.INTERNAL].attributes == {
            "ledger.index": index, "ledger.outcome": "recorded",
        }  # fmt: skip
        assert trace["commit", SpanKind.INTERNAL].attributes == {
            "ledger.records": 1, "ledger.first": index, "ledger.recorded": 1,
        }  # fmt: skip

    async def test_holds_nothing_else(
        self, exporter: LedgerClient, spans: InMemorySpanExporter
    ) -> None:
        await exporter.declare(b"data", **STATEMENT)
        texts = {
            value
            for span in spans.get_finished_spans()
            for value in (span.attributes or {}).values()
            if not isinstance(value, int)
        }
        assert texts <= {"recorded", "grpc"}
        assert [span.events for span in spans.get_finished_spans() if span.events] == []

    async def test_that_shares_its_way_with_others_is_named_there(
        self, exporter: LedgerClient, spans: InMemorySpanExporter
    ) -> None:
        await asyncio.gather(*(exporter.declare(b"data", **STATEMENT) for _ in range(5)))
        found = spans.get_finished_spans()
        submitted = {s.context.span_id for s in found if s.name == "submit" and s.context}
        sent = [span for span in found if span.name == "send"]
        named = [link.context.span_id for span in sent for link in span.links]
        named += [span.parent.span_id for span in sent if span.parent]
        assert sorted(named) == sorted(submitted)

    async def test_that_fails_says_for_what_reason_and_no_more(
        self, exporter: LedgerClient, spans: InMemorySpanExporter
    ) -> None:
        with pytest.raises(FieldError) as caught, tracing.span("submit"):
            raise FieldError("of whom it was", reason="A_REASON")
        assert caught.value.reason == "A_REASON"
        (span,) = (span for span in spans.get_finished_spans() if span.name == "submit")
        assert (dict(span.attributes or {}), span.status.description, span.events) == (
            {"error.type": "A_REASON"}, None, (),
        )  # fmt: skip


class TestWhatACallerSays:
    @pytest.mark.parametrize("said", ["", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
    async def test_of_no_trace_begins_another(self, spans: InMemorySpanExporter, said: str) -> None:
        with tracing.serving("S/M", [("traceparent", said)]):
            pass
        (span,) = spans.get_finished_spans()
        assert span.parent is None

    async def test_beside_it_is_not_carried_on(self, spans: InMemorySpanExporter) -> None:
        said = f"00-{'1' * 32}-{'2' * 16}-01"
        with tracing.serving("S/M", [("traceparent", said), ("tracestate", "name=mr-chan")]):
            pass
        (span,) = spans.get_finished_spans()
        assert span.context is not None
        assert (span.context.trace_id, list(span.context.trace_state.values())) == (
            int("1" * 32, 16), [],
        )  # fmt: skip


class TestWithoutAProvider:
    def test_nothing_is_made_and_nothing_sent(self) -> None:
        assert (tracing.is_on(), tracing.traceparent(), tracing.current()) == (False, "", None)

    def test_work_goes_on_as_ever(self) -> None:
        with tracing.span("submit") as span, tracing.calling("M", lambda: 1 // 0):
            span.set(index=1)


class TestWithoutTheExtra:
    def test_sdk_and_node_are_imported_all_the_same(self) -> None:
        code = (
            "import sys; sys.modules['opentelemetry'] = None\n"
            "import ledgerd.daemon, ledgerd_client.tracing as tracing\n"
            "assert not tracing.is_on()\n"
            "with tracing.span('submit') as span: span.set(index=1)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


class TestExporting:
    def test_is_off_unless_it_is_asked_for(self) -> None:
        export_traces({})
        export_traces({"OTEL_TRACES_EXPORTER": "none"})
        assert not tracing.is_on()

    def test_to_what_is_not_installed_is_refused(self) -> None:
        with pytest.raises(FieldError) as caught:
            export_traces({"OTEL_TRACES_EXPORTER": "no-such-exporter"})
        assert caught.value.reason == "NO_EXPORTER"

    def test_a_program_that_ends_has_exported_what_it_made(self) -> None:
        code = (
            "from ledgerd.observe.telemetry import export_traces\n"
            "from ledgerd_client import tracing\n"
            "export_traces({'OTEL_TRACES_EXPORTER': 'console'})\n"
            "with tracing.span('commit', records=3): pass\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert (done.returncode, b'"ledger.records": 3' in done.stdout) == (0, True), done.stderr

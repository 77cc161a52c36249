"""
Where a node's traces go, if anywhere: what OpenTelemetry's own environment variables say.

OTEL_TRACES_EXPORTER names the exporter (otlp, console, …), as installed; without it there are none.
The others (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, …) the SDK reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import entry_points

from ledgerd_client.core.errors import FieldError


def export_traces(environ: Mapping[str, str] = os.environ) -> None:
    """
    Have spans made and exported from now on, if the environment asks for it.

    Raises FieldError NO_EXPORTER. What is not exported yet at the end of the process is then.
    """
    names = {name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",")}
    names -= {"", "none"}
    if not names:
        return
    found = {
        name: exporter
        for name in names
        for exporter in entry_points(group="opentelemetry_traces_exporter", name=name)
    }
    if missing := names - found.keys():
        raise FieldError(
            f"OTEL_TRACES_EXPORTER names {', '.join(sorted(missing))}, which is not installed",
            reason="NO_EXPORTER",
            action="install ledgerd[otel] and the exporter, or unset it",
        )
    # An extra: only who asked for it has it.
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    service = {"service.name": environ.get("OTEL_SERVICE_NAME", "ledgerd")}
    provider = TracerProvider(resource=Resource.create(service))
    for exporter in found.values():
        provider.add_span_processor(BatchSpanProcessor(exporter.load()()))
    trace.set_tracer_provider(provider)

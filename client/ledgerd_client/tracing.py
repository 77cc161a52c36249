"""
Traces (OpenTelemetry), from a call of the SDK to the node's commit.

They are made if the extra [otel] is installed and the program has set a tracer provider; otherwise
nothing is made, and nothing sent. A span holds counts, sizes, outcomes and indexes, and nothing of
a record; what an error says is not in it, for it may quote one. To the node goes the W3C
`traceparent`, and no `tracestate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, Final, Protocol

from ledgerd_client.core.errors import LedgerError

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

# Request metadata (W3C Trace Context).
TRACEPARENT: Final = "traceparent"

Metadata = Iterable[tuple[str, Any]]


class Span(Protocol):
    """What is told of one piece of work while it goes on."""

    def set(self, **attributes: int | str) -> None:
        """Counts, sizes, indexes, outcomes."""


class _NoSpan:
    def set(self, **attributes: int | str) -> None:
        pass


Work = AbstractContextManager[Span]

_NO_SPAN: Final[Work] = nullcontext(_NoSpan())
# A span's, of OpenTelemetry's own type.
_Context = Any


def is_on() -> bool:
    """Whether spans are made."""
    return _INSTALLED and not isinstance(_provider(), trace.ProxyTracerProvider)


def span(name: str, **attributes: int | str) -> Work:
    """A piece of work within whatever goes on."""
    return _span(name, attributes, kind="INTERNAL") if is_on() else _NO_SPAN


def no_span(name: str, **attributes: int | str) -> Work:
    """As span(), for whoever has asked is_on() already."""
    return _NO_SPAN


def current() -> _Context:
    """What goes on here, for work that is done later; None when no spans are made."""
    return trace.get_current_span().get_span_context() if is_on() else None


def sending(callers: Callable[[], Sequence[_Context]], records: int) -> Work:
    """
    What is sent for some callers at once, each as current() gave it.

    It belongs to the first one's trace, and names the others.
    """
    if not is_on():
        return _NO_SPAN
    first, *others = callers() or [trace.INVALID_SPAN_CONTEXT]
    parent = trace.set_span_in_context(trace.NonRecordingSpan(first))
    links = [trace.Link(other) for other in others]
    return _span("send", {"records": records}, kind="INTERNAL", parent=parent, links=links)


def calling(method: str, size: Callable[[], int]) -> Work:
    """A call of a node's method, Service/Method; size: of the request, in bytes."""
    if not is_on():
        return _NO_SPAN
    return _span(method, {"rpc.system": "grpc", "bytes": size()}, kind="CLIENT")


def serving(method: str, metadata: Metadata) -> Work:
    """A call that is answered, in the trace that its metadata names; a bad name begins another."""
    named = {key: str(value) for key, value in metadata if key == TRACEPARENT}
    parent = TraceContextTextMapPropagator().extract(named)
    return _span(method, {"rpc.system": "grpc"}, kind="SERVER", parent=parent)


def traceparent() -> str:
    """What a call tells its node of the trace that it is part of; "" for nothing."""
    if not is_on():
        return ""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT, "")


@contextmanager
def _span(name: str, attributes: dict[str, int | str], *, kind: str, **how: Any) -> Iterator[Span]:
    with _tracer(_provider()).start_as_current_span(
        name,
        context=how.get("parent"),
        links=how.get("links"),
        kind=trace.SpanKind[kind],
        attributes=_named(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield _Told(made)
        except BaseException as error:
            reason = error.reason if isinstance(error, LedgerError) else type(error).__name__
            made.set_attribute("error.type", reason)
            made.set_status(trace.StatusCode.ERROR)
            raise


class _Told:
    def __init__(self, made: trace.Span) -> None:
        self._made = made

    def set(self, **attributes: int | str) -> None:
        self._made.set_attributes(_named(attributes))


def _named(attributes: dict[str, int | str]) -> dict[str, int | str]:
    """Ours under a name of ours."""
    return {key if "." in key else f"ledger.{key}": value for key, value in attributes.items()}


def _provider() -> trace.TracerProvider:
    return trace.get_tracer_provider()


@lru_cache(maxsize=8)
def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    return provider.get_tracer("ledgerd")

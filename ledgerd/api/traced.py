"""A span for each call that is let in, in its caller's trace; without a tracer, nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledgerd.api.errors import Context
from ledgerd_client import tracing


def traced(service: str, handlers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The handlers of a service, by method; as they are, unless spans are made at this time."""
    if not tracing.is_on():
        return handlers
    return {name: _traced(f"{service}/{name}", handler) for name, handler in handlers.items()}


def _traced(method: str, handler: Any) -> Any:
    if handler.response_streaming:
        return handler
    behaviour = handler.unary_unary

    async def serve(request: Any, context: Context) -> Any:
        with tracing.serving(method, context.invocation_metadata() or ()):
            return await behaviour(request, context)

    return handler._replace(unary_unary=serve)

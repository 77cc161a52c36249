"""
What surrounds every call: authentication, authorisation, errors, a log line and metrics.

Handlers are wrapped here, once for each method. The request's bytes are parsed only after the
caller was let in, so that a stranger's are never looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from ledgerd.api.errors import Context, abort, as_ours
from ledgerd.api.identity import Caller, Identities, set_caller
from ledgerd.api.roles import Access
from ledgerd.ledger.standing import Standing
from ledgerd.metrics import Metrics
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.transport import CHECKPOINT_METADATA, to_status

# Its request goes to the workers as it came: parsing is what they are for.
RAW_METHODS = frozenset(("/ledger.v1.LedgerService/Append",))

# An operator wants to know of these; the others are the ordinary course of things.
_ALARMING = frozenset((
    grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL,
))  # fmt: skip

_log = structlog.get_logger()

# grpc's stubs leave the types of requests and responses open, and so does a wrapper of them all.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Guard(grpc.aio.ServerInterceptor):
    """Lets calls in and errors out."""

    def __init__(
        self, identities: Identities, access: Access, standing: Standing, metrics: Metrics
    ) -> None:
        self._identities = identities
        self._access = access
        self._standing = standing
        self._metrics = metrics
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None:
            handler = await continuation(handler_call_details)
            if handler is None:  # gRPC answers UNIMPLEMENTED
                return None
            guarded = self._guarded[method] = self._guard(method, handler)
        return guarded

    def _guard(self, method: str, handler: Handler) -> Handler:
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler), response_serializer=handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler), response_serializer=handler.response_serializer
        )

    def _unary(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[Any]]:
        behaviour: Any = handler.unary_unary
        parse = _parser(method, handler)
        call = _Call(method, self._metrics)

        async def guarded(raw: bytes, context: Context) -> Any:
            started = perf_counter()
            caller = None
            try:
                caller = self._let_in(method, context)
                reply = await behaviour(parse(raw), context)
            except BaseException as error:
                await call.failed(context, caller, started, error)
                raise
            call.done(caller, started)
            return reply

        return guarded

    def _stream(self, method: str, handler: Handler) -> Callable[[bytes, Context], Awaitable[None]]:
        behaviour: Any = handler.unary_stream
        parse = _parser(method, handler)
        call = _Call(method, self._metrics)

        async def guarded(raw: bytes, context: Context) -> None:
            started = perf_counter()
            caller = None
            try:
                caller = self._let_in(method, context)
                replies = behaviour(parse(raw), context)
                if isinstance(replies, Awaitable):  # one that writes by itself, as Watch does
                    await replies
                else:
                    async for reply in replies:
                        await context.write(reply)
            except BaseException as error:
                await call.failed(context, caller, started, error)
                raise
            call.done(caller, started)

        return guarded

    def _let_in(self, method: str, context: Context) -> Caller:
        caller = self._identities.caller(context.auth_context())
        self._access.check(method, caller)
        set_caller(caller)
        for key, value in context.invocation_metadata() or ():
            if key == CHECKPOINT_METADATA and isinstance(value, bytes):
                self._standing.mentioned(value)
        return caller


class _Call:
    """How calls of one method end: counted, and logged if they went wrong."""

    def __init__(self, method: str, metrics: Metrics) -> None:
        self._method = method
        self._seconds = metrics.call_seconds.labels(method)
        self._ok = metrics.calls.labels(method, grpc.StatusCode.OK.name)
        self._ended = metrics.calls

    def done(self, caller: Caller | None, started: float) -> None:
        seconds = perf_counter() - started
        self._ok.inc()
        self._seconds.observe(seconds)
        _log.debug("call", method=self._method, caller=caller, ms=round(seconds * 1e3, 1))

    async def failed(
        self, context: Context, caller: Caller | None, started: float, error: BaseException
    ) -> None:
        """End the call with an error's status; raises it, unless the call has ended already."""
        if isinstance(error, asyncio.CancelledError):  # by the caller, or because we stop
            self._ended.labels(self._method, grpc.StatusCode.CANCELLED.name).inc()
            return
        if isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
            return
        ours = as_ours(error, self._method)
        code = to_status(ours)[0]
        self._ended.labels(self._method, code.name).inc()
        # No message: it may quote what a caller sent.
        _log.log(
            logging.WARNING if code in _ALARMING else logging.DEBUG,
            "call_refused", method=self._method, caller=caller, code=code.name,
            reason=ours.reason, ms=round((perf_counter() - started) * 1e3, 1),
        )  # fmt: skip
        await abort(context, ours)


def _parser(method: str, handler: Handler) -> Callable[[bytes], Any]:
    deserialize = handler.request_deserializer
    if method in RAW_METHODS or deserialize is None:
        return bytes

    def parse(raw: bytes) -> Any:
        try:
            return deserialize(raw)
        except DecodeError:
            raise MalformedError("the request is not the message that this method takes") from None

    return parse

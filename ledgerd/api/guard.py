"""
What surrounds every call: authentication, authorisation, errors, a log line and metrics.

Handlers are wrapped here, once for each method. To gRPC every method takes a stream of requests,
which is the same on the wire: so a caller is let in before any of its request is received, and a
stranger's is neither received whole nor looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from ledgerd.api.errors import Context, abort, as_ours
from ledgerd.api.identity import AuthContext, Caller, Identified, set_caller
from ledgerd.api.limits import Rates, Shares
from ledgerd.api.traced import traced
from ledgerd.observe.metrics import Metrics
from ledgerd_client.core.errors import MalformedError, UnauthenticatedError
from ledgerd_client.transport import CHECKPOINT_METADATA, PEER_CHECKPOINT_METADATA, to_status

# Its request goes to the workers as it came: parsing is what they are for.
RAW_METHODS = frozenset(("/ledger.v1.LedgerService/Append",))

# Calls at once, of all callers; more are told to come again. gRPC holds the whole message of each:
# with MAX_REQUEST_BYTES that is 1 GiB at worst, half of what the unit gives us (MemoryMax).
MAX_CALLS = 256
# Of one caller: 64 appends and what goes on beside them.
MAX_CALLS_OF_ONE = 96

# An operator wants to know of these; the others are the ordinary course of things.
_ALARMING = frozenset((
    grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL,
))  # fmt: skip

_log = structlog.get_logger()

# grpc's stubs leave the types of requests and responses open, and so does a wrapper of them all.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Identities(Protocol):
    """Says who calls."""

    def identify(self, context: AuthContext) -> Identified:
        """By what gRPC knows of the connection; raises UnauthenticatedError."""


class Access(Protocol):
    """Says what they may call."""

    def check(self, method: str, caller: Caller) -> None:
        """Raises ForbiddenError."""

    def is_revoked(self, caller: Caller, certificate: bytes) -> bool:
        """Whether a caller's certificate, by its digest, is good no more."""


class Standing(Protocol):
    """Hears what they have seen of this log."""

    def mentioned(self, note: bytes) -> None:
        """A checkpoint, by whoever calls; not verified yet."""


class Guard:
    """Lets calls in and errors out."""

    def __init__(
        self,
        identities: Identities,
        access: Access,
        standing: Standing,
        metrics: Metrics,
        heard: Callable[[Caller, bytes], None] = lambda _caller, _note: None,
        rates: Rates | None = None,
    ) -> None:
        """
        heard: takes a checkpoint of the peer by whoever calls, not verified yet.

        rates: how fast each may call; by default as fast as it can.
        """
        self._identities = identities
        self._access = access
        self._hear: dict[str, Callable[[Caller, bytes], None]] = {
            CHECKPOINT_METADATA: lambda _caller, note: standing.mentioned(note),
            PEER_CHECKPOINT_METADATA: heard,
        }
        self._metrics = metrics
        self._rates = rates or Rates()
        self._calls = Shares(
            MAX_CALLS, each=MAX_CALLS_OF_ONE, what="calls", reason="TOO_MANY_CALLS"
        )
        # What goes on, by who called and with which certificate.
        self._running: dict[asyncio.Task[Any], Identified] = {}

    def cut(self) -> None:
        """End the calls that go on under certificates which are revoked by now."""
        for task, who in self._running.items():
            if self._access.is_revoked(*who):
                task.cancel()

    def guarded(self, service: str, handlers: Mapping[str, Handler]) -> dict[str, Handler]:
        """The handlers of a service, by method, each behind the guard."""
        return {
            name: self._guard(f"/{service}/{name}", handler) for name, handler in handlers.items()
        }

    def _guard(self, method: str, handler: Handler) -> Handler:
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, handler))
        return grpc.stream_unary_rpc_method_handler(self._unary(method, handler))

    def _unary(
        self, method: str, handler: Handler
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        behaviour: Any = handler.unary_unary
        parse, encode = _parser(method, handler), _encoder(handler)
        call = _Call(method, self._metrics)

        async def guarded(_requests: object, context: Context) -> bytes:
            started = perf_counter()
            caller = None
            try:
                with self._let_in(method, context) as caller:
                    request = await self._read(caller, context)
                    reply = encode(await behaviour(parse(request), context))
                    self._rates.used(caller, size=len(reply))
            except BaseException as error:
                await call.failed(context, caller, started, error)
                raise
            call.done(caller, started)
            return reply

        return guarded

    def _stream(
        self, method: str, handler: Handler
    ) -> Callable[[object, Context], Awaitable[None]]:
        behaviour: Any = handler.unary_stream
        parse, encode = _parser(method, handler), _encoder(handler)
        call = _Call(method, self._metrics)

        async def guarded(_requests: object, context: Context) -> None:
            started = perf_counter()
            caller = None
            try:
                with self._let_in(method, context) as caller:
                    request = await self._read(caller, context)
                    async for message in behaviour(parse(request), context):
                        reply = encode(message)
                        await context.write(reply)
                        await self._rates.pace(caller, len(reply))
            except BaseException as error:
                await call.failed(context, caller, started, error)
                raise
            call.done(caller, started)

        return guarded

    async def _read(self, caller: Caller, context: Context) -> Any:
        raw = await context.read()
        if raw is grpc.aio.EOF:
            raise MalformedError("the call has no request")
        self._rates.used(caller, size=len(raw))
        return raw

    @contextmanager
    def _let_in(self, method: str, context: Context) -> Iterator[Caller]:
        who = self._identities.identify(context.auth_context())
        if self._access.is_revoked(*who):
            raise _revoked(who.caller)
        caller = who.caller
        self._access.check(method, caller)
        self._rates.check(caller)
        set_caller(caller, who.certificate)
        for key, value in context.invocation_metadata() or ():
            if key in self._hear and isinstance(value, bytes):
                self._hear[key](caller, value)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - gRPC makes a task for each call
        self._running[task] = who
        try:
            with self._calls.hold(caller, 1):
                yield caller
        except asyncio.CancelledError:
            if not self._access.is_revoked(*who):
                raise
            task.uncancel()
            raise _revoked(caller) from None
        finally:
            del self._running[task]


def _revoked(caller: Caller) -> UnauthenticatedError:
    return UnauthenticatedError(
        f"the certificate of {caller.role} {caller.id} is revoked",
        reason="CERTIFICATE_REVOKED",
        action="ask the authority of your side for another, with a new key",
    )


class Registrar:
    """
    What generated code takes for the server: services that are added to it are guarded.

    An interceptor would do the same, at a price: one that did nothing took a bare echo with 64
    calls in flight from 5,300 to 2,300 calls a second.
    """

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, handlers: Iterable[object]) -> None:
        """Nothing: generated code registers the same methods once more, by name, below."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        guarded = self._guard.guarded(service, traced(service, handlers))
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, guarded),)
        )


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


def _parser(method: str, handler: Handler) -> Callable[[Any], Any]:
    deserialize: Any = bytes if method in RAW_METHODS else handler.request_deserializer

    def parse(raw: Any) -> Any:
        try:
            return deserialize(raw)
        except DecodeError:
            raise MalformedError("the request is not the message that this method takes") from None

    return parse


def _encoder(handler: Handler) -> Callable[[Any], bytes]:
    encode: Any = handler.response_serializer
    return encode  # type: ignore[no-any-return] # of generated code, which the stubs leave open

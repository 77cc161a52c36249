"""Errors on the wire: THE table from our classes to gRPC's status codes, and its inverse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from ledgerd_client._proto import status_pb2
from ledgerd_client.core import errors
from ledgerd_client.core.errors import LedgerError, UnavailableError

# Trailing metadata: a google.rpc.Status.
STATUS_METADATA = "grpc-status-details-bin"

_DOMAIN = "ledgerd"
# Reasons are logged, and a node may lie (AIP-193 allows no more characters).
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_TYPE_URL = "type.googleapis.com/google.rpc."
# In trailing metadata there is room for some kilobytes, and a message may quote what was asked.
_MOST_CHARACTERS = 300

# When an error says nothing better, in seconds.
_RETRY_DELAY_S = 1.0

_CODES: Mapping[type[LedgerError], grpc.StatusCode] = MappingProxyType({
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.VerificationError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ConflictError: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotReadyError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RefusedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.BusyError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreError: grpc.StatusCode.INTERNAL,
    errors.LedgerError: grpc.StatusCode.INTERNAL,
})  # fmt: skip

_CLASSES: Mapping[str, type[LedgerError]] = MappingProxyType({
    name: cls
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, LedgerError)
})  # fmt: skip

# What gRPC itself, or a proxy between, says without an ErrorInfo of ours.
_FALLBACKS: Mapping[grpc.StatusCode, type[LedgerError]] = MappingProxyType({
    grpc.StatusCode.INVALID_ARGUMENT: errors.InputError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InputError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.ForbiddenError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.NotReadyError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.BusyError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.UnavailableError,
    grpc.StatusCode.CANCELLED: errors.UnavailableError,
})  # fmt: skip


def to_status(error: LedgerError) -> tuple[grpc.StatusCode, str, bytes]:
    """Status code, message, and the bytes for STATUS_METADATA; what is very long is cut."""
    message, action = _cut(error.message), _cut(error.action)
    code = next(_CODES[cls] for cls in type(error).__mro__ if cls in _CODES)
    info = status_pb2.ErrorInfo(
        reason=error.reason,
        domain=_DOMAIN,
        metadata={"type": type(error).__name__, "action": action},
    )
    details = [Any(type_url=f"{_TYPE_URL}ErrorInfo", value=info.SerializeToString())]
    if isinstance(error, UnavailableError):
        retry = status_pb2.RetryInfo(retry_delay=_duration(error.retry_after_s or _RETRY_DELAY_S))
        details.append(Any(type_url=f"{_TYPE_URL}RetryInfo", value=retry.SerializeToString()))
    status = status_pb2.Status(code=code.value[0], message=message, details=details)
    return code, message, status.SerializeToString()


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> LedgerError:
    """The error that the node stated, or what the status code says if it stated none."""
    cls = _FALLBACKS.get(error.code(), LedgerError)
    late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    text = "no answer came in time" if late else f"{error.code().name}: {error.details()}"
    return stated(error) or cls(text, action=connect_action(error))


def connect_action(error: grpc.aio.AioRpcError) -> str | None:
    """What to do when there was no connection, or no answer, if it is not just to wait."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return (
            "the node may hang, or not be reached: see on its machine whether it gets on"
            " (`systemctl status ledgerd`), and the network to it; then try again"
        )
    if "handshake" not in (error.details() or "").lower():
        return None
    return "see whether endpoint, trust file and certificate are of one side, and none has expired"


def stated(error: grpc.aio.AioRpcError) -> LedgerError | None:
    """The node's own words, if these are its own: gRPC and proxies attach no ErrorInfo of ours."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_METADATA and isinstance(value, bytes):
            return _parse_status(value)
    return None


def _parse_status(data: bytes) -> LedgerError | None:
    try:
        status = status_pb2.Status.FromString(data)
        details = {detail.type_url: detail.value for detail in status.details}
        info = status_pb2.ErrorInfo.FromString(details.get(f"{_TYPE_URL}ErrorInfo", b""))
        retry = status_pb2.RetryInfo.FromString(details.get(f"{_TYPE_URL}RetryInfo", b""))
    except DecodeError:
        return None
    if info.domain != _DOMAIN or not _REASON.fullmatch(info.reason):
        return None
    cls = _CLASSES.get(info.metadata["type"], LedgerError)
    error = cls(status.message, reason=info.reason, action=info.metadata["action"])
    if isinstance(error, UnavailableError):
        error.retry_after_s = _seconds(retry.retry_delay)
    return error


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def _seconds(duration: Duration) -> float:
    return max(0.0, duration.seconds + duration.nanos / 1e9)


_REFUSALS: Mapping[str, type[LedgerError]] = MappingProxyType({
    **{cls.default_reason: cls for cls in _CLASSES.values()},
    "NOT_CANONICAL": errors.MalformedError,
    "BAD_ORIGIN": errors.MalformedError,
    "UNKNOWN_CODE": errors.FieldError,
    "WRONG_ORIGIN": errors.FieldError,
    "CLOCK_AHEAD": errors.FieldError,
    "NOT_YET": errors.FieldError,
    "BODY_TOO_LARGE": errors.TooLargeError,
    "UNSIGNED": errors.SignatureError,
    "WRONG_AUTHOR": errors.ForbiddenError,
    "NOT_EXPORTER": errors.ForbiddenError,
    "NOT_RECIPIENT": errors.ForbiddenError,
    "NOT_A_PARTY": errors.ForbiddenError,
    "KEY_UNKNOWN": errors.ForbiddenError,
    "KEY_REVOKED": errors.ForbiddenError,
    "RECORD_ID_REUSED": errors.ConflictError,
})  # fmt: skip


def from_refusal(reason: str, message: str) -> LedgerError:
    """The error behind a pb.Refusal, which names no class; RefusedError for a reason unknown."""
    return _REFUSALS.get(reason, errors.RefusedError)(message, reason=reason)

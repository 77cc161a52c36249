"""Errors on their way out: ours by the SDK's table, any other as INTERNAL and never shown."""

from __future__ import annotations

from typing import Any, Never

import grpc
import structlog

from ledgerd_client.core.errors import LedgerError, StoreError
from ledgerd_client.transport import STATUS_METADATA, to_status

_log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]


def as_ours(error: Exception, method: str) -> LedgerError:
    """The error to tell the caller; a fault of the node's is logged here, with its traceback."""
    if isinstance(error, StoreError):
        _log.error("store_failed", method=method, exc_info=error)
    if isinstance(error, LedgerError):
        return error
    _log.error("call_failed", method=method, exc_info=error)
    return LedgerError("the node failed on this call; its log says why", reason="INTERNAL")


async def abort(context: Context, error: LedgerError) -> Never:
    """End the call with the error's status and details."""
    code, message, details = to_status(error)
    await context.abort(code, message, ((STATUS_METADATA, details),))

"""
The daemon's log: one JSON object a line, to standard error. No bodies, no personal data.

When that is the journal, each line begins with its priority (sd-daemon(3)), which journald takes
off: `journalctl -p warning` then shows what an operator should see.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final

import structlog
from structlog.typing import ExcInfo

from ledgerd_client.core.errors import LedgerError, StoreError

# Of syslog(3).
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

# Loggers that are in use keep their class, so what it does is what changes with the level. To ask
# the level for each line instead would cost four times as much for one that is not written.
_Logger: Final = type("_Logger", (structlog.make_filtering_bound_logger(logging.DEBUG),), {})


def configure_logs(level: str) -> None:
    """Set up structlog for the process; level is debug, info, warning or error."""
    set_level(level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_trace),
            structlog.processors.JSONRenderer(),
            *([_prefixed] if in_journal() else []),
        ],
        wrapper_class=_Logger,
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def set_level(level: str) -> None:
    """Log from another level on, from the next line; the same words as configure_logs."""
    filtering = structlog.make_filtering_bound_logger(logging.getLevelName(level.upper()))
    for name, method in vars(filtering).items():
        if not name.startswith("__"):
            setattr(_Logger, name, method)


def in_journal(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether standard error is the journal (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _trace(exc_info: ExcInfo) -> str:
    """Where it happened and what it was. Variables and messages may hold what a caller sent."""
    error: BaseException | None = exc_info[1]
    found: list[str] = []
    while error is not None:
        found.append("".join(traceback.format_tb(error.__traceback__)) + _kind(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\ncaused by\n\n".join(found)


def _kind(error: BaseException) -> str:
    name = type(error).__qualname__
    if isinstance(error, StoreError):
        return f"{name} {error.reason}: {error.message}"
    if isinstance(error, LedgerError):
        return f"{name} {error.reason}"
    return f"{name}: {error.strerror}" if isinstance(error, OSError) else name


def prefix(level: str) -> str:
    """What a line of a level begins with."""
    return f"<{_PRIORITIES[level]}>"


def _prefixed(_logger: object, method: str, line: Any) -> str:
    return f"{prefix(method)}{line}"

"""The lock that lets one process serve a ledger's directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ledgerd_client.core.errors import NotReadyError, StoreError

_MAX_PID_DIGITS = 20


class DirectoryLock:
    """
    Exclusive hold of a directory while the `with` block lasts.

    The kernel keeps it (flock on `serve.lock`) and drops it however the process ends, kill -9
    included, so a file left behind means nothing. A forked child would share it: spawn instead.
    Entering raises NotReadyError "ALREADY_SERVED", naming the holder's process id, or StoreError
    when the directory cannot be locked at all.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "serve.lock"
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._descriptor = _take(self._path)
        except BlockingIOError:
            raise _held(self._path) from None
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be locked: {error.strerror}",
                action="check that the directory is there, local, and belongs to the daemon",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)


def _take(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _held(path: Path) -> NotReadyError:
    # The holder may not have written its number yet; the file is never trusted for more.
    holder = path.read_bytes()[:_MAX_PID_DIGITS].decode("ascii", "replace") or "unknown"
    return NotReadyError(
        f"{path.parent} is already served by process {holder}",
        reason="ALREADY_SERVED",
        action="stop that process first, or give this one a directory of its own",
    )

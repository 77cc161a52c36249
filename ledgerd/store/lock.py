"""Locks: one process serves a ledger's directory, and nobody swaps a store that is open."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ledgerd_client.core.errors import InputError, NotReadyError, StoreError

_MAX_PID_DIGITS = 20
# For how long a process that died may keep its lock by a commit that is still under way.
_PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.01


class DirectoryLock:
    """
    Exclusive hold of a directory while the `with` block lasts.

    The kernel keeps it (flock on `serve.lock`) and drops it however the process ends, kill -9
    included, so a file left behind means nothing. Given to a process that is being spawned, it is
    held until both have ended: a commit that outlives its node keeps the next one waiting.
    Entering raises NotReadyError "ALREADY_SERVED", naming the holder's process id, or the one that
    ended without it getting free, or StoreError: DATA_EXPOSED, or when it cannot be locked at all.
    """

    def __init__(self, directory: Path, descriptor: int = -1) -> None:
        self._path = directory / "serve.lock"
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[object, ...]:
        return _share, (self._path.parent, DupFd(self._descriptor))

    def __enter__(self) -> Self:
        _check_owned(self._path.parent)
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


def make_directory(path: Path) -> None:
    """Make it, for its owner alone, and what it lies in; raises InputError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make {path}: {error.strerror}",
            action="correct the path, or let this user make it",
        ) from error


@contextmanager
def hold(
    directory: Path, *, alone: bool = False, busy: NotReadyError | None = None
) -> Iterator[None]:
    """
    Hold of a store's directory while the block lasts: alone, or beside all who don't want it alone.

    It is of the directory itself, by whatever path it is reached, and leaves no file in it. The
    kernel drops it however the process ends. Raises NotReadyError ALREADY_SERVED, or busy, and
    OSError.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy or _in_use(directory) from None
        yield
    finally:
        os.close(descriptor)


def served_by(directory: Path) -> str | None:
    """
    The number of the process that serves a directory, "unknown" until it has said it; None: nobody.

    It asks by taking the lock for a moment, beside others who ask. Raises OSError.
    """
    try:
        descriptor = os.open(directory / "serve.lock", os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(directory / "serve.lock")
    finally:
        os.close(descriptor)
    return None


def _in_use(directory: Path) -> NotReadyError:
    return NotReadyError(
        f"another process has the store in {directory} open, or is compacting it",
        reason="ALREADY_SERVED",
        action="stop that process first, or let it end",
    )


def _share(directory: Path, descriptor: Any) -> DirectoryLock:
    return DirectoryLock(directory, descriptor.detach())


def _take(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_owned(directory: Path) -> None:
    """
    Refuse a directory in which others may put files, and links, of the names that are ours.

    Its owner, and whoever may write to what lies above it, is trusted. One that is not there is
    told of by whoever needs it.
    """
    with suppress(OSError):
        if directory.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StoreError(
                f"others than its owner may write to {directory}",
                reason="DATA_EXPOSED",
                action=f"chmod go-w {directory}, and see that nobody has put anything there",
            )


def _lock(descriptor: int, path: Path) -> None:
    """Raise BlockingIOError while somebody serves; wait a little for a dead one's last commit."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _lives(_holder(path)) or time.monotonic() > end:
                raise
            time.sleep(_LOOK_EVERY_S)
        else:
            return


def _lives(holder: str) -> bool:
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def _holder(path: Path) -> str:
    # It may not have written its number yet; the file is never trusted for more.
    return path.read_bytes()[:_MAX_PID_DIGITS].decode("ascii", "replace") or "unknown"


def _held(path: Path) -> NotReadyError:
    holder = _holder(path)
    if _lives(holder):
        return NotReadyError(
            f"{path.parent} is already served by process {holder}",
            reason="ALREADY_SERVED",
            action="stop that process first, or give this one a directory of its own",
        )
    return NotReadyError(
        f"process {holder}, which served {path.parent}, has ended, and another one holds {path}",
        reason="ALREADY_SERVED",
        action="let it end its commit, or stop it: `lslocks` names it",
    )

"""Payload files named on the command line, and a progress bar while large ones are read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ledgerd_client.core.errors import InputError
from ledgerd_client.payload import Payload, Source

# Below this the bar would be gone before it is seen.
_WATCHED_BYTES = 64 * 1024 * 1024


@contextmanager
def sources_of(paths: Sequence[Path]) -> Iterator[list[Source]]:
    """
    What the SDK reads files from, in their order.

    While the context is open, a bar on a terminal shows how much of large files was read.
    """
    total = sum(path.stat().st_size for path in paths if path.is_file())
    if not sys.stderr.isatty() or total < _WATCHED_BYTES:
        yield list(paths)
        return
    from rich.console import Console  # noqa: PLC0415 -- for a bar that is seldom shown
    from rich.progress import (  # noqa: PLC0415 -- likewise
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        advance = partial(progress.advance, progress.add_task("", total=total))
        yield [partial(Watched, path, advance) for path in paths]


def payload_of(paths: Sequence[Path], sources: Sequence[Source], *, parts: bool) -> Payload:
    """
    None for no file, the one file, or parts that are named as their files are.

    Raises InputError when two parts have one name, or there are several files and no parts.
    """
    if not sources:
        return None
    if len(sources) == 1 and not parts:
        return sources[0]
    named = {path.name: source for path, source in zip(paths, sources, strict=True)}
    if len(named) != len(paths) or not parts:
        raise InputError(
            "several files are one payload only if it has parts, each with a name of its own",
            reason="BAD_PARTS",
            action="rename one of the files, or name only the one that was declared",
        )
    return named


class Watched(io.FileIO):
    """A file that tells how much of it was read, and refuses to have changed meanwhile."""

    def __init__(self, path: Path, advance: Callable[[float], None]) -> None:
        try:
            super().__init__(path, "rb")
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        self._advance = advance
        self._before = self._version()

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(-1 if size is None else size)
        self._advance(len(chunk))
        return chunk

    def close(self) -> None:
        changed = not self.closed and self._version() != self._before
        super().close()
        if changed:
            raise InputError(
                f"{self.name!r} changed while it was read",
                reason="PAYLOAD_CHANGED",
                action="let its writer finish, then try again",
            )

    def _version(self) -> tuple[int, int]:
        status = os.fstat(self.fileno())
        return status.st_size, status.st_mtime_ns

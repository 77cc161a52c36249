"""Small files that processes share, and what stands in them: key histories, the trusted head."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import (
    ForkError,
    InputError,
    ProofError,
    StoreError,
    VerificationError,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import verify_consistency
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.opening import loss_below, open_log_checkpoint

# StoreError.reason: what this machine kept is damaged. Nothing was sent when a call raises it.
KEPT_FILE = "KEPT_FILE"

# The key history of the log, fetched if there is none here.
Keys = Callable[[], Awaitable[KeyHistory]]
# (old size, new size) -> consistency proof
Prove = Callable[[int, int], Awaitable[Sequence[bytes]]]


class KeptFile:
    """A file that is read whole and replaced whole, by any number of processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_origin(cls, directory: Path, origin: str, suffix: str) -> KeptFile:
        return cls(directory / f"{sha256(origin.encode()).hexdigest()[:16]}.{suffix}")

    def read(self) -> bytes:
        """The content; empty when there is no file. Raises InputError, or StoreError for a void."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from error
        if not data:
            raise self.damaged("it is empty")
        return data

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within this, what is wrong is wrong with the file: raises StoreError."""
        try:
            yield
        except (InputError, VerificationError) as error:
            raise self.damaged(error.message) from error

    def damaged(self, how: str) -> StoreError:
        """What to raise when the file proves to be another one than was written."""
        return StoreError(
            f"{self.path} is not as it was left on this machine: {how}",
            reason=KEPT_FILE,
            action="put it back from a copy, however old; without one, move it away: then nobody"
            " here knows any more what the node showed, and a rollback until now goes unnoticed",
        )

    def replace(self, old: bytes, new: bytes) -> bool:
        """
        Put new in the place of old, durably; False, and nothing is done, when old is not there.

        Raises InputError when the file cannot be written.
        """
        directory = self.path.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(directory) as descriptor:
                if self.read() != old:
                    return False
                prefix = f".{self.path.name}."
                with tempfile.NamedTemporaryFile(
                    dir=directory, prefix=prefix, delete=False
                ) as file:
                    file.write(new)
                    file.flush()
                    os.fsync(file.fileno())
                Path(file.name).replace(self.path)
                os.fsync(descriptor)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from error
        return True


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class TrustedHead:
    """
    The newest checkpoint of one log that was verified here, by this process or another.

    It advances or raises, and raising leaves it as it was. A restart still knows it, and believes
    its own file no more than the node: the log's key signed what is kept, or nothing goes on.
    """

    def __init__(self, file: KeptFile, keys: Keys, prove: Prove) -> None:
        self.note = b""
        self.size = 0
        self._file = file
        self._keys = keys
        self._prove = prove
        self._loaded = False

    async def load(self) -> int:
        """
        Return how many entries the node has shown; what earlier processes kept counts.

        Raises InputError, StoreError KEPT_FILE when the file is not as it was left, and what
        getting the key history raises.
        """
        if not self._loaded:
            kept = await self._read()
            if not self._loaded:  # else another call has got further in the meantime
                self._take(kept)
        return self.size

    async def _read(self) -> bytes:
        kept = await asyncio.to_thread(self._file.read)
        if kept and kept != self.note:
            history = await self._keys()
            with self._file.whole():
                if loss_below(kept, history) is None:
                    open_log_checkpoint(kept, history)
        return kept

    async def _ground(self, kept: bytes) -> Checkpoint:
        """What others must agree with: what is kept or, if a LOSS made it void, what that left."""
        head, loss = _parse(kept), loss_below(kept, await self._keys())
        return head if loss is None else Checkpoint(head.origin, loss.size, loss.root)

    def _take(self, note: bytes) -> None:
        self.note = note
        self.size = _parse(note).size if note else 0
        self._loaded = True

    async def advance(
        self, note: bytes, *, floor: int = 0, prefix: tuple[int, bytes] | None = None
    ) -> None:
        """
        Believe a checkpoint whose signature was verified, or raise.

        An older one is believed when the head extends it, but for one below floor: the newest
        checkpoint that a node has is never older than what it showed before, unless the authority
        declared that lost; it then extends what the LOSS left. prefix is the size
        and root of a tree that is proven to be the beginning of this one: if it is the head's, no
        proof need be fetched.

        Raises ForkError, ProofError, or VerificationError ROLLBACK, all with both signed notes in
        `__notes__`; UnavailableError when the proof cannot be fetched now; and as load does.
        """
        new = _parse(note)
        if new.size < floor and new.size < (await self._ground(self.note)).size:
            error = VerificationError(
                f"the node of {new.origin} shows {new.size} entries where it had {floor} before",
                reason="ROLLBACK",
                action="keep both checkpoints, send nothing more and tell the authority",
            )
            raise _with_notes(error, self.note, note)
        while True:
            kept = await self._read()
            if head := kept or self.note:
                await self._check_consistent(head, note, prefix)
            if kept and (await self._ground(kept)).size == _parse(kept).size >= new.size:
                self._take(kept)
                return
            # Another process may have advanced it in the meantime: then once more from there.
            if await asyncio.to_thread(self._file.replace, kept, note):
                self._take(note)
                return

    async def _check_consistent(
        self, kept: bytes, note: bytes, prefix: tuple[int, bytes] | None
    ) -> None:
        old, new = sorted((await self._ground(kept), _parse(note)), key=lambda head: head.size)
        for size, root in ((new.size, new.root), prefix or (0, b"")):
            if size == old.size:
                if root != old.root:
                    error = ForkError(f"{new.origin} signed two trees of {size} entries")
                    raise _with_notes(error, kept, note)
                return
        proof = await self._prove(old.size, new.size)
        try:
            verify_consistency(old.size, old.root, new.size, new.root, proof)
        except ProofError as error:
            raise _with_notes(error, kept, note) from None


def _parse(note: bytes) -> Checkpoint:
    return Checkpoint.parse(parse_note(note).text)


def _with_notes(error: VerificationError, *notes: bytes) -> VerificationError:
    for note in notes:
        error.add_note(note.decode())
    return error

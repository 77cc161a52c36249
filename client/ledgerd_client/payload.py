"""
Payloads: what a transfer declares, measured from a stream and never held whole in memory.

A payload is read once to declare it and once more to send it, so whatever can be read only once is
refused: by the time it is declared there would be nothing left to send.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import InputError, VerificationError
from ledgerd_client.core.transfer import parse_manifest

# One content: bytes, a path, a seekable binary file, or a callable that opens one anew each time.
Source: TypeAlias = (
    bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | Callable[[], BinaryIO]
)
# A content, several named ones, or None when nothing is sent (remote viewing).
Payload: TypeAlias = Source | Mapping[str, Source] | None

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PayloadDigest:
    """
    What commits to a payload.

    digest is SHA-256 of the content, of the manifest when there are parts, and empty when nothing
    is sent; manifest is an encoded ledger.v1.Manifest, or None without parts; size is in bytes.
    """

    digest: bytes
    manifest: bytes | None
    size: int


def digest_payload(source: Payload) -> PayloadDigest:
    """
    Measure a payload, reading 1 MiB at a time.

    A file object is read from its start and left where it was; what a callable opens is closed.
    Raises InputError: ONE_SHOT_PAYLOAD for a stream, TEXT_PAYLOAD for a file in text mode,
    PAYLOAD_UNREADABLE for what cannot be opened or read, PAYLOAD_CHANGED for a path that was
    written to meanwhile, BAD_PARTS for names that cannot stand in a manifest, PAYLOAD_TYPE for
    anything else.
    """
    if source is None:
        return PayloadDigest(digest=b"", manifest=None, size=0)
    if not isinstance(source, Mapping):
        digest, size = _measure(source)
        return PayloadDigest(digest, None, size)
    manifest = _manifest(source)
    encoded = encode_message(manifest)
    size = sum(part.size for part in manifest.parts)
    return PayloadDigest(sha256(encoded).digest(), encoded, size)


def check_part(manifest: bytes, name: str, source: Source) -> None:
    """
    Check one part against a manifest (which is itself to be checked against the commitment).

    Raises VerificationError PART_MISMATCH when the content differs, InputError OTHER_PARTS when the
    manifest has no such part, MalformedError or FieldError when it is no manifest, and InputError
    as digest_payload does.
    """
    part = next((part for part in parse_manifest(manifest).parts if part.name == name), None)
    if part is None:
        raise InputError(
            f"no part was declared as {name!r}",
            reason="OTHER_PARTS",
            action="give each part under the name that it was declared by",
        )
    if _measure(source) != (part.digest, part.size):
        raise VerificationError(
            f"part {name!r} is not the one that was declared",
            reason="PART_MISMATCH",
            action="ask the exporter to send this part again",
        )


def _manifest(parts: Mapping[str, Source]) -> pb.Manifest:
    try:
        names = sorted(parts, key=str.encode)
    except (TypeError, UnicodeEncodeError):
        raise InputError("a part's name is Unicode text", reason="BAD_PARTS") from None
    if not names or not names[0]:
        raise InputError(
            "there is at least one part, and none has an empty name",
            reason="BAD_PARTS",
            action="name every part; pass None when nothing is sent",
        )
    manifest = pb.Manifest()
    for name in names:
        digest, size = _measure(parts[name])
        manifest.parts.add(name=name, size=size, digest=digest)
    return manifest


def _measure(source: Source) -> tuple[bytes, int]:
    """SHA-256 and size."""
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source)
        return sha256(view if view.c_contiguous else view.tobytes()).digest(), view.nbytes
    if isinstance(source, str | os.PathLike):
        return _measure_path(Path(source))
    if callable(source):
        return _measure_reopened(source)
    if hasattr(source, "__aiter__"):
        raise _one_shot("an asynchronous stream")
    if hasattr(source, "read"):
        return _measure_file(source)
    if hasattr(source, "__next__"):
        raise _one_shot("an iterator")
    raise InputError(
        f"a payload is bytes, a path, a binary file or a callable, not {type(source).__name__}",
        reason="PAYLOAD_TYPE",
    )


def _measure_path(path: Path) -> tuple[bytes, int]:
    with _readable(str(path)):
        before = path.stat()
        # A pipe would block here, and be empty the second time.
        if not (stat.S_ISREG(before.st_mode) or stat.S_ISDIR(before.st_mode)):
            raise _one_shot(f"{path} is no regular file and")
        with path.open("rb", buffering=0) as file:
            digest, size = _drain(file)
        after = path.stat()
    if _version(before) != _version(after) or size != after.st_size:
        raise InputError(
            f"{path} changed while it was read",
            reason="PAYLOAD_CHANGED",
            action="let its writer finish, then try again",
        )
    return digest, size


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _measure_file(file: BinaryIO) -> tuple[bytes, int]:
    with _readable("the file object"):
        if not (hasattr(file, "seekable") and file.seekable()):
            raise _one_shot("a stream without a start to go back to")
        position = file.tell()
        try:
            file.seek(0)
            return _drain(file)
        finally:
            file.seek(position)


def _measure_reopened(reopen: Callable[[], BinaryIO]) -> tuple[bytes, int]:
    with _readable("what the callable opens"):
        file = reopen()
        if not hasattr(file, "read"):
            raise _one_shot(f"a callable that returns {type(file).__name__} and no file")
        with closing(file):
            return _drain(file)


def _drain(file: BinaryIO) -> tuple[bytes, int]:
    digest, size = sha256(), 0
    wanted = 0  # the first read shows text mode before anything is decoded
    while isinstance(chunk := file.read(wanted), bytes):
        if wanted and not chunk:
            return digest.digest(), size
        digest.update(chunk)
        size += len(chunk)
        wanted = _CHUNK
    raise InputError(
        "the file does not return bytes",
        reason="TEXT_PAYLOAD",
        action="open it in binary mode, blocking: open(path, 'rb')",
    )


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a closed file, a NUL in a path
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {what}: {why}", reason="PAYLOAD_UNREADABLE") from error


def _one_shot(what: str) -> InputError:
    return InputError(
        f"{what} can be read only once",
        reason="ONE_SHOT_PAYLOAD",
        action="pass a path, bytes, or a callable that opens the content anew",
    )

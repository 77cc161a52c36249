"""Checkpoints of the peer, as they come from outside and as they are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import TrustError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import Note, Verifier, parse_note
from ledgerd_client.core.opening import open_log_checkpoint


class Known(NamedTuple):
    """
    A checkpoint that the peer's log key signed, or one that says so until the replay is there.

    note holds the log's own signatures and perhaps our cosignature; fetched_at is when we asked
    the peer for it (µs), 0 when it was not fetched.
    """

    checkpoint: Checkpoint
    note: bytes
    fetched_at: int = 0

    @property
    def size(self) -> int:
        return self.checkpoint.size


def parse_known(note: bytes, fetched_at: int = 0) -> Known:
    """Read a note that was verified before it was kept."""
    return Known(Checkpoint.parse(parse_note(note).text), note, fetched_at)


def open_known(
    note: bytes, history: KeyHistory, fetched_at: int = 0, *, before: int | None = None
) -> Known:
    """
    Check a note's signature by the log key in force at its size, and drop lines by strangers.

    before: the size that was cosigned before this one; a key that was rotated away between the
    two, and was not lost, must have signed too. Raises MalformedError, TooLargeError,
    SignatureError or TrustError.
    """
    opened = open_log_checkpoint(note, history)
    if before is not None:
        needed = set(history.needs_both(before, opened.checkpoint.size))
        if not needed <= set(opened.signed):
            raise TrustError(
                "the first checkpoint after a rotation is not signed by the key that it replaced",
                reason="ONE_SIGNATURE",
            )
    return Known(opened.checkpoint, stripped(note, opened.signed), fetched_at)


def stripped(note: bytes, keys: Iterable[Verifier]) -> bytes:
    """
    A note with one line by each of some keys that signed it, and no others.

    Whatever the peer adds to a note would otherwise stand in anchors and receipts.
    """
    wanted = {(key.name, key.key_id) for key in keys}
    parsed = parse_note(note)
    lines = {
        (line.name, line.key_id): line
        for line in parsed.signatures
        if (line.name, line.key_id) in wanted
    }
    return Note(parsed.text, tuple(lines.values())).format()

"""Checkpoints of the peer, as they come from outside and as they are kept."""

from __future__ import annotations

from typing import NamedTuple

from ledgerd_client.core.checkpoint import Checkpoint, open_checkpoint
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import Note, parse_note


class Known(NamedTuple):
    """
    A checkpoint that the peer's log key signed.

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


def open_known(note: bytes, history: KeyHistory, fetched_at: int = 0) -> Known:
    """
    Check a note's signature by the log key, and drop the lines of all others.

    What the peer appends to a note would otherwise stand in our anchors. Raises MalformedError,
    TooLargeError, SignatureError or TrustError.
    """
    opened = open_checkpoint(note, log=history.log_verifiers())
    signed = {(key.name, key.key_id) for key in opened.signed}
    parsed = parse_note(note)
    lines = {
        (line.name, line.key_id): line
        for line in parsed.signatures
        if (line.name, line.key_id) in signed
    }
    whole = Note(parsed.text, tuple(lines.values())).format()
    return Known(opened.checkpoint, whole, fetched_at)

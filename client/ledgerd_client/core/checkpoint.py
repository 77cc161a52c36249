"""
Checkpoints, the signed tree heads of a log (C2SP tlog-checkpoint), and cosignatures on them.

Stricter than C2SP: an origin is also a key name, a root is 32 bytes, and extension lines, which
no monitor can audit, are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ledgerd_client.core.encoding import encode_base64, parse_base64, parse_decimal
from ledgerd_client.core.errors import FieldError, MalformedError, TrustError
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.merkle import HASH_SIZE
from ledgerd_client.core.note import (
    ED25519,
    Note,
    Signature,
    Signer,
    Verifier,
    open_note,
    parse_note,
)

MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    What a log says of itself: its origin, number of leaves, and root.

    Raises MalformedError for an origin that can't name a log, a size of 2^63 or more, or a root
    that is not 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_origin(self.origin)
        if not 0 <= self.size <= MAX_SIZE:
            raise MalformedError("a checkpoint's size is 0 to 2^63 - 1")
        if len(self.root) != HASH_SIZE:
            raise MalformedError("a checkpoint's root is 32 bytes")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note; raises MalformedError unless it is what `format` makes."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedError("a checkpoint is three lines: origin, size and root")
        origin, size, root, _ = lines
        return cls(origin, parse_decimal(size), parse_base64(root))

    def format(self) -> str:
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """
    A checkpoint and the whole note that proves it.

    signed: the log keys that signed it, one or more. cosigned: for each known cosigner key on it,
    the POSIX second at which it says that it saw no larger tree. retired: the log's key of that
    size was replaced since.
    """

    checkpoint: Checkpoint
    note: bytes
    signed: tuple[Verifier, ...]
    cosigned: Mapping[Verifier, int]
    retired: bool = False


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """
    Make the note, signed by the log's keys: one, or at a rotation both.

    Raises FieldError for a key that is not a log key of the checkpoint's origin.
    """
    text = checkpoint.format()
    for signer in signers:
        if not _is_log_key(signer.verifier, checkpoint.origin):
            raise FieldError(f"{signer.verifier.vkey} is no log key of {checkpoint.origin}")
    return Note(text, tuple(signer.sign(text) for signer in signers)).format()


def cosign(checkpoint: Checkpoint, signer: Signer, timestamp: int) -> Signature:
    """
    State that at timestamp, in POSIX seconds, one had seen no larger tree of this log than this.

    The caller has verified the checkpoint and everything before it. Raises FieldError for a key
    that is no cosigner key, or a time out of range.
    """
    return signer.sign(checkpoint.format(), timestamp)


def add_signatures(note: bytes, signatures: Iterable[Signature]) -> bytes:
    """
    Add lines to a note; one by a (name, key id) already there takes the old one's place.

    Verify them first: they are taken as they are. Raises MalformedError or TooLargeError.
    """
    parsed = parse_note(note)
    lines = {(line.name, line.key_id): line for line in (*parsed.signatures, *signatures)}
    return Note(parsed.text, tuple(lines.values())).format()


def open_checkpoint(
    note: bytes,
    *,
    log: Sequence[Verifier],
    cosigners: Sequence[Verifier] = (),
    strict: bool = False,
) -> OpenedCheckpoint:
    """
    Read a checkpoint and check every signature on it by a known key.

    Believed when a log key of the origin that it names signed it, and no known line fails. What
    cosigners did is told, not demanded. log may hold keys of several origins; only the origin's own
    count. strict refuses lines by any other key, and a second line by the same.

    Raises MalformedError or TooLargeError for the note, SignatureError when a line by a known key
    fails, TrustError when no log key signed or, if strict, when an unknown one did.
    """
    parsed = parse_note(note)
    checkpoint = Checkpoint.parse(parsed.text)
    log_keys = [key for key in log if _is_log_key(key, checkpoint.origin)]
    opened = open_note(parsed, (*log_keys, *cosigners), strict=strict)
    signed = tuple(key for key in opened if key in log_keys)
    if not signed:
        raise TrustError(f"the checkpoint is signed by no known log key of {checkpoint.origin}")
    cosigned = {key: second for key, second in opened.items() if second is not None}
    return OpenedCheckpoint(checkpoint, note, signed, cosigned)


def _is_log_key(key: Verifier, origin: str) -> bool:
    return key.name == origin and key.algorithm == ED25519

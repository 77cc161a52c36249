"""
Signed notes and verifier keys (C2SP signed-note), read strictly: one spelling per value.

A note is a text, an empty line, and signature lines. What a key of type 4 signs is the message of
C2SP tlog-cosignature v1, which also states a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from ledgerd_client.core import keys
from ledgerd_client.core.encoding import encode_base64, parse_base64, u64
from ledgerd_client.core.errors import (
    FieldError,
    MalformedError,
    SignatureError,
    TooLargeError,
    TrustError,
)

# Signature types of C2SP signed-note.
ED25519 = 1
COSIGNATURE_V1 = 4

# C2SP demands room for 16 signatures; 16 of its largest type, ML-DSA-44, fit.
MAX_NOTE_SIZE = 64 * 1024
MAX_SIGNATURES = 100
MAX_TIMESTAMP = 2**63 - 1
KEY_ID_SIZE = 4

_TIMESTAMP_SIZE = 8
_MARK = "\u2014"
# Surrogates can't be encoded, so no note holds them; `\s` is Unicode's white space.
_NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
_TEXT = re.compile(r"[^\x00-\x09\x0b-\x1f\ud800-\udfff]*\n")


@dataclass(frozen=True, slots=True)
class Verifier:
    """
    A public key under a name: what checks the lines of one key.

    A log key is (origin, ED25519, public), a cosigner key (name, COSIGNATURE_V1, public). Raises
    MalformedError for another type, a name that no note can carry, or a key that
    keys.check_public_key refuses.
    """

    name: str
    algorithm: int
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.algorithm not in {ED25519, COSIGNATURE_V1}:
            raise MalformedError("a verifier key is of type 1 or 4; other types are not supported")
        keys.check_public_key(self.public)

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand for this key under this name; not for telling keys apart."""
        return sha256(self.name.encode() + b"\n" + self._typed_key()).digest()[:KEY_ID_SIZE]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(self._typed_key())}"

    def verify(self, text: str, signature: bytes) -> int | None:
        """
        Check a signature (without its key id) on a note's text.

        Returns the POSIX second that a cosignature states, None for a key of type 1. Raises
        SignatureError.
        """
        timestamp = None
        if self.algorithm == COSIGNATURE_V1:
            stamp, signature = signature[:_TIMESTAMP_SIZE], signature[_TIMESTAMP_SIZE:]
            timestamp = int.from_bytes(stamp, "big")
            if timestamp > MAX_TIMESTAMP:
                raise SignatureError("a cosignature's time is beyond 2^63 - 1 seconds")
        keys.verify(self.public, _message(text, timestamp), signature)
        return timestamp

    def _typed_key(self) -> bytes:
        return bytes([self.algorithm]) + self.public


class Signer:
    """A private key under a name. Holds the secret; `verifier` is its public half."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, algorithm: int, key: keys.Signs) -> None:
        """Raise MalformedError for what Verifier refuses."""
        self.verifier = Verifier(name, algorithm, key.public)
        self._key = key

    def sign(self, text: str, timestamp: int | None = None) -> Signature:
        """
        Sign a note's text; a key of type 4, and no other, states timestamp, in POSIX seconds.

        Raises FieldError when the time is missing, out of place or out of range.
        """
        if (timestamp is None) == (self.verifier.algorithm == COSIGNATURE_V1):
            raise FieldError("a cosignature states a time, a log's own signature does not")
        if timestamp is not None and not 0 <= timestamp <= MAX_TIMESTAMP:
            raise FieldError("a cosignature's time is 0 to 2^63 - 1 POSIX seconds")
        stamp = b"" if timestamp is None else u64(timestamp)
        signature = stamp + self._key.sign(_message(text, timestamp))
        return Signature(self.verifier.name, self.verifier.key_id, signature)


@dataclass(frozen=True, slots=True)
class Signature:
    """
    A signature line, believed by nobody yet: whose it claims to be, and the signature.

    Raises MalformedError for what no line can carry.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key_id) != KEY_ID_SIZE or not self.signature:
            raise MalformedError("a signature line holds a 4-byte key id and a signature")

    def format(self) -> str:
        """The line, with its newline."""
        return f"{_MARK} {self.name} {encode_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """
    A text and its signature lines, believed by nobody yet.

    Raises MalformedError for what no note can carry, TooLargeError beyond 100 signatures.
    """

    text: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if not _TEXT.fullmatch(self.text):
            raise MalformedError("a note's text ends in a newline and holds no control characters")
        if not self.signatures:
            raise MalformedError("a note has at least one signature")
        if len(self.signatures) > MAX_SIGNATURES:
            raise TooLargeError(f"a note has at most {MAX_SIGNATURES} signatures")

    def format(self) -> bytes:
        """Raises TooLargeError beyond 64 KiB."""
        lines = "".join(signature.format() for signature in self.signatures)
        data = f"{self.text}\n{lines}".encode()
        _check_size(len(data))
        return data


def parse_vkey(text: str) -> Verifier:
    """Read `<name>+<key id>+<base64 of type and key>`; raises MalformedError."""
    # Neither name nor key id holds a '+', but base64 may.
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    typed = parse_base64(encoded)
    verifier = Verifier(name, int.from_bytes(typed[:1], "big"), typed[1:])
    if verifier.vkey != text:
        raise MalformedError("the verifier key's id is not that of its name and key: copy it anew")
    return verifier


def parse_note(data: bytes) -> Note:
    """Read a note; raises MalformedError, or TooLargeError beyond 64 KiB or 100 signatures."""
    _check_size(len(data))
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise MalformedError("a note is UTF-8") from None
    # The text may hold empty lines of its own: the last one ends it.
    text, empty_line, lines = whole.rpartition("\n\n")
    if not empty_line:
        raise MalformedError("a note has an empty line between its text and its signatures")
    return Note(text + "\n", parse_signature_lines(lines))


def parse_signature_lines(text: str) -> tuple[Signature, ...]:
    """Read one or more whole signature lines; raises MalformedError or TooLargeError."""
    _check_size(len(text))
    *lines, rest = text.split("\n")
    if rest or not lines:
        raise MalformedError("signature lines each end in a newline")
    if len(lines) > MAX_SIGNATURES:
        raise TooLargeError(f"a note has at most {MAX_SIGNATURES} signatures")
    return tuple(_parse_line(line) for line in lines)


def open_note(
    note: Note, verifiers: Iterable[Verifier], *, strict: bool = False
) -> dict[Verifier, int | None]:
    """
    Check every signature on note that is by one of verifiers, and tell who signed.

    The values are the POSIX seconds that cosignatures state, None for keys of type 1. Lines by
    unknown keys are skipped, or refused when strict. C2SP allows several lines by one key: each
    must verify, the key counts once, at the latest time; strict refuses the second.

    Raises SignatureError when a known key's line fails, whatever the others say; TrustError when no
    known key signed.
    """
    known = _by_name_and_id(verifiers)
    signed: dict[Verifier, int | None] = {}
    for line in note.signatures:
        verifier = known.get((line.name, line.key_id))
        if verifier is None:
            if strict:
                raise TrustError(f"a signature in the name of {line.name} is by an unknown key")
            continue
        if strict and verifier in signed:
            raise MalformedError(f"{line.name} signed twice with one key")
        timestamp = verifier.verify(note.text, line.signature)
        if timestamp is not None:
            timestamp = max(timestamp, signed.get(verifier) or 0)
        signed[verifier] = timestamp
    if not signed:
        raise TrustError("the note is signed by no known key")
    return signed


def _by_name_and_id(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        # A key id is 4 bytes: whoever chooses a key can make it meet another's.
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise TrustError(f"two keys of {verifier.name} have the same key id")
    return known


def _message(text: str, timestamp: int | None) -> bytes:
    # C2SP tlog-cosignature, "Ed25519 signed message".
    header = "" if timestamp is None else f"cosignature/v1\ntime {timestamp}\n"
    return (header + text).encode()


def _parse_line(line: str) -> Signature:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if mark != _MARK:
        raise MalformedError("a signature line is an em dash, a name and base64")
    data = parse_base64(encoded)
    return Signature(name, data[:KEY_ID_SIZE], data[KEY_ID_SIZE:])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise MalformedError("a key name is not empty and holds no white space, control or '+'")


def _check_size(size: int) -> None:
    if size > MAX_NOTE_SIZE:
        raise TooLargeError(f"a note has at most {MAX_NOTE_SIZE} bytes")

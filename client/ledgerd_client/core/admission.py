"""Keys that an authority admits, and what a new key signs to show that its asker holds it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import lp8
from ledgerd_client.core.errors import SignatureError
from ledgerd_client.core.keys import verify

_ADMISSION_TAG = b"ledgerd/admission/v1\n"
_AUTHORITY_TAG = b"ledgerd/authority/v1\n"


@dataclass(frozen=True, slots=True)
class AdmittedKey:
    """A key that the authority admitted; indexes are of KEY entries in this log."""

    public: bytes
    # A number of pb.Role.
    role: int
    subject: str
    place: int
    sector: int
    name: str
    group: str
    admitted_at: int
    revoked_at: int | None = None
    # µs since the epoch from which the key was in other hands; 0: never.
    compromised_since: int = 0
    # What a regulator may read.
    grant: pb.Grant | None = None

    def good_at(self, index: int) -> bool:
        """Whether an entry at index may be signed with it."""
        return self.admitted_at < index and (self.revoked_at is None or index < self.revoked_at)


def admission_digest(origin: str, subject: str, role: int, public: bytes) -> bytes:
    """What a new key signs to show that whoever asks for it holds it."""
    named = lp8(origin.encode()) + lp8(subject.encode())
    return sha256(_ADMISSION_TAG + named + bytes([role]) + public).digest()


def authority_digest(origin: str, previous_key_id: bytes, public: bytes, history: bytes) -> bytes:
    """
    What an authority's next key signs: whoever trusts it alone trusts the history before it.

    history: the KeyHistory's history_digest.
    """
    named = lp8(origin.encode()) + previous_key_id
    return sha256(_AUTHORITY_TAG + named + public + history).digest()


def check_possession(public: bytes, digest: bytes, possession: bytes) -> None:
    """Refuse a key whose asker has not signed its digest; raises SignatureError NO_POSSESSION."""
    try:
        verify(public, digest, possession)
    except SignatureError:
        raise SignatureError(
            "the proof of possession does not verify", reason="NO_POSSESSION"
        ) from None

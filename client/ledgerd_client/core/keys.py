r"""
Ed25519 keys: signing, strict verification, and the names keys go by.

A key id (33 bytes) is u8 algorithm ‖ H("ledgerd/key/v1\n" ‖ u8 algorithm ‖ public key); the only
algorithm is 1, Ed25519 (RFC 8032). Secrets live in SigningKey and in nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from nacl import bindings
from nacl.exceptions import BadSignatureError

from ledgerd_client.core.errors import MalformedError, SignatureError

ED25519 = 1
KEY_ID_SIZE = 33
PUBLIC_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64

_KEY_TAG = b"ledgerd/key/v1\n"


class Signs(Protocol):
    """Whatever signs with an Ed25519 key: one in memory, or one that lies somewhere else."""

    @property
    def public(self) -> bytes:
        """The raw public key."""

    @property
    def key_id(self) -> bytes:
        """The 33 bytes that name it."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over message."""


class SigningKey:
    """An Ed25519 private key. Holds the secret; prints only the public half."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        """
        Make the key of a 32-byte seed (RFC 8032 section 5.1.5).

        Raises MalformedError for a seed of another length.
        """
        if len(seed) != SEED_SIZE:
            raise MalformedError("a key's seed is 32 bytes")
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over message."""
        signed: bytes = bindings.crypto_sign(message, self._secret)
        return signed[:SIGNATURE_SIZE]

    @property
    def key_id(self) -> bytes:
        return key_id(self.public)

    @property
    def seed(self) -> bytes:
        """The secret itself, for whoever writes a key file."""
        return self._secret[:SEED_SIZE]

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def key_id(public: bytes) -> bytes:
    """The 33-byte id of an Ed25519 public key."""
    algorithm = bytes([ED25519])
    return algorithm + sha256(_KEY_TAG + algorithm + public).digest()


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """
    Check an Ed25519 signature (RFC 8032; small-order and non-canonical points fail).

    Raises SignatureError. Drops the GIL while it computes.
    """
    if len(signature) != SIGNATURE_SIZE or len(public) != PUBLIC_SIZE:
        raise SignatureError("a signature is 64 bytes and a public key 32")
    try:
        bindings.crypto_sign_open(signature + message, public)
    except BadSignatureError:
        raise SignatureError("signature does not verify") from None


# A log's few keys are looked at again for every checkpoint that is signed or read.
@lru_cache(maxsize=1024)
def check_public_key(public: bytes) -> None:
    """
    Refuse a public key that is no canonical point of the prime-order group.

    A key of low order makes signatures that fit many messages; a second spelling of a point would
    be the same key under two ids. Raises MalformedError.
    """
    if len(public) != PUBLIC_SIZE:
        raise MalformedError("a public key is 32 bytes", reason="BAD_KEY")
    # On the curve, canonical, of the main subgroup, not of low order (libsodium's manual).
    if not bindings.crypto_core_ed25519_is_valid_point(public):
        raise MalformedError("not a canonical point of the prime-order group", reason="BAD_KEY")

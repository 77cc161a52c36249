"""
Keys under a passphrase (docs/format.md, "Sealed key file"): the file alone signs nothing.

    ledgerd-sealed-key/v1
    ed25519 <base64 of the public key>
    argon2id <operations> <bytes of memory> <base64 of 16 bytes of salt>
    secretbox <base64 of nonce and box>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from ledgerd_client.core.encoding import encode_base64, parse_base64, parse_decimal
from ledgerd_client.core.errors import InputError, MalformedError
from ledgerd_client.core.keys import SigningKey

FILE_HEAD = "ledgerd-sealed-key/v1"

# What a file may make whoever opens it spend.
_MAX_OPERATIONS = 10
_MAX_MEMORY = 1 << 30
_BOX_SIZE = SecretBox.NONCE_SIZE + 32 + SecretBox.MACBYTES


@dataclass(frozen=True, slots=True)
class Cost:
    """What a guess costs: passes over memory, and bytes of it."""

    operations: int = argon2id.OPSLIMIT_MODERATE
    memory: int = argon2id.MEMLIMIT_MODERATE


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key that a passphrase opens. Its public half can be read without one, and is not proven."""

    public: bytes
    cost: Cost
    salt: bytes
    box: bytes

    @classmethod
    def seal(cls, key: SigningKey, passphrase: bytes, cost: Cost | None = None) -> Self:
        """Seal a key; salt and nonce are random."""
        cost, salt = cost or Cost(), random(argon2id.SALTBYTES)
        box = SecretBox(_derive(passphrase, salt, cost)).encrypt(key.seed)
        return cls(key.public, cost, salt, bytes(box))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file; raises MalformedError unless data is its one spelling."""
        try:
            head, key, derivation, box, end = data.decode("ascii").split("\n")
            algorithm, public = key.split(" ")
            function, operations, memory, salt = derivation.split(" ")
            kind, sealed = box.split(" ")
        except ValueError:  # UnicodeDecodeError is one
            raise MalformedError(f"not a {FILE_HEAD} file") from None
        named = (head, algorithm, function, kind, end)
        if named != (FILE_HEAD, "ed25519", "argon2id", "secretbox", ""):
            raise MalformedError(f"not a {FILE_HEAD} file")
        cost = Cost(parse_decimal(operations), parse_decimal(memory))
        found = cls(parse_base64(public), cost, parse_base64(salt), parse_base64(sealed))
        found.check()
        return found

    def check(self) -> None:
        """Raise MalformedError for what no file of ours says, or would cost too much to open."""
        cost = self.cost
        if not argon2id.OPSLIMIT_MIN <= cost.operations <= _MAX_OPERATIONS:
            raise MalformedError("a sealed key asks for too many operations, or for none")
        if not argon2id.MEMLIMIT_MIN <= cost.memory <= _MAX_MEMORY:
            raise MalformedError("a sealed key asks for too much memory, or for none")
        sizes = (len(self.public), len(self.salt), len(self.box))
        if sizes != (32, argon2id.SALTBYTES, _BOX_SIZE):
            raise MalformedError("a part of a sealed key has another size")

    def format(self) -> bytes:
        lines = (
            FILE_HEAD,
            f"ed25519 {encode_base64(self.public)}",
            f"argon2id {self.cost.operations} {self.cost.memory} {encode_base64(self.salt)}",
            f"secretbox {encode_base64(self.box)}",
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def open(self, passphrase: bytes) -> SigningKey:
        """Raises InputError WRONG_PASSPHRASE."""
        try:
            seed = SecretBox(_derive(passphrase, self.salt, self.cost)).decrypt(self.box)
        except CryptoError:
            raise _wrong_passphrase() from None
        key = SigningKey(seed)
        if key.public != self.public:
            raise MalformedError("a sealed key's file names another public key than it holds")
        return key


def _derive(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    return argon2id.kdf(
        SecretBox.KEY_SIZE, passphrase, salt, opslimit=cost.operations, memlimit=cost.memory
    )


def _wrong_passphrase() -> InputError:
    return InputError(
        "the passphrase does not open the key file",
        reason="WRONG_PASSPHRASE",
        action="give the passphrase that the key was sealed with",
    )

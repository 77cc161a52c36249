"""
What a node answers to a file that was carried to it, under its entry key.

Whoever carries files may withhold them, mix parts of them, and bring old ones again. So all that
an answer says of the moment at which it was made stands under its signature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import ClassVar, Final, Self

from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import lp8, u64
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.keys import Signs, verify
from ledgerd_client.core.merkle import HASH_SIZE
from ledgerd_client.jsonfile import JsonFile

_CONTEXT: Final = b"ledgerd/answer/v1\n"
QUESTION_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Answer(JsonFile):
    """
    When `question` had come, the sender's log held the `size` entries that come to `root`, or more.

    cosigned: what it vouched for of the asker's log then, a note; seen: the largest one under the
    asker's signature that it knew of; b"" for none.
    """

    FORMAT: ClassVar = "ledgerd-answer/v1"

    question: bytes
    size: int
    root: bytes
    cosigned: bytes
    seen: bytes
    signature: bytes

    def __post_init__(self) -> None:
        sizes = len(self.question), len(self.root)
        if sizes != (QUESTION_SIZE, HASH_SIZE) or not self.size:
            raise MalformedError("an answer names a question of 16 bytes, and a log with a root")

    @classmethod
    def make(
        cls, key: Signs, to: str, *, question: bytes, head: Checkpoint, cosigned: bytes, seen: bytes
    ) -> Self:
        """Sign what the log of head says to another; key is its entry key."""
        unsigned = cls(question, head.size, head.root, cosigned, seen, b"")
        return replace(unsigned, signature=key.sign(unsigned.signed_bytes(head.origin, to)))

    def verify(self, public: bytes, origin: str, to: str) -> None:
        """Check that the entry key (raw) of origin said this to another; raises SignatureError."""
        verify(public, self.signed_bytes(origin, to), self.signature)

    def signed_bytes(self, origin: str, to: str) -> bytes:
        """What the log of origin signs when it says this to another."""
        names = b"".join(lp8(name.encode()) for name in (origin, to))
        notes = b"".join(sha256(note).digest() for note in (self.cosigned, self.seen))
        return _CONTEXT + names + self.question + u64(self.size) + self.root + notes

"""Checkpoints of the peer that callers say they have seen, until the monitor looks at them."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

# Looked at in one round, and not looked at again.
_WAITING: Final = 16
_REMEMBERED: Final = 1024


class Mentions:
    """Notes that nobody has verified. Belongs to the event loop."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        # Digests, in the order in which they came.
        self._seen: dict[bytes, None] = {}

    def add(self, note: bytes) -> None:
        """Keep a note to be looked at, unless it was before; some are dropped when many come."""
        digest = sha256(note).digest()
        if digest in self._seen or len(self._waiting) >= _WAITING:
            return
        self._waiting.append(note)
        self._seen[digest] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def take(self) -> list[bytes]:
        """What waits, once."""
        waiting, self._waiting = self._waiting, []
        return waiting

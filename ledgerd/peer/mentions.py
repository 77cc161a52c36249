"""Checkpoints of the peer that callers say they have seen, until the monitor looks at them."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import sha256
from typing import Final

# Looked at in one round, and not looked at again.
_A_ROUND: Final = 16
# That wait of one caller, and callers of whom any does.
_OF_ONE: Final = 4
_CALLERS: Final = 256
_REMEMBERED: Final = 1024


class Mentions:
    """Notes that nobody has verified. Belongs to the event loop."""

    def __init__(self) -> None:
        # By caller, in the order in which their turns come.
        self._waiting: dict[Hashable, list[bytes]] = {}
        # Digests, in the order in which they came.
        self._seen: dict[bytes, None] = {}

    def add(self, caller: Hashable, note: bytes) -> None:
        """Keep a note to be looked at, unless it was before; a caller's fifth is dropped."""
        digest = sha256(note).digest()
        waiting = self._waiting.get(caller, [])
        if digest in self._seen or len(waiting) >= _OF_ONE:
            return
        if not waiting and len(self._waiting) >= _CALLERS:
            return
        self._waiting[caller] = [*waiting, note]
        self._seen[digest] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def take(self) -> list[bytes]:
        """What is looked at in this round, once: of each caller one, and again, while there is."""
        taken: list[bytes] = []
        while self._waiting and len(taken) < _A_ROUND:
            caller = next(iter(self._waiting))
            note, *rest = self._waiting.pop(caller)
            taken.append(note)
            if rest:
                self._waiting[caller] = rest
        return taken

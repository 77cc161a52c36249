"""
The node's signing keys at hand: present ones, those they replaced, and those that replace them.

Which of them signs, the log alone says; so a rotation, a start after a crash in the midst of one,
and every other commit are one and the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import NotReadyError, StoreError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import Signs
from ledgerd_client.core.node_keys import NodeKey
from ledgerd_client.core.note import ED25519, Signer


class HeldKeys:
    """Log and entry keys, by their public halves. Belongs to one thread."""

    def __init__(self, log_key: Signer, entry_key: Signs) -> None:
        """Of log_key the name is the log's origin."""
        self._origin = log_key.verifier.name
        self._log = {log_key.verifier.public: log_key}
        self._entry = {entry_key.public: entry_key}
        self._retired: dict[bytes, Signer] = {}

    def hold(self, role: int, keys: Iterable[Signs]) -> None:
        """Have more at hand; those of roles other than ROLE_LOG and ROLE_ENTRY are not needed."""
        for key in keys:
            if role == pb.ROLE_LOG:
                self._log[key.public] = Signer(self._origin, ED25519, key)
            elif role == pb.ROLE_ENTRY:
                self._entry[key.public] = key

    def hold_retired(self, keys: Iterable[Signs]) -> None:
        """Have log keys at hand that were replaced: they never sign alone."""
        self._retired |= {key.public: Signer(self._origin, ED25519, key) for key in keys}

    def check_next(self, event: pb.KeyEvent) -> None:
        """Refuse a rotation to a key that is not here; raises NotReadyError NEXT_KEY_MISSING."""
        missing = (event.role == pb.ROLE_LOG and event.public_key not in self._log) or (
            event.role == pb.ROLE_ENTRY and event.public_key not in self._entry
        )
        if missing:
            raise NotReadyError(
                "this node does not hold the key that the rotation names",
                reason="NEXT_KEY_MISSING",
                action="have the key signed that `ledgerd rotate --request` made on this node",
            )

    def check_turn(self, event: pb.KeyEvent, history: KeyHistory, cosigned: int) -> None:
        """
        Refuse to rotate a log or entry key anew before the peer has cosigned the rotation before.

        Beside a key lies the one that it replaced, and no other; until then that is still needed:
        it signs the checkpoint too, or entries again if the log ends before its rotation. Of a
        present key that is not here nothing can be waited for. Raises NotReadyError KEY_ROTATED.
        """
        if not history.is_young(event.role, cosigned):
            return
        present = history.key_in_force(event.role).public
        if present in self._log or present in self._entry:
            raise rotated_lately()

    def log_signers(self, history: KeyHistory, size: int, cosigned: int) -> list[Signer]:
        """
        Who signs the checkpoint of a size, of which the peer has cosigned so many entries.

        Beside the key in force those that it replaced, as far as they are still here: the first
        checkpoint that the peer sees over a rotation carries both. Raises StoreError WRONG_KEYS.
        """
        present, *_ = history.log_keys(size)
        if present.public not in self._log:
            raise _wrong_keys("log")
        held = self._retired | self._log
        old = [key.public for key in history.needs_both(cosigned, size)]
        return [self._log[present.public], *(held[public] for public in old if public in held)]

    def entry_key(self, history: KeyHistory) -> tuple[Signs, NodeKey]:
        """Who signs the node's next entry, and where it was put in force; raises as above."""
        present = history.key_in_force(pb.ROLE_ENTRY)
        if present.public not in self._entry:
            raise _wrong_keys("entry")
        return self._entry[present.public], present


def rotated_lately() -> NotReadyError:
    """Why a key is not rotated again yet."""
    return NotReadyError(
        "the peer has not cosigned the rotation before this one",
        reason="KEY_ROTATED",
        action="try again when ledgerd_cosigned_entries has passed it; if the present key is in"
        " other hands, stop the node, move the key's file away, and rotate with --lost",
    )


def _wrong_keys(name: str) -> StoreError:
    return StoreError(
        f"the {name} key that the log says is in force is not among the node's key files",
        reason="WRONG_KEYS",
        action="put the key file back, with .next and .retired as they were",
    )

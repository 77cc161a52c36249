"""
The keys of a node and of its authority, by role, as a log names them (protocol, "Keys and trust").

GENESIS names the first of each role; a rotation or a LOSS puts another in the place of the newest.
What a key may do depends on where: it is in force from the entry after the one that admitted it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import admission_digest, authority_digest, check_possession
from ledgerd_client.core.errors import ChainError, ConflictError, NotFoundError
from ledgerd_client.core.key_events import SUBJECTS
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Verifier

# Each is another key, in the order in which GENESIS names them.
NODE_ROLES = (pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER)
ROTATING_ROLES = (*NODE_ROLES, pb.ROLE_AUTHORITY)


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A raw public key, and the index of the entry that put it in force (0: GENESIS)."""

    public: bytes
    admitted_at: int
    # Of the key before this one: it could sign no more.
    lost: bool = False


class NodeKeys:
    """Each role's keys in one log's order. Not thread-safe for writing."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._of: dict[int, list[NodeKey]] = {role: [] for role in ROTATING_ROLES}
        # Keys that were replaced, and of which the authority has said that others had them too.
        self._stolen: set[bytes] = set()

    # -- what may be said of them -----------------------------------------------------------

    def check(self, event: pb.KeyEvent, history_digest: Callable[[], bytes]) -> None:
        """
        Refuse a key event that may not be said here of a key of the node or authority.

        That a key which is put in force is a new one, the caller has checked. Raises as
        KeyHistory.check.
        """
        if event.action == pb.KEY_ACTION_REVOKE:
            self._check_stolen(event.public_key)
            return
        if event.previous_key_id != key_id(self.in_force(event.role).public):
            raise NotFoundError(
                f"that key of {event.subject} is not in force", reason="KEY_UNKNOWN"
            )
        digest = admission_digest(self._origin, event.subject, event.role, event.public_key)
        if event.role == pb.ROLE_AUTHORITY:
            if event.history_digest != history_digest():
                raise ConflictError(
                    "the key history went on since the new key signed it",
                    reason="HISTORY_MOVED",
                    action="fetch the key history again and let the new key sign that",
                )
            digest = authority_digest(
                self._origin, event.previous_key_id, event.public_key, event.history_digest
            )
        check_possession(event.public_key, digest, event.possession)

    def check_loss(self, index: int, loss: pb.Loss) -> None:
        """Refuse a LOSS as entry index; as check()."""
        if index != loss.size:
            raise ChainError(f"the LOSS after {loss.size} entries can't be entry {index}")
        for role, public, possession in (
            (pb.ROLE_LOG, loss.log_key, loss.log_possession),
            (pb.ROLE_COSIGNER, loss.cosigner_key, loss.cosigner_possession),
        ):
            digest = admission_digest(self._origin, SUBJECTS[role], role, public)
            check_possession(public, digest, possession)

    def _check_stolen(self, public: bytes) -> None:
        if public not in {old.public for old, _ in self._replaced()}:
            raise NotFoundError(
                "this is no log key that was replaced: the one in force is rotated",
                reason="KEY_UNKNOWN",
            )
        if public in self._stolen:
            raise ConflictError("the key is revoked already", reason="KEY_REVOKED")

    # -- growing ----------------------------------------------------------------------------

    def begin(self, genesis: pb.Genesis) -> None:
        """Take the first key of each role."""
        first = (genesis.log_key, genesis.entry_key, genesis.cosigner_key, genesis.authority_key)
        for role, public in zip(ROTATING_ROLES, first, strict=True):
            self._of[role] = [NodeKey(public, 0)]

    def apply(self, index: int, event: pb.KeyEvent) -> None:
        """Take over an event that check() let pass."""
        if event.action == pb.KEY_ACTION_REVOKE:
            self._stolen.add(event.public_key)
            return
        if event.compromised_since:
            self._stolen.add(self.in_force(event.role).public)
        self._of[event.role].append(NodeKey(event.public_key, index, event.lost))

    def apply_loss(self, index: int, loss: pb.Loss) -> None:
        """Take over a LOSS that check_loss() let pass."""
        self._of[pb.ROLE_LOG].append(NodeKey(loss.log_key, index, lost=True))
        self._of[pb.ROLE_COSIGNER].append(NodeKey(loss.cosigner_key, index, lost=True))

    # -- asking -----------------------------------------------------------------------------

    def of(self, role: int) -> tuple[NodeKey, ...]:
        """All of a role, in log order."""
        return tuple(self._of[role])

    def in_force(self, role: int, index: int | None = None) -> NodeKey:
        """The key that signs the entry at index, or the next one; of a log with a GENESIS."""
        keys = self._of[role]
        if index is None:
            return keys[-1]
        return next((key for key in reversed(keys) if key.admitted_at < index), keys[0])

    def named(self, public: bytes) -> bool:
        """Whether any role has or had this key."""
        return any(key.public == public for keys in self._of.values() for key in keys)

    def log_keys(self, size: int) -> tuple[Verifier, ...]:
        """As KeyHistory.log_keys."""
        named = self.in_force(pb.ROLE_LOG, size)
        kept = [
            old
            for old, new in self._replaced()
            if not new.lost and new.admitted_at <= named.admitted_at
        ]
        return tuple(self._log_key(key) for key in (named, *reversed(kept)))

    def accountable(self, size: int) -> tuple[Verifier, ...]:
        """As KeyHistory.accountable."""
        named = self.in_force(pb.ROLE_LOG, size)
        return () if named.public in self._stolen else (self._log_key(named),)

    def young(self, role: int, known: int) -> bool:
        """As KeyHistory.is_young."""
        if role not in (pb.ROLE_LOG, pb.ROLE_ENTRY):
            return False
        return any(key.admitted_at >= known and not key.lost for key in self._of[role][1:])

    def needs_both(self, known: int, size: int) -> tuple[Verifier, ...]:
        """As KeyHistory.needs_both."""
        return tuple(
            self._log_key(old)
            for old, new in self._replaced()
            if known <= new.admitted_at < size and not new.lost
        )

    def cosigner_keys(self) -> tuple[Verifier, ...]:
        """As KeyHistory.cosigner_keys."""
        keys = reversed(self._of[pb.ROLE_COSIGNER])
        return tuple(Verifier(self._origin, COSIGNATURE_V1, key.public) for key in keys)

    def _replaced(self) -> Iterator[tuple[NodeKey, NodeKey]]:
        """Each log key with the one that took its place, in log order."""
        return pairwise(self._of[pb.ROLE_LOG])

    def _log_key(self, key: NodeKey) -> Verifier:
        return Verifier(self._origin, ED25519, key.public)

"""
The keys of institutions and regulators, as a log admits and revokes them (docs/protocol.md).

Revoked at index r, a key signs nothing after r, and never comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import AdmittedKey, admission_digest, check_possession
from ledgerd_client.core.errors import ConflictError, ForbiddenError, NotFoundError
from ledgerd_client.core.keys import key_id


class AdmittedKeys:
    """Every key ever admitted, by its id, in one log's order. Not thread-safe for writing."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._keys: dict[bytes, AdmittedKey] = {}

    # -- growing ----------------------------------------------------------------------------

    def check(self, event: pb.KeyEvent) -> None:
        """
        Refuse a key event that may not be said here of a subject's key.

        That a key which is admitted is a new one, the caller has checked. Raises as
        KeyHistory.check.
        """
        if event.action == pb.KEY_ACTION_REVOKE:
            self._check_revocable(key_id(event.public_key), event)
            return
        if event.action == pb.KEY_ACTION_ROTATE:
            self._check_revocable(event.previous_key_id, event)
        digest = admission_digest(self._origin, event.subject, event.role, event.public_key)
        check_possession(event.public_key, digest, event.possession)

    def apply(self, index: int, event: pb.KeyEvent) -> None:
        """Take over an event that check() let pass."""
        if event.action == pb.KEY_ACTION_REVOKE:
            self._revoke(key_id(event.public_key), index, event.compromised_since)
        else:
            self._admit(index, event)

    def _check_revocable(self, wanted: bytes, event: pb.KeyEvent) -> None:
        key = self._keys.get(wanted)
        if key is None or (key.role, key.subject) != (event.role, event.subject):
            raise NotFoundError(f"{event.subject} has no such key", reason="KEY_UNKNOWN")
        if key.revoked_at is not None:
            raise ConflictError("the key is revoked already", reason="KEY_REVOKED")

    def _admit(self, index: int, event: pb.KeyEvent) -> None:
        new = AdmittedKey(
            event.public_key, event.role, event.subject,
            event.place, event.sector, event.name, event.group, index,
            grant=event.grant if event.HasField("grant") else None,
        )  # fmt: skip
        if event.action == pb.KEY_ACTION_ROTATE:
            old = self._keys[event.previous_key_id]
            self._revoke(event.previous_key_id, index, event.compromised_since)
            # What a rotation does not say anew stays as it was.
            new = replace(
                new,
                place=new.place or old.place,
                sector=new.sector or old.sector,
                name=new.name or old.name,
                group=new.group or old.group,
            )
        self._keys[key_id(event.public_key)] = new

    def _revoke(self, wanted: bytes, index: int, compromised_since: int) -> None:
        self._keys[wanted] = replace(
            self._keys[wanted], revoked_at=index, compromised_since=compromised_since
        )

    # -- asking -----------------------------------------------------------------------------

    def of_institution(self, wanted: bytes, admitted_at: int, index: int) -> AdmittedKey:
        """
        The institution's key of the entry at index, which names it by id and place of admission.

        Raises ForbiddenError KEY_UNKNOWN or KEY_REVOKED.
        """
        key = self._keys.get(wanted)
        named = (pb.ROLE_INSTITUTION, admitted_at)
        if key is None or (key.role, key.admitted_at) != named or index <= admitted_at:
            raise ForbiddenError(
                f"entry {index} is signed by a key that was not admitted", reason="KEY_UNKNOWN"
            )
        if not key.good_at(index):
            raise ForbiddenError(
                f"the key was revoked by entry {key.revoked_at}",
                reason="KEY_REVOKED",
                action="sign with a key that is not revoked",
            )
        return key

    def find(self, wanted: bytes) -> AdmittedKey | None:
        return self._keys.get(wanted)

    def of_subject(self, role: int, subject: str) -> Iterator[tuple[bytes, AdmittedKey]]:
        """Every key ever admitted for subject, as (key id, key)."""
        for wanted, key in self._keys.items():
            if key.role == role and key.subject == subject:
                yield wanted, key

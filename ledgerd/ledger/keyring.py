"""Whose keys the log admits, as of its newest commit: what every call is checked against."""

from __future__ import annotations

from collections.abc import Mapping

from ledgerd.projections.registry import key_entries
from ledgerd.store.base import Store
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.record import Key


class Keyring:
    """
    A key history beside the writer's own, brought up to date after each commit.

    Belongs to one thread, but for `history`: any thread may read it, as it is replaced and never
    changed. Entries are taken as they are: the writer verified them when it started or when it
    appended them.
    """

    def __init__(self, store: Store, origin: str, authority: bytes) -> None:
        self.history = KeyHistory(origin, authority)
        self._store = store
        self._next = 0
        self._keys: dict[tuple[int, str], dict[bytes, Key]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take over what was committed since of a key history; costs one seek if nothing was."""
        with self._store.snapshot() as snapshot:
            added = list(key_entries(snapshot, self._next))
        if not added:
            return
        history = KeyHistory(self.history.origin, self.history.authority)
        for raw in (*self.history.entries, *added):
            history.apply(Header.parse(raw[0]), pb.Body.FromString(raw[1]), raw=raw)
        for raw in added:
            self._take(*raw)
        self.history = history

    def institution_keys(self, institution: str) -> Mapping[bytes, Key]:
        """Every key ever admitted for it, revoked ones too, by key id; empty for a stranger."""
        return self._keys.get((pb.ROLE_INSTITUTION, institution), {})

    def grant_of(self, regulator: str) -> pb.Grant | None:
        """What a regulator may read, by its newest key that is not revoked; None without one."""
        admitted = map(self.history.find, self._keys.get((pb.ROLE_REGULATOR, regulator), ()))
        good = [key for key in admitted if key is not None and key.revoked_at is None]
        return max(good, key=lambda key: key.admitted_at).grant if good else None

    def _take(self, raw: bytes, body: bytes) -> None:
        header, event = Header.parse(raw), pb.Body.FromString(body).key_event
        self._next = header.index + 1
        if event.role not in {pb.ROLE_INSTITUTION, pb.ROLE_REGULATOR}:
            return
        if event.action in {pb.KEY_ACTION_ADMIT, pb.KEY_ACTION_ROTATE}:
            # A new dict: the old one may be on its way to a worker.
            subject = (event.role, event.subject)
            added = {key_id(event.public_key): Key(header.index, event.public_key)}
            self._keys[subject] = self._keys.get(subject, {}) | added

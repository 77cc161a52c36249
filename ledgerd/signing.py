"""
What a node that runs signs with: its own entries (ANCHOR, EVIDENCE, TICK, …), and rotated keys.

The log says which key is in force; this follows it, commit by commit.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from ledgerd.config import Config
from ledgerd.credentials import NEXT, RETIRED, NodeKeys, beside, key_path
from ledgerd.ledger.own_entry import sign_own
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import InputError, NotReadyError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey, Signs
from ledgerd_client.core.node_keys import NODE_ROLES
from ledgerd_client.core.note import Signer
from ledgerd_client.core.record import Admitted, sign_admitted
from ledgerd_client.keyfile import public_key, read_key_file, read_secret

_log = structlog.get_logger()


class OwnEntries:
    """
    Makes entries of the node itself. Belongs to the event loop.

    clock gives µs since the epoch, random(n) n random bytes.
    """

    def __init__(
        self,
        origin: str,
        key: Signs,
        admitted_at: int,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        """The key is the node's for entries, put in force by the entry at admitted_at."""
        self._origin: Final = origin
        self._key = key
        self._admitted_at = admitted_at
        self._clock = clock
        self._random = random

    def sign(self, **record: object) -> Admitted:
        """Make and sign an entry; record is one field of pb.Body's oneof."""
        now, admitted_at = self._clock(), self._admitted_at
        return sign_own(self._key, self._origin, now, self._random, key_index=admitted_at, **record)

    def sign_body(self, body: bytes) -> Admitted:
        """Sign a body that was made earlier."""
        return sign_admitted(body, self._key, key_index=self._admitted_at)

    @property
    def key(self) -> Signs:
        """The key that signs now."""
        return self._key

    def replace(self, key: Signs, admitted_at: int) -> None:
        """Sign by another key from now on."""
        self._key, self._admitted_at = key, admitted_at


class LiveKeys:
    """
    The node's keys while it runs: a rotation needs no stop. Belongs to the event loop.

    hold gives a log or entry key to the writer; cosign_by is told which key cosigns from now on.
    """

    def __init__(
        self,
        config: Config,
        keys: NodeKeys,
        history: KeyHistory,
        *,
        own: OwnEntries,
        hold: Callable[[int, SigningKey], Awaitable[None]],
        cosign_by: Callable[[Signer], None],
    ) -> None:
        """The keys are those that history says are in force, and others that lie beside them."""
        self._config = config
        self._keys = keys
        self._history = history
        self._own = own
        self._hold = hold
        self._cosign_by = cosign_by
        put_in_place(config, keys)

    async def prepare(self, event: pb.KeyEvent) -> None:
        """
        Before a key event is appended: have the key at hand that it puts in force, if it is ours.

        Raises NotReadyError NEXT_KEY_MISSING, and InputError for a file that can't be read.
        """
        is_rotation = event.action == pb.KEY_ACTION_ROTATE and event.role in NODE_ROLES
        if not is_rotation or event.public_key in self._publics(event.role):
            return
        path = beside(key_path(self._config, event.role), NEXT)
        key = _read_next(self._config, path) if path.exists() else None
        if key is None or key.public != event.public_key:
            raise NotReadyError(
                f"{path} does not hold the key that the rotation names",
                reason="NEXT_KEY_MISSING",
                action="have the key signed that `ledgerd rotate` made on this node",
            )
        if event.role != pb.ROLE_COSIGNER:
            await self._hold(event.role, key)
        self._keys = self._keys.with_next(event.role, key)

    def follow(self, history: KeyHistory) -> None:
        """Call after each commit: sign by the keys that are in force now."""
        if history is self._history:
            return
        before, self._keys = self._keys, self._keys.in_force(history)
        self._history = history
        if self._keys.entry.public != before.entry.public:
            admitted_at = history.key_in_force(pb.ROLE_ENTRY).admitted_at
            self._own.replace(self._keys.entry, admitted_at)
        if self._keys.cosigner.public != before.cosigner.public:
            self._cosign_by(self._keys.cosigner_signer)
        put_in_place(self._config, self._keys)

    def settle(self, cosigned: int) -> None:
        """
        Destroy the files of keys that were replaced, once the peer has cosigned what replaced them.

        cosigned: how many entries it has. Below that no log is given up, so nothing needs them any
        more; and who finds one could sign two histories that are long past.
        """
        for role in NODE_ROLES:
            present = self._history.key_in_force(role)
            if cosigned > present.admitted_at:
                _destroy(beside(key_path(self._config, role), RETIRED), present.public)

    def _publics(self, role: int) -> set[bytes]:
        keys = (*self._keys.held(role), *self._keys.retired.get(role, ()))
        return {key.public for key in keys}


def _read_next(config: Config, path: Path) -> SigningKey:
    return read_key_file(path, config.keys.passphrase).key


def put_in_place(config: Config, keys: NodeKeys) -> None:
    """Let the file of each key in force have its name, and keep that of the one before beside."""
    for role in NODE_ROLES:
        try:
            _put_in_place(key_path(config, role), keys.held(role)[0].public)
        except OSError as error:
            # As they lie, the next start finds them.
            _log.warning("key_files_left", role=role, error=error.strerror)


def _put_in_place(path: Path, public: bytes) -> None:
    following, retired = beside(path, NEXT), beside(path, RETIRED)
    if not following.exists() or public_key(read_secret(following)) != public:
        return
    # A crash leaves either file whole under the key's name.
    if path.exists():
        retired.unlink(missing_ok=True)
        os.link(path, retired)
    following.replace(path)
    _log.info("key_rotated", file=str(path), retired=str(retired))


def _destroy(path: Path, present: bytes) -> None:
    try:
        if not path.exists() or public_key(read_secret(path)) == present:
            return
        path.unlink()
    except (OSError, InputError) as error:
        # The operator, who is told the same of it.
        _log.warning("retired_key_left", file=str(path), error=str(error))
    else:
        _log.info("retired_key_destroyed", file=str(path))


def recall_entry_key(config: Config, keys: NodeKeys, history: KeyHistory) -> NodeKeys:
    """
    After a LOSS that gives up a rotation of the entry key: put the retired one back in its place.

    The other lies beside it as .next: the approval of that rotation may be handed in again.
    Changes nothing otherwise.
    """
    role = pb.ROLE_ENTRY
    public = history.key_in_force(role).public
    retired = {key.public: key for key in keys.retired.get(role, ())}
    held = keys.held(role)
    if public not in retired or public in {key.public for key in held}:
        return keys
    path = key_path(config, role)
    following = beside(path, NEXT)
    if path.exists() and not following.exists():
        os.link(path, following)
    beside(path, RETIRED).replace(path)
    _log.info("key_recalled", file=str(path))
    return replace(keys, entry=retired[public], coming={**keys.coming, role: held})

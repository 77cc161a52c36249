"""Our own checkpoints on their way to the peer, and back with its cosignature."""

from __future__ import annotations

from typing import Final

from ledgerd.ledger.reader import Reader
from ledgerd.peer.notes import Known, parse_known, stripped
from ledgerd.peer.ports import PeerClient, Standing
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.store.tables import Table
from ledgerd_client.core.checkpoint import add_signatures, open_checkpoint
from ledgerd_client.core.errors import (
    ConflictError,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.note import Verifier, parse_signature_lines

# META: the newest checkpoint of our own log with the peer's cosignature.
_OWN_COSIGNED_KEY: Final = b"own_cosigned"


class OwnCosigned:
    """The newest checkpoint of our own log that the peer cosigned. Belongs to the event loop."""

    def __init__(
        self, store: PeerStore, replica: Replica, reader: Reader, log_key: Verifier
    ) -> None:
        self._store = store
        self._replica = replica
        self._reader = reader
        self._log_key = log_key
        with store.snapshot() as snapshot:
            note = snapshot.get(Table.META, _OWN_COSIGNED_KEY)
        self._newest: Known | None = parse_known(note) if note else None

    def newest(self) -> bytes:
        """The note, b"" for none."""
        return self._newest.note if self._newest else b""

    @property
    def size(self) -> int:
        return self._newest.size if self._newest else 0

    async def take(self, note: bytes) -> None:
        """
        Verify a cosigned note and keep it, durably, if it is larger than the one that we have.

        Raises UnavailableError while the peer's keys are not known, VerificationError or
        MalformedError when it is not a checkpoint of our tree with both signatures.
        """
        if self._replica.history.genesis is None:
            raise UnavailableError("the peer's keys are not replayed yet", reason="REPLAY_BEHIND")
        cosigners = self._replica.history.cosigner_verifiers()
        opened = open_checkpoint(note, log=(self._log_key,), cosigners=cosigners)
        checkpoint = opened.checkpoint
        if not opened.cosigned:
            raise TrustError("the peer sent a checkpoint without its cosignature")
        if self._reader.root(checkpoint.size) != checkpoint.root:
            raise VerificationError("the peer has cosigned another tree than ours")
        if checkpoint.size > self.size:
            whole = stripped(note, (self._log_key, *cosigners))
            await self._store.run(self._put, whole)
            self._newest = Known(checkpoint, whole)

    def _put(self, note: bytes) -> None:
        with self._store.write() as transaction:
            transaction.put(Table.META, _OWN_COSIGNED_KEY, note)


class Submitter:
    """
    Shows the peer our newest checkpoint until it is cosigned. Belongs to the event loop.

    First of all it asks the peer what it cosigned last: that confirms this node, or stops it.
    """

    def __init__(
        self, client: PeerClient, reader: Reader, standing: Standing, own_cosigned: OwnCosigned
    ) -> None:
        self._client = client
        self._reader = reader
        self._standing = standing
        self._own = own_cosigned
        self._confirmed = False
        # What the peer cosigned last, as far as it has said.
        self._peer_has = own_cosigned.size

    async def step(self) -> bool:
        """
        Bring our newest checkpoint to the peer; whether it has come back cosigned.

        False when the peer is on its way to it: worth asking again soon. Raises UnavailableError
        REPLAY_BEHIND when it has not moved, and whatever else goes wrong.
        """
        if not self._confirmed:
            await self._confirm()
        head = self._reader.head()
        if self._own.size == head.size:
            return True
        _, proof = self._reader.consistency_proof(self._peer_has, head.size)
        try:
            lines = await self._client.add_checkpoint(self._peer_has, proof, head.checkpoint)
        except ConflictError:
            before = self._peer_has
            await self._take(await self._client.get_cosigned())
            if self._peer_has == before:
                raise
        else:
            await self._take(add_signatures(head.checkpoint, parse_signature_lines(lines)))
        return self._own.size == head.size

    async def _confirm(self) -> None:
        note = await self._client.get_cosigned()
        self._standing.confirm(note)
        self._confirmed = True
        await self._take(note)

    async def _take(self, note: bytes) -> None:
        """Keep what the peer says that it cosigned; b"" for nothing."""
        if note:
            self._standing.shown(note)
            await self._own.take(note)
        self._peer_has = parse_known(note).size if note else 0

"""Our own checkpoints on their way to the peer, and back with its cosignature."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

from ledgerd.ledger.reader import Reader
from ledgerd.peer.notes import Known, parse_known, stripped
from ledgerd.peer.ports import PeerClient, Standing
from ledgerd.peer.replaced import find_foreign_loss
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.store.base import Snapshot, Store, Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures
from ledgerd_client.core.errors import (
    ConflictError,
    InputError,
    LedgerError,
    NotReadyError,
    RefusedError,
    TrustError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note, parse_signature_lines
from ledgerd_client.core.opening import loss_below, open_log_checkpoint

# How long the peer may take to show what it has of this log.
_LOOK_S: Final = 60
# META: the newest checkpoint of our own log with the peer's cosignature.
_OWN_COSIGNED_KEY: Final = b"own_cosigned"


def newest_cosigned(snapshot: Snapshot) -> bytes:
    """The newest checkpoint of our own log that the peer cosigned, of a PeerStore; b"" for none."""
    return snapshot.get(Table.META, _OWN_COSIGNED_KEY) or b""


def cosigned_size(store: Store | PeerStore) -> int:
    """
    How many entries the peer has cosigned, as far as a PeerStore knows.

    0 whatever is wrong with it: who signs by an old key too does no harm.
    """
    try:
        with store.snapshot() as snapshot:
            note = newest_cosigned(snapshot)
        return parse_known(note).size if note else 0
    except LedgerError:
        return 0


def put_newest_cosigned(transaction: Transaction, note: bytes) -> None:
    """Keep it in a PeerStore."""
    transaction.put(Table.META, _OWN_COSIGNED_KEY, note)


class OwnCosigned:
    """The newest checkpoint of our own log that the peer cosigned. Belongs to the event loop."""

    def __init__(
        self,
        store: PeerStore,
        replica: Replica,
        reader: Reader,
        keys: Callable[[], KeyHistory],
        clock: Callable[[], int],
    ) -> None:
        """The keys are our own log's; clock: µs."""
        self._clock = clock
        # Since when (µs) the peer cosigns by a key that it may have rotated to.
        self._unknown_since: int | None = None
        self._store = store
        self._replica = replica
        self._reader = reader
        self._keys = keys
        with store.snapshot() as snapshot:
            note = newest_cosigned(snapshot)
        self._newest: Known | None = parse_known(note) if note else None

    def newest(self) -> bytes:
        """The note, b"" for none."""
        return self._newest.note if self._newest else b""

    @property
    def size(self) -> int:
        return self._newest.size if self._newest else 0

    @property
    def is_fresh(self) -> bool:
        """Whether the newest is cosigned by the key that the peer cosigns by now."""
        peer = self._replica.history
        if self._newest is None or peer.genesis is None:
            return True
        present = peer.cosigner_keys()[0]
        lines = parse_note(self._newest.note).signatures
        return any((line.name, line.key_id) == (present.name, present.key_id) for line in lines)

    async def take(self, note: bytes) -> None:
        """
        Verify a cosigned note and keep it, durably, if it is larger than the one that we have, or
        the peer cosigns by another key since.

        Raises UnavailableError while the peer's keys are not known, or it cosigns by one that its
        log may hold by now; VerificationError or MalformedError when it is not a checkpoint of our
        tree with both signatures.
        """
        peer = self._replica.history
        if peer.genesis is None:
            raise UnavailableError("the peer's keys are not replayed yet", reason="REPLAY_BEHIND")
        opened = open_log_checkpoint(note, self._keys(), peer)
        checkpoint = opened.checkpoint
        if not opened.cosigned:
            raise self._not_cosigned(note)
        self._unknown_since = None
        if self._reader.root(checkpoint.size) != checkpoint.root:
            raise VerificationError("the peer has cosigned another tree than ours")
        renewed = checkpoint.size == self.size and not self.is_fresh
        if checkpoint.size > self.size or renewed:
            whole = stripped(note, (*opened.signed, *opened.cosigned))
            await self._store.run(self._put, whole)
            self._newest = Known(checkpoint, whole)

    def _not_cosigned(self, note: bytes) -> LedgerError:
        """A key is in the peer's log before it cosigns: what is fetched from then on shows it."""
        if not any(line.name == self._replica.origin for line in parse_note(note).signatures):
            return TrustError("the peer sent a checkpoint without its cosignature")
        if self._unknown_since is None:
            self._unknown_since = self._clock()
        verified = self._replica.verified
        if verified is not None and verified.fetched_at > self._unknown_since:
            return TrustError("the peer cosigns by a key that its log does not name")
        return UnavailableError(
            "the peer cosigns by a key that is not replayed yet", reason="REPLAY_BEHIND"
        )

    def _put(self, note: bytes) -> None:
        with self._store.write() as transaction:
            put_newest_cosigned(transaction, note)


class Submitter:
    """
    Shows the peer our newest checkpoint until it is cosigned. Belongs to the event loop.

    First of all it asks the peer what it cosigned last: that confirms this node, or stops it.
    """

    def __init__(
        self,
        client: PeerClient,
        reader: Reader,
        standing: Standing,
        own_cosigned: OwnCosigned,
        *,
        keys: Callable[[], KeyHistory],
        replicated: Callable[[int], Awaitable[None]],
    ) -> None:
        """The keys are our own log's; replicated: as Standby.wait."""
        self._keys = keys
        self._replicated = replicated
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
        REPLAY_BEHIND when it has not moved, and whatever else goes wrong. When the peer goes by
        other keys of this log than we do, it is asked for the LOSS that put them in force.
        """
        try:
            return await self._step()
        except VerificationError:
            # It may not be able to say; what was wrong is told all the same.
            with suppress(UnavailableError):
                await self._look_for_loss()
            raise

    async def _step(self) -> bool:
        if not self._confirmed:
            await self._confirm()
        head = self._reader.head()
        if self._own.size == head.size and self._own.is_fresh:
            return True
        if self._peer_has > head.size:
            raise TrustError(
                f"the peer names {self._peer_has} entries of this log, the store holds {head.size}",
                reason="ROLLED_BACK",
                action="look at what this node says of its standing: it may have to be recovered",
            )
        # What is cosigned can't be given up, so it must not be lost.
        await self._replicated(head.size)
        _, proof = self._reader.consistency_proof(self._peer_has, head.size)
        try:
            lines = await self._client.add_checkpoint(self._peer_has, proof, head.checkpoint)
        except ConflictError:
            before = self._peer_has
            note, _ = await self._client.get_cosigned()
            await self._take(note)
            if self._peer_has == before:
                raise
        else:
            await self._take(add_signatures(head.checkpoint, parse_signature_lines(lines)))
        return self._own.size == head.size

    async def _confirm(self) -> None:
        note, seen = await self._client.get_cosigned()
        # It may know of more than it cosigned: say, while evidence waits to be acknowledged.
        self._standing.shown(seen)
        if note and not _is_cosigned(note) and self._standing.is_unconfirmed:
            self._standing.shown(note)
            raise NotReadyError(
                "the peer has lost what it cosigned: it can't say what it knew of this log",
                reason="PEER_FORGOT",
                action="recover with `ledgerd recover`, which goes on under new keys",
            )
        if note and loss_below(note, self._keys()) is not None:
            raise NotReadyError(
                f"the peer has cosigned {parse_known(note).size} entries by the key that this"
                " log's LOSS ended: the node before this one went on",
                reason="PEER_AHEAD",
                action="stop this node for good; the other one lives, or `ledgerd recover` is"
                " the way",
            )
        self._standing.confirm(note)
        self._confirmed = True
        await self._take(note)

    async def _take(self, note: bytes) -> None:
        """Keep what the peer says that it cosigned; b"" for nothing."""
        if note:
            self._standing.shown(note)
        if note and _is_cosigned(note):
            await self._own.take(note)
            if self._standing.is_unconfirmed:
                self._standing.confirm(note)
        self._peer_has = parse_known(note).size if note else 0

    async def _look_for_loss(self) -> None:
        """Stop this node if its log goes on elsewhere, as the authority says by its signature."""
        # What keeps us from finding out is no news: why we ask is told.
        with suppress(VerificationError, InputError, RefusedError, UnavailableError, TimeoutError):
            async with (
                asyncio.timeout(_LOOK_S),
                aclosing(self._client.list_replica(self._own.size)) as messages,
            ):
                if loss := await find_foreign_loss(messages, self._keys()):
                    self._standing.replaced(loss)


def _is_cosigned(note: bytes) -> bool:
    """Whether somebody else than the log signed a note, as it says."""
    parsed = parse_note(note)
    return any(line.name != Checkpoint.parse(parsed.text).origin for line in parsed.signatures)

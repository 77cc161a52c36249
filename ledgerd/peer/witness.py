"""
The witness: this node cosigns one history of its peer, and no other (C2SP tlog-witness).

Its state is the whole newest note that it cosigned, on the disk before the cosignature leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ledgerd.peer.accusations import Accusations
from ledgerd.peer.awaited import SHOWN_KEY
from ledgerd.peer.compared import Compared
from ledgerd.peer.notes import Known, open_known, parse_known
from ledgerd.peer.refused import Refusal, Refused
from ledgerd.peer.replica import Replica, replay_behind
from ledgerd.peer.spent import spent_error
from ledgerd.peer.store import PeerStore
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures, cosign
from ledgerd_client.core.errors import (
    ConflictError,
    InputError,
    LedgerError,
    MalformedError,
    NotFoundError,
    ProofError,
    StoreError,
    VerificationError,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from ledgerd_client.core.note import (
    COSIGNATURE_V1,
    Note,
    Signature,
    Signer,
    Verifier,
    parse_note,
)

# C2SP tlog-witness: a consistency proof has at most 63 hashes.
_MAX_PROOF: Final = 63
_SECOND: Final = 1_000_000

# META: the note that was cosigned last.
_COSIGNED_KEY: Final = b"cosigned"
# META: there while that comes from an anchor, and more may have been cosigned.
_RESUMED_KEY: Final = b"resumed"


class Witness:
    """
    Cosigns checkpoints of one peer. Belongs to the event loop; decides in the store's thread.

    clock gives µs; wake() is called when there is something for the monitor to do.
    """

    def __init__(
        self,
        store: PeerStore,
        replica: Replica,
        accusations: Accusations,
        cosigner: Signer,
        *,
        clock: Callable[[], int],
        wake: Callable[[], None],
        spent: Callable[[], bytes],
    ) -> None:
        """spent: the cosigner key, raw and public, that cosigns nothing more; b"" for none."""
        self._refused = Refused(store, clock)
        self._store = store
        self._replica = replica
        self._accusations = accusations
        self._cosigner = cosigner
        self._clock = clock
        self._wake = wake
        self._spent = spent
        self._compared = Compared(store, replica, accusations, self._refused)
        with store.snapshot() as snapshot:
            cosigned = snapshot.get(Table.META, _COSIGNED_KEY)
            self._resumed = snapshot.get(Table.META, _RESUMED_KEY) is not None
        self._cosigned = parse_known(cosigned) if cosigned else self._nothing()

    def _nothing(self) -> Known:
        return Known(Checkpoint(self._replica.origin, 0, EMPTY_ROOT), b"")

    # -- what others ask ------------------------------------------------------------------

    def cosigned(self) -> bytes:
        """The largest checkpoint of the peer that this node cosigned, b"" for none."""
        return self._cosigned.note

    def vouched(self) -> bytes:
        """
        As cosigned(), without our cosignature when more may have been cosigned, and forgotten.

        So it is when the witness has lost its state, until it cosigns by another key.
        """
        note = self._cosigned.note
        if not note or self._remembers():
            return note
        parsed, own = parse_note(note), self._cosigner.verifier.name
        return Note(parsed.text, tuple(s for s in parsed.signatures if s.name != own)).format()

    def seen(self) -> bytes:
        """
        The largest checkpoint with the peer's signature that is known here, b"" for none.

        Cosigned or not: a peer that was restored must hold it, or it would sign another.
        """
        known = self._compared.largest()
        return known.note if known else b""

    def _remembers(self) -> bool:
        if self._resumed:
            return False
        if not (spent := self._spent()):
            return True
        key = Verifier(self._cosigner.verifier.name, COSIGNATURE_V1, spent)
        lines = parse_note(self._cosigned.note).signatures
        return (key.name, key.key_id) not in {(line.name, line.key_id) for line in lines}

    @property
    def cosigned_size(self) -> int:
        return self._cosigned.size

    @property
    def remembered_size(self) -> int | None:
        """As cosigned_size; None before the first, and when more may have been, and forgotten."""
        return self.cosigned_size if self._cosigned.note and self._remembers() else None

    def refused(self) -> list[Refusal]:
        """What the peer asked to have cosigned and did not get, as Refused keeps it."""
        return self._refused.all()

    def key_history(self) -> KeyHistory | None:
        """The peer's keys as far as its log is verified; None before its GENESIS is."""
        history = self._replica.verified_history()
        return history if history.genesis is not None else None

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        """
        Cosign a checkpoint: the cosignature's line, which is durable already.

        Raises, in the order of C2SP tlog-witness: MalformedError (400); NotFoundError
        UNKNOWN_ORIGIN (404); SignatureError, TrustError (403); ConflictError SIZE_CONFLICT (409)
        with the size that was cosigned last; ProofError (422), also for a tree that contradicts
        another. Then NotReadyError EVIDENCE while a contradiction is not acknowledged, and
        UnavailableError REPLAY_BEHIND as long as the replay has not reached the checkpoint.
        """
        checkpoint = Checkpoint.parse(parse_note(note).text)
        if not 0 <= old_size <= checkpoint.size:
            raise MalformedError(f"old size {old_size} is beyond the checkpoint's")
        if len(proof) > _MAX_PROOF or any(len(node) != HASH_SIZE for node in proof):
            raise MalformedError(f"a proof is at most {_MAX_PROOF} hashes of {HASH_SIZE} bytes")
        if checkpoint.origin != self._replica.origin:
            raise NotFoundError(
                f"this node witnesses {self._replica.origin} only", reason="UNKNOWN_ORIGIN"
            )
        if self._replica.history.genesis is None:
            self._wake()
            raise replay_behind(checkpoint.size, 0)
        try:
            known = open_known(note, self._replica.history)
        except LedgerError:
            # By a key, perhaps, that the log has put in force since.
            self._wake()
            raise
        try:
            line = await self._store.run(self._answer, known, old_size, proof)
        except LedgerError as error:
            # The replay is behind, or there may be evidence to record.
            self._wake()
            # What only has to wait comes again, and so does what we have cosigned beyond meanwhile.
            unexplained = isinstance(error, ConflictError) and old_size > self.cosigned_size
            if unexplained or isinstance(error, ProofError):
                await self._store.run(self._refused.keep, error.reason, known.note)
            raise
        return line.format()

    def cosign_by(self, cosigner: Signer) -> None:
        """Cosign by another key from now on."""
        self._cosigner = cosigner

    # -- what the monitor asks ------------------------------------------------------------

    async def compare(self, known: Known) -> None:
        """
        Look whether a checkpoint with the peer's signature contradicts another, and accuse.

        Raises ForkError when it contradicts what is replayed. Of two that are not, the headers may
        still lead to one.
        """
        await self._store.run(self._compared.check, known)

    async def compare_headers(self, known: Known, first: int, leaves: Sequence[bytes]) -> None:
        """
        As compare(), for a checkpoint beyond what is replayed that came with headers.

        leaves: their hashes, from first on. Raises ForkError when those below are others than are
        replayed, and with those before them come to the checkpoint; anybody can make others.
        """
        await self._store.run(self._compared.check_headers, known, first, leaves)

    async def compare_proof(
        self, known: Known, inclusion: Sequence[bytes], consistency: Sequence[bytes]
    ) -> None:
        """
        Accuse if known, beyond what is replayed, is over a tree that does not hold what is.

        As the proofs of PeerClient.prove show it of the verified size: raises ForkError when they
        do, ProofError when they show nothing.
        """
        await self._store.run(self._compared.check_proof, known, inclusion, consistency)

    async def keep_refused(self, known: Known, reason: str) -> None:
        """Keep, durably, a checkpoint that the replay could not come to: it may be half a proof."""
        await self._store.run(self._refused.keep, reason, known.note)

    async def look_at(self, note: bytes) -> None:
        """
        Compare a checkpoint that somebody has seen; one that the replay has yet to reach is kept.

        What is not by the peer's log key is nothing.
        """
        if self._replica.history.genesis is None:
            return
        with suppress(InputError, VerificationError):
            known = open_known(note, self._replica.history)
            await self._store.run(self._compared.look_at, known)

    async def leave(self, known: Known) -> bool:
        """
        Keep, durably, what the replay is to go back from: it must be met again, or is evidence.

        In a place of its own, which nobody else fills; False while another is kept there.
        """
        return await self._store.run(self._compared.leave, known)

    async def cosign_largest(self) -> None:
        """Cosign the newest verified checkpoint, unless that was done or must not be."""
        await self._store.run(self._cosign_largest)

    async def resume(self, anchored: Known) -> None:
        """
        Take a checkpoint that our own log anchored for the one that was cosigned last, durably.

        For a witness that has lost its state: the peer is told of it again, and it must be in all
        that is cosigned from now on.
        """
        await self._store.run(self._resume, anchored)

    # -- in the store's thread --------------------------------------------------------------

    def _resume(self, anchored: Known) -> None:
        with self._store.write() as transaction:
            put_cosigned(transaction, anchored.note)
        self._cosigned, self._resumed = anchored, True
        self._compared.take_up()

    def _answer(self, known: Known, old_size: int, proof: Sequence[bytes]) -> Signature:
        self._compared.meet_awaited()
        contradicts = self._compared.contradicts(known)
        last, new = self._cosigned.checkpoint, known.checkpoint
        if old_size != last.size:
            raise ConflictError(
                f"the size cosigned last is {last.size}",
                reason="SIZE_CONFLICT",
                action="ask for what was cosigned, and prove consistency from there",
            )
        verify_consistency(last.size, last.root, new.size, new.root, proof)
        if contradicts:
            raise ProofError(f"the log has signed another tree of {new.size} entries")
        if self._accusations.latched:
            raise self._accusations.error()
        if self._key_is_spent():
            raise spent_error()
        if new.size > self._replica.verified_size:
            self._compared.keep(known)
            raise replay_behind(new.size, self._replica.verified_size)
        return self._cosign(known)

    def _cosign_largest(self) -> None:
        self._compared.meet_awaited()
        verified = self._replica.verified
        if verified is None or verified.size <= self._cosigned.size:
            return
        if not (self._accusations.latched or self._key_is_spent()):
            self._cosign(verified)

    def _key_is_spent(self) -> bool:
        return self._spent() == self._cosigner.verifier.public

    def _cosign(self, known: Known) -> Signature:
        last = self._cosigned
        if last.size and self._replica.root(last.size) != last.checkpoint.root:
            raise StoreError("the replica does not hold the tree that was cosigned last")
        line = cosign(known.checkpoint, self._cosigner, self._clock() // _SECOND)
        note = add_signatures(known.note, [line])
        with self._store.write() as transaction:
            if (transaction.get(Table.META, _COSIGNED_KEY) or b"") != last.note:
                raise StoreError("the witness state is not as this process left it")
            transaction.put(Table.META, _COSIGNED_KEY, note)
            transaction.delete(Table.META, _RESUMED_KEY)
        # Durable: only now may the cosignature leave.
        self._cosigned, self._resumed = known._replace(note=note), False
        return line


def put_cosigned(transaction: Transaction, note: bytes) -> None:
    """Make an anchored checkpoint the one cosigned last, as far as is known; all must hold it."""
    for key in (_COSIGNED_KEY, SHOWN_KEY):
        transaction.put(Table.META, key, note)
    transaction.put(Table.META, _RESUMED_KEY, b"1")

"""
What was proved against the peer: bundles on disk, the latch, and EVIDENCE in our own log.

The order is bundle, latch, entry: a crash between two of them leaves the peer latched, and the
entry is appended at the next start, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

from ledgerd.ledger.call import Call
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.peer.notes import parse_known
from ledgerd.peer.store import PeerStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import NODE
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import LedgerError, NotReadyError, StoreError
from ledgerd_client.core.evidence import Evidence
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.record import (
    Key,
    make_body,
    make_record_id,
    read_facts,
    sign_record,
    verified,
)

# META: digest of the bundle that no operator has acknowledged; body of an EVIDENCE entry that is
# still to be appended; and for each checkpoint in a bundle: prefix ‖ u64 size ‖ root → its digest.
_LATCH_KEY: Final = b"latch"
_ENTRY_KEY: Final = b"evidence_entry"
_PROVED: Final = b"proved/"

_log = structlog.get_logger()


class Accusations:
    """Contradictions of one peer. accuse() belongs to the store's thread, the rest to the loop."""

    def __init__(
        self,
        store: PeerStore,
        directory: Path,
        *,
        accused: str,
        origin: str,
        entry_key: SigningKey,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        """Bundles go to directory, which is made if not there; origin is that of our own log."""
        self._store = store
        self._directory = directory
        self._accused = accused
        self._origin = origin
        self._entry_key = entry_key
        self._clock = clock
        self._random = random
        with store.snapshot() as snapshot:
            self._latch = snapshot.get(Table.META, _LATCH_KEY)
            self._entry = snapshot.get(Table.META, _ENTRY_KEY)

    @property
    def latched(self) -> bool:
        """Whether a contradiction waits for an operator: until then nothing is cosigned."""
        return self._latch is not None

    def error(self) -> NotReadyError:
        """What is said to a peer that is latched."""
        digest = (self._latch or b"").hex()
        return NotReadyError(
            f"{self._accused} has signed two histories: evidence {digest} is kept here",
            reason="EVIDENCE",
            action="an operator of this node has to look at the evidence and acknowledge it",
        )

    def accuse(self, evidence: Evidence, false: Checkpoint) -> None:
        """
        Keep evidence that false, a checkpoint by the peer, contradicts another: durably.

        Does nothing when the peer is latched already, or false was part of evidence before. Raises
        StoreError.
        """
        with self._store.snapshot() as snapshot:
            if self.latched or snapshot.get(Table.META, _proved_key(false)) is not None:
                return
        bundle = evidence.format()
        digest = sha256(bundle).digest()
        self._write_bundle(digest, bundle)
        entry = self._make_entry(digest)
        with self._store.write() as transaction:
            transaction.put(Table.META, _LATCH_KEY, digest)
            transaction.put(Table.META, _ENTRY_KEY, entry)
            # Both: of two that were never replayed, either may come back.
            for note in (evidence.smaller, evidence.larger):
                transaction.put(Table.META, _proved_key(parse_known(note).checkpoint), digest)
        self._latch, self._entry = digest, entry
        _log.error("peer_contradiction", peer=self._accused, size=false.size, bundle=digest.hex())

    async def record(self, sequencer: Sequencer) -> None:
        """Append the EVIDENCE entry that waits, if any; raises what the sequencer raises."""
        if self._entry is None or sequencer.refuse is not None:
            return
        signed = sign_record(self._entry, self._entry_key)
        key = Key(0, self._entry_key.public)
        item = verified(signed, read_facts(self._entry)[1], self._origin, {signed.key_id: key})
        # Appended twice it is one entry: the log knows its record_id.
        for outcome in (await sequencer.append(Call.of([item]))).outcomes:
            if isinstance(outcome, LedgerError):
                raise outcome
        await self._store.run(self._forget, _ENTRY_KEY)
        self._entry = None

    async def acknowledge(self) -> None:
        """
        An operator has seen the evidence: cosign again. The bundle and the entry stay.

        Raises NotReadyError while the entry still has to be appended.
        """
        if self._entry is not None:
            raise NotReadyError(
                "the evidence is not in the log yet",
                action="see that this node takes appends, then acknowledge",
            )
        await self._store.run(self._forget, _LATCH_KEY)
        self._latch = None

    def _write_bundle(self, digest: bytes, bundle: bytes) -> None:
        path = self._directory / f"{digest.hex()}.evidence"
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            _write_durably(path, bundle)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error

    def _make_entry(self, digest: bytes) -> bytes:
        now = self._clock()
        return make_body(
            origin=self._origin,
            author=NODE,
            record_id=make_record_id(now, self._random(10)),
            occurred_at=now,
            salt=self._random(16),
            evidence=pb.Evidence(accused_origin=self._accused, bundle_digest=digest),
        )

    def _forget(self, key: bytes) -> None:
        with self._store.write() as transaction:
            transaction.delete(Table.META, key)


def _proved_key(checkpoint: Checkpoint) -> bytes:
    return _PROVED + u64(checkpoint.size) + checkpoint.root


def _write_durably(path: Path, data: bytes) -> None:
    """Put a whole file in the place of whatever is there; on the disk when it returns."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    for directory in (path.parent, path.parent.parent):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""
What was proved against the peer: bundles on disk, the latch, and EVIDENCE in our own log.

The order is bundle, latch, entry: a crash between two of them leaves the peer latched, and the
entry is appended at the next start, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from ledgerd.ledger.call import Call
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.peer.notes import parse_known
from ledgerd.peer.store import PeerStore
from ledgerd.store.tables import Table
from ledgerd.synced import put_file, sync
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import NODE
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.entry_evidence import EntryEvidence
from ledgerd_client.core.errors import LedgerError, NotFoundError, NotReadyError, StoreError
from ledgerd_client.core.evidence import Evidence
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.record import Admitted, make_body, make_record_id

# META: digest of the bundle that no operator has acknowledged; body of an EVIDENCE entry that is
# still to be appended; and for each checkpoint in a bundle: prefix ‖ u64 size ‖ root → its digest,
# for each wrong entry: prefix ‖ u64 position ‖ leaf hash → its digest.
_LATCH_KEY: Final = b"latch"
_ENTRY_KEY: Final = b"evidence_entry"
_PROVED: Final = b"proved/"
_WRONG: Final = b"wrong/"
_SUFFIX: Final = ".evidence"
_NAME: Final = re.compile(rf"[0-9a-f]{{64}}{re.escape(_SUFFIX)}$")

_log = structlog.get_logger()


class Kept(NamedTuple):
    """A bundle on the disk: its digest, bytes, when it was written (µs), and whether it waits."""

    digest: bytes
    size: int
    at: int
    latched: bool


class Accusations:
    """Contradictions of one peer. accuse() belongs to the store's thread, the rest to the loop."""

    def __init__(
        self,
        store: PeerStore,
        directory: Path,
        *,
        accused: str,
        origin: str,
        sign_body: Callable[[bytes], Admitted],
        clock: Callable[[], int],
        random: Callable[[int], bytes],
    ) -> None:
        """
        Bundles go to directory, which is made if not there; origin is that of our own log.

        sign_body makes an entry of our own of a body that was made earlier.
        """
        self._store = store
        self._directory = directory
        self._accused = accused
        self._origin = origin
        self._sign_body = sign_body
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
            f"{self._accused} has signed what no honest log signs: evidence {digest} is kept here",
            reason="EVIDENCE",
            action="an operator of this node has to look at the evidence and acknowledge it",
        )

    def accuse(self, evidence: Evidence, false: Checkpoint) -> None:
        """
        Keep evidence that false, a checkpoint by the peer, contradicts another: durably.

        Does nothing when the peer is latched already, or false was part of evidence before. Raises
        StoreError.
        """
        # Both: of two that were never replayed, either may come back.
        notes = [parse_known(note).checkpoint for note in (evidence.smaller, evidence.larger)]
        self._keep(evidence.format(), _proved_key(false), map(_proved_key, notes))

    def accuse_of_entry(self, evidence: EntryEvidence) -> None:
        """As accuse(), for an entry that no honest log holds, under a signed root."""
        entry = evidence.entry
        wrong = _WRONG + u64(entry.position) + leaf_hash(entry.header)
        tree = parse_known(evidence.note).checkpoint
        self._keep(evidence.format(), wrong, (wrong, _proved_key(tree)))

    def _keep(self, bundle: bytes, news: bytes, proved: Iterable[bytes]) -> None:
        with self._store.snapshot() as snapshot:
            if self.latched or snapshot.get(Table.META, news) is not None:
                return
        digest = sha256(bundle).digest()
        self._write_bundle(digest, bundle)
        entry = self._make_entry(digest)
        with self._store.write() as transaction:
            transaction.put(Table.META, _LATCH_KEY, digest)
            transaction.put(Table.META, _ENTRY_KEY, entry)
            for key in proved:
                transaction.put(Table.META, key, digest)
        self._latch, self._entry = digest, entry
        _log.error("peer_contradiction", peer=self._accused, bundle=digest.hex())

    async def record(self, sequencer: Sequencer) -> None:
        """Append the EVIDENCE entry that waits, if any; raises what the sequencer raises."""
        if self._entry is None or sequencer.refuse is not None:
            return
        item = self._sign_body(self._entry)
        # Appended twice it is one entry: the log knows its record_id.
        for outcome in (await sequencer.append(Call.of([item]))).outcomes:
            if isinstance(outcome, LedgerError):
                raise outcome
        await self._store.run(self._forget, _ENTRY_KEY)
        self._entry = None

    async def acknowledge(self, digest: bytes) -> None:
        """
        An operator has seen the evidence: cosign again. The bundle and the entry stay.

        Raises NotFoundError unless that is the evidence which waits, NotReadyError while the entry
        still has to be appended.
        """
        if digest != self._latch:
            raise NotFoundError(
                f"no evidence {digest.hex()} waits to be acknowledged",
                action="list the evidence, and name the one that waits",
            )
        if self._entry is not None:
            raise NotReadyError(
                "the evidence is not in the log yet",
                action="see that this node takes appends, then acknowledge",
            )
        await self._store.run(self._forget, _LATCH_KEY)
        self._latch = None
        _log.warning("peer_contradiction_acknowledged", peer=self._accused, bundle=digest.hex())

    def kept(self) -> list[Kept]:
        """Every bundle, the oldest first; raises StoreError. In any thread."""
        try:
            found = (path for path in self._directory.glob(f"*{_SUFFIX}") if _NAME.match(path.name))
            files = [(path, path.stat()) for path in found]
        except OSError as error:
            raise StoreError(f"cannot read {self._directory}: {error.strerror}") from error
        kept = [
            Kept(digest := bytes.fromhex(path.stem), file.st_size, file.st_mtime_ns // 1000,
                 digest == self._latch)
            for path, file in files
        ]  # fmt: skip
        return sorted(kept, key=lambda one: one.at)

    def bundle(self, digest: bytes) -> bytes:
        """One of them; raises NotFoundError or StoreError. In any thread."""
        path = self._path(digest)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"no evidence {digest.hex()} is kept here") from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error

    def _write_bundle(self, digest: bytes, bundle: bytes) -> None:
        path = self._path(digest)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            _write_durably(path, bundle)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error

    def _path(self, digest: bytes) -> Path:
        return self._directory / f"{digest.hex()}{_SUFFIX}"

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
    """Put a whole file there, in a directory that may be new; on the disk when it returns."""
    put_file(path, data)
    sync(path.parent.parent)

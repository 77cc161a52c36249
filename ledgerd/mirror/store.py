"""The stores of a mirror: the log that it follows, and beside it the log of that node's peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ledgerd.ledger.committer import RESERVE_BYTES
from ledgerd.ledger.head import FOLLOWS_KEY, Head, follows_another
from ledgerd.peer.store import PeerStore, disk_full
from ledgerd.projections.registry import key_entries
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.lock import DirectoryLock
from ledgerd.store.tables import Table
from ledgerd.synced import replace_file
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import InputError, NotReadyError, StoreError
from ledgerd_client.core.header import genesis_previous

_ANCHORED_KEY: Final = b"anchored"


class Anchored(NamedTuple):
    """
    How far the peer's anchors of the log are compared with it.

    next: the entry of the peer's log to go on from. note: the newest checkpoint of the mirrored log
    that it has cosigned and that this mirror has come to; b"" for none.
    """

    next: int = 0
    note: bytes = b""


class MirrorStore:
    """
    A directory that belongs to one mirror while it is open; made when there is none.

    What is held is ahead of the Head, which is moved only when a checkpoint's root came out: nobody
    is shown more than that. Raises StoreError; NotReadyError ALREADY_SERVED; InputError
    WRONG_ORIGIN for a directory that holds another log.
    """

    def __init__(
        self,
        directory: Path,
        origin: str,
        random: Callable[[int], bytes],
        *,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        """reserve_bytes are kept free on the disk, by what either store takes in."""
        with ExitStack() as stack:
            _make_directory(directory)
            stack.enter_context(DirectoryLock(directory))
            self.log = stack.enter_context(closing(_open(directory / "store", random)))
            self._check_origin(directory, origin)
            self._check_follows(directory)
            peer = PeerStore(_open(directory / "peer", random), reserve_bytes=reserve_bytes)
            self.peer = stack.enter_context(closing(peer))
            self._stack = stack.pop_all()
        self.origin = origin
        self._directory = directory
        self._reserve = reserve_bytes

    def check_room(self, size: int = 0) -> None:
        """See that so many bytes can be added; raises BusyError DISK_FULL, and it passes."""
        free = self.log.free_bytes()
        if free < self._reserve + size:
            raise disk_full(free)

    @contextmanager
    def write(self, size: int = 0) -> Iterator[Transaction]:
        """As Store.write, of the log, for so many bytes of entries; raises as check_room does."""
        # Before it: in a commit, a full disk ends the process.
        self.check_room(size)
        with self.log.write() as transaction:
            yield transaction

    def held(self, snapshot: Snapshot) -> Head:
        """How far the log is held, verified but for the root; without a checkpoint."""
        value = snapshot.get(Table.META, FOLLOWS_KEY)
        if value is None:
            return Head(0, 0, genesis_previous(self.origin), b"")
        number = int.from_bytes
        return Head(number(value[:8], "big"), number(value[8:16], "big"), value[16:], b"")

    def hold(self, transaction: Transaction, head: Head) -> None:
        value = u64(head.size) + u64(head.last_time) + head.last_leaf
        transaction.put(Table.META, FOLLOWS_KEY, value)

    def check_not_promoted(self) -> None:
        """
        Refuse to go on behind a LOSS that this standby has taken: it would be written over.

        Raises NotReadyError PROMOTION_BEGUN.
        """
        with self.log.snapshot() as snapshot:
            head, held = Head.find(snapshot), self.held(snapshot)
        if head is not None and head.size > held.size:
            raise NotReadyError(
                "this standby has taken a LOSS, and is to go on with the log itself",
                reason="PROMOTION_BEGUN",
                action="call `ledgerd promote --loss` again, which ends what it began",
            )

    def keep_evidence(self, name: str, evidence: bytes) -> Path:
        """Keep what proves that the node has signed two histories, durably; return the file."""
        path = self._directory / f"{name}.evidence"
        replace_file(path, evidence)
        return path

    def anchored(self, snapshot: Snapshot) -> Anchored:
        value = snapshot.get(Table.META, _ANCHORED_KEY)
        return (
            Anchored() if value is None else Anchored(int.from_bytes(value[:8], "big"), value[8:])
        )

    def put_anchored(self, transaction: Transaction, anchored: Anchored) -> None:
        transaction.put(Table.META, _ANCHORED_KEY, u64(anchored.next) + anchored.note)

    def close(self) -> None:
        """Close both stores, once nobody reads them any more, and free the directory."""
        self._stack.close()

    def _check_origin(self, directory: Path, origin: str) -> None:
        with self.log.snapshot() as snapshot:
            for _, body in key_entries(snapshot):
                held = pb.Body.FromString(body).origin
                if held != origin:
                    raise InputError(
                        f"{directory} mirrors {held}, not {origin}",
                        reason="WRONG_ORIGIN",
                        action="give each log a directory of its own",
                    )
                return

    def _check_follows(self, directory: Path) -> None:
        with self.log.snapshot() as snapshot:
            if Head.find(snapshot) is not None and not follows_another(snapshot):
                raise InputError(
                    f"{directory} holds the ledger of a node, not of a mirror or standby",
                    reason="STORE_EXISTS",
                    action="move it away and keep it; give each mirror a directory of its own",
                )


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {directory}: {error.strerror}") from error


def _open(path: Path, random: Callable[[int], bytes]) -> LmdbStore:
    try:
        return LmdbStore.open(path)
    except StoreError as error:
        if error.reason != "NO_STORE":
            raise
        return LmdbStore.create(path, instance=random(16))

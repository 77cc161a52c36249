"""
Whether this node may append: a restored or rolled-back node must not fork its own log.

What it knows of its past lies outside the store: a high-water mark of what was committed, and
what peer and callers show of it (docs/protocol.md, "Start, restore, recover").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from ledgerd.ledger.high_water import HighWater, read_mark, write_mark
from ledgerd.ledger.reader import Reader
from ledgerd.store.base import Store
from ledgerd.synced import read_file, replace_file
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import LedgerError, NotReadyError, StoreError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint

# A checkpoint that proved a rollback. Kept, so that a restart does not forget it.
SHOWN_FILE: Final = "rolled-back"
# A LOSS of this log that is not in the store: the log goes on elsewhere, by another key.
REPLACED_FILE: Final = "replaced"
_FOR_GOOD: Final = frozenset(("ROLLED_BACK", "REPLACED"))

_MARK_INTERVAL_S = 1.0


def forget_shown(directory: Path) -> None:
    """Let a log that goes on by a LOSS start without what was shown to the one before it."""
    for name in (SHOWN_FILE, REPLACED_FILE):
        (directory / name).unlink(missing_ok=True)


class Standing:
    """
    What is known against appending. Belongs to one event loop.

    refusal: why appends must not be taken, or None; on_change(refusal) is called whenever it
    changes. ROLLED_BACK and REPLACED are for good: a process that was shown its own lost past, or
    that its log goes on elsewhere, stays read-only.
    """

    def __init__(
        self,
        directory: Path,
        reader: Reader,
        instance: bytes,
        open_own: Callable[[bytes], Checkpoint],
        *,
        on_change: Callable[[NotReadyError | None], None],
        least: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        Take the two files from directory, outside the store; instance is the store's.

        open_own reads a note of this log and raises LedgerError unless it is by the key in force;
        least: how many entries the peer must have cosigned to confirm it, and with them a LOSS.
        """
        self._least = least
        self.refusal: NotReadyError | None = None
        self._directory = directory
        self._reader = reader
        self._instance = instance
        self._open = open_own
        self._on_change = on_change
        self._size = reader.head().size
        self._marked: HighWater | None = None
        # What an unconfirmed node waits for: that the peer says what it cosigned, and shows its
        # log, in which it may have anchored more.
        self._awaits = {"confirm", "heard"}

    @classmethod
    def found(cls, directory: Path, store: Store, history: KeyHistory) -> Self:
        """How a store stands by the files beside it; a node may serve it. Raises StoreError."""
        standing = cls(
            directory,
            Reader(store),
            store.instance,
            lambda note: open_log_checkpoint(note, history).checkpoint,
            on_change=lambda _refusal: None,
        )
        standing.start()
        return standing

    def start(self) -> None:
        """Judge the store by what the files say of it; raises StoreError if they can't be read."""
        self._marked = read_mark(self._directory)
        # After the mark: a node that serves the store commits first, and marks then.
        self._size = self._reader.head().size
        if self._marked is None:
            self._refuse(_unconfirmed("there is no high-water mark beside the store"))
        elif self._size < self._marked.size:
            self._refuse(
                _rolled_back(f"the store holds {self._size} entries, it held {self._marked.size}")
            )
        elif self._marked.instance != self._instance:
            self._refuse(_unconfirmed("the high-water mark is of another store"))
        self.shown(read_file(self._directory / SHOWN_FILE))
        if read_file(self._directory / REPLACED_FILE):
            self._refuse(_replaced())

    # -- what others say ------------------------------------------------------------------

    def mentioned(self, note: bytes) -> None:
        """Look at a checkpoint that came with a request, if it claims more than we have."""
        if _claimed_size(note) > self._size:
            self.shown(note)

    def shown(self, note: bytes) -> None:
        """
        Stop appends for good if note is a checkpoint by our own key on a tree that we don't hold.

        Whoever showed it; anything else is no proof of anything and changes nothing.
        """
        try:
            checkpoint = self._open(note)
        except LedgerError:
            return
        self._judge(checkpoint, note)

    def confirm(self, note: bytes) -> None:
        """
        Take the peer's word on our past: the largest checkpoint of ours that it cosigned.

        note is b"" when it cosigned none. Unless that shows a rollback, an unconfirmed node may
        append once it has heard() too, and the peer has cosigned the newest LOSS: from then on it
        cosigns nothing by the keys before it, whoever may hold them. Raises VerificationError or
        MalformedError, and confirms nothing, when note is not under our own signature.
        """
        size = 0
        if note:
            checkpoint = self._open(note)
            self._judge(checkpoint, note)
            size = checkpoint.size
        if size >= self._least():
            self._came("confirm")

    def replaced(self, loss: bytes) -> None:
        """Stop appends for good: an entry, as it is kept, is a LOSS of this log that it lacks."""
        if self.refusal is None or self.refusal.reason not in _FOR_GOOD:
            self._refuse(_replaced())
            replace_file(self._directory / REPLACED_FILE, loss)

    @property
    def is_unconfirmed(self) -> bool:
        """Whether appends wait for the peer's word."""
        return self.refusal is not None and self.refusal.reason == "UNCONFIRMED"

    @property
    def is_rolled_back(self) -> bool:
        """Whether this node has signed more than its store has, or its log goes on elsewhere."""
        return self.refusal is not None and self.refusal.reason in _FOR_GOOD

    def heard(self) -> None:
        """Take note that the whole of the peer's log was looked at, for what it says of us."""
        self._came("heard")

    def _came(self, what: str) -> None:
        self._awaits.discard(what)
        if not self._awaits:
            self._clear("UNCONFIRMED")

    def _judge(self, checkpoint: Checkpoint, note: bytes) -> None:
        # The store is asked, not _size: that follows a commit by a moment, and a reply may have
        # left within it.
        size = self._reader.head().size
        if checkpoint.size <= size and self._root(checkpoint.size) == checkpoint.root:
            return
        if checkpoint.size > size:
            found = f"this log has signed {checkpoint.size} entries, the store holds {size}"
        else:
            found = (
                f"this log has signed another tree of {checkpoint.size} entries than the store's"
            )
        if self.refusal is None or self.refusal.reason not in _FOR_GOOD:
            self._refuse(_rolled_back(found))
            replace_file(self._directory / SHOWN_FILE, note)

    def _root(self, size: int) -> bytes:
        return self._reader.root(size) if size else sha256().digest()

    def _refuse(self, refusal: NotReadyError | None) -> None:
        self.refusal = refusal
        self._on_change(refusal)

    def _clear(self, reason: str) -> None:
        if self.refusal is not None and self.refusal.reason == reason:
            self._refuse(None)

    # -- the high-water mark --------------------------------------------------------------

    def grown(self, size: int) -> None:
        """Remember that a commit has brought the log to size."""
        self._size = size

    async def keep_mark(self) -> None:
        """Write the mark once a second while the log grows, until cancelled."""
        while True:
            await self.write_mark()
            await asyncio.sleep(_MARK_INTERVAL_S)

    async def write_mark(self) -> None:
        """
        Bring the mark up to date, durably; one call at a time.

        From a failure until the next success appends are refused, MARK_FAILED. A node that may not
        append for another reason leaves the mark as it is.
        """
        if self.refusal is not None and self.refusal.reason != "MARK_FAILED":
            return
        mark = HighWater(self._instance, self._size)
        try:
            if mark != self._marked:
                await asyncio.to_thread(write_mark, self._directory, mark)
                self._marked = mark
        except StoreError as error:
            # A rollback that was found meanwhile stands.
            if self.refusal is None:
                self._refuse(_mark_failed(error.message))
        else:
            self._clear("MARK_FAILED")


def losses_end(history: KeyHistory) -> int:
    """The size at which a log holds its newest LOSS; 0 for none."""
    return max((loss.size + 1 for loss in history.losses()), default=0)


def _claimed_size(note: bytes) -> int:
    """What the second line says, believed by nobody; -1 when it is no number."""
    _, _, rest = note.partition(b"\n")
    digits, _, _ = rest.partition(b"\n")
    return int(digits) if len(digits) <= 20 and digits.isdigit() else -1


def _unconfirmed(found: str) -> NotReadyError:
    return NotReadyError(
        f"{found}: nothing is appended until the peer has said what it knows of this log",
        reason="UNCONFIRMED",
        action="wait until the peer can be reached, or its answer is carried here; reading works"
        " meanwhile",
    )


def _mark_failed(found: str) -> NotReadyError:
    return NotReadyError(
        f"the high-water mark is not kept: {found}",
        reason="MARK_FAILED",
        action="operator: make room on the disk, or mend it; the node goes on by itself",
    )


def _rolled_back(found: str) -> NotReadyError:
    return NotReadyError(
        f"the store was rolled back: {found}",
        reason="ROLLED_BACK",
        action="operator: stop the node, keep this store, start the newest copy there is;"
        " without one, tell the authority",
    )


def _replaced() -> NotReadyError:
    return NotReadyError(
        "this log goes on elsewhere: the authority has declared its end here lost, and put other"
        " keys in force",
        reason="REPLACED",
        action="operator: stop the node, and keep its store; institutions send what it took to the"
        " node that goes on",
    )

"""The peer's log as reconciliation sees it, and how far anchors have taken it up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, Self

from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory

ANCHOR_KEY: Final = b"anchor"

# What one ANCHOR does at most, so that no commit is long: headers of the peer that it takes up, and
# transfers that it judges. Part of the rules: an audit must come to what the node came to.
ANCHOR_STEP: Final = 1000


class PeerHalf(NamedTuple):
    """A half found in the peer's log, and the institution whose key signed it."""

    header: Header
    institution: str


class PeerLog(Protocol):
    """The peer's log as far as it is replayed."""

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterable[PeerHalf]:
        """
        Entries with halves that belong to counterparty_origin, start <= index < stop.

        Raises UnavailableError when the replay has not come so far; so do the others.
        """

    def root(self, size: int) -> bytes:
        """The root of its tree at a size."""

    def verified_history(self) -> KeyHistory:
        """Its keys."""


class NoPeerLog:
    """The peer's log before anything of it is known: whatever is asked raises UnavailableError."""

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterable[PeerHalf]:
        raise _nothing_known()

    def root(self, size: int) -> bytes:
        raise _nothing_known()

    def verified_history(self) -> KeyHistory:
        raise _nothing_known()


def _nothing_known() -> UnavailableError:
    return UnavailableError("nothing of the peer is replayed", reason="REPLAY_BEHIND")


@dataclass(frozen=True, slots=True)
class AnchorState:
    """
    How far the peer's log is reconciled; sizes in entries, times in µs.

    Entries below taken_up are. Those below size follow, by one ANCHOR after the other, before any
    larger checkpoint is begun. When they are all taken up, known_until becomes fetched_at: nobody
    is accused by what is known of the peer in part.
    """

    taken_up: int = 0
    known_until: int = 0
    size: int = 0
    fetched_at: int = 0

    def anchored(self, size: int, fetched_at: int) -> Self:
        """The state after an ANCHOR of a checkpoint, of a size and fetched at a time."""
        if self.taken_up < self.size < size:
            aim, time = self.size, self.fetched_at
        else:
            # Never back: a half taken up twice would be a second one, and silence once judged
            # stays so.
            aim, time = max(self.size, size), max(self.fetched_at, fetched_at)
        taken_up = min(aim, self.taken_up + ANCHOR_STEP)
        return type(self)(taken_up, time if taken_up == aim else self.known_until, aim, time)

    def encode(self) -> bytes:
        return b"".join(map(u64, (self.taken_up, self.known_until, self.size, self.fetched_at)))

    @classmethod
    def load(cls, snapshot: Snapshot) -> Self:
        """The state of the store's last commit."""
        return cls.parse(snapshot.get(Table.META, ANCHOR_KEY) or b"")

    @classmethod
    def parse(cls, row: bytes) -> Self:
        """Read what encode made; b"" before any ANCHOR."""
        return cls(*(int.from_bytes(row[at : at + 8], "big") for at in range(0, len(row), 8)))

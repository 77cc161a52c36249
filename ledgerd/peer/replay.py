"""Pages of the peer's headers, replayed before they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import stored_header
from ledgerd.ledger.tree import TileWriter, frontier
from ledgerd.projections.ordinals import Ordinals
from ledgerd.projections.registry import add_key_entry, load_history
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.chain import Replay, SignatureCheck, check_signatures
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ChainError,
    InputError,
    RefusedError,
    SignatureError,
    VerificationError,
)
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header, body_digest_of
from ledgerd_client.core.history import HISTORY_KINDS, KeyHistory
from ledgerd_client.core.keys import key_id
from ledgerd_client.core.merkle import Frontier
from ledgerd_client.core.node_keys import ROTATING_ROLES

# Of entries from more than five minutes in the future.
PEER_CLOCK_AHEAD: Final = "PEER_CLOCK_AHEAD"


@dataclass(frozen=True, slots=True)
class Page:
    """Contiguous headers, and by index the bodies among them that the peer shares."""

    headers: Sequence[bytes]
    bodies: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Suspect:
    """
    An entry that was refused, by its position, and those before it that it may be wrong against.

    Only entries themselves make a suspect: not a clock, and not a body that came with them.
    """

    position: int
    related: frozenset[int]


@dataclass(slots=True)
class Staged:
    """A page that was replayed; its signatures (checks) are still to be checked."""

    first: int
    headers: Sequence[bytes]
    last_time: int = 0
    last_leaf: bytes = b""
    leaves: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    keys: list[tuple[bytes, bytes]] = field(default_factory=list)
    checks: list[SignatureCheck] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.headers)


class PageReplay:
    """
    A replay and its tree, ahead of the store by the pages that are staged and not yet put.

    Belongs to the thread that writes the store. After any error it is wrong: load a new one.
    """

    def __init__(
        self,
        history: KeyHistory,
        head: Head,
        tree: TileWriter,
        edge: Frontier,
        stored: Ordinals,
    ) -> None:
        self._stored = stored
        # Of what is staged; what is stored already, put() finds.
        self._claimed: dict[bytes, int] = {}
        # Why an error was raised, if it was for an entry.
        self.suspect: Suspect | None = None
        self._tree = tree
        # Not a method of this object: it would keep alive what is given up, filters too, until a
        # collection.
        claim = partial(_claim, self._claimed)
        self._replay = Replay(history, claim, edge, head.last_leaf, head.last_time)

    @classmethod
    def load(cls, snapshot: Snapshot, origin: str, authority: bytes) -> Self:
        """Stand where the store does."""
        head = Head.find(snapshot) or Head.empty(origin)
        history = load_history(snapshot, origin, authority)
        tree = TileWriter.load(snapshot, head.size)
        edge = frontier(snapshot, head.size)
        return cls(history, head, tree, edge, Ordinals.load(snapshot))

    @property
    def size(self) -> int:
        return self._replay.size

    def root(self) -> bytes:
        return self._replay.tree.root()

    def stage(self, page: Page, latest: int) -> Staged:
        """
        Replay a page; latest (µs) is the time beyond which no entry is believed.

        Raises what Replay.step raises, and ChainError.
        """
        staged = Staged(self.size, page.headers)
        for index, raw in enumerate(page.headers, self.size):
            body = page.bodies.get(index)
            header, check = self._step(raw, body)
            staged.leaves.append(self._replay.last_leaf)
            staged.digests.append(header.body_digest)
            staged.checks.append(check)
            # A body that the peer should have kept to itself is not stored here either.
            if body is not None and header.kind in KINDS_SHARED_WITH_PEER:
                staged.bodies.append((index, body))
                if header.kind in HISTORY_KINDS:
                    staged.keys.append((raw, body))
        staged.last_time, staged.last_leaf = self._replay.last_time, self._replay.last_leaf
        if staged.last_time > latest:
            raise ChainError(
                "the peer's newest entries are more than 5 minutes ahead of our clock",
                reason=PEER_CLOCK_AHEAD,
                action="check the clocks of both nodes",
            )
        return staged

    def blame(self, staged: Staged) -> None:
        """Find the entry of a page whose signature fails."""
        for header, check in zip(staged.headers, staged.checks, strict=True):
            try:
                check_signatures((check,))
            except SignatureError:
                key_index = Header.parse(header).key_index
                self.suspect = Suspect(check.entry, frozenset((key_index,)))
                return

    def put(self, transaction: Transaction, staged: Staged) -> None:
        """
        Put a page whose signatures were checked; pages in the order of their staging.

        Raises ChainError when a body digest is in the store already.
        """
        indexes = dict(zip(staged.digests, range(staged.first, staged.end), strict=True))
        for place in self._stored.find(transaction, staged.digests):
            index = indexes.get(body_digest_of(stored_header(transaction, place)))
            if index is not None:
                self.suspect = Suspect(index, frozenset((place,)))
                raise ChainError(f"entry {index} repeats the body of an earlier one")
        for digest in staged.digests:
            self._stored.add(digest)
            del self._claimed[digest]
        self._stored.flush(transaction)
        numbers = [u64(index) for index in range(staged.first, staged.end)]
        transaction.put_many(Table.HEADERS, zip(numbers, staged.headers, strict=True))
        transaction.put_many(Table.BODIES, ((u64(index), body) for index, body in staged.bodies))
        for raw, _ in staged.keys:
            add_key_entry(transaction, Header.parse(raw).index)
        self._tree.append(transaction, staged.leaves)

    def _step(self, raw: bytes, body: bytes | None) -> tuple[Header, SignatureCheck]:
        index = self.size
        try:
            return self._replay.step(raw, body)
        except (InputError, VerificationError, RefusedError):
            self.suspect = Suspect(index, frozenset(self._related(raw, body)))
            raise

    def _related(self, raw: bytes, body: bytes | None) -> Iterator[int]:
        """Where an entry may find what it is wrong against: its neighbour, keys, a body again."""
        history, index = self._replay.history, self.size
        yield index - 1
        try:
            header = Header.parse(raw)
            event = parse_body(body).key_event if body is not None else pb.KeyEvent()
        except InputError:
            return
        yield header.key_index
        yield self._claimed.get(header.body_digest, index)
        ids = (header.key_id, key_id(event.public_key), event.previous_key_id)
        for key in filter(None, map(history.find, ids)):
            yield key.admitted_at
            yield key.revoked_at or 0
        for role in ROTATING_ROLES:
            yield from (key.admitted_at for key in history.node_keys(role))


def _claim(claimed: dict[bytes, int], digest: bytes, index: int) -> bool:
    return claimed.setdefault(digest, index) == index


def grown(history: KeyHistory, entries: Sequence[tuple[bytes, bytes]]) -> KeyHistory:
    """Copy a history and add entries, (header, body), whose signatures were checked."""
    copy = KeyHistory(history.origin, history.authority)
    for raw in (*history.entries, *entries):
        copy.apply(Header.parse(raw[0]), pb.Body.FromString(raw[1]), raw=raw)
    return copy

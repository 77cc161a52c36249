"""
Anchors: the peer's newest verified checkpoint, carried into our own log.

They are how far reconciliation sees, and what binds the two logs together. When one is due is
written so that nothing echoes: what a node says by itself never causes an anchor on the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ledgerd.ledger.call import Call
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.peer.notes import Known, parse_known
from ledgerd.peer.replica import Replica
from ledgerd.peer.store import PeerStore
from ledgerd.peer.witness import Witness
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import NODE
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.record import Admitted

_ANCHORED_KEY: Final = b"anchored"
# Said by the node itself; no finding rests on them.
_NO_NEWS: Final = frozenset((Kind.ANCHOR, Kind.NODE))
_PAGE: Final = 500


class Anchored(NamedTuple):
    """What our newest anchor carries: size of the peer's log, and when it was fetched (µs)."""

    size: int = 0
    fetched_at: int = 0


def anchor_due(
    last: Anchored, fetched_at: int, *, news: bool, deadline: int | None, interval: int
) -> bool:
    """
    Whether a checkpoint fetched at fetched_at is to be anchored (docs/protocol.md, "Anchors").

    news: the peer's log has grown since last by an entry that a finding may rest on. deadline: the
    earliest at which silence of the peer means something; it calls for one anchor, however idle the
    peer is. All times are µs.
    """
    if fetched_at < last.fetched_at + interval:
        return False
    overdue = deadline is not None and last.fetched_at <= deadline < fetched_at
    return news or overdue


class Anchors:
    """Decides and appends. Belongs to the event loop."""

    def __init__(
        self,
        store: PeerStore,
        replica: Replica,
        witness: Witness,
        *,
        sign: Callable[..., Admitted],
        reader: Reader,
        sequencer: Sequencer,
        interval: int,
    ) -> None:
        """
        Take up what the store says was anchored.

        sign makes an entry of our own of a record; interval: least time between two anchors, µs.
        """
        self._store = store
        self._replica = replica
        self._witness = witness
        self._sign = sign
        self._reader = reader
        self._sequencer = sequencer
        self._interval = interval
        # How far the peer's headers were searched for news, and whether there was any.
        self._searched = 0
        self._news = False
        with store.snapshot() as snapshot:
            state = snapshot.get(Table.META, _ANCHORED_KEY) or bytes(16)
        self.last = Anchored(int.from_bytes(state[:8], "big"), int.from_bytes(state[8:], "big"))

    async def step(self) -> bool:
        """
        Append an anchor if one is due; False when another is due at once.

        Raises what the sequencer raises.
        """
        verified = self._replica.verified
        # What is anchored carries our cosignature, and the ledger will read the replica up to it.
        if verified is None or self._witness.cosigned_size != verified.size:
            return True
        due = self._unfinished() or anchor_due(
            self.last,
            verified.fetched_at,
            news=await self._find_news(verified.size),
            deadline=self._reader.next_deadline(),
            interval=self._interval,
        )
        if not due or self._sequencer.refuse is not None:
            return True
        await self._append(Anchored(verified.size, verified.fetched_at))
        return not self._unfinished()

    def _unfinished(self) -> bool:
        """Whether anchors have left something to the next one: it need not wait for news."""
        state, deadline = self._reader.anchor(), self._reader.next_deadline()
        overdue = deadline is not None and deadline < state.known_until
        return overdue or state.taken_up < max(state.size, self.last.size)

    async def _append(self, anchored: Anchored) -> None:
        anchor = pb.Anchor(
            peer_origin=self._replica.origin,
            checkpoint=self._witness.cosigned(),
            fetched_at=anchored.fetched_at,
        )
        call = Call.of([self._sign(anchor=anchor)])
        for outcome in (await self._sequencer.append(call)).outcomes:
            if isinstance(outcome, LedgerError):
                raise outcome
        # Lost in a crash, this costs one more anchor.
        await self.resume(anchored)

    async def resume(self, anchored: Anchored) -> None:
        """Remember our newest anchor, durably."""
        await self._store.run(self._put, anchored)
        self.last, self._news = anchored, False

    def _put(self, anchored: Anchored) -> None:
        with self._store.write() as transaction:
            put_anchored(transaction, anchored)

    async def _find_news(self, size: int) -> bool:
        start = max(self._searched, self.last.size)
        if not self._news:
            self._news = await self._store.run(self._search, start, size)
        self._searched = max(size, start)
        return self._news

    def _search(self, start: int, stop: int) -> bool:
        return any(header.kind not in _NO_NEWS for header in self._replica.headers(start, stop))


def put_anchored(transaction: Transaction, anchored: Anchored) -> None:
    """Keep in a PeerStore what our newest anchor carries."""
    transaction.put(Table.META, _ANCHORED_KEY, u64(anchored.size) + u64(anchored.fetched_at))


def newest_anchor(reader: Reader) -> Known | None:
    """
    The peer's checkpoint that our own log anchored last, None if it never did.

    Reads every entry of the node: it is for a witness that has lost its state.
    """
    newest = None
    start: int | None = 0
    while start is not None:
        page = reader.page(start, author=NODE, count=_PAGE)
        for header, body in page.entries:
            if Header.parse(header).kind == Kind.ANCHOR:
                newest = pb.Body.FromString(body).anchor
        start = page.next
    return parse_known(newest.checkpoint, newest.fetched_at) if newest is not None else None

"""A side that reaches its peer by files, and a courier who carries them as he likes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders import EXPORTER, HONG_KONG, HONG_KONG_PLACE, MAINLAND, Log
from peer.sides import Clock, Side, listed
from peer.test_border import RECIPIENT, Both

from ledgerd.carrying import say
from ledgerd.ledger.head import Head
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd.peer.answer import QUESTION_SIZE, Answer
from ledgerd.peer.carried import PART_BYTES, Carried, Envelope
from ledgerd.peer.courier import CarriedPeer
from ledgerd.peer.exchange import Exchange
from ledgerd.peer.notes import parse_known
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.keys import Signs


class ByFiles(Side):
    """As Side, without a wire: its client is a real one, of files."""

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.directory / "exchange")

    def _peer_options(self) -> dict[str, Any]:
        self.client = CarriedPeer(
            self.exchange,
            self.reader,
            origin=self.log.origin,
            peer_origin=self.peer_log.origin,
            key=lambda: self.log.entry_key,
            is_unconfirmed=lambda: self.standing.is_unconfirmed,
        )
        return {**super()._peer_options(), "client": self.client, "carried": self.client}

    def say(self, *, start: int | None = None, part: int = PART_BYTES) -> Carried:
        """What `ledgerd peer export` writes."""
        with self.peer._store.snapshot() as snapshot:
            peer = Head.find(snapshot)
        return say(
            self.exchange,
            self.reader,
            peer,
            origin=self.log.origin,
            to=self.peer_log.origin,
            question=os.urandom(QUESTION_SIZE),
            now=self.clock(),
            start=start,
            part=part,
        )

    async def take(self, carried: Carried) -> None:
        """What `ledgerd peer import` hands over, and a round of each loop."""
        self.exchange.put(Carried.parse(carried.format()))
        for step in (self.peer.follow, self.peer.submitter.step):
            with suppress(LedgerError):
                await step()


@dataclass
class Courier:
    """Has every file of a real side, and of a peer's log that can be made to be anything."""

    side: ByFiles
    peer: Log
    clock: Clock

    def ask(self) -> bytes:
        """The question in the next file of the side's; afterwards it is later."""
        question = self.side.say().envelope.asks
        self.clock.advance(seconds=10)
        return question

    def answer(
        self,
        question: bytes,
        size: int | None = None,
        *,
        cosigned: bytes = b"",
        seen: bytes = b"",
        key: Signs | None = None,
        to: str = "",
        log: Log | None = None,
    ) -> Answer:
        """What the peer says when it has that question, and so many entries."""
        log = log or self.peer
        return Answer.make(
            key or log.entry_key,
            to or self.side.log.origin,
            question=question,
            head=parse_known(log.checkpoint(size)).checkpoint,
            cosigned=cosigned,
            seen=seen,
        )

    def file(
        self, answer: Answer | None = None, size: int | None = None, *, log: Log | None = None
    ) -> Carried:
        """The peer's log up to a size, and an answer."""
        log = log or self.peer
        entries, asks = log.entries[:size], os.urandom(QUESTION_SIZE)
        envelope = Envelope(log.origin, self.side.log.origin, 0, len(entries), asks)
        pages = [
            listed(first, entries[first : first + SHARED_PAGE_HEADERS])
            for first in range(0, len(entries), SHARED_PAGE_HEADERS)
        ]
        pages[0].checkpoint = log.checkpoint(size)
        return Carried(envelope, answer, pages)

    @property
    def replayed(self) -> int:
        return self.side.peer.replica.verified_size

    @property
    def fetched_at(self) -> int:
        """As of when the peer's log is known here; 0: nobody knows."""
        verified = self.side.peer.replica.verified
        return verified.fetched_at if verified else 0

    async def bring(self, *files: Carried) -> None:
        for file in files:
            await self.side.take(file)


@dataclass
class BothByFiles(Both):
    """As Both; what the sides say to each other, a courier has."""

    mainland: ByFiles
    hong_kong: ByFiles


@asynccontextmanager
async def both_by_files(home: Path) -> AsyncIterator[BothByFiles]:
    """Two real sides whose files have gone there and back, and institutions that know each other."""
    clock, logs = Clock(), (Log(MAINLAND), Log(HONG_KONG))
    sides = []
    for log, peer in (logs, reversed(logs)):
        directory = home / log.origin.rpartition("/")[2]
        directory.mkdir()
        sides.append(await ByFiles(directory, log, peer, clock, None).open())
    one, other = sides
    exporter = await one.enrol(EXPORTER)
    recipient = await other.enrol(RECIPIENT, place=HONG_KONG_PLACE)
    both = BothByFiles(one, other, clock, exporter, recipient)
    await go_round(both)
    yield both
    for side in sides:
        await side.close()


async def go_round(both: BothByFiles) -> None:
    """There and back, and there and back again: with the second answer comes the anchor."""
    one, other = both.mainland, both.hong_kong
    for _ in range(2):
        both.clock.advance(seconds=5)
        await other.take(one.say())
        await one.take(other.say())


def grow(log: Log, size: int) -> None:
    """Entries of the node's own, up to a size."""
    while len(log.entries) < size:
        log.by_node(rule_set=pb.RuleSet(version="2026-08", digest=bytes(32)))

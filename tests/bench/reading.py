"""
`make bench-reading`: what a regulator's questions take on a million entries, over ten thousand.

One side's store of each size, written by the node's own writer: the scenarios' everyday traffic of
a year, its other halves known by anchors, with signatures that nobody looks at. Every 10th transfer
stays without its other half, every 100th gets another. Pages are the first of 100 entries, as
RegulatorService gives them but for its envelope; a report is what it asks of the node. Medians,
with a warm cache.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from datetime import date
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

from bench.report import Row, show
from builders import Institution, Log
from ledger.world import Clock, Node
from rich.console import Console
from rich.progress import Progress, TaskID
from scenarios.background import FIRST_DAY, Background
from scenarios.names import BANK, EVERYDAY
from scenarios.records import ORIGINS, Event, micros

from ledgerd.ledger.answers import Answers, Part
from ledgerd.ledger.child import tune_collector
from ledgerd.ledger.dimensions import Dimension
from ledgerd.ledger.peer_log import PeerHalf
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.search import Clause, Search, first_at
from ledgerd.ledger.summary import Summary
from ledgerd.projections.postings import Field, code, text
from ledgerd.rules.reconcile import State
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.days import DAY_US
from ledgerd_client.core.header import Halves, Header, Kind, encode_halves, header_tail
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SIGNATURE_SIZE
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.record import Admitted, make_body, read_facts
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.core.transfer import ref_of

SMALL, LARGE = 10_000, 1_000_000
GOAL = 1.5
# Of both sides, in one commit: one anchor takes up and judges a thousand of the other side at most.
STRETCH = 1_000
# Long, because a commit of the small store is of many days.
RULES = make_rule_set(acknowledge_within=900 * HOUR, record_within=9_000 * HOUR)
PAGES = 200
PAGE = 100
SHOWN = Part.HEADER, Part.BODY, Part.STANDING


class OtherHalves:
    """The peer's log as far as a node asks: halves, one after the other."""

    def __init__(self) -> None:
        self.known: list[PeerHalf] = []
        self._told = 0

    def halves(self, start: int, stop: int, counterparty_origin: str) -> Iterable[PeerHalf]:
        return self.known[start:stop]

    def root(self, size: int) -> bytes:
        return bytes(32)

    def verified_history(self) -> KeyHistory:
        raise NotImplementedError

    def add(self, event: Event) -> None:
        """Take the half that an event of the other side is, unless it is to be missing."""
        self._told += 1
        if self._told % 10 == 0:
            return
        kind = Kind.TRANSFER if event.kind == "transfer" else Kind.ACK
        outcome = event.message.outcome if isinstance(event.message, pb.Ack) else 0
        encoded = getattr(event.message, "terms", b"")
        digest = bytes(32) if self._told % 100 == 1 else sha256(encoded).digest()
        ref = ref_of(pb.Terms.FromString(encoded))
        halves = Halves(ref, digest, outcome, ORIGINS["mainland"])
        place = len(self.known)
        header = Header(place, event.at, b"", kind, b"", 0, b"", b"", halves)
        self.known.append(PeerHalf(header, event.author.id))


def make(directory: Path, entries: int, progress: Callable[[int], None]) -> None:
    """Write a store of so many entries, or a few more."""
    clock, peer = Clock(), OtherHalves()
    clock.now = micros(FIRST_DAY) - 10 * DAY_US
    with closing(LmdbStore.create(directory, instance=os.urandom(16))) as store:
        logs = Log(ORIGINS["mainland"]), Log(ORIGINS["hongkong"])
        node = Node(*logs, clock, store=store, peer_log=peer, rules=RULES)
        authors = {
            who.id: node.enrol(who.id, place=who.place, sector=who.sector)
            for who in EVERYDAY
            if who.side == "mainland"
        }
        events = Background(entries).events()
        while node.size < entries:
            stretch = list(islice(events, STRETCH))
            for event in stretch:
                if event.author.id not in authors and event.kind in {"transfer", "ack"}:
                    peer.add(event)
            own = [event for event in stretch if event.author.id in authors]
            clock.now = max(clock.now, stretch[-1].at)
            node.writer.commit([[taken(event, authors[event.author.id]) for event in own]])
            node.place(node.anchor(len(peer.known)))
            progress(node.size)


def body_of(event: Event) -> bytes:
    return make_body(
        origin=ORIGINS[event.author.side],
        author=event.author.id,
        record_id=event.record_id,
        occurred_at=event.occurred_at,
        salt=bytes(16),
        **{event.kind: event.message},
    )


def taken(event: Event, author: Institution) -> Admitted:
    return unsigned(body_of(event), author.key.key_id, author.admitted_at)


def unsigned(body: bytes, key_id: bytes, admitted_at: int) -> Admitted:
    """A record as it leaves admission, which did not look at its signature."""
    _, facts = read_facts(body)
    digest = sha256(body).digest()
    signature, halves = bytes(SIGNATURE_SIZE), encode_halves(facts.halves)
    tail = header_tail(facts.kind, digest, admitted_at, key_id, signature, halves)
    return Admitted(facts, body, digest, key_id, admitted_at, tail)


def parse_checkpoint(note: bytes) -> Checkpoint:
    return Checkpoint.parse(parse_note(note).text)


class Asker:
    """Asks one store what a regulator asks."""

    def __init__(self, store: LmdbStore) -> None:
        self._store = store
        self._size = Reader(store).head().size
        self._answers = Answers(store, parse_checkpoint)
        self._dice = Random(0)

    def search(self, *clauses: tuple[Field, bytes], first: int = 0) -> Search:
        each = tuple(Clause(field, frozenset((value,))) for field, value in clauses)
        return Search(each, (), first, self._size, self._size, newest_first=False)

    def page(self, *clauses: tuple[Field, bytes]) -> None:
        page = self._answers.page(self.search(*clauses), None, PAGE, SHOWN)
        assert len(page.entries) == PAGE, (clauses, len(page.entries))

    def page_of_time(self) -> None:
        """Of the entries from the middle of the year on."""
        with self._store.snapshot() as snapshot:
            first = first_at(snapshot, micros(date(2026, 7, 1)), self._size)
        self._answers.page(self.search(first=min(first, self._size - PAGE)), None, PAGE, SHOWN)

    def proof(self) -> None:
        """By one who has no node of the tree at hand: of the small one, all soon would be."""
        with self._store.snapshot() as snapshot:
            answers = Answers(self._store, parse_checkpoint)
            answers.inclusion(snapshot, self._dice.randrange(self._size), self._size)

    def receipt(self) -> None:
        Reader(self._store).receipt(self._dice.randrange(self._size))

    def all(self, *clauses: tuple[Field, bytes]) -> None:
        """Every page."""
        search, start = self.search(*clauses), None
        while True:
            page = self._answers.page(search, start, 500, SHOWN)
            start = page.next
            if start is None:
                return

    def count(self, *dimensions: Dimension) -> None:
        summary, start = Summary(self.search((Field.KIND, TRANSFER)), dimensions), None
        while True:
            with self._store.snapshot() as snapshot:
                start = summary.take(snapshot, start)
            if start is None:
                return

    def chain(self) -> None:
        """Every header, and that each follows from the one before."""
        before = None
        for start in range(0, self._size, 1_000):
            for raw in Reader(self._store).headers(start, 1_000, self._size):
                header = Header.parse(raw)
                assert before in {None, header.previous_leaf_hash}
                before = merkle.leaf_hash(raw)


TRANSFER = code(KIND_NUMBERS["transfer"])


def bank(side: str) -> str:
    return next(who.id for who in EVERYDAY if (who.side, who.sector) == (side, BANK))


def questions(ask: Asker) -> dict[str, Callable[[], None]]:
    institution, other = bank("mainland"), bank("hongkong")
    page = {
        "institution": [(Field.INSTITUTION, text(institution))],
        "counterparty": [(Field.COUNTERPARTY, text(other))],
        "contract": [(Field.CONTRACT, b"GBA-SC-2026-1000")],
        "kind": [(Field.KIND, TRANSFER)],
        "place": [(Field.PLACE, code(440300))],
        "sector": [(Field.SECTOR, code(BANK))],
        "category": [(Field.CATEGORY, code(7))],
        "purpose": [(Field.PURPOSE, code(11))],
        "mechanism": [(Field.MECHANISM, code(1))],
        "direction": [(Field.DIRECTION, code(2))],
        "finding": [(Field.RULE, b"K15.unacknowledged")],
        "standing": [(Field.STANDING, code(1))],
        "state": [(Field.STATE, code(State.UNACKNOWLEDGED))],
        "two_fields": [(Field.INSTITUTION, text(institution)), (Field.PURPOSE, code(5))],
    }
    asked: dict[str, Callable[[], None]] = {
        f"page_{name}": partial(ask.page, *clauses) for name, clauses in page.items()
    }
    return asked | {"page_time": ask.page_of_time, "proof": ask.proof, "receipt": ask.receipt}


def reports(ask: Asker) -> dict[str, Callable[[], None]]:
    return {
        "report_volumes": partial(ask.count, Dimension.INSTITUTION, Dimension.YEAR),
        "report_flows": partial(
            ask.count, Dimension.PLACE, Dimension.COUNTERPARTY_PLACE, Dimension.SECTOR,
            Dimension.MONTH,
        ),
        "report_breaches": partial(
            ask.all, (Field.RULE, b"K15.unacknowledged"), (Field.STANDING, code(1))
        ),
        "report_contract": partial(ask.all, (Field.CONTRACT, b"GBA-SC-2026-1000")),
        "report_complete": ask.chain,
    }  # fmt: skip


def by_turns(
    questions: Sequence[Callable[[], None]], rounds: int, warm: int = 0
) -> tuple[float, ...]:
    """
    Median seconds of each.

    By turns, so that what the machine does meanwhile meets all alike.
    """
    times: list[list[float]] = [[] for _ in questions]
    for turn in range(warm + rounds):
        for question, taken in zip(questions, times, strict=True):
            started = time.perf_counter()
            question()
            if turn >= warm:
                taken.append(time.perf_counter() - started)
    return tuple(map(statistics.median, times))


def measure(small: Asker, large: Asker) -> dict[str, Row]:
    rows = {}
    for name, asked in questions(small).items():
        floor, value = by_turns([asked, questions(large)[name]], PAGES, warm=10)
        rows[name] = Row(value / floor, value, floor, "s", GOAL, at_least=False)
    for name, asked in reports(small).items():
        floor, value = by_turns([asked, reports(large)[name]], 1)
        rows[name] = Row(value / floor, value, floor, "s", None)
    return rows


def main() -> None:
    sizes = SMALL, int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    # Where there is room, in memory: what is measured is a warm cache anyway.
    room = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-reading-", dir=room if room.exists() else None))
    tune_collector()
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for size in sizes:
                task = progress.add_task(f"{size:,} entries", total=size)
                make(scratch / str(size), size, partial(told, progress, task))
        with ExitStack() as stack:
            stores = [LmdbStore.open(scratch / str(size)) for size in sizes]
            small, large = [Asker(stack.enter_context(closing(store))) for store in stores]
            rows = measure(small, large)
    finally:
        shutil.rmtree(scratch)
    show(rows)


def told(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


if __name__ == "__main__":
    main()

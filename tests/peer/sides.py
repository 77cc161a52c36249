"""Sides of a border in one process: real ledgers, real peer stores, and no wire between them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from builders import MINUTE, START, Institution, Log, new_body, new_key, node_of
from ledger.threaded import InThread

from ledgerd.api.peer import PeerHandlers
from ledgerd.ledger.call import Call
from ledgerd.ledger.committer import Committed, Committer
from ledgerd.ledger.founding import found_ledger
from ledgerd.ledger.head import Head
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.standing import Standing
from ledgerd.ledger.writer import Writer
from ledgerd.peer.node import PeerSide
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.signing import OwnEntries
from ledgerd.store.base import Room, Snapshot, Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as body_pb
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.errors import NotFoundError, NotReadyError, UnavailableError
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header, Kind
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer, Verifier
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.record import Admitted, Key, admit, read_facts, sign_record, verified
from ledgerd_client.core.trust import OriginTrust, Trust

DEADLINE_HOURS = 24
# No handler looks at it.
_CONTEXT: Any = None
QUOTA = 1 << 28


class Clock:
    """Time as a test sets it, µs."""

    def __init__(self) -> None:
        self.now = START + 10_000 * MINUTE

    def __call__(self) -> int:
        return self.now

    def advance(self, *, seconds: float = 0, hours: float = 0) -> None:
        self.now += round(seconds * 1_000_000 + hours * HOUR)


class InProcess:
    """Stands in for Workers."""

    count = 2

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


@dataclass
class Wire:
    """A PeerClient that calls the other side's objects; down: nothing comes through."""

    known_checkpoint: bytes = b""
    other: Side | None = None
    down: bool = False
    page: int = 512

    @property
    def reached(self) -> Side:
        if self.down or self.other is None:
            raise UnavailableError("the wire is cut")
        return self.other

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        reader = self.reached.reader
        head = reader.head()
        yield pb.ListHeadersResponse(checkpoint=head.checkpoint, **_page(reader, start, head))
        start += min(self.page, head.size - start)
        while start < head.size:
            yield pb.ListHeadersResponse(**_page(reader, start, head))
            start += self.page

    async def list_replica(self, start: int) -> AsyncGenerator[pb.ListReplicaResponse, None]:
        side = self.reached.peer
        handlers = PeerHandlers(self.reached.reader, side.witness, side.replica,
                                side.monitor.settled, _in_thread, lambda: 0)  # fmt: skip
        async for message in handlers.ListReplica(pb.ListReplicaRequest(start=start), _CONTEXT):
            yield message

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        return await self.reached.peer.witness.add_checkpoint(old_size, proof, note)

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        witness = self.reached.peer.witness
        return witness.vouched(), witness.seen()

    async def prove(self, old: int, new: int) -> tuple[list[bytes], list[bytes]]:
        reader = self.reached.reader
        return reader.inclusion_proof(old, new)[1], reader.consistency_proof(old, new)[1]


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _page(reader: Reader, start: int, head: Head) -> dict[str, Any]:
    page = reader.shared_page(start, head.size)
    bodies = [pb.SharedBody(index=index, body=body) for index, body in page.bodies]
    return {"first": start, "headers": page.headers, "bodies": bodies}


@dataclass
class FakePeer:
    """A PeerClient that serves a Log which checks nothing, in small pages, as a test wants it."""

    log: Log
    known_checkpoint: bytes = b""
    page: int = 3
    # What is served instead of the log's own.
    entries: list[tuple[bytes, bytes]] | None = None
    note: bytes | None = None
    # Messages after which the stream breaks off.
    cut_after: int | None = None
    change: Callable[[pb.ListHeadersResponse], None] | None = None
    starts: list[int] = field(default_factory=list)
    # Of whose tree it gives proofs, by default its log's.
    proves: Log | None = None
    proves_nothing: bool = False

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        self.starts.append(start)
        entries = self.log.entries if self.entries is None else self.entries
        note = self.log.checkpoint() if self.note is None else self.note
        firsts = list(range(start, len(entries), self.page)) or [start]
        for number, first in enumerate(firsts):
            if number == self.cut_after:
                raise UnavailableError("cut")
            message = listed(first, entries[first : first + self.page])
            message.checkpoint = note if number == 0 else b""
            if self.change is not None:
                self.change(message)
            yield message

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        raise UnavailableError("not in this test")

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        return b"", b""

    async def prove(self, old: int, new: int) -> tuple[list[bytes], list[bytes]]:
        if self.proves_nothing:
            raise NotFoundError("not by this peer")
        leaves = (self.proves or self.log).leaves[:new]
        if not old < new <= len(leaves):
            raise NotFoundError("there are no such trees")
        node = node_of(leaves)
        return merkle.inclusion_proof(node, old, new), merkle.consistency_proof(node, old, new)


def listed(first: int, entries: Iterable[tuple[bytes, bytes]]) -> pb.ListHeadersResponse:
    message = pb.ListHeadersResponse(first=first)
    for index, (header, body) in enumerate(entries, first):
        message.headers.append(header)
        if header[49] in KINDS_SHARED_WITH_PEER:
            message.bodies.append(pb.SharedBody(index=index, body=body))
    return message


class Side:
    """A node: real ledger, sequencer, standing and peer side. `log` lends it its side's keys."""

    def __init__(
        self, directory: Path, log: Log, peer: Log, clock: Clock, client: Any, **options: Any
    ) -> None:
        self.directory = directory
        self.log = log
        self.peer_log = peer
        self.clock = clock
        self.client = client
        self.options = options
        self.fatal: list[Exception] = []
        self.log_signer = Signer(log.origin, ED25519, log.log_key)
        self._found()

    def _found(self) -> None:
        genesis = new_body(
            self.log.origin, AUTHORITY, self.clock(), genesis=self.log.genesis(self.peer_log)
        )
        store = LmdbStore.create(self.directory / "store", instance=os.urandom(16))
        found_ledger(
            store,
            sign_record(genesis, self.log.authority),
            make_rule_set(acknowledge_within=DEADLINE_HOURS * HOUR),
            log_key=self.log_signer,
            entry_key=self.log.entry_key,
            cosigner=self.log.cosigner_key.public,
            authority=self.log.authority.public,
            clock=self.clock,
            random=os.urandom,
        )
        store.close()

    async def open(self) -> Side:
        """Start everything but the loops: a test makes each step itself."""
        self.store = LmdbStore.open(self.directory / "store")
        self.reader = Reader(self.store)
        self.keyring = Keyring(self.store, self.log.origin, self.log.authority.public)
        own = OwnEntries(
            self.log.origin, self.log.entry_key, 0, clock=self.clock, random=os.urandom
        )
        self.sign, self.sign_body = own.sign, own.sign_body
        self.sequencer = Sequencer(
            InThread(Committer(self.store, self._make_writer, reserve_bytes=0)),
            on_commit=self._committed,
            on_fatal=self.fatal.append,
        )
        self.standing = Standing(
            self.directory,
            self.reader,
            self.store.instance,
            lambda note: open_log_checkpoint(note, self.keyring.history).checkpoint,
            on_change=self._refuse,
        )
        self.peer = PeerSide(self.directory, **self._peer_options())
        await self.sequencer.start()
        await self.peer.prepare()
        return self

    def _make_writer(self) -> Writer:
        return Writer(
            self.store,
            log_key=self.log_signer,
            entry_key=self.log.entry_key,
            authority=self.log.authority.public,
            peer_log=self.peer.replica,
            clock=self.clock,
            random=os.urandom,
        )

    def _peer_options(self) -> dict[str, Any]:
        return {
            "origin": self.log.origin,
            "peer_origin": self.peer_log.origin,
            "trust": trust_of(self.log, self.peer_log),
            "keys": lambda: self.keyring.history,
            "cosigner": Signer(self.log.origin, COSIGNATURE_V1, self.log.cosigner_key),
            "sign": self.sign,
            "sign_body": self.sign_body,
            "reader": self.reader,
            "sequencer": self.sequencer,
            "workers": InProcess(),
            "standing": self.standing,
            "client": self.client,
            "clock": self.clock,
            "random": os.urandom,
            "quota": QUOTA,
            "anchor_interval_s": 1.0,
            "poll_interval_s": 1.0,
            **self.options,
        }

    def _committed(self, committed: Committed) -> None:
        head = committed.head
        self.standing.grown(head.size)
        self.keyring.refresh()
        self.peer.on_commit(head)

    def _refuse(self, refusal: NotReadyError | None) -> None:
        self.sequencer.refuse = refusal

    async def close(self) -> None:
        await self.peer.stop()
        await self.sequencer.stop()
        self.peer.close()
        self.store.close()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    # -- writing ----------------------------------------------------------------------------

    async def place(self, item: Admitted) -> int:
        """Append a record that must be taken; return its index."""
        outcome = (await self.sequencer.append(Call.of([item]))).outcomes[0]
        assert isinstance(outcome, int), outcome
        return outcome

    def by(self, author: Institution, **record: Any) -> Admitted:
        signed = sign_record(author.body(self.clock(), **record), author.key)
        keys = {author.key.key_id: Key(author.admitted_at, author.key.public)}
        return admit(signed, origin=self.log.origin, author=author.id, keys=keys)

    async def enrol(self, subject: str, **changes: Any) -> Institution:
        key = new_key()
        event = self.log.admission(subject, key, **changes)
        body = new_body(self.log.origin, AUTHORITY, self.clock(), key_event=event)
        signed = sign_record(body, self.log.authority)
        keys = {signed.key_id: Key(0, self.log.authority.public)}
        index = await self.place(verified(signed, read_facts(body)[1], self.log.origin, keys))
        return Institution(self.log.origin, subject, key, index)

    # -- looking ----------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return self.reader.head().size

    def entries(self, kind: Kind) -> list[body_pb.Body]:
        pairs = [self.reader.entry(index) for index in range(self.size)]
        return [
            body_pb.Body.FromString(body)
            for header, body in pairs
            if Header.parse(header).kind is kind
        ]

    @property
    def anchors(self) -> list[body_pb.Anchor]:
        return [body.anchor for body in self.entries(Kind.ANCHOR)]

    @property
    def findings(self) -> list[str]:
        nodes = [body for body in self.entries(Kind.NODE) if body.HasField("finding")]
        return [body.finding.rule for body in nodes]

    def held(self) -> dict[Table, list[tuple[bytes, bytes]]]:
        """Everything in the peer's store."""
        with self.peer._store.snapshot() as snapshot:
            return {table: list(snapshot.scan(table)) for table in Table}

    @property
    def bundles(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.directory.glob("evidence/*"))]


class CrashError(Exception):
    """Stands for the end of the process."""


class FaultyStore:
    """A Store whose next commit is lost, or lands and is not heard of any more; or that is full."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.instance = store.instance
        self.fault: str | None = None
        self.full = False

    @classmethod
    def under(cls, side: Side) -> FaultyStore:
        """Put one in the place of a side's peer store."""
        faulty = cls(side.peer._store._store)
        side.peer._store._store = faulty
        return faulty

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self.store.write() as transaction:
            yield transaction
            if self.fault == "lost":
                raise CrashError
        if self.fault == "landed":
            raise CrashError

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return self.store.snapshot()

    def free_bytes(self) -> int:
        return 0 if self.full else self.store.free_bytes()

    def room(self) -> Room:
        return self.store.room()

    def close(self) -> None:
        self.store.close()


def trust_of(*logs: Log) -> Trust:
    return Trust.of(
        OriginTrust(
            log.origin, Verifier(f"{log.origin}/authority", ED25519, log.authority.public), (b"ca",)
        )
        for log in logs
    )


async def rounds(*sides: Side, count: int = 3) -> None:
    """So many rounds of both loops on each side; what is only waiting for the other is let pass."""
    for _ in range(count):
        for side in sides:
            await step(side.peer.follow)
            await step(side.peer.submitter.step)


async def step(function: Callable[[], Any]) -> None:
    with suppress(UnavailableError):
        await function()


def fork_of(log: Log, size: int) -> Log:
    """The same log, keys and first entries, free to go on differently."""
    return replace(log, entries=log.entries[:size])

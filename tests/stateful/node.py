"""A node that a machine can kill, copy and put back, and everything that ever left it."""

from __future__ import annotations

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from builders import Institution
from ledger.threaded import InThread
from nodes import Side
from peer.sides import QUOTA, Clock, InProcess, Wire

from ledgerd.config import Config
from ledgerd.credentials import NodeKeys, load_trust
from ledgerd.ledger.audit import Auditor
from ledgerd.ledger.call import Call
from ledgerd.ledger.committer import Committed, Committer
from ledgerd.ledger.head import Head
from ledgerd.ledger.keyring import Keyring
from ledgerd.ledger.reader import Reader
from ledgerd.ledger.sequencer import Sequencer
from ledgerd.ledger.standing import Standing, losses_end
from ledgerd.ledger.writer import Writer
from ledgerd.peer.node import PeerSide
from ledgerd.peer.notes import parse_known
from ledgerd.peer.spent import Spent
from ledgerd.peer.submit import newest_cosigned
from ledgerd.recovery.collecting import RECOVERING, recover
from ledgerd.recovery.declaring import declare, request_loss
from ledgerd.recovery.restoring import restore
from ledgerd.rotating import request_rotation
from ledgerd.signing import LiveKeys, OwnEntries
from ledgerd.store.base import Snapshot, Store, Transaction
from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as service
from ledgerd_client.approval import Approval
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.chain import check_signatures
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import LedgerError, NotReadyError, StoreError, UnavailableError
from ledgerd_client.core.header import Header
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import parse_note, parse_signature_lines
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.record import Admitted, Key, SignedRecord, admit, sign_record
from ledgerd_client.identity import INSTITUTION
from ledgerd_client.loss_request import LossRequest
from ledgerd_client.node_key_request import NodeKeyRequest

Tree = tuple[int, bytes]  # size and root

# What was tried, to be said at the end.
counted: Counter[str] = Counter()


class Acknowledged(NamedTuple):
    """What an institution was told of its record."""

    index: int
    header: bytes


@dataclass
class Seen:
    """All notes that left a node: what nobody can take back."""

    # By origin, name and id of a key, and size: the root that it signed or cosigned.
    roots: dict[tuple[str, str, bytes, int], bytes] = field(default_factory=dict)
    # By origin and key, the largest note; by origin, the largest tree that was cosigned.
    shown: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    cosigned: dict[str, Tree] = field(default_factory=lambda: defaultdict(lambda: (0, b"")))

    def take(self, note: bytes) -> None:
        """Raises AssertionError for a second tree of one size under one key."""
        if not note:
            return
        parsed = parse_note(note)
        checkpoint = Checkpoint.parse(parsed.text)
        origin, size, root = checkpoint.origin, checkpoint.size, checkpoint.root
        for line in parsed.signatures:
            key = (origin, line.name, line.key_id, size)
            assert self.roots.setdefault(key, root) == root, f"two trees of {size}: {line.name}"
            before = self.shown.get((origin, line.key_id))
            if before is None or parse_known(before).size < size:
                self.shown[origin, line.key_id] = note
        if any(line.name != origin for line in parsed.signatures):
            self.cosigned[origin] = max(self.cosigned[origin], (size, root))


@dataclass
class NotedWire(Wire):
    """A wire that notes what passes, to a node that may not run."""

    seen: Seen = field(default_factory=Seen)

    @property
    def reached(self) -> Any:
        node = super().reached
        if not node.runs:
            raise UnavailableError("nobody answers")
        return node

    async def list_headers(self, start: int) -> AsyncGenerator[service.ListHeadersResponse, None]:
        async for message in super().list_headers(start):
            self.seen.take(message.checkpoint)
            yield message

    async def list_replica(self, start: int) -> AsyncGenerator[service.ListReplicaResponse, None]:
        async for message in super().list_replica(start):
            self.seen.take(message.checkpoint)
            yield message

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        self.seen.take(note)
        lines = await super().add_checkpoint(old_size, proof, note)
        self.seen.take(add_signatures(note, parse_signature_lines(lines)))
        return lines

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        note, seen = await super().get_cosigned()
        self.seen.take(note)
        return note, seen


class DyingStore:
    """A Store whose next commit is the last: lost, or landed and nobody hears of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fault = ""

    @property
    def instance(self) -> bytes:
        return self._store.instance

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.fault == "dead":
            raise _died()
        with self._store.write() as transaction:
            yield transaction
            if self.fault == "lost":
                self.fault = "dead"
                raise _died()
        if self.fault == "landed":
            self.fault = "dead"
            raise _died()

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return self._store.snapshot()

    def free_bytes(self) -> int:
        return self._store.free_bytes()

    def close(self) -> None:
        self._store.close()


_EMPTY = Head.empty("")


def _newest_witnessed(snapshot: Snapshot) -> bytes:
    return snapshot.get(Table.META, b"cosigned") or b""


def _died() -> StoreError:
    return StoreError("the process died in a commit", reason="COMMIT_FAILED")


class MortalNode:
    """
    A node composed as ledgerd.node.parts does it, without server, workers and loops.

    Its directory was founded by `ledgerd init`'s own code; its process can end at any moment.
    """

    def __init__(self, directory: Path, side: Side, clock: Clock, wire: NotedWire) -> None:
        """Of the side only the authority is used: the directory may be a copy of its own."""
        self.config = Config.load(directory / "node.toml")
        self.authority = side.authority
        self.origin = side.origin
        self.clock = clock
        self.wire = wire
        self.trust = load_trust(self.config)
        self.runs = False

    # -- its process ------------------------------------------------------------------------

    async def open(self) -> None:
        """As the daemon starts; raises what keeps it from starting."""
        keys = NodeKeys.load(self.config)
        self.dying = DyingStore(LmdbStore.open(self.config.store))
        self.reader = Reader(self.dying)
        self.keyring = Keyring(self.dying, self.origin, self.trust.authority(self.origin))
        history = self.keyring.history
        self.keys = keys = keys.in_force(history)
        self.own = OwnEntries(
            self.origin,
            keys.entry,
            history.key_in_force(body_pb2.ROLE_ENTRY).admitted_at,
            clock=self.clock,
            random=os.urandom,
        )
        self.standing = Standing(
            self.config.data,
            self.reader,
            self.dying.instance,
            lambda note: open_log_checkpoint(note, self.keyring.history).checkpoint,
            on_change=self._standing_changed,
            least=lambda: losses_end(self.keyring.history),
        )
        self.writing = InThread(Committer(self.dying, self._make_writer, reserve_bytes=0))
        self.sequencer = Sequencer(
            self.writing, on_commit=self._committed, on_fatal=lambda _error: None
        )
        self.peer = self._make_peer(history.need_genesis().peer_origin)
        self.live_keys = LiveKeys(
            self.config,
            keys,
            history,
            own=self.own,
            hold=self._hold,
            cosign_by=self.peer.cosign_by,
        )
        await self.sequencer.start()
        self.standing.start()
        await self.peer.prepare()
        self.runs = True

    def _make_peer(self, peer_origin: str) -> PeerSide:
        peer = PeerSide(
            self.config.data,
            origin=self.origin,
            peer_origin=peer_origin,
            trust=self.trust,
            keys=lambda: self.keyring.history,
            cosigner=self.keys.cosigner_signer,
            sign=self.own.sign,
            sign_body=self.own.sign_body,
            reader=self.reader,
            sequencer=self.sequencer,
            workers=InProcess(),
            standing=self.standing,
            client=self.wire,
            clock=self.clock,
            random=os.urandom,
            quota=QUOTA,
            anchor_interval_s=1.0,
            poll_interval_s=1.0,
        )
        self.dying_peer = peer._store._store = DyingStore(peer._store._store)
        return peer

    def _make_writer(self) -> Writer:
        self.writer = Writer(
            self.dying,
            log_key=self.keys.log_signer,
            entry_key=self.keys.entry,
            authority=self.keyring.history.authority,
            peer_log=self.peer.replica,
            clock=self.clock,
            random=os.urandom,
            cosigned=lambda: self.peer.own_cosigned.size,
        )
        for role, coming in self.keys.coming.items():
            self.writer.hold(role, coming)
        self.writer.hold_retired(self.keys.retired.get(body_pb2.ROLE_LOG, ()))
        return self.writer

    async def _hold(self, role: int, key: SigningKey) -> None:
        self.writer.hold(role, [key])

    def _committed(self, committed: Committed) -> None:
        self.standing.grown(committed.head.size)
        self.keyring.refresh()
        self.live_keys.follow(self.keyring.history)
        self.peer.on_commit(committed.head)

    def _standing_changed(self, refusal: NotReadyError | None) -> None:
        self.sequencer.refuse = refusal

    async def sample(self) -> None:
        """What the daemon does once a second."""
        await self.standing.write_mark()
        if self.appends:
            self.live_keys.settle(self.peer.own_cosigned.size)

    async def close(self) -> None:
        """End its process, if it runs."""
        if not self.runs:
            return
        self.runs = False
        await self.peer.stop()
        await self.sequencer.stop()
        self.peer.close()
        self.dying.close()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    # -- what others do with it ---------------------------------------------------------------

    async def append(self, item: Admitted) -> Acknowledged | None:
        """Send a record; None when the node did not take it."""
        try:
            result = await self.sequencer.append(Call.of([item]))
        except LedgerError:
            return None
        self.wire.seen.take(result.checkpoint)
        (outcome,) = result.outcomes
        if isinstance(outcome, Receipt):  # an ACK that the log has already
            return Acknowledged(Header.parse(outcome.header).index, outcome.header)
        return Acknowledged(outcome, result.headers[0]) if isinstance(outcome, int) else None

    def by(self, author: Institution, **record: Any) -> Admitted:
        signed = sign_record(author.body(self.clock(), **record), author.key)
        keys = {author.key.key_id: Key(author.admitted_at, author.key.public)}
        return admit(signed, origin=self.origin, author=author.id, keys=keys)

    def by_authority(self, record: SignedRecord) -> Admitted:
        key = self.keyring.history.key_in_force(body_pb2.ROLE_AUTHORITY)
        keys = {record.key_id: Key(key.admitted_at, key.public)}
        return admit(record, origin=self.origin, author=AUTHORITY, keys=keys)

    async def enrol(self, side: Side, subject: str) -> Institution:
        credentials = side.issue(INSTITUTION, subject)
        record = side.admission(INSTITUTION, subject, credentials)
        acknowledged = await self.append(self.by_authority(record))
        assert acknowledged is not None
        return Institution(self.origin, subject, credentials.signing, acknowledged.index)

    def look(self) -> None:
        """Somebody reads the newest checkpoint."""
        self.wire.seen.take(self.reader.head().checkpoint)

    # -- its operator -------------------------------------------------------------------------

    async def rotate(self, name: str) -> None:
        """Have the authority put another key in force."""
        out = self.config.data / "request.json"
        out.unlink(missing_ok=True)
        # Elsewhere the node runs meanwhile; but a process can't open a store twice.
        await self.close()
        try:
            request_rotation(self.config, name, out, lost=False, random=os.urandom)
        except NotReadyError:  # the peer has not cosigned the rotation before
            await self.open()
            return
        await self.open()
        request = NodeKeyRequest.parse(out.read_bytes())
        approval = self.authority.rotate_node_key(request, now=self._now())
        await self.live_keys.prepare(approval.read_body().key_event)
        await self.append(self.by_authority(approval.record))

    def back_up(self, copy: Path) -> None:
        copy.mkdir()
        shutil.copy(self.config.store / "data.mdb", copy)

    def lose(self, *names: str) -> None:
        """Have files of its data directory no more."""
        for pattern in names:
            for path in self.config.data.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def resume_recovery(self) -> None:
        """Have the directory again that a recovery has put aside."""
        present = self.config.data / RECOVERING
        before = sorted(self.config.data.glob(f"{RECOVERING}.before-*"))
        if before and not present.exists():
            before[-1].rename(present)

    def restore(self, copy: Path) -> None:
        """As `ledgerd restore`; raises FieldError for a copy from before a rotation or LOSS."""
        restore(self.config, copy, clock=self.clock, random=os.urandom)

    async def ask_for_loss(self, copies: list[Path]) -> Approval:
        """As `ledgerd recover`, its request, and the authority's answer."""
        options: Any = {"clock": self.clock, "random": os.urandom}
        await recover(self.config, self.wire, copies, **options)
        out = self.config.data / "request.json"
        out.unlink(missing_ok=True)
        await request_loss(self.config, out, **options)
        return self.authority.declare_loss(LossRequest.parse(out.read_bytes()), now=self._now())

    async def declare(self, approval: Approval) -> None:
        options: Any = {"clock": self.clock, "random": os.urandom}
        await declare(self.config, approval, self.wire, **options)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock() / 1_000_000, UTC)

    # -- looking at it ------------------------------------------------------------------------

    @property
    def appends(self) -> bool:
        return self.runs and self.standing.refusal is None

    @property
    def is_spent(self) -> bool:
        """Whether its witness has forgotten what it cosigned by the present key."""
        present = self.keyring.history.key_in_force(body_pb2.ROLE_COSIGNER).public
        return Spent(self.config.data).key() == present

    def witnessed(self) -> bytes:
        """The newest note of its peer that it knows to have cosigned."""
        if self.runs:
            return self.peer.witness.cosigned()
        return self._kept(_newest_witnessed, self.config.peer_store)

    def replayed(self) -> bytes:
        """The newest note of its peer whose headers it holds."""
        if self.runs:
            return self.peer.replica.newest()[1]
        return self._kept(
            lambda snapshot: (Head.find(snapshot) or _EMPTY).checkpoint, self.config.peer_store
        )

    def header(self, index: int) -> bytes:
        with self.dying.snapshot() as snapshot:
            return snapshot.get(Table.HEADERS, u64(index)) or b""

    def holds(self, tree: Checkpoint) -> bool:
        held = self.runs and self.reader.head().size >= tree.size
        return held and self.reader.root(tree.size) == tree.root

    def own_cosigned(self) -> list[bytes]:
        """Notes of its own with its peer's cosignature, of which its disk knows."""
        notes = [self.peer.own_cosigned.newest()] if self.runs else []
        present = self.config.peer_store
        others = [path for path in self.config.data.glob("peer*") if path != present or not notes]
        return notes + [self._kept(newest_cosigned, path) for path in others]

    def _kept(self, find: Callable[[Snapshot], bytes], path: Path) -> bytes:
        if not path.exists():
            return b""
        with closing(LmdbStore.open(path, readonly=True)) as store, store.snapshot() as snapshot:
            return find(snapshot)

    @property
    def accusations(self) -> list[Path]:
        return sorted(self.config.data.glob("evidence/*"))

    def audit(self) -> None:
        Auditor(
            self.dying,
            MemoryStore(instance=bytes(16)),
            origin=self.origin,
            authority=self.trust.authority(self.origin),
            peer_log=self.peer.replica,
            check_signatures=check_signatures,
            progress=lambda _done, _total: None,
        ).run()

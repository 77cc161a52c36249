"""
One commit: entries, tree, projections, findings and the signed checkpoint in one transaction.

Runs in the one thread that writes the store. It starts from the store, and after any failure starts
from the store again, so that recovery is the path that every start takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from time import perf_counter
from typing import Final

from ledgerd.ledger.batch import AppendResult, Batch, Placed, result_of
from ledgerd.ledger.call import Item
from ledgerd.ledger.entry import Entry
from ledgerd.ledger.head import Head, follows_another, is_standby
from ledgerd.ledger.held_keys import HeldKeys
from ledgerd.ledger.machine import Machine
from ledgerd.ledger.own_entry import sign_own
from ledgerd.ledger.peer_log import PeerLog
from ledgerd.ledger.tree import TileWriter
from ledgerd.store.base import Store, Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    LedgerError,
    NotReadyError,
    StoreError,
)
from ledgerd_client.core.header import Header, Kind, header_bytes
from ledgerd_client.core.history import HISTORY_KINDS
from ledgerd_client.core.keys import Signs, key_id
from ledgerd_client.core.note import Signer
from ledgerd_client.core.record import (
    Admitted,
    check_clock,
)

# Records whose rows are read at once: to ask for few costs more than what is read.
_WORTH_READING: Final = 64


class Writer:
    """
    The only one who appends. clock gives µs since the epoch; random(n) gives n random bytes.

    Every method belongs to the one thread that made it.
    """

    def __init__(
        self,
        store: Store,
        *,
        log_key: Signer,
        entry_key: Signs,
        authority: bytes,
        peer_log: PeerLog,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        cosigned: Callable[[], int] = lambda: 0,
        promoting: bool = False,
    ) -> None:
        """
        cosigned: how many entries the peer has cosigned; asked while a rotation is young.

        Raises NotReadyError STANDBY for the store of a mirror or standby, unless promoting: what is
        appended first is then a LOSS.
        """
        self._promoting = promoting
        self._store = store
        self._keys = HeldKeys(log_key, entry_key)
        self._cosigned = cosigned
        self._known_cosigned = 0
        self._authority = authority
        self._peer_log = peer_log
        self._clock = clock
        self._random = random
        self._origin = log_key.verifier.name
        # How long the newest commit took the disk.
        self.sync_seconds = 0.0
        self.load()

    def hold(self, role: int, keys: Sequence[Signs]) -> None:
        """Have more keys at hand, that are to replace present ones."""
        self._keys.hold(role, keys)

    def hold_retired(self, keys: Sequence[Signs]) -> None:
        """Have log keys at hand that were replaced: they sign beside the present one, or not."""
        self._keys.hold_retired(keys)

    def load(self) -> None:
        """Take up the newest commit; everything in memory is forgotten."""
        with self._store.snapshot() as snapshot:
            if follows_another(snapshot) and not self._promoting:
                raise is_standby()
            self.head = Head.find(snapshot) or Head.empty(self._origin)
            self.machine = Machine.load(snapshot, self._origin, self._authority, self._peer_log)
            self._tree = TileWriter.load(snapshot, self.head.size)

    def touch(self) -> None:
        """
        Commit one small transaction that changes nothing.

        Raises StoreError if that fails, or if there is no ledger in the store.
        """
        with self._store.write() as transaction:
            self._check_unchanged(transaction)
            Head.load(transaction).put(transaction)

    def commit(self, calls: Iterable[Sequence[Item]]) -> list[AppendResult]:
        """
        Append the records of some calls; when this returns they are on the disk.

        Calls are let go of before more are asked for, but for small ones, which go together.

        Raises StoreError "COMMIT_FAILED" when the process must end. Any other exception means
        that nothing was written, and that the state was loaded anew.
        """
        try:
            with self._store.write() as transaction:
                head, results = self._write(transaction, calls)
                written = perf_counter()
        except StoreError:
            raise
        except BaseException:
            self._load_again()
            raise
        self.sync_seconds = perf_counter() - written
        # Durable. The checkpoint was signed above, but no byte of it has left this thread.
        self.head = head
        return results

    def rehearse(self, items: Sequence[Item]) -> LedgerError | None:
        """Write some records, take them back, and return what raised, None when nothing did."""
        try:
            with self._store.write() as transaction:
                self._write(transaction, [items])
                raise _TakenBackError  # noqa: TRY301 - the way to abort what went well
        except _TakenBackError:
            return None
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it refuses these records alone
            if isinstance(error, LedgerError):
                return error
            return LedgerError(f"the record could not be applied: {type(error).__name__}")
        finally:
            self._load_again()

    def _load_again(self) -> None:
        self.machine.transfers.let_go()
        try:
            self.load()
        except LedgerError as error:
            # What is in memory says of records that they are in the log, and they are not.
            raise StoreError(f"the store can't be taken up again: {error.message}") from error

    def _write(
        self, transaction: Transaction, calls: Iterable[Sequence[Item]]
    ) -> tuple[Head, list[AppendResult]]:
        self._check_unchanged(transaction)
        now = max(self._clock(), self.head.last_time)
        batch = Batch(self.head.size, now, self.head.last_leaf, self.head.size)
        placed: list[Placed] = []
        for together in _together(calls):
            self._read(transaction, together)
            placed += [self._place_call(transaction, batch, call) for call in together]
        if not batch.headers:
            # Nothing is dirty, so the commit is none: who only repeats or errs costs no fsync.
            nodes = self._tree.nodes(transaction)
            return self.head, [result_of(transaction, nodes, batch, self.head, c) for c in placed]
        batch.put(transaction)
        self.machine.flush(transaction)
        self._tree.append(transaction, batch.leaves)
        nodes = self._tree.nodes(transaction)
        root = merkle.root(nodes, batch.next)
        note = self._sign(Checkpoint(self._origin, batch.next, root))
        head = Head(batch.next, batch.last_time, batch.last_leaf, note)
        head.put(transaction)
        return head, [result_of(transaction, nodes, batch, head, call) for call in placed]

    def _sign(self, checkpoint: Checkpoint) -> bytes:
        history, size = self.machine.history, checkpoint.size
        # Nearly always no rotation is young, and nobody is asked.
        if history.needs_both(self._known_cosigned, size):
            self._known_cosigned = self._cosigned()
        signers = self._keys.log_signers(history, size, self._known_cosigned)
        return sign_checkpoint(checkpoint, *signers)

    def _check_unchanged(self, transaction: Transaction) -> None:
        stored = Head.find(transaction) or Head.empty(self._origin)
        if stored != self.head or self._tree.size != self.head.size:
            raise StoreError(
                "the store is not as this process left it: someone else wrote",
                reason="STORE_CHANGED",
            )

    def _read(self, transaction: Transaction, calls: Iterable[Sequence[Item]]) -> None:
        """Read at once what placing these calls will look up."""
        items = chain.from_iterable(calls)
        self.machine.read(
            transaction, [item.facts for item in items if not isinstance(item, LedgerError)]
        )

    def _place_call(self, transaction: Transaction, batch: Batch, call: Sequence[Item]) -> Placed:
        """Give each good record its place, then the findings that they raise theirs."""
        first = batch.next
        outcomes: list[int | LedgerError] = []
        repeated: set[int] = set()
        due: list[pb.Finding] = []
        for number, item in enumerate(call):
            try:
                if isinstance(item, LedgerError):
                    raise item
                known = self._find(transaction, item)
                if known is not None:
                    repeated.add(number)
                    outcomes.append(known)
                    continue
                self._check_in_log_order(transaction, batch, item)
            except LedgerError as error:
                outcomes.append(error)
                continue
            outcomes.append(batch.next)
            due += self._place(transaction, batch, item)
        end = batch.next
        for finding in due:
            self._place(transaction, batch, self._make_finding(finding, batch.last_time))
        return Placed(outcomes, repeated, first, end)

    def _find(self, transaction: Transaction, item: Admitted) -> int | None:
        """
        Index of the record if the log has it; raises ConflictError for its id with other bytes.

        An accepted ACK said again by another record counts as the same one.
        """
        facts = item.facts
        known = self.machine.records.find(transaction, facts.author, facts.record_id)
        if known is not None:
            if known.body_digest != item.body_digest:
                raise ConflictError(
                    f"record_id {facts.record_id.hex()} is in the log with other bytes",
                    reason="RECORD_ID_REUSED",
                    action="make a new record_id for a new record",
                )
            return known.position
        lost = self.machine.bereft.take_returned(transaction, item.body_digest, item.body)
        if lost is not None:
            return lost
        if facts.outcome == pb.OUTCOME_ACCEPTED and facts.kind == Kind.ACK:
            for half in self.machine.transfers.get(transaction, facts.ref).halves:
                same = (half.terms_digest, half.outcome) == (facts.terms_digest, facts.outcome)
                if half.own and half.kind == Kind.ACK and same:
                    return half.position
        return None

    def _check_in_log_order(self, transaction: Transaction, batch: Batch, item: Admitted) -> None:
        """Decide what only the log can: clock, key, and what a key event may do here."""
        facts = item.facts
        if batch.next and facts.kind in BY_INSTITUTIONS:
            check_clock(facts, batch.last_time)
            self.machine.history.institution_key(item.key_id, item.key_index, batch.next)
            return
        if (facts.kind == Kind.GENESIS) != (batch.next == 0):
            raise ChainError("GENESIS stands at index 0 and nowhere else")
        check_clock(facts, batch.last_time)
        if facts.kind in HISTORY_KINDS:
            raw = header_bytes(batch.next, batch.last_time, batch.last_leaf, item.tail)
            body = pb.Body.FromString(item.body)
            header = Header.parse(raw)
            self.machine.history.signer(header, body)
            self.machine.history.check(header, body)
            if facts.kind == Kind.LOSS:
                self._check_loss(transaction, batch, body.loss)
            if body.key_event.action == pb.KEY_ACTION_ROTATE:
                self._check_rotation(body.key_event)
        else:
            self._check_own(item)

    def _check_rotation(self, event: pb.KeyEvent) -> None:
        self._keys.check_next(event)
        if self.machine.history.is_young(event.role, self._known_cosigned):
            self._known_cosigned = self._cosigned()
        self._keys.check_turn(event, self.machine.history, self._known_cosigned)

    def _check_own(self, item: Admitted) -> None:
        """What the node signed before its key was rotated, it has to sign again."""
        _, present = self._keys.entry_key(self.machine.history)
        if (item.key_id, item.key_index) != (key_id(present.public), present.admitted_at):
            raise NotReadyError(
                "the node's key was rotated meanwhile", reason="KEY_ROTATED", action="try again"
            )

    def _check_loss(self, transaction: Transaction, batch: Batch, loss: pb.Loss) -> None:
        if batch.headers or merkle.root(self._tree.nodes(transaction), self.head.size) != loss.root:
            raise ChainError("the LOSS is of another tree than this log's", reason="OTHER_TREE")

    def _place(self, transaction: Transaction, batch: Batch, item: Admitted) -> list[pb.Finding]:
        position = batch.next
        header = header_bytes(position, batch.last_time, batch.last_leaf, item.tail)
        batch.add(header, item.body)
        entry = Entry(position, batch.last_time, item.facts, item.body_digest, header, item.body)
        return self.machine.apply(transaction, entry)

    def _make_finding(self, finding: pb.Finding, now: int) -> Admitted:
        key, present = self._keys.entry_key(self.machine.history)
        return sign_own(
            key, self._origin, now, self._random, key_index=present.admitted_at, finding=finding
        )


def _together(calls: Iterable[Sequence[Item]]) -> Iterator[list[Sequence[Item]]]:
    """Large calls one by one, for many items are more than a cache holds; small ones together."""
    together: list[Sequence[Item]] = []
    items = 0
    for call in calls:
        together.append(call)
        items += len(call)
        if items >= _WORTH_READING:
            yield together
            together, items = [], 0
    if together:
        yield together


class _TakenBackError(Exception):
    """Raised to abort a transaction that went well."""

"""Answers about findings, contracts and what may be erased. Each from one short snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ledgerd.ledger.contract_reader import ContractAnswer, read_contract
from ledgerd.ledger.erasing import Erasable, judge, make_erasure
from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import stored_rule_set
from ledgerd.projections import findings, timers
from ledgerd.projections.erased import erasure_of, stored_body
from ledgerd.projections.lost import find_returned, is_lost
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.header import Header


@dataclass(frozen=True, slots=True)
class FoundFinding:
    """
    A FINDING entry; closed_by, closed_at (µs): of the entry that closes it.

    Both are 0 if it stands, or closes one itself.
    """

    index: int
    header: bytes
    body: bytes
    closed_by: int
    closed_at: int


class FindingPage(NamedTuple):
    """Findings in log order; next: where to go on, None at the end. size: entries of the log."""

    findings: list[FoundFinding]
    next: int | None
    checkpoint: bytes
    size: int


class LawReader:
    """The part of Reader that speaks of the law."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def findings_of(
        self, institution: str, start: int, count: int, *, open_only: bool
    ) -> FindingPage:
        """Up to count findings that concern an institution, opened from index start on."""
        table = Table.STANDING if open_only else Table.FINDINGS_OF
        return self._page(institution, start, count, table)

    def new_findings(self, institution: str, start: int, count: int) -> FindingPage:
        """Up to count FINDING entries from index start on, and those that close one."""
        return self._page(institution, start, count, Table.FINDINGS_OF, Table.CLOSINGS)

    def _page(self, institution: str, start: int, count: int, *tables: Table) -> FindingPage:
        with self._store.snapshot() as snapshot:
            head = Head.load(snapshot)
            rows = findings.findings_of(snapshot, institution, start, *tables)
            indexes = list(islice(rows, count + 1))
            following = indexes[count][0] if len(indexes) > count else None
            found = [_found(snapshot, *each) for each in indexes[:count]]
            return FindingPage(found, following, head.checkpoint, head.size)

    def contract(self, institution: str, contract_id: str) -> ContractAnswer:
        """What is known here of a contract; raises NotFoundError when nothing names it."""
        with self._store.snapshot() as snapshot:
            return read_contract(snapshot, institution, contract_id)

    def next_timer(self) -> int | None:
        """When (µs) a deadline of our own side passes next; None when none is awaited."""
        timer = self.first_timer()
        return timer.due if timer is not None else None

    def first_timer(self) -> timers.Timer | None:
        """What a TICK would judge first; nothing while no law is in force, which judges nothing."""
        with self._store.snapshot() as snapshot:
            timer = timers.next_timer(snapshot)
            return timer if timer is not None and stored_rule_set(snapshot)[1].law else None

    def rule_set(self) -> pb.RuleSet:
        """The rule set in force."""
        with self._store.snapshot() as snapshot:
            return stored_rule_set(snapshot)[1]

    def open_findings(self) -> int:
        """How many findings stand, in constant time."""
        with self._store.snapshot() as snapshot:
            return snapshot.count(Table.OPENED)

    def erasable(self, index: int, now: int) -> Erasable:
        """Whether the body of an entry may be erased at a time (µs); raises NotFoundError."""
        with self._store.snapshot() as snapshot:
            header = Header.parse(need(snapshot, Table.HEADERS, index))
            if is_lost(snapshot, index):
                raise body_lost(index)
            body = stored_body(snapshot, index)
            return judge(snapshot, header, body, now, stored_rule_set(snapshot)[1].law)

    def erasure(self, order: bytes, signature: bytes) -> pb.Erasure | int:
        """
        The ERASURE that an order calls for, or the index of the one that it led to already.

        order: encoded, as open_order took it. Raises NotFoundError, and TooLargeError when what
        remains of the bodies does not fit one entry.
        """
        with self._store.snapshot() as snapshot:
            first = pb.ErasureOrder.FromString(order).indexes[0]
            earlier = erasure_of(snapshot, first)
            if earlier is not None:
                body = pb.Body.FromString(need(snapshot, Table.BODIES, earlier))
                if body.erasure.order == order:
                    return earlier
            return make_erasure(snapshot, order, signature)


def need(snapshot: Snapshot, table: Table, index: int) -> bytes:
    """A part of an entry; raises NotFoundError."""
    value = snapshot.get(table, u64(index))
    if value is None:
        raise NotFoundError(f"there is no entry {index}")
    return value


def need_body(snapshot: Snapshot, index: int) -> bytes:
    """The body of an entry; raises NotFoundError, ERASED or BODY_LOST where it is gone."""
    erasure = erasure_of(snapshot, index)
    if erasure is not None:
        raise NotFoundError(
            f"the body of entry {index} was erased by entry {erasure}",
            reason="ERASED",
            action="its header and receipt still stand; ask the authority why it was erased",
        )
    body = snapshot.get(Table.BODIES, u64(index))
    if body is None and is_lost(snapshot, index):
        body = find_returned(snapshot, index)
        if body is None:
            raise body_lost(index)
    return need(snapshot, Table.BODIES, index) if body is None else body


def body_lost(index: int) -> NotFoundError:
    """What is said to whoever asks for a body that a LOSS took along."""
    return NotFoundError(
        f"the body of entry {index} was lost with a disk, and nobody returned it",
        reason="BODY_LOST",
        action="its header and receipt still stand; ask its author for the record",
    )


def _found(snapshot: Snapshot, index: int, closed_by: int) -> FoundFinding:
    header, body = need(snapshot, Table.HEADERS, index), need(snapshot, Table.BODIES, index)
    closed_at = 0
    if closed_by:
        closed_at = Header.parse(need(snapshot, Table.HEADERS, closed_by)).recorded_at
    return FoundFinding(index, header, body, closed_by, closed_at)

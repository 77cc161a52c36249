"""Answers about findings, contracts and what may be erased. Each from one short snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ledgerd.ledger.contract_reader import ContractAnswer, contract_rows, read_contract
from ledgerd.ledger.head import Head
from ledgerd.ledger.law_machine import contracts_of
from ledgerd.ledger.machine import stored_rule_set
from ledgerd.projections import findings, timers
from ledgerd.projections.contracts import contract_key
from ledgerd.rules.law import load_law, newest_law
from ledgerd.rules.retention import keep_until
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.days import day_of, to_date
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.fields import MAX_TIME
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


class Erasable(NamedTuple):
    """Whether an entry's body may be erased (K21); keep_until: yyyymmdd, 0: not known yet."""

    allowed: bool
    keep_until: int
    reason: str = ""
    message: str = ""


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

    def erasable(self, index: int, now: int) -> Erasable:
        """Whether the body of an entry may be erased at a time (µs); raises NotFoundError."""
        with self._store.snapshot() as snapshot:
            header = Header.parse(need(snapshot, Table.HEADERS, index))
            body = pb.Body.FromString(need(snapshot, Table.BODIES, index))
            rules = stored_rule_set(snapshot)[1]
            ends_on = _end_of_contract(snapshot, header, body)
        if header.kind not in BY_INSTITUTIONS:
            return Erasable(False, 0, "NOT_ERASABLE", "only what institutions wrote is ever erased")
        today = day_of(now)
        parameters = load_law(rules.law or newest_law()).at(today)
        until = keep_until(header.recorded_at, ends_on, parameters)
        if until is None:
            message = "the contract has no end yet, and is kept for three years after it"
            return Erasable(False, 0, "RETENTION", message)
        if today <= until:
            message = f"the record is kept until {to_date(until)}"
            return Erasable(False, to_date(until), "RETENTION", message)
        return Erasable(True, to_date(until))


def need(snapshot: Snapshot, table: Table, index: int) -> bytes:
    """A part of an entry; raises NotFoundError."""
    value = snapshot.get(table, u64(index))
    if value is None:
        raise NotFoundError(f"there is no entry {index}")
    return value


def _found(snapshot: Snapshot, index: int, closed_by: int) -> FoundFinding:
    header, body = need(snapshot, Table.HEADERS, index), need(snapshot, Table.BODIES, index)
    closed_at = 0
    if closed_by:
        closed_at = Header.parse(need(snapshot, Table.HEADERS, closed_by)).recorded_at
    return FoundFinding(index, header, body, closed_by, closed_at)


def _end_of_contract(snapshot: Snapshot, header: Header, body: pb.Body) -> int | None:
    """Last day of the contracts that an entry is about; None: no end. About none: its own day."""
    recorded_on = day_of(header.recorded_at)
    if header.kind not in BY_INSTITUTIONS:
        return recorded_on
    latest = recorded_on
    for contract_id in contracts_of(body):
        contract, _ = contract_rows(snapshot, contract_key(body.author, contract_id))
        if contract is None or not contract.versions:
            continue
        if not (ends_at := contract.ends_at(MAX_TIME)):
            return None
        latest = max(latest, day_of(ends_at))
    return latest

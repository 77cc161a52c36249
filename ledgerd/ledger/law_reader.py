"""Answers about findings, contracts and what may be erased. Each from one short snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ledgerd.ledger.head import Head
from ledgerd.ledger.law_machine import contract_id_of
from ledgerd.ledger.machine import stored_rule_set
from ledgerd.ledger.peer_log import AnchorState
from ledgerd.projections import findings, timers, transfers
from ledgerd.projections.contracts import Contract, Usage, contract_key
from ledgerd.projections.transfers import Half, OpenFinding
from ledgerd.rules.agreement import agree, state_of
from ledgerd.rules.days import day_of, to_date
from ledgerd.rules.law import load_law, newest_law
from ledgerd.rules.retention import keep_until
from ledgerd.store.base import Snapshot, Store
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.header import Header, Kind

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FoundFinding:
    """A FINDING entry; closed_by: index of the entry that closes it, 0 if it stands or closes."""

    index: int
    header: bytes
    body: bytes
    closed_by: int


class FindingPage(NamedTuple):
    """Findings in log order; next: where to go on, None at the end. size: entries of the log."""

    findings: list[FoundFinding]
    next: int | None
    checkpoint: bytes
    size: int


class StatementAnswer(NamedTuple):
    """One sort of statement of a contract; own, peer: index + 1 of the newest half, 0 for none."""

    outcome: int
    state: str
    terms_digest: bytes
    own: int
    peer: int


@dataclass(frozen=True, slots=True)
class ContractAnswer:
    """
    A contract as this node sees it, for the party of this side that asked.

    terms: encoded ContractTerms of the newest version. findings: indexes of those that stand.
    peer_known_at: µs.
    """

    ref: bytes
    state: str
    halves: list[Half]
    terms: bytes
    statements: list[StatementAnswer]
    findings: list[int]
    subjects: int
    first_transfer_on: int
    peer_size: int
    peer_known_at: int
    checkpoint: bytes


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
        """Up to count FINDING entries from index start on that concern an institution."""
        with self._store.snapshot() as snapshot:
            head = Head.load(snapshot)
            rows = findings.findings_of(snapshot, institution, start, open_only=open_only)
            indexes = list(islice(rows, count + 1))
            following = indexes[count][0] if len(indexes) > count else None
            found = [
                FoundFinding(
                    index,
                    need(snapshot, Table.HEADERS, index),
                    need(snapshot, Table.BODIES, index),
                    0 if closed_by == findings.IS_CLOSING else closed_by,
                )
                for index, closed_by in indexes[:count]
            ]
            return FindingPage(found, following, head.checkpoint, head.size)

    def contract(self, institution: str, contract_id: str) -> ContractAnswer:
        """What is known here of a contract; raises NotFoundError when nothing names it."""
        key = contract_key(institution, contract_id)
        with self._store.snapshot() as snapshot:
            contract, usage = _rows(snapshot, key)
            if contract is None and usage is None:
                raise NotFoundError(f"no contract {contract_id!r} of {institution} is known here")
            contract, usage = contract or Contract(), usage or Usage()
            row_key = transfers.row_key(Kind.CONTRACT, contract.ref)
            row = transfers.get_transfer(snapshot, row_key) or transfers.Transfer()
            anchor = AnchorState.load(snapshot)
            rules = stored_rule_set(snapshot)[1]
            states = agree(row.halves, anchor.known_until, rules).states
            return ContractAnswer(
                contract.ref,
                state_of(states) if contract.versions else UNKNOWN,
                row.halves,
                contract.versions[-1].terms if contract.versions else b"",
                [_statement(row.halves, outcome, state) for outcome, state in states.items()],
                _standing(snapshot, [*contract.findings, *row.findings]),
                usage.subjects,
                to_date(day_of(usage.first_at)) if usage.first >= 0 else 0,
                anchor.taken_up,
                anchor.known_until,
                Head.load(snapshot).checkpoint,
            )

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


def _rows(snapshot: Snapshot, key: bytes) -> tuple[Contract | None, Usage | None]:
    contract, usage = snapshot.get(Table.CONTRACTS, key), snapshot.get(Table.USAGE, key)
    return (
        None if contract is None else Contract.parse(contract),
        None if usage is None else Usage.parse(usage),
    )


def _statement(halves: Iterable[Half], outcome: int, state: str) -> StatementAnswer:
    newest = {half.own: half for half in halves if half.outcome == outcome}
    own, peer = newest.get(True), newest.get(False)
    shown = own or peer
    return StatementAnswer(
        outcome,
        state,
        shown.terms_digest if shown else b"",
        own.position + 1 if own else 0,
        peer.position + 1 if peer else 0,
    )


def _standing(snapshot: Snapshot, found: Iterable[OpenFinding]) -> list[int]:
    opened = (findings.opened_at(snapshot, each.finding_id) for each in found)
    return sorted(index for index in opened if index is not None)


def _end_of_contract(snapshot: Snapshot, header: Header, body: pb.Body) -> int | None:
    """Last day of the contract that an entry is about; None: no end. About none: its own day."""
    recorded_on = day_of(header.recorded_at)
    if header.kind not in BY_INSTITUTIONS:
        return recorded_on
    contract, _ = _rows(snapshot, contract_key(body.author, contract_id_of(body)))
    if contract is None or not contract.versions:
        return recorded_on
    ends_at = contract.terms()[-1].ends_at
    ends = [day_of(ends_at)] if ends_at else []
    if contract.ended is not None:
        ends.append(contract.ended.day)
    return min(ends, default=None)

"""What a node answers about a contract: what both sides stated of it, and what stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import stored_rule_set
from ledgerd.ledger.peer_log import AnchorState
from ledgerd.projections import findings, transfers
from ledgerd.projections.contracts import Contract, contract_key, stated_terms
from ledgerd.projections.erased import stored_body
from ledgerd.projections.row_keys import contract_row
from ledgerd.projections.transfer_row import Half, OpenFinding, Position, Transfer
from ledgerd.projections.usage import Usage
from ledgerd.rules.agreement import (
    AGREED,
    Restated,
    agree,
    parties_of,
    state_of,
    take_back,
)
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.contract import DISPOSAL
from ledgerd_client.core.days import day_of, to_date
from ledgerd_client.core.errors import NotFoundError

UNKNOWN = "unknown"
# Of one contract, in an answer about it: disposals that are looked at, and halves of them.
MAX_DISPOSALS_READ: Final = 10_000
MAX_DISPOSALS_SHOWN: Final = 200


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


def read_contract(snapshot: Snapshot, institution: str, contract_id: str) -> ContractAnswer:
    """What is known here of a contract; raises NotFoundError when nothing names it."""
    key = contract_key(institution, contract_id)
    contract, usage = contract_rows(snapshot, key)
    if contract is None and usage is None:
        raise NotFoundError(f"no contract {contract_id!r} of {institution} is known here")
    contract, usage = contract or Contract(), usage or Usage()
    anchor = AnchorState.load(snapshot)
    rules = stored_rule_set(snapshot)[1]
    head = Head.load(snapshot)
    halves, states, found = statements(snapshot, contract.ref, anchor, rules, head.size)
    return ContractAnswer(
        contract.ref,
        state_of(states) if contract.versions else UNKNOWN,
        halves,
        _newest_terms(snapshot, contract),
        [statement(halves, outcome, state) for outcome, state in states.items()],
        _standing(snapshot, [*contract.findings, *found]),
        usage.subjects,
        to_date(day_of(usage.first_at)) if usage.first >= 0 else 0,
        anchor.taken_up,
        anchor.known_until,
        head.checkpoint,
    )


def contract_rows(snapshot: Snapshot, key: bytes) -> tuple[Contract | None, Usage | None]:
    """What is kept of a contract; None for what is not."""
    contract, usage = snapshot.get(Table.CONTRACTS, key), snapshot.get(Table.USAGE, key)
    return (
        None if contract is None else Contract.parse(contract),
        None if usage is None else Usage.parse(usage),
    )


def statements(
    snapshot: Snapshot, ref: bytes, anchor: AnchorState, rules: pb.RuleSet, size: int
) -> tuple[list[Half], dict[int, str], list[OpenFinding]]:
    """
    Halves of a contract with its newest disposals, the state of each sort, what stands now.

    As of a size of this log and what an anchor had taken up of the peer's.
    """

    def known(halves: Iterable[Half]) -> list[Half]:
        return [h for h in halves if h.position < (size if h.own else anchor.taken_up)]

    if not ref:
        # Of a contract that nobody stated.
        return [], {}, []
    key = contract_row(ref)
    row = transfers.get_transfer(snapshot, key) or Transfer()
    for own, end in ((True, size), (False, anchor.taken_up)):
        for taken, number, half in transfers.replaced_since(snapshot, key, Position(own, end)):
            take_back(row.halves, taken, Restated(half, number))
    halves = known(row.halves)
    parties = parties_of(halves)
    states = dict(agree(halves, anchor.known_until, rules).states)
    found, disposals = [*row.findings], list[Half]()
    for each in islice(transfers.disposals_of(snapshot, ref), MAX_DISPOSALS_READ):
        disposed = known(each.halves)
        state = agree(disposed, anchor.known_until, rules, parties).states.get(DISPOSAL)
        if state is not None:
            states[DISPOSAL] = state_of({0: state, 1: states.get(DISPOSAL, AGREED)})
        disposals += disposed
        found += each.findings
    newest = sorted(disposals, key=lambda half: half.recorded_at)[-MAX_DISPOSALS_SHOWN:]
    return [*halves, *newest], states, found


def _newest_terms(snapshot: Snapshot, contract: Contract) -> bytes:
    if not contract.versions:
        return b""
    body = stored_body(snapshot, contract.versions[-1].position)
    return encode_message(stated_terms(body))


def statement(halves: Iterable[Half], outcome: int, state: str) -> StatementAnswer:
    """What the newest halves of one sort say."""
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

"""A transfer, or a contract, as it stood when this log had some size."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledgerd.ledger.contract_reader import ContractAnswer, statement, statements
from ledgerd.ledger.indexer import STANDS
from ledgerd.ledger.law_reader import need
from ledgerd.ledger.peer_log import AnchorState
from ledgerd.ledger.search import Clause, Search, covers, find, find_block
from ledgerd.projections.anchored import anchor_before
from ledgerd.projections.contracts import stated_terms
from ledgerd.projections.erased import stored_body
from ledgerd.projections.findings import findings_on
from ledgerd.projections.postings import BLOCK, Field, bits, code, text
from ledgerd.projections.transfer_row import Half
from ledgerd.projections.transfers import get_transfer
from ledgerd.rules.agreement import state_of
from ledgerd.rules.reconcile import State
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.header import Header
from ledgerd_client.core.supervision import KIND_NUMBERS

# Of one transfer that an answer shows; all of them are entries of the log.
MAX_FINDINGS: Final = 200
# Of one contract: findings that are named.
_MAX_STANDING: Final = 1000


def _kinds(*names: str) -> Clause:
    return Clause(Field.KIND, frozenset(code(KIND_NUMBERS[name]) for name in names))


_STATEMENTS: Final = _kinds("contract", "supplement")
_RULE_SETS: Final = _kinds("rule_set")
_STANDING: Final = Clause(Field.STANDING, frozenset((code(STANDS),)))


@dataclass(frozen=True, slots=True)
class TransferAnswer:
    """
    A transfer as this node sees it.

    findings: of those asked for, the newest MAX_FINDINGS as (index, body), in log order. peer_size:
    entries of the peer's log that are taken up; peer_known_at: µs.
    """

    state: State
    halves: list[Half]
    findings: list[tuple[int, bytes]]
    peer_size: int
    peer_known_at: int
    checkpoint: bytes


def transfer_at(
    snapshot: Snapshot, ref: bytes, size: int, checkpoint: bytes, clauses: Sequence[Clause] = ()
) -> TransferAnswer:
    """
    What was known of a transfer at a size, that of the checkpoint; raises NotFoundError.

    clauses: of its findings, those that meet them; of fields whose values don't change.
    """
    known = peer_at(snapshot, size)[0]
    row = get_transfer(snapshot, ref)
    halves = [] if row is None else row.halves
    halves = [h for h in halves if h.position < (size if h.own else known.taken_up)]
    if row is None or not halves:
        raise unknown_transfer(ref)
    known_then = (index for index in findings_on(snapshot, ref) if index < size)
    found = deque((i for i in known_then if covers(snapshot, clauses, i)), MAX_FINDINGS)
    return TransferAnswer(
        State(row.state_before(size)),
        halves,
        [(index, need(snapshot, Table.BODIES, index)) for index in found],
        known.taken_up,
        known.known_until,
        checkpoint,
    )


def unknown_transfer(ref: bytes) -> NotFoundError:
    """What is said of a transfer that nobody declared, or that is not the asker's to see."""
    return NotFoundError(f"no transfer {ref.hex()} is known here")


def peer_at(snapshot: Snapshot, size: int) -> tuple[AnchorState, bytes]:
    """How far the peer's log was reconciled, and its checkpoint that was anchored last; b""."""
    newest = anchor_before(snapshot, size)
    if newest is None:
        return AnchorState(), b""
    index, state = newest
    anchor = pb.Body.FromString(need(snapshot, Table.BODIES, index)).anchor
    return AnchorState.parse(state), anchor.checkpoint


def contracts_at(
    snapshot: Snapshot, contract_id: str, clauses: Sequence[Clause], size: int
) -> list[tuple[str, ContractAnswer]]:
    """
    A contract as each institution of this side had stated it, by its id, where clauses cover that.

    Counts of what was sent are not in it: a summary has them.
    """

    def newest(*more: Clause, count: int) -> list[int]:
        search = Search((*more, *clauses), (), 0, size, size, newest_first=True)
        return find(snapshot, search, None, count).indexes

    of_it = Clause(Field.CONTRACT, frozenset((text(contract_id),)))
    statements = Search((of_it, _STATEMENTS, *clauses), (), 0, size, size, newest_first=True)
    answers = []
    for institution, index in _newest_by_author(snapshot, statements).items():
        concerned = Clause(Field.INSTITUTION, frozenset((text(institution),)))
        found = newest(of_it, concerned, _STANDING, count=_MAX_STANDING)
        answers.append((institution, _contract_at(snapshot, index, found, size)))
    return answers


def _newest_by_author(snapshot: Snapshot, statements: Search) -> dict[str, int]:
    """
    Each author's newest of some statements, newest first.

    However many one of them has made, the others are found: per block each costs one look.
    """
    newest: dict[str, int] = {}
    block = (statements.end - 1) // BLOCK
    while found := find_block(snapshot, statements, block):
        left = found.bits
        while left:
            offset = left.bit_length() - 1
            index = found.block * BLOCK + offset
            author = pb.Body.FromString(stored_body(snapshot, index)).author
            newest.setdefault(author, index)
            by_him = bits(snapshot, Field.INSTITUTION, text(author), found.block)
            left &= ~(by_him | 1 << offset)
        block = found.block - 1
    return newest


def _contract_at(
    snapshot: Snapshot, stated: int, found: Sequence[int], size: int
) -> ContractAnswer:
    header = Header.parse(need(snapshot, Table.HEADERS, stated))
    ref = header.halves.ref if header.halves else b""
    known = peer_at(snapshot, size)[0]
    halves, states, _ = statements(snapshot, ref, known, _rules_at(snapshot, size), size)
    return ContractAnswer(
        ref,
        state_of(states),
        halves,
        encode_message(stated_terms(stored_body(snapshot, stated))),
        [statement(halves, outcome, state) for outcome, state in states.items()],
        sorted(found),
        0,
        0,
        known.taken_up,
        known.known_until,
        b"",
    )


def _rules_at(snapshot: Snapshot, size: int) -> pb.RuleSet:
    search = Search((_RULE_SETS,), (), 0, size, size, newest_first=True)
    found = find(snapshot, search, None, 1).indexes
    bodies = [need(snapshot, Table.BODIES, index) for index in found]
    return pb.Body.FromString(bodies[0]).rule_set if bodies else pb.RuleSet()

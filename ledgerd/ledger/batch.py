"""What one commit adds to the log, and what each of its calls is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import stored_header
from ledgerd.ledger.tree import Nodes
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client.core import merkle, ranges
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.receipt import Receipt

Outcome = int | Receipt | LedgerError


@dataclass(frozen=True, slots=True)
class AppendResult:
    """outcomes: an index for a new record, the receipt of a repeated one, or an error."""

    outcomes: list[Outcome]
    first: int
    headers: list[bytes]
    range_proof: list[bytes]
    checkpoint: bytes


@dataclass(slots=True)
class Batch:
    """What one commit adds to the log."""

    first: int
    last_time: int
    last_leaf: bytes
    next: int
    headers: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)

    def add(self, header: bytes, body: bytes) -> None:
        self.next += 1
        self.last_leaf = merkle.leaf_hash(header)
        self.headers.append(header)
        self.bodies.append(body)
        self.leaves.append(self.last_leaf)

    def put(self, transaction: Transaction) -> None:
        numbers = [u64(self.first + i) for i in range(len(self.headers))]
        transaction.put_many(Table.HEADERS, zip(numbers, self.headers, strict=True))
        transaction.put_many(Table.BODIES, zip(numbers, self.bodies, strict=True))


class Placed(NamedTuple):
    """A call's outcomes while proofs are still to be made: repeated ones as a known index."""

    outcomes: list[int | LedgerError]
    repeated: set[int]
    first: int
    end: int


def result_of(
    transaction: Transaction, nodes: Nodes, batch: Batch, head: Head, call: Placed
) -> AppendResult:
    """What a call is answered, once head is there."""
    outcomes: list[Outcome] = list(call.outcomes)
    for number in call.repeated:
        position = call.outcomes[number]
        assert isinstance(position, int)  # noqa: S101 - repeated ones have an index
        header = stored_header(transaction, position)
        proof = tuple(merkle.inclusion_proof(nodes, position, head.size))
        outcomes[number] = Receipt(header, proof, head.checkpoint)
    start, end = call.first - batch.first, call.end - batch.first
    proof_of_all = ranges.range_proof(nodes, call.first, call.end, head.size) if start < end else []
    return AppendResult(
        outcomes, call.first, batch.headers[start:end], proof_of_all, head.checkpoint
    )

"""
What a log still says of institutions whose statements are lost with a disk (projections.lost).

The law might accuse them by what is not known any more. What it says of them all the same rests on
nothing that is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledgerd.ledger.entry import BodyOf
from ledgerd.ledger.law_machine import LawMachine, contract_id_of
from ledgerd.projections.contracts import contract_key
from ledgerd.projections.lost import find_lost, keep_returned, lost_institutions, put_lost
from ledgerd.projections.row_keys import contract_row
from ledgerd.projections.transfers import Transfers
from ledgerd.store.base import Snapshot, Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory


class Bereft:
    """Belongs to one Machine. concerned_by: the institutions of this side that a finding is of."""

    def __init__(
        self,
        history: KeyHistory,
        transfers: Transfers,
        law: LawMachine,
        body_of: BodyOf,
        concerned_by: Callable[[Transaction, pb.Finding], Sequence[str]],
    ) -> None:
        self._history = history
        self._transfers = transfers
        self._law = law
        self._body_of = body_of
        self._concerned_by = concerned_by
        # Of whom a statement is lost, up to where.
        self._until: dict[str, int] = {}
        self._lossy = False

    def load(self, snapshot: Snapshot) -> None:
        """Take up what the store's last commit left."""
        self._until = lost_institutions(snapshot)
        self._lossy = bool(snapshot.count(Table.LOST))

    def lose(self, transaction: Transaction, header: Header, institution: str) -> None:
        """Note that a body is lost; institution: whose other records may rest on it, or ""."""
        put_lost(transaction, header.index, header.body_digest, institution)
        self._lossy = True
        if institution:
            self._until[institution] = header.index

    def take_returned(self, transaction: Transaction, digest: bytes, body: bytes) -> int | None:
        """Keep a body that is lost, and has come back; its entry's index, None if it is not."""
        index = find_lost(transaction, digest) if self._lossy else None
        if index is not None:
            keep_returned(transaction, index, body)
        return index

    def known(self, transaction: Transaction, due: list[pb.Finding]) -> list[pb.Finding]:
        """Of what the law says, all but what it says for want of a body that is lost."""
        if not self._until:
            return due
        return [finding for finding in due if not self._may_rest_on_loss(transaction, finding)]

    def _may_rest_on_loss(self, transaction: Transaction, finding: pb.Finding) -> bool:
        """Of what was stated before the loss, and of contracts that are not known to be younger."""
        own = [each.index for each in finding.records if each.origin == self._history.origin]
        for whom in self._concerned_by(transaction, finding):
            lost = self._until.get(whom, -1)
            bodies = (pb.Body.FromString(self._body_of(transaction, index)) for index in own)
            theirs = (body for body in bodies if body.author == whom)
            named = {finding.contract_id, *map(contract_id_of, theirs)} - {""}
            older = any(index <= lost for index in own)
            if lost >= 0 and (
                older
                or not all(
                    self._is_younger(transaction, contract_key(whom, each), lost) for each in named
                )
            ):
                return True
        return False

    def _is_younger(self, transaction: Transaction, key: bytes, than: int) -> bool:
        """Whether all that a contract's author has ever stated of it stands behind an entry."""
        ref = self._law.ref_of(transaction, key)
        halves = self._transfers.get(transaction, contract_row(ref)).halves if ref else ()
        return all(half.position > than for half in halves if half.own) and bool(halves)

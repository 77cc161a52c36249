"""Transfers judged again by what their contract says now (law_sent says when)."""

from __future__ import annotations

from ledgerd.ledger.law_sent import SentTransfers
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_transfers import TransferLaw, carried
from ledgerd.projections.transfers import Transfers
from ledgerd.projections.usage import Usage
from ledgerd.rules.content import TIMED
from ledgerd.rules.lapse import Lapse, own
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.transfer import ref_of


class AgainLaw:
    """Judges whether a contract carries what was sent under it."""

    def __init__(
        self, state: LawState, sent: SentTransfers, transfers: Transfers, law: TransferLaw
    ) -> None:
        self._state = state
        self._sent = sent
        self._transfers = transfers
        self._law = law

    def due(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        """
        Judge the next transfers of a contract.

        What is found in their own contents, and by the sums of their day, stays as it is.
        """
        contract = self._state.contracts.get(transaction, key)
        usage = self._state.usage.get(transaction, key) or Usage()
        due: list[pb.Finding] = []
        moved = False
        for position in self._sent.next(transaction, key):
            ref = self._ref(transaction, position)
            transfer, stated = self._law.counting(transaction, ref)
            if stated is None or stated.key != key:
                continue
            lapses = [Lapse(rule, (own(stated.position),)) for rule in carried(contract, stated)]
            due += self._state.change_transfer(self._transfers, ref, transfer, lapses, only=TIMED)
            if contract is not None and contract.versions:
                covered = contract.covered(stated.occurred_at, self._state.now)
                moved |= usage.exceed(stated.scope & ~covered, stated.position)
        if moved:
            self._state.usage.put(key, usage)
            due += self._state.judge(transaction, key)
        return due

    def _ref(self, transaction: Transaction, position: int) -> bytes:
        body = pb.Body.FromString(self._state.body_of(transaction, position))
        return ref_of(pb.Terms.FromString(getattr(body, body.WhichOneof("record") or "").terms))

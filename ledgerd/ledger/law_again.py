"""Transfers judged again by what their contract says now (law_sent says when)."""

from __future__ import annotations

from ledgerd.ledger.law_sent import SentTransfers
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_transfers import TransferLaw, carried
from ledgerd.ledger.law_usage import show
from ledgerd.projections.contracts import parse_contract_key
from ledgerd.projections.sent import IDLE, Again
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

        What is found in their own contents, and by the sums of their day, stays as it is. What was
        found on a transfer as it came is closed there. What is found only now stands once for all
        of them on the contract, so that one statement can't raise a finding for each.
        """
        contract = self._state.contracts.get(transaction, key)
        usage = self._state.usage.get(transaction, key) or Usage()
        again, positions = self._sent.next(transaction, key)
        shown = usage if again.since else again.shown
        due: list[pb.Finding] = []
        moved = False
        for position in positions:
            ref = self._ref(transaction, position)
            transfer, stated = self._law.counting(transaction, ref)
            if stated is None or stated.key != key:
                continue
            known = {found.rule for found in transfer.findings}
            rules = carried(contract, stated)
            lapses = [Lapse(rule, (own(stated.position),)) for rule in rules if rule in known]
            due += self._state.change_transfer(self._transfers, ref, transfer, lapses, only=TIMED)
            for rule in rules:
                if rule not in known:
                    again.count(rule, stated.position)
            scope = 0
            if contract is not None and contract.versions:
                scope = contract.covered(stated.occurred_at, self._state.now)
            moved |= show(shown, stated, scope)
        if again.number == IDLE:
            due += self._end(key, again)
            if shown is again.shown:
                usage.take_shown(shown)
                moved = True
        if moved:
            self._state.usage.put(key, usage)
            due += self._state.judge(transaction, key)
        return due

    def _end(self, key: bytes, again: Again) -> list[pb.Finding]:
        """What a sweep that went through all its transfers comes to."""
        institution, contract_id = parse_contract_key(key)
        lapses = [
            Lapse(rule, tuple(own(place) for place in sorted({first, last})), (transfers,))
            for rule, (transfers, first, last) in again.tally.items()
        ]
        again.tally = {}
        return self._state.change(
            again.findings, lapses, institution=institution, contract_id=contract_id
        )

    def _ref(self, transaction: Transaction, position: int) -> bytes:
        body = pb.Body.FromString(self._state.body_of(transaction, position))
        return ref_of(pb.Terms.FromString(getattr(body, body.WhichOneof("record") or "").terms))

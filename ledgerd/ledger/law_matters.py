"""The law of matters: provision onward, incidents, requests of authorities, changed consent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from ledgerd.ledger.law_state import LawState
from ledgerd.projections.contracts import contract_key, parse_contract_key
from ledgerd.projections.matters import (
    Matter,
    contract_of_sweep,
    matter_key,
    matter_of,
    onward_key,
    onward_under,
)
from ledgerd.projections.sweeps import Sweep
from ledgerd.projections.timers import MATTER, SWEEP
from ledgerd.rules.matters import judge_matter
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.days import DAY_US

# Provisions onward that one step judges anew. Part of the rules, as TICK_STEP is.
SWEEP_STEP: Final = 100

# The field that starts its deadline.
_BEGINS: Final = {"incident": "discovered_at", "gov_access": "received_at"}


class MatterLaw:
    """Keeps the newest statement of each matter, and judges it."""

    def __init__(self, state: LawState) -> None:
        self._state = state

    def on_record(
        self, transaction: Transaction, position: int, recorded_at: int, body: pb.Body
    ) -> list[pb.Finding]:
        """Take a statement of a matter: stated again, it is the same matter."""
        record = body.WhichOneof("record") or ""
        statement: Any = getattr(body, record)
        key = matter_key(body.author, record, statement.matter)
        known = self._state.matters.get(transaction, key)
        matter = known or Matter(record, position, b"", recorded_at)
        before = [] if known is None else _onward_under(known)
        matter.position = position
        _begin(statement, record, matter.body)
        if record == "onward":
            # No rule reads it, and the row may outlive the body.
            statement.ClearField("agreement_digest")
        matter.body = encode_message(statement)
        self._index(transaction, key, before, _onward_under(matter))
        return self._judge(transaction, key, matter)

    def due(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        matter = self._state.matters.get(transaction, key)
        return [] if matter is None else self._judge(transaction, key, matter)

    def judge_onward_later(self, transaction: Transaction, contract: bytes, at: int) -> None:
        """
        Have what was provided onward under a contract judged by its newest terms.

        By TICKs after at (µs), once a day: they may be thousands, and a TICK judges no more than
        its step.
        """
        key = onward_key(*parse_contract_key(contract))
        if next(onward_under(transaction, key, b""), None) is not None:
            sweep = self._state.sweeps.get(transaction, key) or Sweep()
            sweep.asked = True
            self._go_on(key, sweep, sweep.due or max(at, sweep.began + DAY_US), sweep.cursor)

    def sweep(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        """Judge the next provisions onward under a contract, as many as one step does."""
        sweep = self._state.sweeps.get(transaction, key) or Sweep()
        if not sweep.cursor:
            sweep.began, sweep.asked = self._state.now, False
        matters = list(islice(onward_under(transaction, key, sweep.cursor), SWEEP_STEP + 1))
        institution, _ = contract_of_sweep(key)
        due: list[pb.Finding] = []
        for matter in matters[:SWEEP_STEP]:
            due += self.due(transaction, matter_key(institution, "onward", matter))
        if len(matters) > SWEEP_STEP:
            # A microsecond on, so that it is another one: what a TICK judged it leaves behind.
            self._go_on(key, sweep, sweep.due + 1, matters[SWEEP_STEP])
        else:
            self._go_on(key, sweep, sweep.began + DAY_US if sweep.asked else 0, b"")
        return due

    def _go_on(self, key: bytes, sweep: Sweep, due: int, cursor: bytes) -> None:
        self._state.timers.move(SWEEP, key, sweep.due, due)
        sweep.due, sweep.cursor = due, cursor
        self._state.sweeps.put(key, sweep)

    def _index(
        self,
        transaction: Transaction,
        key: bytes,
        before: Sequence[str],
        after: Sequence[str],
    ) -> None:
        """Have a matter under the contract that it is a provision onward under, and no other."""
        institution, matter = matter_of(key)
        if before == after:
            return
        for contract_id in before:
            transaction.delete(Table.MATTERS, onward_key(institution, contract_id, matter))
        for contract_id in after:
            transaction.put(Table.MATTERS, onward_key(institution, contract_id, matter), b"")

    def _judge(self, transaction: Transaction, key: bytes, matter: Matter) -> list[pb.Finding]:
        state = self._state
        institution, _ = matter_of(key)
        named = contracts_of(matter)
        contract_id = named[0] if len(named) == 1 else ""
        listed = self._listed(transaction, institution, matter)
        party = state.party(institution)
        judgement = judge_matter(matter, listed, party, state.now, state.grace, state.law)
        due = state.settle(MATTER, key, matter, judgement, institution, contract_id)
        state.matters.put(key, matter)
        return due

    def _listed(
        self, transaction: Transaction, institution: str, matter: Matter
    ) -> Sequence[str] | None:
        """
        Third parties by the newest terms of the contract that a provision onward names.

        None when that is not known. Read from the log: there may be hundreds.
        """
        for contract_id in _onward_under(matter):
            key = contract_key(institution, contract_id)
            contract = self._state.contracts.get(transaction, key)
            if contract is not None and contract.versions:
                return self._state.terms_of(transaction, contract.versions[-1]).third_parties
        return None


def _onward_under(matter: Matter) -> Sequence[str]:
    return contracts_of(matter) if matter.record == "onward" else []


def contracts_of(matter: Matter) -> Sequence[str]:
    """Ids of the contracts that a matter names."""
    return named_contracts(_stated(matter.record, matter.body))


def _stated(record: str, encoded: bytes) -> Any:
    body = pb.Body(**{record: {}})  # type: ignore[arg-type]  # a field of the oneof
    statement: Any = getattr(body, record)
    statement.ParseFromString(encoded)
    return statement


def _begin(statement: Any, record: str, known: bytes) -> None:
    """Have a matter begin when it was ever said to have: to say it anew must not buy time."""
    field = _BEGINS.get(record)
    if known and field:
        earlier = getattr(_stated(record, known), field)
        setattr(statement, field, min(earlier, getattr(statement, field)))


def named_contracts(statement: Any) -> Sequence[str]:
    """Ids of the contracts that a record of kind RECORD names."""
    if isinstance(statement, pb.Incident):
        return list(statement.contract_ids)
    return [statement.contract_id]

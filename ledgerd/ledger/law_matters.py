"""The law of matters: provision onward, incidents, requests of authorities, changed consent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledgerd.ledger.law_state import LawState
from ledgerd.projections.contracts import Contract, contract_key, parse_contract_key
from ledgerd.projections.matters import Matter, matter_key, matter_of
from ledgerd.projections.timers import MATTER
from ledgerd.rules.matters import judge_matter
from ledgerd.store.base import Transaction
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message


class MatterLaw:
    """Keeps the newest statement of each matter, and judges it."""

    def __init__(self, state: LawState) -> None:
        self._state = state

    def on_record(self, transaction: Transaction, position: int, body: pb.Body) -> list[pb.Finding]:
        """Take a statement of a matter: stated again, it is the same matter."""
        record = body.WhichOneof("record") or ""
        statement: Any = getattr(body, record)
        key = matter_key(body.author, statement.matter)
        known = self._state.matters.get(transaction, key)
        matter = known or Matter(record, position, b"")
        matter.record, matter.position = record, position
        matter.body = encode_message(statement)
        return self._judge(transaction, key, matter)

    def due(self, transaction: Transaction, key: bytes) -> list[pb.Finding]:
        matter = self._state.matters.get(transaction, key)
        return [] if matter is None else self._judge(transaction, key, matter)

    def judge_onward_later(self, transaction: Transaction, contract: bytes, at: int) -> None:
        """
        Have what was provided onward under a contract judged by its newest terms.

        By TICKs after at (µs): they may be thousands, and a TICK judges no more than its step.
        """
        author, contract_id = parse_contract_key(contract)
        self._state.matters.flush(transaction)
        start, end = matter_key(author, b""), matter_key(author, b"\xff" * 17)
        keys = [key for key, _ in transaction.scan(Table.MATTERS, start, end)]
        for key in keys:
            matter = self._state.matters.get(transaction, key)
            if matter is None or matter.record != "onward" or matter.due:
                continue
            if contracts_of(matter) == [contract_id]:
                self._state.timers.move(MATTER, key, 0, at)
                matter.due = at
                self._state.matters.put(key, matter)

    def _judge(self, transaction: Transaction, key: bytes, matter: Matter) -> list[pb.Finding]:
        state = self._state
        institution, _ = matter_of(key)
        named = contracts_of(matter)
        contract_id = named[0] if len(named) == 1 else ""
        contract = self._contract(transaction, institution, contract_id)
        party = state.party(institution)
        judgement = judge_matter(matter, contract, party, state.now, state.law)
        due = state.settle(MATTER, key, matter, judgement, institution, contract_id)
        state.matters.put(key, matter)
        return due

    def _contract(
        self, transaction: Transaction, institution: str, contract_id: str
    ) -> Contract | None:
        if not contract_id:
            return None
        found = self._state.contracts.get(transaction, contract_key(institution, contract_id))
        return found if found is not None and found.versions else None


def contracts_of(matter: Matter) -> Sequence[str]:
    """Ids of the contracts that a matter names."""
    body = pb.Body(**{matter.record: {}})  # type: ignore[arg-type]  # a field of the oneof
    statement: Any = getattr(body, matter.record)
    statement.ParseFromString(matter.body)
    return named_contracts(statement)


def named_contracts(statement: Any) -> Sequence[str]:
    """Ids of the contracts that a record of kind RECORD names."""
    if isinstance(statement, pb.Incident):
        return list(statement.contract_ids)
    return [statement.contract_id]

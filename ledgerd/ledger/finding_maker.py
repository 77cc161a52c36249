"""Findings as messages: who is meant, what they rest on, and an id that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from ledgerd.projections.transfer_row import OpenFinding, Position
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import lp8, u64
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.rulebook import RULES

_FINDING_TAG: Final = b"ledgerd/finding/v1\n"


class Concerned(NamedTuple):
    """Whom a finding concerns: the parties of a transfer, or an institution and its contract."""

    ref: bytes = b""
    institution: str = ""
    contract_id: str = ""


class FindingMaker:
    """Makes findings under the rule set in force; rule_set is the index of its entry."""

    def __init__(self, history: KeyHistory) -> None:
        self.rule_set = 0
        self._history = history

    def open(
        self,
        rule: str,
        records: Sequence[Position],
        concerned: Concerned,
        numbers: Sequence[int] = (),
    ) -> pb.Finding:
        """A finding that begins to stand."""
        named = self._name(records)
        return pb.Finding(
            finding_id=derive_finding_id(rule, self.rule_set, concerned, named, numbers),
            rule=rule,
            severity=RULES[rule].severity,  # type: ignore[arg-type]  # a number of the enum
            records=named,
            rule_set=self.rule_set,
            ref=concerned.ref,
            institution=concerned.institution,
            contract_id=concerned.contract_id,
            numbers=numbers,
        )

    def close(self, found: OpenFinding, concerned: Concerned) -> pb.Finding:
        """The finding that says that another one's condition is gone."""
        return pb.Finding(
            finding_id=found.finding_id,
            rule=found.rule,
            records=self._name(found.records),
            rule_set=self.rule_set,
            ref=concerned.ref,
            closed=True,
            institution=concerned.institution,
            contract_id=concerned.contract_id,
            numbers=found.numbers,
        )

    def _name(self, records: Sequence[Position]) -> list[pb.RecordRef]:
        peer_origin = self._history.need_genesis().peer_origin
        return [
            pb.RecordRef(origin=self._history.origin if own else peer_origin, index=index)
            for own, index in records
        ]


def derive_finding_id(
    rule: str,
    rule_set: int,
    concerned: Concerned,
    records: Iterable[pb.RecordRef],
    numbers: Iterable[int] = (),
) -> bytes:
    """A finding's id follows from all that it says; a crash can't double it."""
    whom = lp8(concerned.ref)
    if concerned.institution:
        whom += lp8(concerned.institution.encode()) + lp8(concerned.contract_id.encode())
    places = b"".join(lp8(record.origin.encode()) + u64(record.index) for record in records)
    counted = b"".join(map(u64, numbers))
    named = lp8(rule.encode()) + u64(rule_set) + whom + places + counted
    return sha256(_FINDING_TAG + named).digest()

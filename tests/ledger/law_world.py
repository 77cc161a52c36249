"""Both sides under the newest law: a contract, and what its parties record of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from builders import BANK, HONG_KONG_PLACE, SHENZHEN
from ledger.world import Node, World

from ledgerd.rules.law import newest_law
from ledgerd.rules.ruleset import HOUR, make_rule_set
from ledgerd.store.base import Store
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.record import Admitted

DAY = 24 * HOUR
RULES = make_rule_set(
    acknowledge_within=24 * HOUR,
    correct_within=72 * HOUR,
    record_within=24 * HOUR,
    agree_within=30 * DAY,
    law=newest_law(),
)
CONTRACT_ID = "GBA-2026-0042"
# USCC and business registration number whose check digits are right.
EXPORTER = "uscc.91440300MA5G00001W"
RECIPIENT = "hkbr.76543210"
_UTC_8 = timezone(timedelta(hours=8))


def at(date: str, time: str = "10:00:00.000000") -> int:
    """µs of a day and time in UTC+8."""
    moment = datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=_UTC_8)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class LawWorld(World):
    """
    A Mainland bank that sends to a Hong Kong one under a contract in effect since 2026-08-03.

    It is 2026-08-03 09:00 in UTC+8. Nothing is stated yet.
    """

    def __init__(self, *, store: Store | None = None, rules: pb.RuleSet = RULES) -> None:
        super().__init__(store=store, rules=rules, exporter=EXPORTER, recipient=RECIPIENT)
        self.nonce = os.urandom(16)

    # -- what is stated ---------------------------------------------------------------------

    def contract_terms(self, **changes: Any) -> bytes:
        """A contract that no rule objects to, then changed."""
        fields = {
            "exporter": self.exporter.party,
            "recipient": self.recipient.party,
            "nonce": self.nonce,
            "contract_id": CONTRACT_ID,
            "document_digest": bytes(32),
            "mechanism": 1,
            "direction": 1,
            "exporter_place": SHENZHEN,
            "recipient_place": HONG_KONG_PLACE,
            "exporter_sector": BANK,
            "recipient_sector": BANK,
            "exporter_role": 1,
            "recipient_role": 1,
            "signed_on": 20260801,
            "effective_on": 20260803,
            "purposes": [2, 7],
            "categories": [1, 7],
            "subject_types": [1],
            "planned_scale": 1_000_000,
            "retention_days": 365,
            "storage_places": [HONG_KONG_PLACE],
            "transmissions": [1],
        }
        return encode_message(pb.ContractTerms(**{**fields, **changes}))

    def contract(self, side: pb.ContractSide | None = None, **changes: Any) -> Admitted:
        """The exporter's statement of the contract."""
        contract = pb.Contract(terms=self.contract_terms(**changes), side=side)
        return self.by_exporter(contract=contract)

    def counterpart(self, **changes: Any) -> Admitted:
        """The recipient's statement of the contract."""
        return self.by_recipient(contract=pb.Contract(terms=self.contract_terms(**changes)))

    def supplement(self, version: int = 1, **changes: Any) -> Admitted:
        terms = self.contract_terms(version=version, **changes)
        return self.by_exporter(supplement=pb.Supplement(terms=terms))

    def filing(self, filed_on: int, *, authority: int = 1, **changes: Any) -> Admitted:
        filing = pb.Filing(
            terms=self.contract_terms(**changes), authority=authority, filed_on=filed_on, result=1
        )
        return self.by_exporter(filing=filing)

    def termination(self, terminated_on: int, notified_on: int = 0) -> pb.Termination:
        terms = pb.TerminationTerms(
            exporter=self.exporter.party,
            recipient=self.recipient.party,
            nonce=self.nonce,
            contract_id=CONTRACT_ID,
            terminated_on=terminated_on,
            cause=1,
            method=2,
        )
        return pb.Termination(terms=encode_message(terms), authority_notified_on=notified_on)

    def disposal(self, transfers: int, subjects: int, **changes: Any) -> Admitted:
        """The recipient's statement that it disposed of data."""
        fields = {
            "exporter": self.exporter.party,
            "recipient": self.recipient.party,
            "nonce": self.nonce,
            "contract_id": CONTRACT_ID,
            "method": 2,
            "done_at": self.clock(),
            "certificate_digest": bytes(32),
            "transfers": transfers,
            "subjects": subjects,
        }
        terms = encode_message(pb.DisposalTerms(**{**fields, **changes}))
        return self.by_recipient(disposal=pb.Disposal(terms=terms))

    def pipia(self, completed_on: int = 20260803, conclusion: int = 1) -> Admitted:
        pipia = pb.Pipia(
            contract_id=CONTRACT_ID,
            report_digest=bytes(32),
            completed_on=completed_on,
            conclusion=conclusion,
            keep_until=20290803,
        )
        return self.by_exporter(pipia=pipia)

    def incident(self, **changes: Any) -> pb.Incident:
        """An incident of grade "larger", discovered now, that nobody was told of."""
        fields = {
            "matter": sha256(b"incident").digest()[:16],
            "discovered_at": self.clock(),
            "affected_subjects": 100,
            "grade": 2,
            "cause": 1,
        }
        return pb.Incident(**{**fields, **changes})

    def onward(self, **changes: Any) -> pb.Onward:
        """A provision to a third party in Hong Kong that meets the four conditions."""
        fields = {
            "contract_id": CONTRACT_ID,
            "matter": sha256(b"onward").digest()[:16],
            "third_party": "hkbr.11111111",
            "third_party_place": HONG_KONG_PLACE,
            "needed": True,
            "told": True,
            "consented": True,
            "listed": True,
            "agreement_digest": bytes(32),
            "purposes": [2],
        }
        return pb.Onward(**{**fields, **changes})

    def by_exporter(self, at: int | None = None, **record: Any) -> Admitted:
        return self.mainland.by(self.exporter, at, **record)

    def by_recipient(self, at: int | None = None, **record: Any) -> Admitted:
        return self.hong_kong.by(self.recipient, at, **record)

    # -- transfers --------------------------------------------------------------------------

    def terms(self, **changes: Any) -> pb.Transfer:
        """Terms of a transfer that no rule objects to, then changed."""
        fields = {
            "contract_id": CONTRACT_ID,
            "notice_digest": bytes(32),
            "notice_version": "2026-01",
            "delete_by": 20270801,
            "subjects": 1200,
            "subjects_first_this_year": 300,
        }
        return super().terms(**{**fields, **changes})

    def agree(self) -> None:
        """State the contract on both sides, filed and assessed: nothing of it is found."""
        self.mainland.append(self.contract(), self.filing(20260803), self.pipia())
        filing = pb.Filing(terms=self.contract_terms(), authority=2, filed_on=20260803, result=1)
        self.hong_kong.append(self.counterpart(), self.by_recipient(filing=filing))

    # -- time -------------------------------------------------------------------------------

    def tick(self, node: Node, time: int | None = None) -> None:
        """Go on to a time, if one is given, and tick whenever anything is due, as a node does."""
        until = time or self.clock()
        while (due := node.reader.next_timer()) is not None and due < until:
            self.clock.now = max(self.clock(), due + 1)
            node.place(node.by_node(tick=pb.Tick()))
        self.clock.now = until


def rules_of(node: Node) -> set[str]:
    """Ids of the rules that have a finding which stands."""
    return {rule for rule, _ in node.standing()}

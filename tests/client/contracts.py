"""A contract between the exporter and the recipient of client/sdk.py."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from typing import Any

from client.sdk import EXPORTER, RECIPIENT

from ledgerd_client import (
    ConsentChange,
    Contract,
    Disposal,
    Filing,
    GovAccess,
    Incident,
    Onward,
    Pipia,
    Recordable,
    Resume,
    Side,
    Supplement,
    Suspend,
    Termination,
)

CONTRACT_ID = "GBA-SC-2026-0117"
DIGEST = bytes(range(32))
# A day of the demonstration's year; every time is after it.
DAY, LATER = date(2026, 2, 6), date(2026, 7, 1)
MOMENT = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)


def a_contract(exporter: str, recipient: str, **fields: Any) -> Contract:
    """exporter and recipient are origins."""
    stated: dict[str, Any] = {
        "exporter": Side(exporter, EXPORTER),
        "recipient": Side(recipient, RECIPIENT),
        "contract_id": CONTRACT_ID,
        "document": DIGEST,
        "mechanism": "GBA_SC_HK",
        "direction": "CN_HK",
        "exporter_place": "Shenzhen",
        "recipient_place": "Hong Kong",
        "exporter_sector": "BANK",
        "recipient_sector": "CREDIT_REF",
        "signed_on": DAY,
        "effective_on": DAY,
        "purposes": ["CreditChecking", "FraudPreventionAndDetection"],
        "categories": ["property", "basic"],
        "sensitive_categories": ["financial account"],
        "subject_types": ["customer"],
        "planned_scale": 100_000,
        "retention_days": 365,
        "storage_places": ["Hong Kong"],
        "transmissions": ["sftp"],
    }
    return Contract(**stated | fields)


def events(contract: Contract) -> list[Recordable]:
    """One of everything else that can be recorded by both parties, and not about one transfer."""
    named = contract.contract_id
    return [
        Filing(contract=contract, authority="CAC_GD", filed_on=LATER, filing_no="GD-1"),
        Supplement(contract=contract.amended(purposes=[3, 17], document=bytes(32))),
        Termination(contract=contract, terminated_on=LATER, cause="agreed", method="delete"),
        Disposal(
            contract=contract,
            method="delete_incl_backups",
            done_at=MOMENT,
            certificate=DIGEST,
            transfers=2,
            subjects=1500,
            due_by=LATER,
        ),
        Pipia(
            contract_id=named,
            report=DIGEST,
            completed_on=DAY,
            conclusion="go",
            keep_until=date(2029, 2, 6),
        ),
        Suspend(contract_id=named, at=MOMENT, cause="order of an authority"),
        Resume(contract_id=named, at=MOMENT, reason="the order was lifted"),
        Onward(
            contract_id=named,
            ref=os.urandom(32),
            third_party="hkbr.12345678",
            third_party_place="Hong Kong",
            needed=True,
            told=True,
            consented=True,
            listed=True,
            agreement=DIGEST,
            purposes=["CreditChecking"],
        ),
        Incident(
            discovered_at=MOMENT,
            grade="larger",
            cause="leak",
            affected_subjects=40,
            contract_ids=[named],
            notices=[("CAC_GD", MOMENT)],
        ),
        GovAccess(
            contract_id=named,
            requester="court",
            territory="Hong Kong",
            received_at=MOMENT,
            disclosed=False,
        ),
        ConsentChange(contract_id=named, change="withdrawn", subjects=3, from_date=LATER),
    ]

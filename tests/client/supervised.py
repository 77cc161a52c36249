"""A border with a regulator on each side, where one case of everything that reports show is planted."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from client.contracts import DAY, LATER, MOMENT, a_contract
from client.sdk import EXPORTER, PAYLOAD, RECIPIENT, STATEMENT
from daemon_node import DaemonNode, Daemons
from nodes import Credentials

from ledgerd_client import (
    Contract,
    Declared,
    Filing,
    Incident,
    LedgerClient,
    Onward,
    Pipia,
    Settings,
)
from ledgerd_client.identity import REGULATOR

THIRD_PARTY = "lei.5493001KJTIIGC8Y1R12"
SPLIT = ("SPLIT-1", "SPLIT-2", "SPLIT-3")
DELETED_BY = date(2026, 6, 1)


@dataclass(frozen=True, slots=True)
class Planted:
    """What was recorded, by what it is an example of."""

    mainland: DaemonNode
    contract: Contract
    matched: Declared
    open: Declared
    refused: Declared
    before_effect: Declared
    # A checkpoint of the Mainland's log before any of it.
    before: bytes
    # Settings of the two regulators.
    cac: Settings
    dpo: Settings

    @property
    def contract_id(self) -> str:
        return self.contract.contract_id


def admit(node: DaemonNode, subject: str, **grant: Any) -> Settings:
    """The settings of a new regulator, who may read everything unless a grant is given."""
    credentials = node.side.issue(REGULATOR, subject)
    node._submit(node.side.admission(REGULATOR, subject, credentials, **grant))
    return _settings(node, credentials)


def _settings(node: DaemonNode, credentials: Credentials) -> Settings:
    enrolled = node._settings("uscc.NOBODY", credentials)
    return Settings(
        endpoint=enrolled.endpoint,
        origin=enrolled.origin,
        trust=enrolled.trust,
        tls_certificate=enrolled.tls_certificate,
        tls_key=enrolled.tls_key,
        keys=enrolled.tls_key.with_name("keys"),
    )


async def plant(mainland: DaemonNode) -> Planted:
    """Record one of everything, and wait until both sides know of it."""
    hong_kong = mainland.peer
    async with AsyncExitStack() as stack:
        exporter = await stack.enter_async_context(_client(mainland, EXPORTER))
        recipient = await stack.enter_async_context(_client(hong_kong, RECIPIENT))
        before = (await exporter.checkpoint()).note
        contract = a_contract(mainland.side.origin, hong_kong.side.origin)
        for party in (exporter, recipient):
            await party.record(contract)
        await exporter.record(_pipia(contract))
        await exporter.record(Filing(contract=contract, authority="CAC_GD", filed_on=LATER))
        planted = await _transfers(exporter, recipient)
        for name in SPLIT:
            await exporter.declare(
                PAYLOAD,
                **STATEMENT | {"contract_id": name, "subjects": 95_000},
                subjects_first_this_year=95_000,
            )
        await exporter.record(_incident(contract))
        await recipient.record(_onward(contract))
    await mainland.settle()
    await hong_kong.settle()
    cac, dpo = admit(mainland, "cac"), admit(hong_kong, "dpo")
    return Planted(mainland, contract, *planted, before, cac, dpo)


@asynccontextmanager
async def _client(node: DaemonNode, institution: str) -> AsyncIterator[LedgerClient]:
    settings = node.enrol(institution)
    async with LedgerClient(settings) as client:
        yield client


async def _transfers(exporter: LedgerClient, recipient: LedgerClient) -> list[Declared]:
    matched = await exporter.declare(
        PAYLOAD, **STATEMENT, subjects_first_this_year=1000, delete_by=DELETED_BY
    )
    await recipient.acknowledge(matched.ticket, PAYLOAD)
    unanswered = await exporter.declare(PAYLOAD, **STATEMENT | {"subjects": 10})
    refused = await exporter.declare(PAYLOAD, **STATEMENT | {"subjects": 20})
    await recipient.acknowledge(refused.ticket, PAYLOAD, outcome="rejected", reason="not ours")
    early = await exporter.declare(
        PAYLOAD,
        **STATEMENT | {"subjects": 30, "purposes": ["DirectMarketing"]},
        occurred_at=datetime.combine(DAY, datetime.min.time(), UTC) - timedelta(days=30),
    )
    sensitive = await exporter.declare(
        PAYLOAD,
        **STATEMENT | {"subjects": 300, "legal_basis": "CN13_1 consent"},
        sensitive_subjects=300,
        sensitive_first_this_year=300,
        subjects_first_this_year=300,
        sensitive_categories=["financial account"],
        consent_form="separate",
    )
    await recipient.acknowledge(sensitive.ticket, PAYLOAD)
    await exporter.declare(PAYLOAD, **STATEMENT | {"subjects": 50}, exemption="ART5_1 contract")
    return [matched, unanswered, refused, early]


def _pipia(contract: Contract) -> Pipia:
    return Pipia(
        contract_id=contract.contract_id,
        report=os.urandom(32),
        completed_on=DAY - timedelta(days=60),
        conclusion="go",
        keep_until=date(2030, 1, 1),
    )


def _incident(contract: Contract) -> Incident:
    return Incident(
        discovered_at=MOMENT,
        grade="larger",
        cause="leak",
        affected_subjects=40,
        contract_ids=[contract.contract_id],
        notices=[("CAC_GD", MOMENT + timedelta(hours=9, minutes=30))],
    )


def _onward(contract: Contract) -> Onward:
    return Onward(
        contract_id=contract.contract_id,
        third_party=THIRD_PARTY,
        third_party_place="OUTSIDE",
        needed=True,
        told=True,
        consented=False,
        listed=False,
        agreement=os.urandom(32),
        purposes=["CreditChecking"],
    )


def config_of(settings: Settings) -> Path:
    """A settings file, for a program."""
    path = settings.tls_key.with_name("client.toml")
    names = ("endpoint", "origin", "trust", "tls_certificate", "tls_key")
    lines = (f"{name} = {json.dumps(str(getattr(settings, name)))}\n" for name in names)
    path.write_text("".join(lines))
    return path


@contextmanager
def planted_border() -> Iterator[Planted]:
    """Two nodes as processes, by the newest law."""
    daemons = Daemons(law="newest")

    async def make() -> Planted:
        async with daemons.mainland(Path()) as mainland:
            return await plant(mainland)

    try:
        yield asyncio.run(make())
    finally:
        daemons.close()

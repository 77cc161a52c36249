"""Scenes 6 to 8: a contract's life, with what is found of it on both sides, and the cures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from border import LEDGERCTL, Border
from demo import files
from demo.regulator import Supervision
from demo.stage import at_once, check, client, console, heading, say, settled, view_of
from rich.table import Column, Table

from ledgerd_client import Declared
from ledgerd_client.contracts import Contract, Filing, Supplement
from ledgerd_client.core.transfer import Side
from ledgerd_client.events import Pipia
from ledgerd_client.sync import LedgerClient

HOSPITAL, CLINIC = "sz-hospital", "hk-clinic"
CONTRACT = "GBA-SC-2026-0117"
LANGUAGES = ("en", "zh-Hans", "zh-Hant")
# Contents are judged; what is due "some time" after a record is due within seconds.
OPTIONS = ("--acknowledge-within", "5", "--record-within", "2")


@dataclass(slots=True)
class Life:
    """The contract between a hospital in Shenzhen and a clinic in Hong Kong."""

    border: Border
    payload: Path
    contract: Contract = field(init=False)

    @classmethod
    def play(cls, scratch: Path, payloads: Path) -> None:
        border = Border(scratch / "contract", *OPTIONS, law="newest")
        try:
            border.start()
            life = cls(border, files.ct_slice(payloads))
            life.late_filing()
            life.scope_drift()
            life.refused_and_unacknowledged()
            life.all_told()
            life.supervised(scratch)
        finally:
            border.close()

    # -- scene 6 -------------------------------------------------------------------------------

    def late_filing(self) -> None:
        heading("6  A contract that both parties state, and one of them files too late")
        effective_on = today() - timedelta(days=45)
        with client(self.border, HOSPITAL) as us, client(self.border, CLINIC) as them:
            self.contract = made = self._contract(us, them, effective_on)
            us.record(made)
            # The other party has the terms as a file, and its own side to say for itself.
            theirs = Contract.parse(made.file())
            them.record(theirs)
            us.record(self._assessment(effective_on))
            them.record(self._filing(theirs, "HK_DPO", effective_on + timedelta(days=3)))
            say(f"{CONTRACT}, in effect since {effective_on}: stated by both, filed by the clinic")
            self._found(us, "K4.overdue")
            say(
                "the hospital did not, within 10 working days: found on its side, in three languages"
            )
            self._print_findings(HOSPITAL, LANGUAGES, "K4.overdue")
            us.record(self._filing(made, "CAC_GD", today()))
            self._closed(us, "K4.overdue")
            settled(
                lambda: us.contract(CONTRACT).state, lambda state: state == "agreed", "contract"
            )
            say("the hospital files now: K4.overdue is closed; that it was late stays a fact")
            self._both(("K4.overdue", "K4.filed_late"))

    def _contract(self, us: LedgerClient, them: LedgerClient, effective_on: date) -> Contract:
        exporter, recipient = us.info(), them.info()
        return Contract(
            exporter=Side(exporter.origin, IDS[HOSPITAL]),
            recipient=Side(recipient.origin, IDS[CLINIC]),
            contract_id=CONTRACT,
            document=self.payload,
            mechanism="GBA_SC_HK",
            direction="CN_HK",
            exporter_place="Shenzhen",
            recipient_place="Hong Kong",
            exporter_sector="HOSPITAL",
            recipient_sector="HOSPITAL",
            signed_on=effective_on - timedelta(days=7),
            effective_on=effective_on,
            purposes=["DiagnosisManagement"],
            categories=["basic", "health and physiology"],
            sensitive_categories=["medical health"],
            subject_types=["patient"],
            planned_scale=5_000,
            retention_days=365,
            storage_places=["Hong Kong"],
            transmissions=["api"],
        )

    def _assessment(self, effective_on: date) -> Pipia:
        return Pipia(
            contract_id=CONTRACT, report=self.payload, conclusion="go",
            completed_on=effective_on - timedelta(days=3),
            keep_until=effective_on + timedelta(days=2_000),
        )  # fmt: skip

    def _filing(self, contract: Contract, authority: str, filed_on: date) -> Filing:
        return Filing(contract=contract, authority=authority, filed_on=filed_on)

    # -- scene 7 -------------------------------------------------------------------------------

    def scope_drift(self) -> None:
        heading("7  A purpose that was never agreed, and the supplement that agrees it")
        wider = ["DiagnosisManagement", "HealthcareScientificResearch"]
        with client(self.border, HOSPITAL) as us, client(self.border, CLINIC) as them:
            self._send(us, them, purposes=wider)
            self._found(us, "K6.purposes")
            say(
                "a transfer for research too: recorded, acknowledged, and found to go beyond the terms"
            )
            self._print_findings(HOSPITAL, ("en",), "K6.purposes")
            amended = self.contract.amended(purposes=wider, effective_on=today())
            theirs = Contract.parse(amended.file())
            for ledger, contract, authority in ((us, amended, "CAC_GD"), (them, theirs, "HK_DPO")):
                ledger.record(Supplement(contract=contract, reason="research is added"))
                ledger.record(self._filing(contract, authority, today()))
            self.contract = amended
            self._closed(us, "K6.purposes")
            say("both state the supplement and file it: closed")
            self._both(("K6.purposes",))

    # -- scene 8 -------------------------------------------------------------------------------

    def refused_and_unacknowledged(self) -> None:
        heading("8  A transfer refused, one not acknowledged, and what cures them")
        with client(self.border, HOSPITAL) as us, client(self.border, CLINIC) as them:
            sent = self._declare(us)
            refusal = them.acknowledge(sent.ticket, files.changed(self.payload))
            check(refusal.outcome == "digest_mismatch", "a changed file was taken")
            self._verdicts("refused: what arrived was changed on the way", sent, "refused")
            them.acknowledge(sent.ticket, self.payload)
            self._verdicts("sent again, and accepted", sent, "matched")
            silent = self._declare(us)
            self._verdicts("nobody acknowledges within 5 seconds", silent, "unacknowledged", CLINIC)
            them.acknowledge(silent.ticket, self.payload)
            self._verdicts("acknowledged late", silent, "matched")

    def all_told(self) -> None:
        heading("All that was found of it, as each party is told it, and what cures it")
        asked = [(name, language) for name in (HOSPITAL, CLINIC) for language in LANGUAGES]
        told = dict(zip(asked, at_once(self._told, *zip(*asked, strict=True)), strict=True))
        for name in (HOSPITAL, CLINIC):
            said = [told[name, language] for language in LANGUAGES]
            columns = [Column(language, overflow="fold", ratio=1) for language in LANGUAGES]
            table = Table("finding", *columns, show_lines=True, width=console.width)
            for rows in zip(*said, strict=True):
                state = "stands" if rows[0]["closed_by"] is None else "closed"
                words = [f"{row['says']}\n→ {row['cure']}" for row in rows]
                table.add_row(f"{rows[0]['rule']}\n({state})", *words)
            say(name)
            console.print(table)

    # -- scenes 9 to 11 ------------------------------------------------------------------------

    def supervised(self, scratch: Path) -> None:
        with client(self.border, HOSPITAL) as us, client(self.border, CLINIC) as them:
            matched, silent = self._send(us, them), self._declare(us)
        for sent, state in ((matched, "matched"), (silent, "unacknowledged")):
            view_of(self.border, HOSPITAL, sent.ref, state, state)
        Supervision(self.border, scratch, CONTRACT, matched.ref, silent.ref).play()

    # -- helpers -------------------------------------------------------------------------------

    def _declare(self, us: LedgerClient, **changes: object) -> Declared:
        return us.declare_under(
            self.contract, self.payload, subjects=1, legal_basis="CN13_1 consent",
            **{
                "subjects_first_this_year": 1, "sensitive_subjects": 1, "consent_form": "separate",
                "notice_digest": bytes(32), "notice_version": "2026-01", "protections": ["encrypted"],
                **changes,
            },  # type: ignore[arg-type]
        )  # fmt: skip

    def _send(self, us: LedgerClient, them: LedgerClient, **changes: object) -> Declared:
        sent = self._declare(us, **changes)
        check(them.acknowledge(sent.ticket, self.payload).accepted, "it was not accepted")
        return sent

    def _verdicts(self, what: str, sent: Declared, state: str, silent: str = "") -> None:
        """A transfer as both see it; whoever stated nothing of it (silent) is shown nothing."""
        say(what)
        table = Table("", "state", "findings")
        for name in (HOSPITAL, CLINIC):
            if name == silent:
                table.add_row(name, "has stated nothing of it", "")
                continue
            view = view_of(self.border, name, sent.ref, state, what)
            rules = [f"{each.rule}{' (closed)' if each.closed else ''}" for each in view.findings]
            table.add_row(name, view.state, "\n".join(rules))
        console.print(table)

    def _both(self, rules: tuple[str, ...]) -> None:
        """Of some rules, what each party is told."""
        table = Table("finding", "the hospital is told", "the clinic is told")
        told = {name: self._states(name) for name in (HOSPITAL, CLINIC)}
        for rule in rules:
            table.add_row(rule, *(told[name].get(rule, "nothing") for name in (HOSPITAL, CLINIC)))
        console.print(table)

    def _states(self, name: str) -> dict[str, str]:
        with client(self.border, name) as ledger:
            return {
                entry.finding.rule: "closed" if entry.finding.closed else "stands"
                for entry in ledger.findings(open_only=False)
            }

    def _found(self, ledger: LedgerClient, rule: str) -> None:
        self._wait(ledger, rule, found=True)

    def _closed(self, ledger: LedgerClient, rule: str) -> None:
        self._wait(ledger, rule, found=False)

    def _wait(self, ledger: LedgerClient, rule: str, *, found: bool) -> None:
        settled(
            lambda: {entry.finding.rule for entry in ledger.findings()},
            lambda rules: (rule in rules) == found,
            rule,
        )

    def _print_findings(self, name: str, languages: Sequence[str], rule: str) -> None:
        """Of the list that `ledgerctl findings` prints, what it says of one rule."""
        for found in at_once(self._findings, [name] * len(languages), languages):
            for told in found.split("\n\n"):
                if rule in told:
                    console.print(told.strip("\n"), markup=False)

    def _findings(self, name: str, language: str, *options: str) -> str:
        done = subprocess.run(
            (LEDGERCTL, "--lang", language, "findings", *options,
             "--config", str(self.border.client(name))),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        check(done.returncode == 0, done.stderr)
        return done.stdout

    def _told(self, name: str, language: str) -> list[dict[str, Any]]:
        """Every finding that was opened, in words."""
        lines = self._findings(name, language, "--all", "--json").splitlines()
        return [row for row in map(json.loads, lines) if not row["closed"]]


IDS = {HOSPITAL: "uscc.12440300MB0000001U", CLINIC: "hkbr.50000001"}


def today() -> date:
    return (datetime.now(UTC) + timedelta(hours=8)).date()

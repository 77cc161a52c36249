"""What tests say and see in the name of a border's institutions, by SDK and ledgerctl alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from border import LEDGERCTL, PATIENCE, Border, run

from ledgerd_client._terms import Statement
from ledgerd_client.config import Settings
from ledgerd_client.sync import LedgerClient

T = TypeVar("T")

# A transfer from sz-hospital to hk-clinic that no rule objects to.
STATEMENT: Statement = {
    "recipient": "hkbr.50000001",
    "contract_id": "GBA-SC-2026-0117",
    "subjects": 1,
    "purposes": ["ReferralManagement"],
    "categories": ["health and physiology"],
    "legal_basis": "CN13_1 consent",
}


def client(border: Border, name: str) -> LedgerClient:
    return LedgerClient.from_file(border.client(name))


def second_client(border: Border, name: str, home: Path) -> LedgerClient:
    """The same institution on another machine: it has neither the outbox nor what was verified."""
    home.mkdir()
    settings = Settings.from_file(border.client(name))
    return LedgerClient(replace(settings, outbox=home / "outbox.db", keys=home / "keys"))


def ledgerctl(config: Path, *words: str, code: int = 0) -> list[dict[str, object]]:
    """What a command of ledgerctl prints."""
    done = run(LEDGERCTL, *words, "--config", str(config), "--json", code=code)
    return [json.loads(line) for line in done.stdout.splitlines()]


def log_size(border: Border, name: str) -> int:
    """Entries of the log on an institution's side."""
    (checkpoint,) = ledgerctl(border.client(name), "checkpoint")
    size = checkpoint["size"]
    assert isinstance(size, int)
    return size


def until(ask: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    """Ask until the answer is wanted; fail when it never is."""
    end = time.monotonic() + PATIENCE
    while not wanted(answer := ask()):
        assert time.monotonic() < end, f"still {answer}"
        threading.Event().wait(0.1)
    return answer


@dataclass(frozen=True, slots=True)
class Registry:
    """Where a side lets members in: its authority's directory, an operator's settings, its node."""

    origin: str
    authority: Path
    operator: Path
    trust: Path
    endpoint: str

    @classmethod
    def of(cls, border: Border, side: str) -> Registry:
        operator = border.client(f"{side}-operator")
        home, endpoint = border.directory, Settings.from_file(operator).endpoint
        return cls(
            f"{side}.dev.invalid/log", home / side / "authority", operator,
            home / "trust.txt", endpoint,
        )  # fmt: skip

    def enrol(self, home: Path, role: str, subject: str, *options: str) -> Path:
        """Let somebody in as docs/enrolment.md says; returns the new client.toml."""
        approval = home.with_suffix(".json")
        who = ("--role", role, "--id", subject, "--name", "A name", "--origin", self.origin)
        command("enrol", "request", *who, *options, "--dir", home)
        grant = ("--until", "2099-01-01") if role == "regulator" else ()
        command("enrol", "approve", home / "request.json", "--dir", self.authority,
                "--out", approval, "--days", "30", *grant, "--yes")  # fmt: skip
        if role != "operator":
            command("enrol", "submit", approval, "--config", self.operator)
        command("enrol", "install", approval, "--dir", home, "--trust", self.trust,
                "--endpoint", self.endpoint)  # fmt: skip
        return home / "client.toml"


def command(*words: str | Path, code: int = 0) -> str:
    """Run ledgerctl; what it prints."""
    return run(LEDGERCTL, *map(str, words), code=code).stdout

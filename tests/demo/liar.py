"""Scene 12: a node that drops a record and signs the rest anew, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from adversary.liar import LyingLog, LyingNode, lying_node
from border import LEDGERCTL, Border
from demo.stage import check, client, heading, say, settled

from ledgerd_client import Incident
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.note import parse_note

OPERATOR, HOSPITAL, CLINIC = "hongkong-operator", "sz-hospital", "hk-clinic"


@dataclass(frozen=True, slots=True)
class Caught:
    """The Mainland's node is in the hands of somebody who has all of its keys."""

    border: Border
    scratch: Path

    def play(self) -> None:
        heading("12  A node leaves out a record, signs the rest anew, and shows it to its peer")
        self.border.hongkong.start()
        lie, truth = asyncio.run(self._lie())
        check(truth == "EVIDENCE", f"asked again, the honest node answers {truth}")
        say(f"Hong Kong's node, asked to cosign it: {lie}; asked anything since: {truth}")
        digest = settled(self._waiting, bool, "evidence")
        evidence = self.scratch / "caught.evidence"
        self._operate("get", digest, "--out", str(evidence))
        say("anybody verifies what it has kept, offline: " + self._proven(evidence))
        with client(self.border, CLINIC) as clinic:
            check(clinic.record(incident()).status == "recorded", "an append was held up")
        say("its own institutions' records are taken as ever")
        settled(lambda: self._acknowledged(digest), bool, "acknowledged")
        self.border.mainland.start()
        with client(self.border, HOSPITAL) as hospital:
            hospital.wait_cosigned(hospital.record(incident()))
        say("an operator acknowledges it; the true node is back, and is cosigned again")

    async def _lie(self) -> tuple[str, str]:
        """What the honest node answers to a second history, and then to the first one again."""
        log = LyingLog.of(self.border)
        async with lying_node(self.border, log) as liar:
            note, _ = await liar.client.get_cosigned()
            size = Checkpoint.parse(parse_note(note).text).size
            lie = await answer(liar, without_newest_transfer(log, size))
            return lie, await answer(liar, log)

    def _waiting(self) -> str:
        """The digest of what waits for the operator."""
        kept = [json.loads(line) for line in self._operate("list", "--json").splitlines()]
        return next((each["evidence"] for each in kept if "evidence" in each), "")

    def _acknowledged(self, digest: str) -> bool:
        """Not before it is named in the log."""
        return self._run("acknowledge", digest, "--yes", *self._config()).returncode == 0

    def _proven(self, evidence: Path) -> str:
        home = self.border.client(HOSPITAL).parent
        trust, keys = str(home / "trust.txt"), str(home / "keys")
        done = self._run("verify", str(evidence), "--trust", trust, "--keys", keys, "--json")
        check(done.returncode == 0, f"the evidence does not verify: {done.stderr}")
        return json.loads(done.stdout)["proves"]

    def _operate(self, *arguments: str) -> str:
        done = self._run(*arguments, *self._config())
        check(done.returncode == 0, done.stderr)
        return done.stdout

    def _config(self) -> tuple[str, str]:
        return "--config", str(self.border.client(OPERATOR))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (LEDGERCTL, "evidence", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False)


async def answer(liar: LyingNode, log: LyingLog) -> str:
    """Why a log is not cosigned."""
    try:
        await liar.ask(log)
    except LedgerError as error:
        return error.reason
    return "nothing: it was cosigned"


def incident() -> Incident:
    """A record of one party alone."""
    return Incident(
        discovered_at=datetime.now(UTC), grade="general", cause="loss", affected_subjects=1
    )


def without_newest_transfer(log: LyingLog, size: int) -> LyingLog:
    """Another history of so many entries: entries of the node stand where a transfer was."""
    kinds = [Header.parse(header).kind for header, _ in log.entries[:size]]
    newest = max(index for index, kind in enumerate(kinds) if kind == Kind.TRANSFER)
    forged = replace(log, entries=log.entries[:newest])
    while len(forged.entries) < size:
        forged.by_node(tick=pb.Tick())
    return forged

"""docs/regulators.md does what it says: every command line of it runs, in order, as a regulator."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from border import LEDGERCTL, LEDGERD, Border, Mirror
from client.contracts import LATER, a_contract

from ledgerd_client import Contract, Filing, LedgerClient
from ledgerd_client.reports import REPORTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "regulators.md").read_text(encoding="utf-8")
LINES = [
    line
    for snippet in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in snippet.splitlines()
]
EXPORTER, RECIPIENT = "uscc.12440300MB0000001U", "hkbr.50000001"
STATEMENT = {
    "recipient": RECIPIENT,
    "subjects": 1200,
    "purposes": ["DiagnosisManagement"],
    "categories": ["health and physiology"],
    "legal_basis": "CN13_2A contract",
}


class Office:
    """A regulator's directory on a border where something is recorded."""

    def __init__(self, border: Border, names: dict[str, str]) -> None:
        self.directory = border.client("cac").parent
        shutil.copy(border.directory / "trust.txt", self.directory / "trust.txt")
        self.mirror = Mirror(self.directory / "client.toml", self.directory / "mirror")
        self._environment = os.environ | names | {"LEDGERCTL_CONFIG": "client.toml"}

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line as a shell runs it; the one that never ends is left to run."""
        if line == "ledgerd mirror --settings client.toml --data mirror":
            self.mirror.start()
            line = "true"
        programs = {"ledgerctl": LEDGERCTL, "ledgerd": LEDGERD}
        name, _, rest = line.partition(" ")
        command = f"{shlex.quote(programs.get(name, name))} {rest}"
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    border = Border(tmp_path_factory.mktemp("docs") / "border", law="newest")
    try:
        border.start()
        office = Office(border, asyncio.run(record(border)))
        try:
            yield office
        finally:
            office.mirror.close()
    finally:
        border.close()


async def record(border: Border) -> dict[str, str]:
    """A contract, a transfer that is matched, and one that is open."""
    async with (
        LedgerClient.from_file(border.client("sz-hospital")) as exporter,
        LedgerClient.from_file(border.client("hk-clinic")) as recipient,
    ):
        contract = contract_between(exporter, recipient)
        for party in (exporter, recipient):
            await party.record(contract)
        await exporter.record(Filing(contract=contract, authority="CAC_GD", filed_on=LATER))
        stated = {**STATEMENT, "contract_id": contract.contract_id}
        matched = await exporter.declare(b"a file", **stated)
        # From then on the recipient's node knows whose keys the exporter's are.
        await exporter.wait_cosigned(matched)
        await recipient.acknowledge(matched.ticket, b"a file")
        unanswered = await exporter.declare(b"another", **stated)
        await exporter.wait_cosigned(unanswered)
        async with asyncio.timeout(60):
            while (  # noqa: ASYNC110 -- a node tells nobody
                await exporter.transfer(matched.ref)
            ).state != "matched":
                await asyncio.sleep(0.1)
    return {
        "CONTRACT": contract.contract_id,
        "REF": matched.ref.hex(),
        "OPEN": unanswered.ref.hex(),
    }


def contract_between(exporter: LedgerClient, recipient: LedgerClient) -> Contract:
    origins = [client._settings.origin for client in (exporter, recipient)]
    text = a_contract(*origins, exporter_sector="HOSPITAL", recipient_sector="HOSPITAL").file()
    for client, stated in ((exporter, "uscc.91440300MA5EXMPLXX"), (recipient, "hkbr.76543210")):
        text = text.replace(stated.encode(), (client._settings.institution or "").encode())
    return Contract.parse(text)


def test_it_asks_all_fifteen_questions_in_their_order() -> None:
    headings = re.findall(r"^### (\d+)\. ", PAGE, re.MULTILINE)
    assert headings == [str(kind.number) for kind in REPORTS.values()]
    sections = re.split(r"^### \d+\. .*$", PAGE, flags=re.MULTILINE)[1:]
    for section, name in zip(sections, REPORTS, strict=True):
        assert f"ledgerctl report {name}" in section


def test_it_explains_only_reasons_that_the_code_gives() -> None:
    explained = re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)
    code = "".join(
        path.read_text(encoding="utf-8")
        for package in ("ledgerd", "client/ledgerd_client")
        for path in (ROOT / package).rglob("*.py")
    )
    assert [reason for reason in explained if f'"{reason}"' not in code] == []
    assert explained


@pytest.mark.slow
def test_every_line_of_it_runs(office: Office) -> None:
    for line in LINES:
        ran = office.run(line)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"

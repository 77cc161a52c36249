"""
`make demo`: five transfers across a border of two nodes, two lies caught, a contract's life, what
regulators see of it, a lying node caught, and a lost disk recovered with its loss declared.

It uses the installed programs and the SDK, as an institution would. Exit 0 only if every step held.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from border import LEDGERCTL, LEDGERD, Border
from demo import files
from demo.liar import Caught
from demo.life import Life
from demo.recovery import Recovered
from demo.stage import StepFailedError, at_once, check, client, console, heading, say, view_of
from rich.table import Table

from ledgerd_client import Declared
from ledgerd_client.core.transfer import Ticket

IDS = {
    "sz-hospital": "uscc.12440300MB0000001U",
    "gz-bank": "uscc.91440100MA0000002D",
    "hk-clinic": "hkbr.50000001",
    "hk-credit": "hkbr.50000002",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One transfer of the demo: who sends what to whom, and what is stated of it."""

    what: str
    exporter: str
    recipient: str
    file: Path
    statement: dict[str, object]


def cases(directory: Path) -> list[Case]:
    health = {
        "contract_id": "GBA-SC-2026-0117",
        "purposes": ["DiagnosisManagement", "ReferralManagement"],
        "categories": ["basic", "health and physiology"],
        "sensitive_categories": ["medical health"],
        "protections": ["encrypted"],
        "transmission": "api",
    }
    mainland = {"legal_basis": "CN13_1 consent", "consent_form": "separate"}
    hongkong = {"legal_basis": "HK_DPP3_CONSENT", "consent_form": "written"}
    money = {
        "contract_id": "GBA-SC-2026-0342",
        "categories": ["basic", "property"],
        "protections": ["encrypted"],
        "transmission": "sftp",
    }
    one = {"subjects": 1, "subjects_first_this_year": 1, "sensitive_subjects": 1}
    return [
        Case("DICOM image (CT slice)", "sz-hospital", "hk-clinic", files.ct_slice(directory),
             {**health, **mainland, **one, "sensitive_first_this_year": 1}),
        Case("ISO 20022 payments (pain.001)", "gz-bank", "hk-credit", files.payment(directory),
             {**money, **mainland, "subjects": 2, "purposes": ["PaymentProcessing"]}),
        Case("FHIR bundle of a patient", "hk-clinic", "sz-hospital", files.patient(directory),
             {**health, **hongkong, **one}),
        Case("CSV of 10,000 synthetic people", "hk-credit", "gz-bank", files.credit_files(directory),
             {**money, **hongkong, "subjects": 10_000, "purposes": ["CreditChecking"]}),
        Case("256 MiB archive of images", "sz-hospital", "hk-clinic", files.archive(directory),
             {**health, **mainland, "subjects": 400, "sensitive_subjects": 400}),
    ]  # fmt: skip


def main() -> int:
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="ledgerd-demo-"))
    try:
        play(scratch)
    except StepFailedError as error:
        console.print(f"[bold red]FAILED[/] {error}")
        return 1
    finally:
        shutil.rmtree(scratch)
    console.print(f"\n[bold green]Every step held[/] ({time.monotonic() - started:.0f} s).")
    return 0


def play(scratch: Path) -> None:
    payloads = scratch / "payloads"
    payloads.mkdir()
    heading("1  A border: two nodes, two authorities, four institutions")
    border = Border(scratch / "border")
    try:
        border.start()
        say("both nodes are ready, as two processes over mTLS")
        declared = transfers(border, cases(payloads), scratch)
        both_views(border, declared)
        for node in (border.mainland, border.hongkong):
            check(node.stop() == 0, "a node did not stop cleanly")
        receipts_offline(border, declared, scratch)
        lies(border, scratch)
        Life.play(scratch, payloads)
        Caught(border, scratch).play()
        Recovered(border, scratch).play()
    finally:
        border.close()


def transfers(border: Border, played: list[Case], scratch: Path) -> list[tuple[Case, Declared]]:
    heading("2  Five transfers: declared before they are sent, acknowledged when they arrive")
    found = []
    for case in played:
        with client(border, case.exporter) as ledger:
            sent = ledger.declare(
                case.file,
                recipient=IDS[case.recipient],
                **case.statement,  # type: ignore[arg-type]
            )
            check(sent.status == "recorded", f"{case.what} was not recorded")
        ticket = Ticket.parse(sent.ticket.encode())
        with client(border, case.recipient) as ledger:
            if case is played[1]:
                refusal = ledger.acknowledge(ticket, files.changed(case.file))
                check(refusal.outcome == "digest_mismatch", "a changed file was taken")
                say(f"{case.recipient} refused a copy of {case.file.name} changed on the way")
            answer = ledger.acknowledge(ticket, case.file)
            check(answer.accepted, f"{case.what} was not accepted")
        size = case.file.stat().st_size
        say(f"{case.what}: {case.exporter} → {case.recipient}, {size:,} bytes,"
            f" entries {sent.index} and {answer.index}")  # fmt: skip
        found.append((case, sent))
    for number, (case, sent) in enumerate(found):
        with client(border, case.exporter) as ledger:
            cosigned = ledger.wait_cosigned(sent)
            path = scratch / f"receipt-{number}.tlog-proof"
            path.write_bytes(cosigned.format())
    say("all five receipts are cosigned by the other side's node")
    return found


def both_views(border: Border, declared: list[tuple[Case, Declared]]) -> None:
    heading("3  What each node sees: its own bodies, the other's headers, and one verdict")
    table = Table("transfer", "exporter's node", "recipient's node", "findings there")
    for case, sent in declared:
        states, rules = [], ""
        for name in (case.exporter, case.recipient):
            view = view_of(border, name, sent.ref, "matched", case.what)
            states.append(view.state)
            rules = ", ".join(
                f"{finding.rule}{' (closed)' if finding.closed else ''}"
                for finding in view.findings
            )
        check(states == ["matched", "matched"], f"{case.what} is {states}")
        table.add_row(case.what, *states, rules or "none")
    console.print(table)


def receipts_offline(border: Border, declared: list[tuple[Case, Declared]], scratch: Path) -> None:
    heading("4  Both daemons are stopped; the receipts verify all the same")
    receipts = [scratch / f"receipt-{number}.tlog-proof" for number in range(len(declared))]
    exporters = [case.exporter for case, _ in declared]
    verified = at_once(partial(verify, border), exporters, receipts)
    for (case, _), done in zip(declared, verified, strict=True):
        check(done.returncode == 0, f"{case.what}: {done.stderr}")
        say(f"{case.what}: verified, with the peer's cosignature")


def lies(border: Border, scratch: Path) -> None:
    heading("5  One byte changed in a copy of a store, and one in a receipt")
    honest = subprocess.run(
        (LEDGERD, "audit", "--config", str(border.mainland.config)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    check(honest.returncode == 0, f"the untouched store: {honest.stderr}")
    say("audit of the untouched store: " + honest.stdout.strip().splitlines()[-1])
    config = border.copy_of(border.mainland, scratch / "copy")
    store = scratch / "copy" / "data" / "store" / "data.mdb"
    # The number of the first transfer's contract, wherever a page of the file still has it.
    store.write_bytes(store.read_bytes().replace(b"GBA-SC-2026-0117", b"GBA-SC-2026-0118"))
    tampered = subprocess.run(
        (LEDGERD, "audit", "--config", str(config)), capture_output=True, text=True, check=False
    )
    check(tampered.returncode == 1, f"a changed store passed: {tampered.stdout}")
    say("audit of the changed copy: " + tampered.stderr.strip().splitlines()[0])
    receipt = bytearray((scratch / "receipt-0.tlog-proof").read_bytes())
    place = receipt.index(b"extra ") + 60
    receipt[place] = ord("B") if receipt[place] == ord("A") else ord("A")
    forged = scratch / "forged.tlog-proof"
    forged.write_bytes(receipt)
    done = verify(border, "sz-hospital", forged)
    check(done.returncode == 1, f"a changed receipt: exit {done.returncode} {done.stdout}")
    say("receipt verify of the changed receipt: " + done.stderr.strip().splitlines()[0])


def verify(border: Border, name: str, receipt: Path) -> subprocess.CompletedProcess[str]:
    home = border.client(name).parent
    return subprocess.run(
        (LEDGERCTL, "receipt", "verify", str(receipt), "--trust", str(home / "trust.txt"),
         "--keys", str(home / "keys"), "--require-cosignature"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

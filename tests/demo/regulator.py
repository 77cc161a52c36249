"""Scenes 9 to 11: regulators ask, a mirror answers alike, and papers that verify without a node."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from border import LEDGERCTL, Border, Mirror
from demo.stage import at_once, check, console, heading, say
from rich.table import Table

from ledgerd_client.reports import REPORTS

# Who may read everything of each side, and who nothing but its banks.
MAINLAND, HONG_KONG, BANKS = "cac", "dpo", "hkma"
_BOTH = (MAINLAND, HONG_KONG)


@dataclass(frozen=True, slots=True)
class Supervision:
    """What regulators see of a contract, of a transfer that matched, and of one that did not."""

    border: Border
    scratch: Path
    contract: str
    matched: bytes
    unmatched: bytes

    def play(self) -> None:
        self.fifteen()
        self.narrow()
        self.transfers()
        self.mirror()
        self.papers()

    # -- scene 9 -------------------------------------------------------------------------------

    def fifteen(self) -> None:
        heading("9  A regulator on each side asks the fifteen questions")
        table = Table("", "report", "what it shows", f"rows: {MAINLAND}", f"rows: {HONG_KONG}")
        listed = self._run("", "report", "list").splitlines()
        titles = {name: title for _, name, title in (line.split(maxsplit=2) for line in listed)}
        asked = [(who, name) for name in REPORTS for who in _BOTH]
        rows = dict(zip(asked, at_once(self._rows, *zip(*asked, strict=True)), strict=True))
        for name, kind in REPORTS.items():
            counts = (str(rows[who, name]) for who in _BOTH)
            table.add_row(str(kind.number), name, titles[name], *counts)
        console.print(table)

    def _rows(self, who: str, name: str) -> int:
        report = json.loads(self._report(who, name))
        return sum(len(each["rows"]) for each in report["tables"])

    def narrow(self) -> None:
        seen = self._run(BANKS, "entries", "--kind", "ack", "--json")
        check(not seen.splitlines(), f"{BANKS} sees what hospitals received")
        refused = self._fails(BANKS, "entries", "--sector", "HOSPITAL")
        check("GRANT" in refused, refused)
        say(
            f"{BANKS} may read of banks alone: of the clinic it sees nothing, and asking is refused"
        )

    # -- scene 10 ------------------------------------------------------------------------------

    def transfers(self) -> None:
        heading("10  A transfer that matched and one that did not: each half proven in its log")
        for ref, state in ((self.matched, "matched"), (self.unmatched, "unacknowledged")):
            shown = json.loads(self._run(MAINLAND, "transfer", ref.hex(), "--json").splitlines()[0])
            check(shown["state"] == state, f"{ref.hex()} is {shown['state']}")
            halves = ", ".join(f"{half['origin']} {half['index']}" for half in shown["halves"])
            say(f"{state}: {halves}")
        told = self._run(MAINLAND, "timeline", "--ref", self.matched.hex(), "--json").splitlines()
        sent = json.loads(told[1])
        low, high = sent["other_log_had_at_least"], sent["other_log_had_less_than"]
        say(f"whatever clocks say, the anchors prove: entry {sent['index']} was made when the other"
            f" log had at least {low} and less than {high} entries")  # fmt: skip

    def mirror(self) -> None:
        mirror = Mirror(self._settings(MAINLAND), self.scratch / "mirror")
        try:
            mirror.start()
            say(f"{MAINLAND} keeps a mirror: every entry verified, and the node's root came out")
            at_once(self._compare, REPORTS, [mirror.socket] * len(REPORTS))
            say("all fifteen from the node, at the mirror's checkpoint: the same bytes")
            self._run(
                MAINLAND, "report", "verify", str(self.scratch / "reconciliation.json"),
                "--mirror", str(mirror.socket),
            )  # fmt: skip
            check(mirror.stop() == 0, "the mirror did not stop cleanly")
        finally:
            mirror.close()

    def _compare(self, name: str, socket: Path) -> None:
        at_mirror = self._report(MAINLAND, name, "--mirror", str(socket))
        kept = self._keep(f"{name}.json", at_mirror)
        at_node = self._report(MAINLAND, name, "--at", str(kept))
        check(at_node == at_mirror, f"{name}: node and mirror answer differently")

    # -- scene 11 ------------------------------------------------------------------------------

    def papers(self) -> None:
        heading("11  A dossier to sign, and a bundle for a court, which verifies without a node")
        pdf = self.scratch / "dossier.pdf"
        self._run(MAINLAND, "dossier", self.contract, "--pdf", str(pdf))
        check(pdf.read_bytes().startswith(b"%PDF-"), "the dossier is no PDF")
        self._run(MAINLAND, "report", "verify", str(pdf.with_suffix(".json")))
        say(
            f"the dossier of {self.contract}: {pdf.stat().st_size:,} bytes; made again, it is the same"
        )
        one, both = self.scratch / "one.bundle", self.scratch / "both.bundle"
        self._run(MAINLAND, "bundle", "create", self.matched.hex(), "--out", str(one), "--yes")
        self._run(HONG_KONG, "bundle", "add", str(one), "--out", str(both), "--yes")
        for node in (self.border.mainland, self.border.hongkong):
            check(node.stop() == 0, "a node did not stop cleanly")
        say("made by both sides; both nodes are stopped")
        verified = self._bundle(both)
        check(verified.returncode == 0, verified.stderr)
        console.print(verified.stdout.rstrip(), markup=False)
        forged = self.scratch / "forged.bundle"
        forged.write_bytes(both.read_bytes().replace(b'"state": "matched"', b'"state": "refused"'))
        check(forged.read_bytes() != both.read_bytes(), "the bundle states nothing")
        check(self._bundle(forged).returncode == 1, "a changed bundle verified")
        say("the same bundle, with another state in it: refused")

    # -- helpers -------------------------------------------------------------------------------

    def _report(self, who: str, name: str, *options: str) -> str:
        if name == "contract-file":
            options = (*options, "--contract", self.contract)
        if "--at" not in options:
            options = (*options, "--newest")
        return self._run(who, "report", name, "--json", *options)

    def _bundle(self, path: Path) -> subprocess.CompletedProcess[str]:
        trust = self.border.directory / "trust.txt"
        return subprocess.run(
            (LEDGERCTL, "bundle", "verify", str(path), "--trust", str(trust)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def _settings(self, who: str) -> Path:
        return self.border.client(who)

    def _keep(self, name: str, text: str) -> Path:
        path = self.scratch / name
        path.write_text(text)
        return path

    def _run(self, who: str, *words: str) -> str:
        done = self._ask(who, *words)
        check(done.returncode == 0, f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def _fails(self, who: str, *words: str) -> str:
        done = self._ask(who, *words)
        check(done.returncode != 0, f"{' '.join(words)} was answered")
        return done.stderr

    def _ask(self, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        config = ("--config", str(self._settings(who))) if who else ()
        return subprocess.run(
            (LEDGERCTL, *words, *config), capture_output=True, text=True, check=False
        )

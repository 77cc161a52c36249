"""Scene 13: a disk is lost, and all of it comes back but for what nobody else had: that is declared."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from border import LEDGERCTL, LEDGERD, PATIENCE, Border
from demo.liar import CLINIC, HOSPITAL, incident
from demo.stage import check, client, heading, say

from ledgerd_client import Receipt, Recorded

# The Mainland's institutions, whose outboxes hold what they recorded.
OURS = (HOSPITAL, "gz-bank")


@dataclass(frozen=True, slots=True)
class Recovered:
    """The Mainland's node loses its disk, but not its keys; both nodes run."""

    border: Border
    scratch: Path

    def play(self) -> None:
        heading("13  A disk is lost, and what nobody else had of it is declared lost")
        before, tail = self._lose()
        self._fetch()
        self._declare_loss()
        done = self._node("audit")
        say("audit of the log as it is now: " + done.stdout.strip().splitlines()[-1])
        self.border.mainland.start()
        with client(self.border, HOSPITAL) as hospital:
            again = hospital.wait_cosigned(tail)
            say(
                f"the lost record was entry {tail.index}; its outbox has sent it again: {again.index}"
            )
        with client(self.border, CLINIC) as clinic:
            clinic.wait_cosigned(clinic.record(incident()))
        say("both nodes cosign again, the recovered one by its new key")
        self._verify(before)
        say("and a receipt from before the loss verifies offline")

    def _lose(self) -> tuple[Receipt, Recorded]:
        """A record that the peer has cosigned, and one that it has never seen."""
        with client(self.border, HOSPITAL) as hospital:
            before = hospital.wait_cosigned(hospital.record(incident()))
            check(self.border.hongkong.stop() == 0, "a node did not stop cleanly")
            tail = hospital.record(incident())
        assert tail.index is not None
        self.border.mainland.kill()
        disk = self.border.mainland.config.parent / "data"
        shutil.rmtree(disk)
        disk.mkdir(mode=0o700)
        self.border.hongkong.start()
        say(f"{tail.index + 1} entries are gone with the disk; the last of them no peer has seen")
        return before, tail

    def _fetch(self) -> None:
        """Headers from the peer, bodies from whoever has them."""
        recovery = subprocess.Popen(
            (LEDGERD, "recover", "--config", str(self.border.mainland.config)),
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert recovery.stderr is not None
        say("recover: " + recovery.stderr.readline().strip())
        check("Waiting" in recovery.stderr.readline(), "it does not wait for bodies")
        for name in OURS:
            done = self._ctl("outbox", "return", "--config", str(self.border.client(name)))
            say(f"{name} gives back what it recorded: {' '.join(done.stdout.split())}")
        _, said = recovery.communicate(timeout=PATIENCE)
        check(recovery.returncode == 0, said)
        say("recover: " + said.strip().splitlines()[-1])

    def _declare_loss(self) -> None:
        request, approval = (str(self.scratch / name) for name in ("loss.json", "loss.approval"))
        authority = str(self.border.directory / "mainland" / "authority")
        self._node("recover", "--request", request)
        self._ctl("authority", "loss", request, "--dir", authority, "--out", approval, "--yes")
        done = self._node("recover", "--loss", approval)
        say("the authority signs the LOSS, with new log and cosigner keys: " + done.stdout.strip())

    def _verify(self, receipt: Receipt) -> None:
        file = self.scratch / "before.tlog-proof"
        file.write_bytes(receipt.format())
        home = self.border.client(HOSPITAL).parent
        trusted = ("--trust", str(home / "trust.txt"), "--keys", str(home / "keys"))
        self._ctl("receipt", "verify", str(file), *trusted, "--require-cosignature")

    def _node(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        config = str(self.border.mainland.config)
        return self._run(LEDGERD, command, "--config", config, *options)

    def _ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(LEDGERCTL, *arguments)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        check(done.returncode == 0, f"{' '.join(command[1:3])}: {done.stderr}")
        return done

"""An institution that declares transfers through its SDK while a node is worked upon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.systemd import Systemd

END = "/run/end-of-load"
# Declares one transfer after the other; says of each where it stands, or that it waits. In the end
# it asks for a new receipt of each that it had one of, if it is told to.
LOAD = f"""
import sys
from pathlib import Path
from ledgerd_client.sync import LedgerClient

settings, recipient, and_check = sys.argv[1:]
had = []
with LedgerClient.from_file(settings) as client:
    while not Path("{END}").exists():
        declared = client.declare(
            payload=b"name;score", recipient=recipient, contract_id="GBA-SC-2026-0117",
            subjects=1, purposes=["ReferralManagement"], categories=["health and physiology"],
            legal_basis="CN13_1 consent", if_unreachable="queue",
        )
        if declared.receipt:
            had.append(declared)
        print(declared.receipt.index if declared.receipt else "waits", flush=True)
    for declared in had if and_check == "yes" else ():
        assert client.receipt(declared.record_id).header == declared.receipt.header
"""


class Load:
    """An institution that declares transfers while a node is worked upon."""

    def __init__(
        self,
        system: Systemd,
        *,
        python: str = "/opt/ledgerd/bin/python",
        settings: str = "/srv/institution/client.toml",
        recipient: str = "hkbr.50000001",
        check: bool = False,
    ) -> None:
        """check: that each record that was acknowledged is in the log where its receipt says."""
        system.run("rm", "-f", END)
        arguments = settings, recipient, "yes" if check else "no"
        self._process = system.begin(python, "-c", LOAD, *arguments)
        self.said: list[str] = []

    def go_on(self) -> None:
        """Return when the next one is declared."""
        assert self._process.stdout is not None
        self.said.append(self._process.stdout.readline().strip())
        assert self.said[-1], "it has ended"

    def go_on_from(self, size: int) -> None:
        """Return when one got a receipt that the log had not when it held so many entries."""
        while not (self.said and self.said[-1].isdecimal() and int(self.said[-1]) >= size):
            self.go_on()

    def end(self, system: Systemd) -> list[str]:
        """Where each one stands."""
        system.run("touch", END)
        with self._process:
            assert self._process.stdout is not None
            self.said += self._process.stdout.read().split("\n")[:-1]
        assert self._process.returncode == 0, self.said
        return self.said

    def kill(self) -> None:
        with self._process:
            self._process.kill()


@contextmanager
def loaded(system: Systemd) -> Iterator[Load]:
    load = Load(system)
    try:
        load.go_on()
        yield load
    finally:
        load.kill()

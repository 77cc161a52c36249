"""Transfers between a border's two institutions while something is wrong, and what is true later."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from border import Border
from faults.oracle import Acknowledged, Tally, config_of
from institutions import STATEMENT, client, until

from ledgerd_client import Declared
from ledgerd_client._results import Submitted
from ledgerd_client.core.header import Header
from ledgerd_client.sync import LedgerClient

PAYLOAD = b"name;score\nA;700\n"
TRANSFERS = 5


class Sides:
    """A border, and what its institutions were told, by side."""

    def __init__(self, border: Border, wrappers: Sequence[Sequence[str]] = ((), ())) -> None:
        """wrappers: what comes before each node's command."""
        self.border = border
        self.nodes = (border.mainland, border.hongkong)
        self._wrappers = wrappers
        self._said: tuple[list[Acknowledged], list[Acknowledged]] = ([], [])
        self._counted = 0
        self._clients = ExitStack()

    def start(self) -> None:
        for node, wrapper in zip(self.nodes, self._wrappers, strict=True):
            node.launch(wrapper)
        for node in self.nodes:
            node.wait_for("READY=1")
        self.hospital, self.clinic = (
            self._clients.enter_context(client(self.border, name))
            for name in ("sz-hospital", "hk-clinic")
        )
        for ledger in (self.hospital, self.clinic):  # they have met, now or earlier
            until(ledger.info, lambda info: info.cosigned_size > 0)

    def close(self) -> None:
        """End what talks to the nodes, and the nodes."""
        self._clients.close()
        self.border.close()

    def stop(self) -> None:
        self._clients.close()
        assert [node.stop() for node in self.nodes] == [0, 0]

    def judge(self, tally: Tally) -> None:
        """Stop both, and count and judge what was acknowledged since the last time."""
        self.stop()
        tally.runs += 1
        told = sum(map(len, self._said))
        tally.acknowledged += told - self._counted
        self._counted = told
        one, other = (config_of(node.config) for node in self.nodes)
        tally.judge(one, self._said[0], tally.fault, peer=other)
        tally.judge(other, self._said[1], tally.fault, peer=one)

    def exchange(self, transfers: int = TRANSFERS) -> list[Declared]:
        """Declare transfers on one side, and acknowledge each on the other."""
        declared = []
        for _ in range(transfers):
            declared.append(self.hospital.declare(PAYLOAD, **STATEMENT))
            self._note(0, declared[-1])
            self._note(1, self.clinic.acknowledge(declared[-1].ticket, PAYLOAD))
        return declared

    def _note(self, side: int, submitted: Submitted) -> None:
        receipt = submitted.receipt
        assert receipt is not None
        record = {submitted.record_id.hex(): receipt.index}
        self._said[side].append(Acknowledged(record, receipt.checkpoint.decode(), 0))

    def settle(self, declared: Sequence[Declared]) -> None:
        """All of these become matched, on both sides, and nobody is accused of anything."""
        for ledger in (self.hospital, self.clinic):
            for one in declared:
                until(partial(ledger.transfer, one.ref), lambda view: view.state == "matched")
            self._accuses_nobody(ledger)

    def _accuses_nobody(self, ledger: LedgerClient) -> None:
        found = [one.rule for one in ledger.findings(open_only=False)]
        assert not found, found
        for node in self.nodes:
            assert [*(node.config.parent / "data").glob("evidence/*")] == []


def recorded_at(submitted: Submitted) -> int:
    """µs."""
    assert submitted.receipt is not None
    return Header.parse(submitted.receipt.header).recorded_at

"""
P5 and P9: the nodes can't reach each other for longer than every deadline.

Both run, and both institutions reach their own; only the lines between the nodes are cut. What
became of it is played once, then looked at.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from bench.load import connect
from border import Border, audit
from faults.line import Line, reroute
from faults.sides import recorded_at
from institutions import STATEMENT, Registry, client, until

from ledgerd_client import Declared, NotReadyError
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import RegulatorServiceStub
from ledgerd_client._results import TransferView
from ledgerd_client._shown import to_transfer
from ledgerd_client.config import Settings
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.sync import LedgerClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PAYLOAD = b"name;score\nA;700\n"
# For the other half of a transfer, in seconds: two calls take much less, starting a node more.
DEADLINE = 4
INFORMATION, HIGH = 1, 3


@dataclass(slots=True)
class Story:
    """What was seen: by the exporter, the recipient, and a regulator on the recipient's side."""

    # Declared and acknowledged in time while the lines were cut; declared and not acknowledged.
    met: Declared
    missed: Declared
    # Declared for as long as the lines were cut.
    others: list[Declared]
    cosigned_while_cut: bool
    views: dict[str, TransferView] = field(default_factory=dict)
    cosigned: list[Receipt] = field(default_factory=list)
    audits: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    border = Border(
        tmp_path_factory.mktemp("peer-down") / "border", "--acknowledge-within", str(DEADLINE)
    )
    lines = [reroute(border.mainland, border.hongkong), reroute(border.hongkong, border.mainland)]
    try:
        border.start()
        regulator = Registry.of(border, "hongkong").enrol(
            border.directory / "regulator", "regulator", "pcpd"
        )
        with client(border, "sz-hospital") as hospital, client(border, "hk-clinic") as clinic:
            yield play(border, lines, hospital, clinic, Settings.from_file(regulator))
    finally:
        border.close()
        for line in lines:
            line.close()


def play(
    border: Border,
    lines: list[Line],
    hospital: LedgerClient,
    clinic: LedgerClient,
    regulator: Settings,
) -> Story:
    before = declare(hospital)
    clinic.acknowledge(before.ticket, PAYLOAD)
    hospital.wait_cosigned(before)
    for line in lines:
        line.cut()
    story = cut_off(hospital, clinic)
    for line in lines:
        line.mend()
    healed(story, hospital, clinic, regulator)
    cured(story, hospital, clinic)
    assert [border.mainland.stop(), border.hongkong.stop()] == [0, 0]
    story.audits = [audit(node.config).stdout for node in (border.mainland, border.hongkong)]
    return story


def cut_off(hospital: LedgerClient, clinic: LedgerClient) -> Story:
    met = declare(hospital)
    clinic.acknowledge(met.ticket, PAYLOAD)
    missed = declare(hospital)
    others = [declare(hospital)]
    while recorded_at(others[-1]) <= recorded_at(missed) + DEADLINE * 1_000_000:
        threading.Event().wait(0.5)
        others.append(declare(hospital))
    try:
        hospital.wait_cosigned(met, timeout_s=0)
        cosigned = True
    except NotReadyError:
        cosigned = False
    return Story(met, missed, others, cosigned, {
        "met, while cut, exporter": hospital.transfer(met.ref),
        "met, while cut, recipient": clinic.transfer(met.ref),
        "missed, while cut, exporter": hospital.transfer(missed.ref),
    })  # fmt: skip


def healed(story: Story, hospital: LedgerClient, clinic: LedgerClient, regulator: Settings) -> None:
    story.cosigned = [
        hospital.wait_cosigned(one) for one in (story.met, story.missed, *story.others)
    ]
    met, missed = story.met.ref, story.missed.ref
    story.views |= {
        "met, exporter": settled(hospital, met, "matched"),
        "met, recipient": settled(clinic, met, "matched"),
        "missed, exporter": settled(hospital, missed, "unacknowledged"),
        "missed, regulator": until(
            lambda: asyncio.run(regulators_view(regulator, missed)),
            lambda view: view.state == "unacknowledged",
        ),
    }


def cured(story: Story, hospital: LedgerClient, clinic: LedgerClient) -> None:
    clinic.acknowledge(story.missed.ticket, PAYLOAD)
    story.views |= {
        "cured, exporter": settled(hospital, story.missed.ref, "matched"),
        "cured, recipient": settled(clinic, story.missed.ref, "matched"),
    }


def declare(hospital: LedgerClient) -> Declared:
    return hospital.declare(PAYLOAD, **STATEMENT)


def settled(ledger: LedgerClient, ref: bytes, state: str) -> TransferView:
    return until(lambda: ledger.transfer(ref), lambda view: view.state == state)


async def regulators_view(regulator: Settings, ref: bytes) -> TransferView:
    async with connect(regulator) as channel:
        request = pb.RegulatorServiceGetTransferRequest(ref=ref)
        reply = await RegulatorServiceStub(channel).GetTransfer(request, wait_for_ready=True)
    return to_transfer(ref, reply.transfer)


def findings(view: TransferView) -> list[tuple[str, int, bool]]:
    """Rule, severity, and whether it is closed."""
    return [(found.rule, found.severity, found.closed) for found in view.findings]


class TestWhileTheLinesAreCut:
    def test_local_appends_go_on_with_receipts(self, story: Story) -> None:
        assert all(one.receipt for one in story.others)

    def test_they_are_cut_for_longer_than_the_deadline(self, story: Story) -> None:
        lasted = recorded_at(story.others[-1]) - recorded_at(story.missed)
        assert lasted > DEADLINE * 1_000_000

    def test_nothing_is_cosigned(self, story: Story) -> None:
        assert not story.cosigned_while_cut

    @pytest.mark.parametrize(
        "seen",
        ["met, while cut, exporter", "met, while cut, recipient", "missed, while cut, exporter"],
    )
    def test_nobody_is_accused(self, story: Story, seen: str) -> None:
        assert (story.views[seen].state, findings(story.views[seen])) == ("open", [])


class TestOnceTheyAreMended:
    def test_the_cosignature_catches_up(self, story: Story) -> None:
        declared = [story.met, story.missed, *story.others]
        assert [receipt.index for receipt in story.cosigned] == [one.index for one in declared]

    @pytest.mark.parametrize("seen", ["met, exporter", "met, recipient"])
    def test_what_both_recorded_in_time_leaves_no_finding(self, story: Story, seen: str) -> None:
        assert (story.views[seen].state, findings(story.views[seen])) == ("matched", [])

    @pytest.mark.parametrize("seen", ["missed, exporter", "missed, regulator"])
    def test_what_was_not_acknowledged_is_found_once_on_both_nodes(
        self, story: Story, seen: str
    ) -> None:
        assert findings(story.views[seen]) == [("K15.unacknowledged", HIGH, False)]

    @pytest.mark.parametrize("seen", ["cured, exporter", "cured, recipient"])
    def test_a_late_acknowledgement_closes_the_finding(self, story: Story, seen: str) -> None:
        assert sorted(findings(story.views[seen])) == [
            ("K15.acknowledged_late", INFORMATION, False),
            ("K15.unacknowledged", HIGH, True),
        ]

    def test_both_stores_audit(self, story: Story) -> None:
        assert all("everything is as the log says" in said for said in story.audits)

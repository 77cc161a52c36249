"""A regulator's mirror of a running node: it answers as the node does, byte for byte."""

from __future__ import annotations

import asyncio
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from border import LEDGERD, Border, Mirror, run
from faults.load import Loader
from google.protobuf.message import Message
from institutions import client, until

from ledgerd.store.lmdb import LmdbStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client.config import LOCAL_ENDPOINT, Settings
from ledgerd_client.contracts import Contract, Filing
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import StoreError, UnavailableError
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.core.transfer import Side
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file
from ledgerd_client.regulator import RegulatorClient
from ledgerd_client.regulator_transport import GrpcRegulatorTransport
from ledgerd_client.reports import REPORTS, make
from ledgerd_client.transport import connect

HOSPITAL, CLINIC = "uscc.12440300MB0000001U", "hkbr.50000001"
CONTRACT = "GBA-SC-2026-0117"
PAYLOAD = b"a file\n"
KIND = KIND_NUMBERS
SHENZHEN = 440300

QUERIES: list[dict[str, Any]] = [
    {},
    {"newest_first": True},
    {"first": 3, "end": 9},
    {"first": 5, "newest_first": True},
    {"kinds": [KIND["transfer"]]},
    {"kinds": [KIND["contract"], KIND["filing"]]},
    {"kinds": [KIND["finding"]]},
    {"kinds": [KIND["key_event"], KIND["genesis"], KIND["rule_set"]]},
    {"kinds": [KIND["anchor"]], "newest_first": True},
    {"kinds": [KIND["query_log"]]},
    {"institutions": [HOSPITAL]},
    {"institutions": [HOSPITAL], "kinds": [KIND["transfer"]]},
    {"counterparties": [CLINIC]},
    {"contract_ids": [CONTRACT]},
    {"contract_ids": [CONTRACT], "kinds": [KIND["transfer"]], "newest_first": True},
    {"directions": [1]},
    {"places": [SHENZHEN]},
    {"categories": [1]},
    {"categories": [1, 5], "kinds": [KIND["transfer"]]},
    {"purposes": [12]},
    {"mechanisms": [1]},
    {"rules": ["K4"]},
    {"rules": ["K4", "K6"], "standing": pb.STANDING_STANDS},
    {"severities": [2, 3]},
    {"standing": pb.STANDING_STANDS},
    {"standing": pb.STANDING_CLOSED},
    {"states": ["matched"]},
    {"states": ["unacknowledged", "open", "refused"]},
    {"states": ["matched"], "institutions": [HOSPITAL]},
    {"from": 1, "kinds": [KIND["transfer"], KIND["finding"]]},
    {"until": 1},
]
GROUPS: list[list[str]] = [
    [],
    ["INSTITUTION", "MONTH"],
    ["KIND"],
    ["STATE"],
    ["RULE", "SEVERITY"],
    ["CONTRACT", "CATEGORY", "PURPOSE", "DAY"],
]


@dataclass
class Played:
    """A border with a little of everything, a mirror of its Mainland's node, and a checkpoint."""

    border: Border
    mirror: Mirror
    ref: bytes
    note: bytes = b""

    @property
    def settings(self) -> Settings:
        return Settings.from_file(self.border.client("cac"))

    @property
    def at_mirror(self) -> Settings:
        endpoint = f"{LOCAL_ENDPOINT}{self.mirror.socket}"
        return replace(self.settings, endpoint=endpoint, keys=self.mirror.directory / "keys")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    home = tmp_path_factory.mktemp("mirror")
    border = Border(home / "b", "--acknowledge-within", "2", "--record-within", "2", law="newest")
    mirror = Mirror(border.client("cac"), home / "m")
    try:
        border.start()
        ref = trade(border)
        mirror.start()
        played = Played(border, mirror, ref)
        played.note = asyncio.run(newest(played.at_mirror))
        yield played
    finally:
        mirror.close()
        border.close()


def today() -> date:
    return (datetime.now(UTC) + timedelta(hours=8)).date()


def trade(border: Border) -> bytes:
    """A contract that is filed late, transfers of every state; the ref of one that matched."""
    effective_on = today() - timedelta(days=45)
    with client(border, "sz-hospital") as us, client(border, "hk-clinic") as them:
        for ledger in (us, them):
            until(lambda: ledger.info().cosigned_size, bool)  # noqa: B023 - asked at once
        contract = contract_of(us.info().origin, them.info().origin, effective_on)
        us.record(contract)
        them.record(Contract.parse(contract.file()))
        matched = us.declare_under(contract, PAYLOAD, **STATEMENT)
        refused = us.declare_under(contract, PAYLOAD, **STATEMENT)
        wider = us.declare_under(
            contract, PAYLOAD, **{**STATEMENT, "purposes": ["PaymentProcessing"]}
        )
        us.declare_under(contract, PAYLOAD, **STATEMENT)
        them.acknowledge(matched.ticket, PAYLOAD)
        them.acknowledge(refused.ticket, PAYLOAD + b"more")
        them.acknowledge(wider.ticket, PAYLOAD)
        states = {matched.ref: "matched", refused.ref: "refused", wider.ref: "matched"}
        for ref, state in states.items():
            until(lambda: us.transfer(ref).state, lambda found: found == state)  # noqa: B023 - at once
        rules = {"K4.overdue"}
        until(lambda: {each.finding.rule for each in us.findings()}, lambda found: found >= rules)
        us.record(Filing(contract=contract, authority="CAC_GD", filed_on=today()))
        until(
            lambda: {each.finding.rule for each in us.findings()},
            lambda found: "K4.overdue" not in found,
        )
        return matched.ref


def contract_of(exporter: str, recipient: str, effective_on: date) -> Contract:
    return Contract(
        exporter=Side(exporter, HOSPITAL), recipient=Side(recipient, CLINIC), contract_id=CONTRACT,
        document=bytes(32), mechanism="GBA_SC_HK", direction="CN_HK",
        exporter_place="Shenzhen", recipient_place="Hong Kong",
        exporter_sector="HOSPITAL", recipient_sector="HOSPITAL",
        signed_on=effective_on - timedelta(days=7), effective_on=effective_on,
        purposes=["DiagnosisManagement"], categories=["basic", "health and physiology"],
        sensitive_categories=["medical health"], subject_types=["patient"], planned_scale=5_000,
        retention_days=365, storage_places=["Hong Kong"], transmissions=["api"],
    )  # fmt: skip


STATEMENT: dict[str, Any] = {
    "subjects": 1, "legal_basis": "CN13_1 consent", "subjects_first_this_year": 1,
    "sensitive_subjects": 1, "consent_form": "separate", "notice_digest": bytes(32),
    "notice_version": "2026-01", "protections": ["encrypted"],
}  # fmt: skip


# -- asking both -----------------------------------------------------------------------------


@asynccontextmanager
async def transport(settings: Settings) -> AsyncIterator[GrpcRegulatorTransport]:
    channel = connect(settings, Trust.parse(read_file(settings.trust)))
    try:
        yield GrpcRegulatorTransport(channel, 30.0, lambda: b"")
    finally:
        await channel.close()


async def newest(settings: Settings) -> bytes:
    """The newest checkpoint of whoever is asked."""
    async with transport(settings) as way:
        return (await way.list_entries(pb.ListEntriesRequest(page_size=1))).checkpoint


async def bytes_of(settings: Settings, ask: Ask) -> list[bytes]:
    async with transport(settings) as way:
        return [each.SerializeToString(deterministic=True) async for each in ask(way)]


Ask = Callable[[GrpcRegulatorTransport], AsyncIterator[Message]]


def assert_the_same(played: Played, ask: Ask) -> list[bytes]:
    """Ask both; what both say."""
    mirrors, nodes = (
        asyncio.run(bytes_of(settings, ask)) for settings in (played.at_mirror, played.settings)
    )
    assert mirrors == nodes
    return mirrors


class TestTheMirrorAnswersAsTheNodeDoes:
    @pytest.mark.parametrize("query", QUERIES, ids=str)
    @pytest.mark.parametrize("proof", [False, True])
    def test_entries(self, played: Played, query: dict[str, Any], *, proof: bool) -> None:
        async def ask(way: GrpcRegulatorTransport) -> AsyncIterator[Message]:
            parts = [1, 2, 3, 4] if proof else []
            request = pb.ListEntriesRequest(
                query=pb.Query(checkpoint=played.note, **query), page_size=4, parts=parts
            )
            while True:
                answer = await way.list_entries(request)
                yield answer
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return

        assert_the_same(played, ask)

    @pytest.mark.parametrize("dimensions", GROUPS, ids=str)
    def test_counts(self, played: Played, dimensions: list[str]) -> None:
        numbers = [pb.Dimension.Value(f"DIMENSION_{name}") for name in dimensions]

        async def ask(way: GrpcRegulatorTransport) -> AsyncIterator[Message]:
            query = pb.Query(checkpoint=played.note)
            yield await way.summarize(pb.SummarizeRequest(query=query, group_by=numbers))

        assert_the_same(played, ask)

    def test_a_transfer_with_its_proofs(self, played: Played) -> None:
        async def ask(way: GrpcRegulatorTransport) -> AsyncIterator[Message]:
            yield await way.get_transfer(
                pb.RegulatorServiceGetTransferRequest(ref=played.ref, checkpoint=played.note)
            )

        assert_the_same(played, ask)

    def test_a_contract(self, played: Played) -> None:
        async def ask(way: GrpcRegulatorTransport) -> AsyncIterator[Message]:
            yield await way.get_contract(
                pb.RegulatorServiceGetContractRequest(contract_id=CONTRACT, checkpoint=played.note)
            )

        assert_the_same(played, ask)

    @pytest.mark.parametrize("name", REPORTS)
    def test_reports(self, played: Played, name: str) -> None:
        parameters = {"contract": (CONTRACT,)} if name == "contract-file" else {}

        async def report(settings: Settings) -> bytes:
            async with RegulatorClient(settings) as regulator:
                opened = await regulator.open(played.note)
                return (await make(name, regulator, parameters, opened)).to_json()

        mirrors, nodes = (
            asyncio.run(report(settings)) for settings in (played.at_mirror, played.settings)
        )
        assert mirrors == nodes

    def test_the_queries_are_not_empty(self, played: Played) -> None:
        async def count(way: GrpcRegulatorTransport, query: dict[str, Any]) -> int:
            asked = pb.Query(checkpoint=played.note, **query)
            return len((await way.list_entries(pb.ListEntriesRequest(query=asked))).entries)

        async def empty() -> list[int]:
            async with transport(played.at_mirror) as way:
                counts = [await count(way, query) for query in QUERIES]
            return [number for number, found in enumerate(counts) if not found]

        # Before the log began there was nothing, and nobody had asked anything.
        assert asyncio.run(empty()) == [9, 30]


class TestTheProcess:
    def test_the_socket_is_its_owners_alone(self, played: Played) -> None:
        assert stat.S_IMODE(played.mirror.socket.stat().st_mode) == 0o600

    def test_it_answers_a_regulators_questions_and_no_others(self, played: Played) -> None:
        async def ask() -> None:
            channel = connect(played.at_mirror, Trust.parse(read_file(played.settings.trust)))
            await LedgerServiceStub(channel).Append(pb.AppendRequest())

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            asyncio.run(ask())
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    def test_a_second_one_in_its_directory_is_refused(self, played: Played) -> None:
        assert "ALREADY_SERVED" in played.mirror.catch_up(code=1).stderr

    def test_a_strangers_file_in_the_sockets_place_stays(
        self, played: Played, tmp_path: Path
    ) -> None:
        stranger = tmp_path / "mirror.sock"
        stranger.write_text("mine")
        done = mirror_of(played, "cac", tmp_path, "--socket", str(stranger), code=2)
        assert ("SOCKET_TAKEN" in done.stderr, stranger.read_text()) == (True, "mine")

    def test_a_directory_open_to_others_is_no_place_for_the_socket(
        self, played: Played, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o755)
        path = str(tmp_path / "mirror.sock")
        done = mirror_of(played, "cac", tmp_path / "m", "--socket", path, code=2)
        assert "SOCKET_EXPOSED" in done.stderr

    def test_a_socket_that_nobody_serves_any_more_is_taken(
        self, played: Played, tmp_path: Path
    ) -> None:
        mirror = Mirror(played.border.client("cac"), tmp_path / "m")
        mirror.catch_up()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(mirror.socket))
        mirror.launch()
        try:
            settings = replace(played.at_mirror, endpoint=f"{LOCAL_ENDPOINT}{mirror.socket}")
            until(lambda: answers(settings), bool)
        finally:
            assert mirror.stop() == 0

    def test_once_it_catches_up_and_exits(self, played: Played, tmp_path: Path) -> None:
        mirror = Mirror(played.border.client("cac"), tmp_path / "m")
        mirror.catch_up()
        assert held_by(mirror.directory) >= size_of(played.note)

    def test_a_narrow_grant_is_too_narrow(self, played: Played, tmp_path: Path) -> None:
        done = mirror_of(played, "hkma", tmp_path / "m", "--once", code=2)
        assert "GRANT_TOO_NARROW" in done.stderr

    def test_another_logs_directory_is_left_as_it_is(self, played: Played, tmp_path: Path) -> None:
        Mirror(played.border.client("cac"), tmp_path / "m").catch_up()
        done = mirror_of(played, "dpo", tmp_path / "m", "--once", code=2)
        assert "WRONG_ORIGIN" in done.stderr

    def test_an_institution_has_no_mirror(self, played: Played, tmp_path: Path) -> None:
        done = mirror_of(played, "sz-hospital", tmp_path / "m", "--once", code=2)
        assert "NOT_A_REGULATOR" in done.stderr

    def test_a_node_that_is_down_is_waited_for(self, played: Played, tmp_path: Path) -> None:
        mirror = Mirror(played.border.client("dpo"), tmp_path / "m")
        mirror.catch_up()
        played.border.hongkong.stop()
        try:
            mirror.start()
            assert mirror.stop() == 0
        finally:
            played.border.hongkong.start()


class TestKilled:
    """kill -9 while it follows, again and again; the log has some thousands of entries."""

    BATCHES, BATCH, KILLS = 10, 500, 5

    @pytest.fixture
    def border(self, tmp_path: Path) -> Iterator[Border]:
        border = Border(tmp_path / "b")
        try:
            border.start()
            loader = Loader(border.client("sz-hospital"), tmp_path / "journal", batch=self.BATCH)
            try:
                loader.send(self.BATCHES)
                loader.finish()
            finally:
                loader.close()
            yield border
        finally:
            border.close()

    @pytest.mark.slow
    def test_it_goes_on_and_comes_to_the_nodes_tables(self, border: Border, tmp_path: Path) -> None:
        mirror = Mirror(border.client("cac"), tmp_path / "m")
        total = self.BATCHES * self.BATCH
        held = [0]
        for kill in range(self.KILLS):
            mirror.launch()
            wanted = max(held[-1] + 1, kill * total // self.KILLS)
            until(lambda: held_by(mirror.directory), lambda size: size >= wanted)  # noqa: B023
            mirror.kill()
            held.append(held_by(mirror.directory))
        assert (held == sorted(held), held[1] < total) == (True, True)
        node = border.mainland

        def caught_up() -> list[str]:
            mirror.catch_up()
            # When it stops, a node puts on record what it was asked last, if that was news.
            assert node.stop() == 0
            try:
                return differing(mirror.directory, node.config.parent / "data")
            finally:
                node.start()

        until(caught_up, lambda tables: tables == [])


def mirror_of(
    played: Played, who: str, directory: Path, *options: str, code: int
) -> subprocess.CompletedProcess[str]:
    settings = str(played.border.client(who))
    words = ("mirror", "--settings", settings, "--data", str(directory), *options)
    return run(LEDGERD, *words, code=code)


def answers(settings: Settings) -> bool:
    try:
        return bool(asyncio.run(newest(settings)))
    except UnavailableError:
        return False


def size_of(note: bytes) -> int:
    return Checkpoint.parse(parse_note(note).text).size


def held_by(directory: Path) -> int:
    """Entries in a mirror's store, provisional ones too."""
    try:
        store = LmdbStore.open(directory / "store", readonly=True)
    except StoreError:
        return 0
    with closing(store), store.snapshot() as snapshot:
        return snapshot.count(Table.HEADERS)


def differing(mirror: Path, node: Path) -> list[str]:
    """Tables that are not the same in both stores; META is each one's own."""
    ours, theirs = (
        LmdbStore.open(directory / "store", readonly=True) for directory in (mirror, node)
    )
    with closing(ours), closing(theirs), ours.snapshot() as one, theirs.snapshot() as other:
        return [
            table for table in Table
            if table is not Table.META and list(one.scan(table)) != list(other.scan(table))
        ]  # fmt: skip

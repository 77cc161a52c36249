"""What a regulator reads, page by page."""

from __future__ import annotations

import pytest
import pytest_asyncio
from nodes import Client, Node, bodies, indexes, ref_of_record, refused

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import FieldError, NotFoundError
from ledgerd_client.core.header import Header

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written(exporter: Client, other: Client) -> list[int]:
    """Indexes of ten records by the exporter, among as many by somebody else."""
    written = []
    for _ in range(10):
        written.append(await exporter.place(exporter.transfer()))
        await other.place(other.transfer())
    return written


async def ask(regulator: Client, **query: object) -> pb.ListEntriesResponse:
    return await regulator.regulator.ListEntries(pb.ListEntriesRequest(**query))


class TestPages:
    async def test_begin_at_the_beginning_of_the_log(self, regulator: Client) -> None:
        assert indexes(await ask(regulator, page_size=2)) == [0, 1]

    async def test_of_one_institution_hold_its_records_in_log_order(
        self, regulator: Client, exporter: Client, written: list[int]
    ) -> None:
        assert indexes(await ask(regulator, institution=exporter.id)) == written

    async def test_come_with_bodies(
        self, regulator: Client, exporter: Client, written: list[int]
    ) -> None:
        page = await ask(regulator, institution=exporter.id)
        assert {body.author for body in bodies(page)} == {exporter.id}

    async def test_follow_each_other_without_a_gap_or_a_repetition(
        self, regulator: Client, exporter: Client, written: list[int]
    ) -> None:
        found: list[int] = []
        token = b""
        while True:
            page = await ask(regulator, institution=exporter.id, page_size=3, page_token=token)
            found += indexes(page)
            if not (token := page.next_page_token):
                break
        assert found == written

    async def test_are_not_moved_by_what_is_appended_meanwhile(
        self, regulator: Client, exporter: Client, other: Client, written: list[int]
    ) -> None:
        first = await ask(regulator, institution=exporter.id, page_size=4)
        await other.place(other.transfer())
        second = await ask(
            regulator, institution=exporter.id, page_size=4, page_token=first.next_page_token
        )
        assert indexes(first) + indexes(second) == written[:8]

    async def test_end_at_a_time(
        self, node: Node, regulator: Client, exporter: Client, written: list[int]
    ) -> None:
        everything = await ask(regulator, institution=exporter.id)
        time = Header.parse(everything.entries[5].header).recorded_at
        page = await ask(regulator, institution=exporter.id, until=time)
        assert indexes(page) == written[:5]

    async def test_begin_at_a_time(
        self, regulator: Client, exporter: Client, written: list[int]
    ) -> None:
        everything = await ask(regulator, institution=exporter.id)
        time = Header.parse(everything.entries[5].header).recorded_at
        page = await ask(regulator, institution=exporter.id, **{"from": time})
        assert indexes(page) == written[5:]

    async def test_hold_at_most_five_hundred_entries(self, regulator: Client) -> None:
        assert isinstance(await refused(ask(regulator, page_size=501)), FieldError)

    @pytest.mark.parametrize("institution", ["x" * 65, "x" * 256, "\u7701" * 22])
    async def test_of_what_is_too_long_for_an_id_are_refused(
        self, regulator: Client, institution: str
    ) -> None:
        assert isinstance(await refused(ask(regulator, institution=institution)), FieldError)


class TestPageTokens:
    @pytest.mark.parametrize(
        "changed",
        [
            {"page_size": 4},
            {"institution": "uscc.OTHER"},
            {"until": 4_000_000_000_000_000},
            {"from": 1},
        ],
    )
    async def test_of_another_query_are_refused(
        self, regulator: Client, changed: dict[str, object]
    ) -> None:
        token = (await ask(regulator, page_size=3)).next_page_token
        query = {"page_size": 3, "page_token": token, **changed}
        error = await refused(ask(regulator, **query))
        assert (type(error), error.reason) == (FieldError, "BAD_PAGE_TOKEN")

    @pytest.mark.parametrize("token", [b"\x00", b"x" * 24, bytes(1000)])
    async def test_that_nobody_gave_are_refused(self, regulator: Client, token: bytes) -> None:
        assert (await refused(ask(regulator, page_token=token))).reason == "BAD_PAGE_TOKEN"


class TestTransfers:
    async def test_of_any_institution_are_shown(self, regulator: Client, exporter: Client) -> None:
        record = exporter.transfer()
        await exporter.place(record)
        request = pb.RegulatorServiceGetTransferRequest(ref=ref_of_record(record))
        view = (await regulator.regulator.GetTransfer(request)).transfer
        assert [half.institution for half in view.halves] == [exporter.id]

    async def test_that_nobody_declared_are_not_found(self, regulator: Client) -> None:
        request = pb.RegulatorServiceGetTransferRequest(ref=bytes(32))
        error = await refused(regulator.regulator.GetTransfer(request))
        assert isinstance(error, NotFoundError)

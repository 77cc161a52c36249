"""Each of the fifteen reports, on a border where one case of everything is planted."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("ledgerd") is None:
    pytest.skip("the SDK is tested alone", allow_module_level=True)

from builders import WHOLE
from client.sdk import EXPORTER, RECIPIENT
from client.supervised import SPLIT, THIRD_PARTY, Planted, admit, planted_border
from client.test_regulator import Liar, asking_through_a_liar, erase

from ledgerd_client import Catalogue, FieldError, ForbiddenError, MalformedError, NotFoundError
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.body_pb2 import Grant
from ledgerd_client.catalogue import LANGUAGES
from ledgerd_client.core.body import BY_INSTITUTIONS
from ledgerd_client.core.header import Header
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.regulator import RegulatorClient
from ledgerd_client.reports import REPORTS, default_checkpoint, make
from ledgerd_client.reports.model import Column, Difference, Report, Table, first_difference
from ledgerd_client.reports.source import share
from ledgerd_client.reports.text import shown, to_csv
from ledgerd_client.reports.volumes import _crossing

SHENZHEN = 440300
BANK = 1


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    with planted_border() as planted:
        yield planted


@pytest.fixture
async def cac(planted: Planted) -> AsyncIterator[RegulatorClient]:
    async with RegulatorClient(planted.cac) as client:
        yield client


@pytest.fixture
async def dpo(planted: Planted) -> AsyncIterator[RegulatorClient]:
    async with RegulatorClient(planted.dpo) as client:
        yield client


async def report(client: RegulatorClient, name: str, **parameters: tuple[str, ...]) -> Report:
    return await make(name, client, parameters, await client.checkpoint())


def rows(report: Report, *columns: str, table: int = 0) -> list[tuple[Any, ...]]:
    """Some columns of a table."""
    names = [column.name for column in report.tables[table].columns]
    places = [names.index(column) for column in columns]
    return [tuple(row[place] for place in places) for row in report.tables[table].rows]


class TestTheFifteen:
    async def test_volumes_by_exporter_and_year(self, cac: RegulatorClient) -> None:
        year = (await report(cac, "volumes")).tables[0].rows[0][1]
        counted = rows(
            await report(cac, "volumes"),
            "exporter", "year", "transfers", "subjects_largest", "first_this_year",
            "subjects_sum", "sensitive_first_this_year", "band", "next_edge",
        )  # fmt: skip
        assert counted == [(EXPORTER, year, 9, 95_000, 286_300, 286_610, 300, 5, 1_000_000)]

    async def test_flows_by_place_sector_and_direction(self, cac: RegulatorClient) -> None:
        counted = rows(
            await report(cac, "flows"),
            "place", "counterparty_place", "sector", "direction", "transfers", "subjects",
            "sensitive_subjects", "sensitive_share",
        )  # fmt: skip
        assert counted == [
            (SHENZHEN, None, BANK, 1, 3, 285_000, 0, "0.0"),
            (SHENZHEN, 810000, BANK, 1, 6, 1_610, 300, "18.6"),
        ]

    async def test_transfers_outside_a_contracts_effect(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        found = rows(
            await report(cac, "out-of-effect"), "rule", "institution", "contract_id", "ref"
        )
        early = planted.before_effect.ref.hex()
        assert found == [
            ("K3.before_effect", EXPORTER, planted.contract_id, early),
            *(("K3.unknown_contract", EXPORTER, name, "") for name in SPLIT),
        ]

    async def test_filings(self, cac: RegulatorClient, planted: Planted) -> None:
        found = rows(await report(cac, "filing"), "rule", "institution", "contract_id", "says")
        assert [row[:3] for row in found] == [("K4.filed_late", EXPORTER, planted.contract_id)]
        assert "filed_on=20260701" in found[0][3]

    async def test_transfers_that_are_not_settled(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        found = rows(
            await report(cac, "unanswered"),
            "ref", "state", "exporter", "recipient", "halves_proven",
        )  # fmt: skip
        assert (planted.open.ref.hex(), "open", EXPORTER, None, 1) in found
        assert (planted.refused.ref.hex(), "refused", EXPORTER, RECIPIENT, 2) in found
        assert planted.matched.ref.hex() not in {row[0] for row in found}

    async def test_the_file_of_a_contract(self, cac: RegulatorClient, planted: Planted) -> None:
        file = await report(cac, "contract-file", contract=(planted.contract_id,))
        assert rows(file, "institution", "state", "statement", "statement_state") == [
            (EXPORTER, "open", "contract", "agreed"),
            (EXPORTER, "open", "filing", "open"),
        ]
        kinds = [kind for (kind,) in rows(file, "kind", table=1) if kind != "finding"]
        assert kinds == ["contract", "pipia", "filing", *["transfer"] * 6, "incident"]

    async def test_the_file_holds_what_is_found_of_its_transfers(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        file = await report(cac, "contract-file", contract=(planted.contract_id,))
        assert ("K3.before_effect",) in rows(file, "says", table=1)

    async def test_what_is_beyond_the_contract(self, cac: RegulatorClient) -> None:
        found = rows(await report(cac, "scope"), "rule", "says")
        assert ("K6.purposes", "K6.purposes codes=1") in found

    async def test_sensitive_data(self, cac: RegulatorClient) -> None:
        made = await report(cac, "sensitive")
        assert made.tables[0].rows == ((EXPORTER, 5, 1, 3, 1, 300, 0),)
        assert made.tables[1].rows == ((EXPORTER, 1, 1, "100.0"),)

    async def test_data_provided_onward(self, dpo: RegulatorClient, planted: Planted) -> None:
        made = await report(dpo, "onward")
        found = rows(made, "institution", "third_party", "place", "conditions_met", "leaves_side")
        assert found == [(RECIPIENT, THIRD_PARTY, 999999, "needed told", "yes")]
        assert [rule for (rule,) in rows(made, "rule", table=1)] == [
            "K7.outside", "K7.conditions", "K7.unlisted",
        ]  # fmt: skip

    async def test_data_that_is_due_for_disposal(self, cac: RegulatorClient) -> None:
        found = {rule for (rule,) in rows(await report(cac, "disposal"), "rule")}
        assert found == {"K16.retention"}

    async def test_incidents_with_the_hours_that_passed(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        made = await report(cac, "incidents")
        found = rows(
            made, "institution", "affected_subjects", "grade", "authorities_told",
            "first_notice_hours", "other_side_told_hours", "contracts",
        )  # fmt: skip
        assert found == [(EXPORTER, 40, 2, "CAC_GD", 10, None, planted.contract_id)]
        assert rows(made, "rule", table=1) == [("K17.late_notice",)]

    async def test_the_use_of_exemptions(self, cac: RegulatorClient) -> None:
        (found,) = (await report(cac, "exemptions")).tables[0].rows
        assert found == (EXPORTER, 4, 1, 50, "11.1", "0.0")

    async def test_contracts_that_may_be_split(self, cac: RegulatorClient) -> None:
        found = rows(await report(cac, "splitting"), "rule", "institution", "says")
        assert found == [("K14.split", EXPORTER, "K14.split contracts=3 edge=100000 year=2026")]

    async def test_the_reconciliation_of_both_logs(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        made = await report(cac, "reconciliation")
        assert rows(made, "state", "own_records") == [
            ("matched", 2), ("open", 6), ("refused", 1),
        ]  # fmt: skip
        assert [row[0] for row in made.tables[1].rows] == [
            planted.mainland.side.origin, planted.mainland.peer.side.origin,
        ]  # fmt: skip

    async def test_that_nothing_was_removed(self, cac: RegulatorClient) -> None:
        end = await cac.checkpoint()
        made = await make("complete", cac, {}, end)
        assert rows(made, "from_size", "to_size", "entries", "unbroken") == [
            (0, end.checkpoint.size, end.checkpoint.size, "yes")
        ]
        by_author = dict(rows(made, "author", "entries", table=1))
        assert (by_author[EXPORTER], sum(by_author.values())) == (13, end.checkpoint.size)

    async def test_who_asked(self, cac: RegulatorClient) -> None:
        await report(cac, "scope")
        made = await report(cac, "complete")
        asked = {(who, method) for who, method in rows(made, "regulator", "method", table=2)}
        assert ("cac", "RegulatorService/ListEntries") in asked


class TestAsOfACheckpoint:
    @pytest.mark.parametrize("name", REPORTS)
    async def test_the_same_question_makes_the_same_report(
        self, cac: RegulatorClient, planted: Planted, name: str
    ) -> None:
        asked = {"contract": (planted.contract_id,)} if name == "contract-file" else {}
        at = await cac.checkpoint()
        before = await make(name, cac, asked, at)
        admit(planted.mainland, f"later.{name}")
        after = await make(name, cac, asked, await cac.open(at.note))
        assert after.to_json() == before.to_json()

    async def test_an_older_one_knows_nothing_of_what_came_later(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        made = await make("unanswered", cac, {}, await cac.open(planted.before))
        assert made.tables[0].rows == ()

    async def test_the_default_is_one_that_the_other_side_cosigned(
        self, cac: RegulatorClient
    ) -> None:
        assert (await default_checkpoint(cac)).cosigned

    async def test_complete_goes_on_from_an_earlier_one(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        start = await cac.checkpoint()
        admit(planted.mainland, "later.complete.from")
        end = await cac.checkpoint()
        made = await make("complete", cac, {"from": (start.note.decode(),)}, end)
        assert rows(made, "from_size", "to_size") == [(start.checkpoint.size, end.checkpoint.size)]

    async def test_complete_from_a_later_one_is_a_mistake_and_no_tampering(
        self, cac: RegulatorClient, planted: Planted
    ) -> None:
        end = await cac.checkpoint()
        admit(planted.mainland, "later.complete.end")
        start = await cac.checkpoint()
        with pytest.raises(FieldError) as caught:
            await make("complete", cac, {"from": (start.note.decode(),)}, end)
        assert caught.value.reason == "BEGINS_LATER"

    async def test_complete_from_the_same_one_is_of_nothing(self, cac: RegulatorClient) -> None:
        end = await cac.checkpoint()
        made = await make("complete", cac, {"from": (end.note.decode(),)}, end)
        assert rows(made, "entries", "unbroken") == [(0, "yes")]


class TestAParameter:
    async def test_narrows_what_is_found(self, cac: RegulatorClient, planted: Planted) -> None:
        made = await report(cac, "out-of-effect", contract=(planted.contract_id,))
        assert rows(made, "rule") == [("K3.before_effect",)]

    async def test_of_a_day_to_come_finds_nothing(self, cac: RegulatorClient) -> None:
        assert (await report(cac, "scope", since=("2090-01-01",))).tables[0].rows == ()

    @pytest.mark.parametrize(
        ("name", "parameters"),
        [
            ("volumes", {"contract": ("A",)}),
            ("complete", {"since": ("2026-01-01",)}),
            ("contract-file", {}),
            ("contract-file", {"contract": ("A", "B")}),
            ("scope", {"since": ("yesterday",)}),
            ("scope", {"since": ("2026-01-01T00:00:00",)}),
            ("scope", {"place": ("Atlantis",)}),
            ("no-such", {}),
        ],
    )
    async def test_that_makes_no_sense_is_refused(
        self, cac: RegulatorClient, name: str, parameters: dict[str, tuple[str, ...]]
    ) -> None:
        with pytest.raises(FieldError):
            await report(cac, name, **parameters)


A_REPORT = Report(
    "scope",
    {"since": ("2026-01-01",)},
    b"log.example\n7\n" + b"A" * 43 + b"=\n\n\xe2\x80\x94 log.example AAAAAAAAAAA=\n",
    1_772_330_400_000_000,
    (Table("findings", (Column("rule"), Column("age_days", "days")), (("K6.means", 3),)),),
)


@pytest.fixture
async def dishonest(planted: Planted) -> AsyncIterator[tuple[RegulatorClient, Liar]]:
    async with asking_through_a_liar(planted.cac) as pair:
        yield pair


class TestAfterAnErasure:
    """Of bodies that a report rests on."""

    @staticmethod
    def erase_all(answer: pb.ListEntriesResponse) -> None:
        for entry in answer.entries:
            if Header.parse(entry.header).kind in BY_INSTITUTIONS:
                erase(entry)

    @pytest.mark.parametrize("name", ["out-of-effect", "incidents"])
    async def test_a_report_says_the_same_and_names_them(
        self, dishonest: tuple[RegulatorClient, Liar], name: str
    ) -> None:
        client, liar = dishonest
        at = await client.checkpoint()
        before = await make(name, client, {}, at)
        liar.lies["list_entries"] = self.erase_all
        after = await make(name, client, {}, at)
        *same, named = after.tables
        assert (tuple(same), named.name) == (before.tables, "erased")

    async def test_a_report_of_one_contract_has_all_its_rows(
        self, dishonest: tuple[RegulatorClient, Liar], planted: Planted
    ) -> None:
        client, liar = dishonest
        liar.lies["list_entries"] = self.erase_all
        found = rows(
            await report(client, "out-of-effect", contract=(planted.contract_id,)),
            "rule", "institution", "contract_id",
        )  # fmt: skip
        assert found == [("K3.before_effect", EXPORTER, planted.contract_id)]

    async def test_the_first_difference_is_what_was_erased(
        self, dishonest: tuple[RegulatorClient, Liar]
    ) -> None:
        client, liar = dishonest
        at = await client.checkpoint()
        before = await make("incidents", client, {}, at)
        liar.lies["list_entries"] = self.erase_all
        found = first_difference(before, await make("incidents", client, {}, at))
        assert found is not None
        assert (found.table, found.was) == ("erased", None)


class TestANarrowGrant:
    @pytest.fixture
    async def narrow(self, planted: Planted) -> AsyncIterator[RegulatorClient]:
        kinds = sorted(KIND_NUMBERS[name] for name in ("transfer", "finding"))
        grant = Grant(kinds=kinds)
        grant.MergeFrom(WHOLE)
        name = f"narrow.{os.urandom(2).hex()}"
        async with RegulatorClient(admit(planted.mainland, name, grant=grant)) as client:
            yield client

    @pytest.mark.parametrize("name", ["flows", "unanswered", "sensitive", "out-of-effect"])
    async def test_makes_the_report_of_what_it_covers(
        self, narrow: RegulatorClient, cac: RegulatorClient, name: str
    ) -> None:
        # This side's institutions state TRANSFERs alone.
        at = await cac.checkpoint()
        await narrow.checkpoint()
        made = await make(name, narrow, {}, at)
        assert made.tables == (await make(name, cac, {}, at)).tables

    async def test_makes_the_reconciliation_without_the_other_log(
        self, narrow: RegulatorClient
    ) -> None:
        made = await report(narrow, "reconciliation")
        assert rows(made, "how_known", table=1) == [("own_log",)]

    async def test_shows_that_nothing_was_removed_and_not_who_asked(
        self, narrow: RegulatorClient
    ) -> None:
        tables = (await report(narrow, "complete")).tables
        assert [table.name for table in tables] == ["stretch", "authors"]

    async def test_makes_a_contracts_file_of_what_it_covers(
        self, narrow: RegulatorClient, planted: Planted
    ) -> None:
        made = await report(narrow, "contract-file", contract=(planted.contract_id,))
        kinds = {kind for (kind,) in rows(made, "kind", table=1)}
        assert (made.tables[0].rows, kinds) == ((), {"transfer", "finding"})

    async def test_makes_none_of_a_contract_that_nobody_names(
        self, narrow: RegulatorClient
    ) -> None:
        with pytest.raises(NotFoundError):
            await report(narrow, "contract-file", contract=("no-such",))

    async def test_that_covers_nothing_of_a_report_is_refused(
        self, narrow: RegulatorClient
    ) -> None:
        with pytest.raises(ForbiddenError):
            await report(narrow, "onward")


async def test_records_beyond_those_that_are_looked_at_are_counted_apart(
    dishonest: tuple[RegulatorClient, Liar],
) -> None:
    client, liar = dishonest
    liar.lies["summarize"] = lambda answer: answer.groups.insert(0, pb.Group(keys=[""], entries=2))
    made = await report(client, "reconciliation")
    assert made.tables[0].rows[0] == ("not_counted", 2, None)


class TestAsJson:
    def test_it_is_read_back_as_it_was(self) -> None:
        assert Report.parse(A_REPORT.to_json()) == A_REPORT

    def test_it_is_one_object_with_what_it_rests_on(self) -> None:
        found = json.loads(A_REPORT.to_json())
        assert (found["origin"], found["size"], found["report"]) == ("log.example", 7, "scope")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"K6.means",3', b'"K6.means",4'),
            (b'"size":7', b'"size":8'),
            (b"2026-01-01", b"2026-01-02"),
            (b'"report":"scope"', b'"report":"filing"'),
            (b'{"format"', b'{ "format"'),
            (b"}\n", b"}\n\n"),
            (b'"}\n', b""),
            (b"3]", b"3.0]"),
            (b"3]", b"true]"),
        ],
    )
    def test_what_was_changed_is_no_report(self, old: bytes, new: bytes) -> None:
        assert old in A_REPORT.to_json()
        with pytest.raises(MalformedError):
            Report.parse(A_REPORT.to_json().replace(old, new))

    @pytest.mark.parametrize(
        "data", [b"", b"[]", b'{"tables": 3}', b"[" * 100_000, b"\xff"], ids=range(5)
    )
    def test_nor_is_anything_else(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            Report.parse(data)

    @pytest.mark.parametrize("parameters", [[1], None, "since", {"since": 1}, {"since": None}])
    def test_nor_is_a_report_that_asks_nothing(self, parameters: Any) -> None:
        found = json.loads(A_REPORT.to_json()) | {"parameters": parameters}
        with pytest.raises(MalformedError):
            Report.parse(json.dumps(found).encode())

    def test_another_question_has_another_digest(self) -> None:
        assert replace(A_REPORT, parameters={}).digest != A_REPORT.digest


class TestTheFirstDifference:
    @pytest.mark.parametrize(
        ("rows", "difference"),
        [
            ((("K6.means", 3),), None),
            ((("K6.means", 4),), Difference("findings", 1, ("K6.means", 3), ("K6.means", 4))),
            ((), Difference("findings", 1, ("K6.means", 3), None)),
            (
                (("K6.means", 3), ("K22.planned", 1)),
                Difference("findings", 2, None, ("K22.planned", 1)),
            ),
        ],
    )
    def test_is_of_the_first_row(self, rows: Any, difference: Difference | None) -> None:
        table = A_REPORT.tables[0]
        now = replace(A_REPORT, tables=(replace(table, rows=rows),))
        assert first_difference(A_REPORT, now) == difference


def as_csv(*cells: str) -> list[str]:
    table = Table("findings", tuple(Column(f"c{i}") for i in range(len(cells))), (cells,))
    text = to_csv(replace(A_REPORT, tables=(table,)), Catalogue.load("en"))
    return text.decode("utf-8-sig").split("\r\n")


# Of =1, +1, -1 and @1.
FULL_WIDTH = ("\uff1d1", "\uff0b1", "\uff0d1", "\uff201")


class TestASpreadsheet:
    def test_has_a_byte_order_mark(self) -> None:
        assert to_csv(A_REPORT, Catalogue.load("en")).startswith(b"\xef\xbb\xbf")

    @pytest.mark.parametrize("begin", ["=1+1", "+1", "-1", "@A1", *FULL_WIDTH])
    def test_has_no_cell_that_is_taken_for_a_formula(self, begin: str) -> None:
        assert as_csv(begin)[1] == f"'{begin}"

    @pytest.mark.parametrize("begin", ["\t=1", "\r=1", "\n=1"])
    def test_nor_one_that_hides_it(self, begin: str) -> None:
        text = to_csv(
            replace(A_REPORT, tables=(Table("findings", (Column("c"),), ((begin,),)),)),
            Catalogue.load("en"),
        )
        assert f"'{begin}".encode() in text

    def test_doubles_a_quotation_mark(self) -> None:
        assert as_csv('a "b", c')[1] == '"a ""b"", c"'

    def test_ends_with_what_it_rests_on(self) -> None:
        lines = as_csv("a")
        assert lines[-2] == f"# digest of this report,{lines[-2].rpartition(',')[2]}"
        assert any(line == "# log,log.example" for line in lines)

    def test_says_numbers_as_digits_alone(self) -> None:
        table = Table("volumes", (Column("transfers", "count"),), ((1_234_567,),))
        text = to_csv(replace(A_REPORT, tables=(table,)), Catalogue.load("en"))
        assert b"1234567" in text


class TestACell:
    @pytest.mark.parametrize(
        ("cell", "unit", "text"),
        [
            (None, "count", ""),
            ("", "code.place", ""),
            (1_234, "count", "1,234"),
            (202603, "month", "2026-03"),
            (20260331, "date", "2026-03-31"),
            (0, "date", ""),
            (1_772_330_400_000_000, "time", "2026-03-01 10:00:00+08:00"),
            ("12.5", "share", "12.5 %"),
            (440300, "code.place", "Shenzhen"),
            (999, "code.purpose", "999"),
            ("partial", "word", "matched in part"),
            ("needed told", "words", "need and told"),
            ("K99.new 0=7", "finding", "K99.new, 0 7"),
        ],
    )
    def test_reads_as_its_unit_says(self, cell: Any, unit: str, text: str) -> None:
        assert shown(cell, unit, Catalogue.load("en")) == text

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_of_a_finding_is_in_the_readers_language(self, lang: str) -> None:
        text = shown("K4.overdue deadline_on=20260227", "finding", Catalogue.load(lang))
        assert "2026-02-27" in text


class TestFigures:
    @pytest.mark.parametrize(
        ("part", "whole", "text"),
        [
            (0, 0, ""),
            (0, 5, "0.0"),
            (1, 3, "33.3"),
            (2, 3, "66.7"),
            (1, 8, "12.5"),
            (5, 5, "100.0"),
        ],
    )
    def test_a_share_has_one_decimal(self, part: int, whole: int, text: str) -> None:
        assert share(part, whole) == text

    @pytest.mark.parametrize(
        ("today", "count", "edge", "on"),
        [
            # 50,000 on the 100th day: 100,000 on the 200th, which is 19 July 2026.
            (date(2026, 4, 10), 50_000, 100_000, 20260719),
            (date(2026, 12, 31), 50_000, 100_000, None),
            (date(2027, 1, 1), 50_000, 100_000, None),
            (date(2026, 4, 10), 0, 1, None),
            (date(2026, 4, 10), 50_000, None, None),
        ],
    )
    def test_an_edge_is_reached_if_the_year_goes_on_as_it_did(
        self, today: date, count: int, edge: int | None, on: int | None
    ) -> None:
        assert _crossing(today, 2026, count, edge) == on

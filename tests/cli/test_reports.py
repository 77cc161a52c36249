"""`ledgerctl` in the hands of a regulator: reports, entries, and files of them."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import WHOLE
from cli.tool import Ask, Tool
from client.sdk import EXPORTER, RECIPIENT
from client.supervised import Planted, admit, config_of
from client.test_dossier import FONT

from ledgerd_client._proto.body_pb2 import Grant
from ledgerd_client.catalogue import LANGUAGES, Catalogue
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.reports import REPORTS
from ledgerd_client.reports.model import Report


def asked_with(name: str, planted: Planted) -> list[str]:
    return ["--contract", planted.contract_id] if name == "contract-file" else []


class TestAReport:
    @pytest.mark.parametrize("name", REPORTS)
    def test_is_helped_with_what_it_takes_and_what_it_cannot_show(
        self, tool: Tool, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "100")
        said = " ".join(tool("report", name, "--help").out.split())
        told, takes = Catalogue.load("en").report(name), REPORTS[name].takes
        assert f"What this cannot show: {told.cannot[:20]}" in said
        assert ", ".join(f"--{each}" for each in sorted(takes)) in said

    @pytest.mark.parametrize("name", REPORTS)
    def test_says_what_it_shows_what_it_rests_on_and_what_it_cannot_show(
        self, cac: Ask, planted: Planted, name: str
    ) -> None:
        ran = cac("report", name, *asked_with(name, planted))
        told = Catalogue.load("en").report(name)
        assert (ran.code, ran.err) == (0, "")
        for words in (told.title, told.shows, told.cannot, planted.mainland.side.origin):
            assert words in ran.out

    @pytest.mark.parametrize("lang", LANGUAGES)
    @pytest.mark.parametrize("name", ["scope", "reconciliation"])
    def test_is_read_in_three_languages(
        self, tool: Tool, planted: Planted, lang: str, name: str
    ) -> None:
        ran = tool.ok("--lang", lang, "report", name, "--config", config_of(planted.cac))
        assert Catalogue.load(lang).report(name).title in ran.out

    def test_in_which_nothing_is_found_says_so(self, cac: Ask) -> None:
        ran = cac("report", "scope", "--since", "2090-01-01")
        assert Catalogue.load("en").word("nothing_found") in ran.out

    def test_is_told_row_by_row_where_a_table_does_not_fit(
        self, cac: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        (line,) = [row for row in cac("report", "filing").out.splitlines() if "K4.filed" in row]
        assert line.split() == ["rule", "K4.filed_late"]

    def test_is_one_object_for_programs_whatever_the_language(
        self, tool: Tool, planted: Planted
    ) -> None:
        at = tool.path("at.note")
        at.write_text(tool.ok("checkpoint", "--config", config_of(planted.cac)).out)
        spoken = {
            tool.ok(
                "--lang", lang, "report", "scope", "--json",
                "--at", at, "--config", config_of(planted.cac),
            ).out
            for lang in LANGUAGES
        }  # fmt: skip
        (text,) = spoken
        assert json.loads(text)["report"] == "scope"

    def test_is_a_table_for_a_spreadsheet(self, cac: Ask) -> None:
        text = cac("report", "exemptions", "--csv").out.removeprefix("\ufeff")
        rows = list(csv.reader(io.StringIO(text)))
        assert rows[0][:2] == ["institution", "exemption"]
        assert rows[1][0] == EXPORTER
        assert rows[-1][0] == "# digest of this report"

    def test_is_as_of_a_report_that_was_kept(self, cac: Ask, tool: Tool, planted: Planted) -> None:
        kept = tool.path("kept.json")
        kept.write_text(cac("report", "volumes", "--json").out)
        admit(planted.mainland, "later.at")
        again = json.loads(cac("report", "scope", "--json", "--at", kept).out)
        assert again["checkpoint"] == json.loads(kept.read_text())["checkpoint"]

    def test_goes_on_from_an_earlier_checkpoint(self, cac: Ask, tool: Tool) -> None:
        note = tool.path("earlier.note")
        note.write_text(cac("checkpoint").out)
        made = json.loads(cac("report", "complete", "--newest", "--from", note, "--json").out)
        assert made["tables"][0]["rows"][0][0] == int(note.read_text().split("\n")[1])

    def test_from_a_checkpoint_that_is_newer_is_a_mistake_and_no_tampering(
        self, cac: Ask, tool: Tool, planted: Planted
    ) -> None:
        kept, late = tool.path("kept.json"), tool.path("late.note")
        kept.write_text(cac("report", "volumes", "--json").out)
        admit(planted.mainland, "later.from")
        late.write_text(cac("checkpoint").out)
        ran = cac("report", "complete", "--from", late, "--at", kept)
        assert (ran.code, "BEGINS_LATER" in ran.err, "--newest" in ran.err) == (2, True, True)

    @pytest.mark.parametrize("options", [("--at", "kept.note", "--newest"), ("--csv", "--json")])
    def test_is_not_asked_with_options_that_exclude_each_other(
        self, cac: Ask, options: tuple[str, ...]
    ) -> None:
        ran = cac("report", "scope", *options)
        named = [option for option in options if option.startswith("--")]
        assert (ran.code, "CONTRADICTION" in ran.err) == (2, True)
        assert [option for option in named if option not in ran.err] == []

    def test_of_no_time_at_all_names_the_options(self, cac: Ask) -> None:
        ran = cac("report", "flows", "--since", "2027-01-01", "--until", "2026-01-01")
        assert (ran.code, "--since and --until contradict" in ran.err) == (2, True)

    @pytest.mark.parametrize("option", ["--at", "--from"])
    @pytest.mark.parametrize("content", ["", "# A page\n", "ledgerd-trust/v1\norigin a\n", "{}"])
    def test_is_as_of_no_file_that_is_no_checkpoint(
        self, cac: Ask, tool: Tool, option: str, content: str
    ) -> None:
        tool.path("wrong").write_text(content)
        ran = cac("report", "complete", option, "wrong")
        assert (ran.code, "MALFORMED" in ran.err, "authority" in ran.err) == (2, True, False)

    def test_is_as_of_no_checkpoint_of_another_log(
        self, cac: Ask, tool: Tool, planted: Planted
    ) -> None:
        tool.path("there.note").write_text(
            tool.ok("checkpoint", "--config", config_of(planted.dpo)).out
        )
        ran = cac("report", "complete", "--at", "there.note")
        assert (ran.code, "WRONG_ORIGIN" in ran.err) == (2, True)

    def test_is_not_asked_with_what_it_does_not_take(self, cac: Ask) -> None:
        ran = cac("report", "complete", "--sector", "BANK")
        assert (ran.code, "is not asked with 'sector'" in ran.err) == (2, True)

    def test_that_there_is_not_is_wrong_usage(self, cac: Ask) -> None:
        assert cac("report", "no-such").code == 2

    def test_list_names_all_fifteen(self, tool: Tool) -> None:
        assert [line.split()[1] for line in tool.ok("report", "list").out.splitlines()] == list(
            REPORTS
        )


class TestVerify:
    @pytest.fixture
    def made(self, cac: Ask, tool: Tool) -> Path:
        path = tool.path("report.json")
        path.write_text(cac("report", "volumes", "--json").out)
        return path

    def test_a_report_that_is_the_same_verifies(self, cac: Ask, made: Path) -> None:
        ran = cac("report", "verify", made, "--json")
        assert (ran.code, ran.data["verified"]) == (0, json.loads(made.read_text())["digest"])

    def test_one_with_another_row_does_not_and_the_row_is_shown(self, cac: Ask, made: Path) -> None:
        report = Report.parse(made.read_bytes())
        (table,) = report.tables
        rows = (("uscc.SOMEBODY", *table.rows[0][1:]), *table.rows[1:])
        made.write_bytes(_with_rows(report, rows).to_json())
        ran = cac("report", "verify", made)
        assert (ran.code, "uscc.SOMEBODY" in ran.err, EXPORTER in ran.err) == (1, True, True)

    def test_one_that_was_changed_without_its_digest_is_no_report(
        self, cac: Ask, made: Path
    ) -> None:
        made.write_text(made.read_text().replace("286300", "286301"))
        assert cac("report", "verify", made).code == 2

    def test_one_of_another_log_is_not_asked_here(
        self, tool: Tool, planted: Planted, made: Path
    ) -> None:
        ran = tool("report", "verify", made, "--config", config_of(planted.dpo))
        assert (ran.code, "WRONG_ORIGIN" in ran.err) == (2, True)

    def test_one_that_cannot_be_made_again_is_neither(
        self, tool: Tool, cac: Ask, made: Path
    ) -> None:
        ran = cac("report", "verify", made, "--mirror", tool.path("no.sock"))
        assert (ran.code, "start it with `ledgerd mirror`" in ran.err) == (3, True)


def _with_rows(report: Report, rows: tuple[Any, ...]) -> Report:
    return replace(report, tables=(replace(report.tables[0], rows=rows), *report.tables[1:]))


class TestEntries:
    def test_are_one_object_a_line_for_programs(self, cac: Ask) -> None:
        found = [json.loads(line) for line in cac("entries", "--kind", "transfer", "--json").out.splitlines()]  # fmt: skip
        assert {entry["kind"] for entry in found} == {"transfer"}
        assert found[0]["record"]["terms"]["contract_id"]

    def test_come_with_a_finding_in_words(self, cac: Ask) -> None:
        assert (
            "late" in cac("entries", "--rule", "K4", "--json").out
            or "filed" in cac("entries", "--rule", "K4").out
        )

    def test_of_which_there_are_none_are_said_to_be_none(self, cac: Ask) -> None:
        ran = cac("entries", "--kind", "loss")
        assert (ran.code, ran.out) == (0, "")
        assert Catalogue.load("en").word("nothing_found") in ran.err

    def test_beyond_the_limit_are_said_to_be_there(self, cac: Ask) -> None:
        ran = cac("entries", "--limit", "2", "--json")
        assert (len(ran.out.splitlines()), "--limit" in ran.err) == (2, True)

    def test_are_shown_as_they_come(self, cac: Ask) -> None:
        ran = cac("entries", "--tail", "--first", "3", "--limit", "4", "--json")
        assert [json.loads(line)["index"] for line in ran.out.splitlines()] == [3, 4, 5, 6]

    def test_are_proven_where_that_is_asked(self, cac: Ask) -> None:
        assert "proven" in cac("entries", "--proof", "--limit", "1").out

    @pytest.mark.parametrize(
        "options",
        [
            ("--kind", "no-such"),
            ("--place", "Atlantis"),
            ("--ref", "abc"),
            ("--since", "yesterday"),
            ("--standing", "perhaps"),
            ("--tail", "--at", "client.toml"),
            ("--first", "90000000"),
            ("--first", "9", "--end", "3"),
        ],
    )
    def test_that_cannot_be_asked_for_are_bad_input(
        self, cac: Ask, options: tuple[str, ...]
    ) -> None:
        assert cac("entries", *options).code == 2

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (("--since", "2027-01-01", "--until", "2026-01-01"), "--since and --until contradict"),
            (("--kind", "transfer", "--rule", "K4"), "--rule and --kind contradict"),
            (("--tail", "--newest-first"), "--tail and --newest-first contradict"),
            (("--tail", "--at", "client.toml"), "--tail is of what comes, --at of what was"),
            (("--kind", "no-such"), "--kind: 'no-such'"),
        ],
    )
    def test_that_cannot_be_asked_for_are_named_as_they_were_given(
        self, cac: Ask, options: tuple[str, ...], named: str
    ) -> None:
        assert named in cac("entries", *options).err

    def test_outside_of_the_grant_are_named_in_words(self, tool: Tool, planted: Planted) -> None:
        grant = Grant(places=[440100], kinds=[KIND_NUMBERS["transfer"]])
        grant.MergeFrom(WHOLE)
        narrow = config_of(admit(planted.mainland, f"narrow.{os.urandom(2).hex()}", grant=grant))
        for options, named in (
            (("--kind", "finding"), "--kind: the grant does not cover finding"),
            (("--place", "Shenzhen"), "--place: the grant does not cover Shenzhen"),
        ):
            assert named in tool("entries", *options, "--config", narrow).err


class TestADossier:
    def test_of_which_one_file_is_there_makes_neither(
        self, cac: Ask, tool: Tool, planted: Planted
    ) -> None:
        pytest.importorskip("fpdf", reason="needs the extra [reports]")
        tool.path("d.pdf").write_text("mine")
        ran = cac("dossier", planted.contract_id, "--pdf", "d.pdf")
        assert (ran.code, "FILE_EXISTS" in ran.err) == (2, True)
        assert not tool.path("d.json").exists()

    @pytest.mark.skipif(not FONT.exists(), reason="fonts-wqy-microhei is not installed here")
    def test_is_its_makers_alone(self, cac: Ask, tool: Tool, planted: Planted) -> None:
        """It says what records say."""
        pytest.importorskip("fpdf", reason="needs the extra [reports]")
        assert cac("dossier", planted.contract_id, "--pdf", "own.pdf").code == 0
        modes = {tool.path(name).stat().st_mode & 0o777 for name in ("own.pdf", "own.json")}
        assert modes == {0o600}


class TestATransfer:
    def test_is_shown_with_both_records(self, cac: Ask, planted: Planted) -> None:
        found = json.loads(cac("transfer", planted.matched.ref.hex(), "--json").out.splitlines()[0])
        assert [half["institution"] for half in found["halves"]] == [EXPORTER, RECIPIENT]
        assert [half["content"] for half in found["halves"]] == ["here", "other_side"]

    def test_that_nobody_declared_is_not_known(self, cac: Ask) -> None:
        assert cac("transfer", "00" * 32).code == 3


class TestASummary:
    def test_counts_by_what_it_is_told(self, cac: Ask) -> None:
        ran = cac("summary", "--by", "sector", "--by", "direction", "--kind", "transfer", "--json")
        assert (ran.data["sector"], ran.data["transfers"]) == ("1", 9)

    def test_says_codes_in_words_to_people(self, cac: Ask) -> None:
        ran = cac("summary", "--by", "sector", "--by", "kind", "--kind", "transfer")
        assert ("bank" in ran.out, "transfer" in ran.out, "with minors" in ran.out) == (
            True, True, False,
        )  # fmt: skip

    def test_by_what_there_is_not_is_bad_input(self, cac: Ask) -> None:
        assert cac("summary", "--by", "colour").code == 2


class TestAnExport:
    def test_is_lines_of_json(self, cac: Ask) -> None:
        lines = cac("export", "--kind", "transfer").out.splitlines()
        assert {json.loads(line)["kind"] for line in lines} == {"transfer"}

    def test_is_a_file_that_is_there_when_all_of_it_is(self, cac: Ask, tool: Tool) -> None:
        ran = cac("export", "--out", "all.csv", "--form", "csv", "--json")
        rows = list(csv.reader(io.StringIO(tool.path("all.csv").read_text("utf-8-sig"))))
        assert len(rows) == ran.data["entries"] + 1
        assert [path.name for path in tool.directory.glob("*all*")] == ["all.csv"]

    def test_writes_over_no_file(self, cac: Ask, tool: Tool) -> None:
        tool.path("there.jsonl").write_text("mine")
        assert cac("export", "--out", "there.jsonl").code == 2
        assert tool.path("there.jsonl").read_text() == "mine"

    @pytest.mark.parametrize("options", [("--form", "xls", "--out", "x"), ("--form", "csv")])
    def test_of_no_form_or_to_nowhere_is_bad_input(
        self, cac: Ask, options: tuple[str, ...]
    ) -> None:
        assert cac("export", *options).code == 2

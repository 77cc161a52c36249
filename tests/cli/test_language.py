"""What people read is in their language; what programs read never changes."""

from __future__ import annotations

import json

import pytest
from cli.enrolled import Border
from cli.tool import Tool

from ledgerd_client.cli.output import Term, emit, pad, speak, to_iso, width


@pytest.fixture
def hong_kong() -> None:
    speak("zh-Hant")


class TestWidth:
    @pytest.mark.parametrize(
        ("text", "cells"),
        [
            ("", 0),
            ("abc", 3),
            ("合同", 4),
            ("個人資料 x", 10),
            ("，。", 4),  # noqa: RUF001 -- Chinese punctuation
            ("é", 1),
            ("e\u0301", 1),
        ],
    )
    def test_is_that_of_a_terminals_cells(self, text: str, cells: int) -> None:
        assert width(text) == cells

    def test_padding_fills_up_to_so_many_cells(self) -> None:
        assert [width(pad(text, 8)) for text in ("合同", "abc", "")] == [8, 8, 8]

    @pytest.mark.parametrize("lang", ["en", "zh-Hans", "zh-Hant"])
    def test_every_column_of_a_table_of_codes_starts_at_one_cell(
        self, tool: Tool, lang: str
    ) -> None:
        _, *rows = tool.ok("--lang", lang, "codes", "legal_basis").out.splitlines()
        starts = {width(row[: row.rindex("PIPL 13")]) for row in rows if "PIPL 13" in row}
        assert len(starts) == 1

    @pytest.mark.usefixtures("hong_kong")
    def test_the_values_of_a_result_start_at_one_cell(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        emit({"index": "V", "record_id": "V", "unheard_of": "V"}, as_json=False)
        lines = capsys.readouterr().out.splitlines()
        assert len({width(line[: line.rindex("V")]) for line in lines}) == 1


class TestTimes:
    def test_are_in_utc_and_say_so(self) -> None:
        assert to_iso(1_772_207_999_999_999) == "2026-02-27T15:59:59.999999Z"

    @pytest.mark.usefixtures("hong_kong")
    def test_in_chinese_they_are_those_of_both_sides(self) -> None:
        assert to_iso(1_772_207_999_999_999) == "2026-02-27T23:59:59.999999+08:00"


class TestResults:
    @pytest.mark.usefixtures("hong_kong")
    def test_states_and_labels_are_translated(self, capsys: pytest.CaptureFixture[str]) -> None:
        emit({"state": Term("matched")}, as_json=False)
        assert capsys.readouterr().out == "狀態  相符\n"

    @pytest.mark.usefixtures("hong_kong")
    def test_for_programs_they_are_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        emit({"state": Term("matched")}, as_json=True)
        assert json.loads(capsys.readouterr().out) == {"state": "matched"}

    def test_in_english_they_are_as_ever(self, capsys: pytest.CaptureFixture[str]) -> None:
        emit({"record_id": Term("matched")}, as_json=False)
        assert capsys.readouterr().out == "record id  matched\n"


class TestErrors:
    def test_are_told_in_chinese_with_the_details_in_brackets(self, tool: Tool) -> None:
        ran = tool("--lang", "zh-Hant", "show", "nowhere.ticket")
        assert ran.err == (
            "ledgerctl: 欄位的值超出範圍。請按說明更正該欄位。 (FIELD_OUT_OF_RANGE:"
            " 'nowhere.ticket' is no ticket file or ref: that is 64 digits 0-9, a-f.)\n"
        )

    def test_of_wrong_usage_too(self, tool: Tool) -> None:
        ran = tool("--lang", "zh-Hant", "show")
        assert (ran.code, ran.err.startswith("ledgerctl: 用法有誤：")) == (2, True)  # noqa: RUF001 -- Chinese

    def test_and_so_is_what_was_not_confirmed(self, border: Border) -> None:
        request = ("hospital/request.json", "--dir", "mainland", "--out", "again.approval")
        ran = border.tool("--lang", "zh-Hans", "enrol", "approve", *request, "--days", "1")
        assert "未经确认" in ran.err

    def test_keep_their_exit_code(self, tool: Tool) -> None:
        assert tool("--lang", "zh-Hans", "show", "nowhere.ticket").code == 2

    def test_in_english_are_as_ever(self, tool: Tool) -> None:
        assert tool("show", "nowhere.ticket").err.startswith("ledgerctl: 'nowhere.ticket' is no")


class TestChoosing:
    def test_the_environment_may_say_it(self, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEDGERCTL_LANG", "zh-Hans")
        assert "个人信息处理者" in tool.ok("codes", "party_role").out

    def test_a_language_that_there_is_not_is_refused(self, tool: Tool) -> None:
        ran = tool("--lang", "fr", "codes")
        assert (ran.code, "en, zh-Hans, zh-Hant" in ran.err) == (2, True)

    def test_a_run_does_not_leave_its_language_behind(self, tool: Tool) -> None:
        tool.ok("--lang", "zh-Hans", "codes", "method")
        assert "返还" not in tool.ok("codes", "method").out


def test_a_transfer_is_shown_in_chinese(border: Border) -> None:
    declared = border.declare("batch.csv").data
    config = ("--config", "hospital/client.toml")
    shown = border.tool("--lang", "zh-Hans", "show", declared["ref"], *config).out
    assert "类别 提供" in shown

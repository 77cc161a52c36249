"""A report on paper: the same bytes each time, and on each page what it rests on."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fpdf", reason="needs the extra [reports]")

from builders import MAINLAND, Log, new_border

from ledgerd_client.catalogue import Catalogue
from ledgerd_client.core.errors import InputError
from ledgerd_client.dossier import render
from ledgerd_client.reports.contract_file import _ENTRIES, _STATEMENTS
from ledgerd_client.reports.dossier import MONTHS, STANDING
from ledgerd_client.reports.model import Report, Table

FONT = Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
EN = Catalogue.load("en")
AS_OF = 1_785_718_800_000_000
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def log() -> Log:
    return new_border().mainland


def dossier(log: Log, rows: int = 3, *, author: str = "uscc.A", says: str = "") -> Report:
    finding = says or "K3.unknown_contract"
    entries = tuple(
        (n, AS_OF, "finding", author, "ab" * 32, None, finding, "yes") for n in range(rows)
    )
    standing = ((7, AS_OF - 40 * DAY, 40, "severity_3", finding),)
    return Report(
        "dossier",
        {"contract": ("GBA-2026-0042",)},
        log.checkpoint(),
        AS_OF,
        (
            Table("statements", _STATEMENTS, (("uscc.A", "agreed", "contract", "agreed", 3, 4),)),
            Table("months", MONTHS, ((202607, 12, 3400), (202608, 7, 900))),
            Table("standing", STANDING, standing if rows else ()),
            Table("contract_file", _ENTRIES, entries),
        ),
    )


def pages(data: bytes) -> list[str]:
    """The text of each page, of a file in Helvetica."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL)
    drawn = [zlib.decompress(stream) for stream in streams]
    return [
        "\n".join(
            found.decode("latin-1").replace("\\(", "(").replace("\\)", ")")
            for found in re.findall(rb"\((.*?)(?<!\\)\) Tj", page)
        )
        for page in drawn
        if b" Tj" in page
    ]


class TestAFile:
    def test_is_the_same_twice(self, log: Log) -> None:
        assert render(dossier(log), EN) == render(dossier(log), EN)

    def test_of_another_question_is_another(self, log: Log) -> None:
        other = replace(dossier(log), parameters={"contract": ("GBA-2026-0043",)})
        assert render(other, EN) != render(dossier(log), EN)

    def test_of_another_checkpoint_is_another(self, log: Log) -> None:
        other = replace(dossier(log), checkpoint=log.checkpoint(1))
        assert render(other, EN) != render(dossier(log), EN)

    @pytest.mark.parametrize("rows", [1, 30, 1000])
    def test_says_on_every_page_what_it_rests_on(self, log: Log, rows: int) -> None:
        report = dossier(log, rows)
        shown = [" ".join(page.split()) for page in pages(render(report, EN))]
        for number, page in enumerate(shown, 1):
            assert f"page {number} of {len(shown)}" in page
            assert report.digest.hex() in page
            assert report.tree.root.hex() in page
            assert MAINLAND in page

    def test_has_every_row(self, log: Log) -> None:
        shown = "\n".join(pages(render(dossier(log, 300), EN))).split("\n")
        assert {str(n) for n in range(300)} <= set(shown)

    def test_repeats_the_headings_of_a_table_that_is_broken(self, log: Log) -> None:
        shown = pages(render(dossier(log, 200), EN))
        assert all(EN.column("kind") in page.split("\n") for page in shown[1:-1])

    def test_says_that_nothing_was_found(self, log: Log) -> None:
        assert EN.word("nothing_found")[:20] in " ".join(pages(render(dossier(log, 0), EN)))

    def test_ends_with_what_it_proves_and_what_it_cannot_and_a_box(self, log: Log) -> None:
        last = "\n".join(pages(render(dossier(log), EN)))
        places = [last.index(EN.word(word)) for word in ("proves_title", "cannot_show", "seal")]
        assert places == sorted(places)

    @pytest.mark.parametrize("rows", range(0, 40, 5))
    def test_names_the_contract_on_the_sheet_that_is_signed(self, log: Log, rows: int) -> None:
        (sheet,) = (
            page for page in pages(render(dossier(log, rows), EN)) if EN.word("seal") in page
        )
        assert "GBA-2026-0042" in sheet

    def test_counts_findings_by_age(self, log: Log) -> None:
        lines = pages(render(dossier(log), EN))[0].split("\n")
        bars = {label: lines[lines.index(label) + 1] for label in ("0 - 30 days", "31 - 90 days")}
        assert bars == {"0 - 30 days": "0", "31 - 90 days": "1"}

    def test_shows_transfers_by_month(self, log: Log) -> None:
        lines = pages(render(dossier(log), EN))[0].split("\n")
        assert lines[lines.index("2026-07") + 1] == "12"


class TestAFont:
    @pytest.mark.skipif(not FONT.exists(), reason="fonts-wqy-microhei is not installed here")
    @pytest.mark.parametrize("lang", ["zh-Hans", "zh-Hant"])
    def test_with_chinese_is_found_and_gives_the_same_bytes(self, log: Log, lang: str) -> None:
        words = Catalogue.load(lang)
        assert render(dossier(log), words) == render(dossier(log), words)

    def test_that_is_none_is_refused(self, log: Log, tmp_path: Path) -> None:
        font = tmp_path / "x.ttf"
        font.write_bytes(b"no font")
        with pytest.raises(InputError) as caught:
            render(dossier(log), EN, font)
        assert caught.value.reason == "NO_FONT"

    def test_that_is_not_there_is_refused(self, log: Log, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            render(dossier(log), EN, tmp_path / "none.ttf")

    def test_is_not_needed_for_latin_letters(self, log: Log) -> None:
        assert b"/FontFile" not in render(dossier(log), EN)

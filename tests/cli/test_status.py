"""`ledgerctl status` on a terminal of 80 columns, in each language."""

from __future__ import annotations

import pytest

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.catalogue import LANGUAGES
from ledgerd_client.cli.output import speak, width
from ledgerd_client.cli.status import show

ADVICE = {
    "en": "keep this store",
    "zh-Hans": "保留此存储",
    "zh-Hant": "保留此儲存",
}


def a_node_in_trouble() -> pb.GetStatusResponse:
    found = pb.GetStatusResponse(
        version="0.1.0",
        origin="mainland.example/log",
        peer_origin="hongkong.example/log",
        state="ROLLED_BACK",
        why_not="this log has signed 23041 entries, the store holds 22900: it was rolled back",
        size=22_900,
        recorded_at=1_800_000_000_000_000,
        cosigned_size=22_880,
        cosign_lag=812_000_000,
        shown_size=1_999_999,
        replayed_size=1_999_999,
        witnessed_size=1_999_999,
        anchored_size=1_980_000,
        fetched_at=1_800_000_000_000_000,
        disk_free_bytes=1 << 40,
    )
    found.certificates.add(name="peer_authority", fingerprint="ab" * 8, at=1_900_000_000_000_000)
    found.troubles.add(
        code="ROLLED_BACK",
        says="this log has signed 23041 entries, and its store holds 22900 of them, no more",
        do="stop the node, keep this store, restore the newest copy there is",
        alert="LedgerdRolledBack",
    )
    return found


@pytest.fixture(params=LANGUAGES)
def lang(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    lang: str = request.param
    speak(lang)
    return lang


@pytest.fixture
def lines(lang: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(a_node_in_trouble(), as_json=False)
    return capsys.readouterr().out.splitlines()


class TestOnATerminal:
    def test_no_line_is_wider_than_it(self, lines: list[str]) -> None:
        assert max(map(width, lines)) <= 80

    def test_it_fits_on_one_screen(self, lines: list[str]) -> None:
        assert len(lines) <= 24

    def test_a_trouble_is_read_first_with_what_to_do_and_its_section(
        self, lines: list[str], lang: str
    ) -> None:
        trouble = lines[: lines.index("")]
        assert trouble[0].startswith("ROLLED_BACK  ")
        assert any("→ " in line and ADVICE[lang] in line for line in trouble)
        assert trouble[-1].strip() == "docs/runbook.md: LedgerdRolledBack"

    @pytest.mark.usefixtures("lang")
    def test_a_node_that_is_well_has_no_empty_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = a_node_in_trouble()
        del found.troubles[:]
        show(found, as_json=False)
        assert "" not in capsys.readouterr().out.splitlines()

    def test_what_wraps_stays_in_its_column(self, lines: list[str]) -> None:
        first = next(place for place, line in enumerate(lines) if "ROLLED_BACK: this" in line)
        at = width(lines[first][: lines[first].index("ROLLED_BACK")])
        assert lines[first + 1][:at].isspace()

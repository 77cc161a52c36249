"""`ledgerctl erase`, as it is typed; exit codes as everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.enrolled import EXPORTER, Border
from cli.tool import Ran

from ledgerd_client.core.encoding import encode_base64


def order(border: Border, *args: object) -> Ran:
    return border.tool(
        *("erase", "order", "--dir", "mainland", "--institution", EXPORTER),
        *("--out", "order.json", "--yes", "--json", *args),
    )


class TestAnErasureOrder:
    REASON = ("--reason", "its retention is over")

    def test_is_written_by_the_authority(self, border: Border) -> None:
        ran = order(border, *self.REASON, "--index", 7, "--index", 4)
        assert (ran.code, ran.data["order"]) == (0, "order.json")

    def test_says_what_will_be_gone_before_it_is_signed(self, border: Border) -> None:
        ran = order(border, *self.REASON, "--index", 7, "--index", 4)
        assert "4, 7" in ran.err

    def test_without_a_yes_is_not_signed(self, border: Border) -> None:
        ran = border.tool(
            *("erase", "order", "--dir", "mainland", "--institution", EXPORTER, "--index", 4),
            *("--out", "order.json", *self.REASON),
        )
        assert (ran.code, border.tool.path("order.json").exists()) == (3, False)

    @pytest.mark.parametrize(
        "args",
        [
            ("--reason", "", "--index", 4),
            REASON,
            (*REASON, "--index", -1),
            (*REASON, "--index", 1 << 64),
        ],
        ids=["no reason", "no entry", "a negative entry", "an entry that no log has"],
    )
    def test_that_says_too_little_is_refused(
        self, border: Border, args: tuple[object, ...]
    ) -> None:
        assert order(border, *args).code == 2

    def test_that_was_changed_is_refused_before_it_is_sent(self, border: Border) -> None:
        order(border, *self.REASON, "--index", 4)
        path: Path = border.tool.path("order.json")
        content: dict[str, Any] = json.loads(path.read_text())
        content["signature"] = encode_base64(bytes(64))
        path.write_text(json.dumps(content))
        ran = border.tool("erase", "submit", "order.json", "--config", "mainland-ops/client.toml")
        assert (ran.code, "NOT_ORDERED" in ran.err) == (1, True)

    def test_for_the_other_side_is_refused(self, border: Border) -> None:
        order(border, *self.REASON, "--index", 4)
        ran = border.tool("erase", "submit", "order.json", "--config", "hongkong-ops/client.toml")
        assert (ran.code, "WRONG_ORIGIN" in ran.err) == (2, True)


class TestAskingBefore:
    def test_of_an_entry_that_no_log_has_is_refused(self, border: Border) -> None:
        ran = border.tool("erase", "check", 1 << 64, "--config", "mainland-ops/client.toml")
        assert (ran.code, "Traceback" in ran.err) == (2, False)

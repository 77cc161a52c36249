"""`ledgerctl timeline`: what the anchors of two real logs prove, and lies about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cli.tool import Ask, Tool
from client.supervised import Planted, config_of

from ledgerd_client.catalogue import LANGUAGES
from ledgerd_client.core.timeline import Order


@pytest.fixture
def asked(cac: Ask) -> Callable[..., list[Any]]:
    """What the command tells programs."""

    def ask(*args: object) -> list[Any]:
        ran = cac("timeline", *args, "--json")
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    return ask


class TestTimeline:
    def test_orders_the_two_records_of_a_transfer(
        self, asked: Callable[..., list[Any]], planted: Planted
    ) -> None:
        """Nobody acknowledges what was not declared: the anchors can prove no other order."""
        logs, declared, acknowledged, order = asked("--ref", planted.matched.ref.hex())
        assert [declared["kind"], acknowledged["kind"]] == ["transfer", "ack"]
        assert (order["own_index"], order["peer_index"]) == (
            declared["index"], acknowledged["index"],
        )  # fmt: skip
        assert order["sequence"] in {Order.BEFORE, Order.UNDETERMINED}
        assert [log["origin"] for log in logs["logs"]] == [
            declared["origin"], acknowledged["origin"],
        ]  # fmt: skip

    def test_says_that_genesis_precedes_what_was_anchored(
        self, asked: Callable[..., list[Any]]
    ) -> None:
        _, genesis, theirs, order = asked(0, "--peer", 0)
        high = genesis["other_log_had_less_than"]
        assert order["sequence"] == Order.UNDETERMINED
        assert asked(0, "--peer", high - 1)[-1]["sequence"] == Order.BEFORE
        assert asked(0, "--peer", high - 2)[-1]["sequence"] == Order.UNDETERMINED
        assert asked(theirs["other_log_had_less_than"] - 1, "--peer", 0)[-1]["sequence"] == (
            Order.AFTER
        )

    def test_shows_what_an_entry_says_of_its_time_as_its_claim(
        self, asked: Callable[..., list[Any]]
    ) -> None:
        assert asked(0)[1]["claimed_at"].endswith("Z")

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_is_read_in_three_languages(self, tool: Tool, planted: Planted, lang: str) -> None:
        config = config_of(planted.cac)
        ran = tool("--lang", lang, "timeline", "0", "--peer", "0", "--config", config)
        said = {"en": "not proven", "zh-Hans": "先后未能证明", "zh-Hant": "先後未能證明"}[lang]
        assert (ran.code, said in ran.out) == (0, True)

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ((), "FIELD_OUT_OF_RANGE"),
            (("1000000",), "BEYOND_THE_END"),
            (("--peer", "1000000"), "BEYOND_THE_END"),
            (("--ref", "ab"), "FIELD_OUT_OF_RANGE"),
        ],
    )
    def test_what_cannot_be_asked_is_bad_input(
        self, cac: Ask, arguments: tuple[str, ...], reason: str
    ) -> None:
        ran = cac("timeline", *arguments)
        assert (ran.code, reason in ran.err) == (2, True)

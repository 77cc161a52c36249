"""Ids that people compare: whatever is in one is seen."""

from __future__ import annotations

import pytest

from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import check_id


class TestCheckId:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "GBA-2026-0042",
            "\u7ca4\u7f51\u4fe1\u5907\u30142026\u301542\u53f7",
            "\u7cb5\u5099\u6848\uff082026\uff09\u7b2c 42 \u865f",
            "Acordo n.º 7/São",
            "2026-01 rev. 3",
        ],
    )
    def test_takes_letters_digits_punctuation_and_single_spaces(self, text: str) -> None:
        check_id("contract_id", text, 64)

    @pytest.mark.parametrize(
        "strange",
        ["\u3164", "\u115f", "\u1160", "\uffa0", "\u034f", "\u2800", "\u00a0", "\u3000", "\ufe0f"],
    )
    def test_names_the_character_that_it_does_not_take(self, strange: str) -> None:
        with pytest.raises(FieldError, match=f"U\\+{ord(strange):04X}"):
            check_id("contract_id", f"GBA{strange}42", 64)

    @pytest.mark.parametrize("text", [" GBA", "GBA ", "GBA  42"])
    def test_refuses_a_space_too_many(self, text: str) -> None:
        with pytest.raises(FieldError, match="a space too many"):
            check_id("contract_id", text, 64)

"""docs/rules.md is what `ledgerd rules` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledgerd.rules.law import newest_law
from ledgerd.rules_page import render_rules
from ledgerd_client.rulebook import RULES

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_page_is_of_the_newest_law() -> None:
    assert PAGE.read_text("utf-8") == render_rules(newest_law())


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_row(rule: str) -> None:
    assert f"\n| `{rule}` | " in render_rules(newest_law())


def test_it_accuses_nobody() -> None:
    forbidden = re.compile("illegal|violation|breach of law|违法|違法|违规|違規", re.IGNORECASE)
    assert not forbidden.search(render_rules(newest_law()))

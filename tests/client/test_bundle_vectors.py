"""Our dispute bundles against vectors/format.json, which another implementation made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledgerd_client.bundle import Bundle, verify_bundle
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.trust import Trust

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "format.json").read_text())
TRUST = Trust.parse(VECTORS["trust"]["file"].encode())


class TestABundleOfTheVectors:
    @pytest.mark.parametrize("case", VECTORS["bundles"], ids=lambda case: case["what"])
    def test_comes_to_what_they_say(self, case: dict[str, str]) -> None:
        assert verify_bundle(Bundle.parse(case["file"].encode()), TRUST).state == case["state"]

    @pytest.mark.parametrize(
        "value",
        [pytest.param(case["value"], id=case["reason"]) for case in VECTORS["refuse"]["bundles"]],
    )
    def test_is_refused_where_they_say_so(self, value: str) -> None:
        with pytest.raises(LedgerError):
            verify_bundle(Bundle.parse(value.encode()), TRUST)

    def test_of_logs_whose_keys_and_authority_changed_comes_to_what_they_say(self) -> None:
        rotation = VECTORS["rotation"]
        trust = Trust.parse(rotation["trust"].encode())
        assert verify_bundle(Bundle.parse(rotation["bundle"].encode()), trust).state == "matched"

"""Our implementation against vectors/format.json: evidence, and logs whose keys were rotated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledgerd_client.core.admission import authority_digest
from ledgerd_client.core.entry_evidence import parse_evidence
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.trust import Trust

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "format.json").read_text())
ROTATION = VECTORS["rotation"]
unhex = bytes.fromhex


def history_of(log: dict[str, Any], trust: str) -> KeyHistory:
    authority = Trust.parse(trust.encode()).authority(log["origin"])
    return KeyHistory.parse(log["key_history"].encode(), authority)


def refused(cases: list[dict[str, str]]) -> Any:
    listed = [pytest.param(case["value"], id=case["reason"]) for case in cases]
    return pytest.mark.parametrize("value", listed)


@pytest.fixture(scope="module")
def mainland() -> KeyHistory:
    return history_of(VECTORS["logs"][0], VECTORS["trust"]["file"])


@pytest.fixture(scope="module")
def rotated() -> tuple[KeyHistory, KeyHistory]:
    one, other = (history_of(log, ROTATION["trust"]) for log in ROTATION["logs"])
    return one, other


each_evidence = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case['claim']} {number}")
        for number, case in enumerate(VECTORS["evidence"])
    ],
)


class TestEvidence:
    @each_evidence
    def test_verifies(self, case: dict[str, str], mainland: KeyHistory) -> None:
        evidence = parse_evidence(case["file"].encode())
        evidence.verify(mainland)
        assert getattr(evidence, "wrong", "fork") == case["claim"]

    @each_evidence
    def test_is_written_as_it_was_read(self, case: dict[str, str]) -> None:
        assert parse_evidence(case["file"].encode()).format() == case["file"].encode()

    @refused(VECTORS["refuse"]["evidence"])
    def test_that_proves_nothing_is_refused(self, value: str, mainland: KeyHistory) -> None:
        with pytest.raises(LedgerError):
            parse_evidence(value.encode()).verify(mainland)


class TestKeysThatWereRotated:
    @pytest.mark.parametrize("case", ROTATION["receipts"], ids=lambda case: case["what"])
    def test_verify_what_they_signed(
        self, case: dict[str, str], rotated: tuple[KeyHistory, KeyHistory]
    ) -> None:
        verify_receipt(Receipt.parse(case["file"].encode()), *rotated)

    @refused(ROTATION["refuse"]["receipts"])
    def test_verify_nothing_else(self, value: str, rotated: tuple[KeyHistory, KeyHistory]) -> None:
        with pytest.raises(LedgerError):
            verify_receipt(Receipt.parse(value.encode()), *rotated)

    @pytest.mark.parametrize("case", ROTATION["evidence"], ids=lambda case: case["what"])
    def test_count_against_the_log_where_they_were_in_force(
        self, case: dict[str, str], rotated: tuple[KeyHistory, KeyHistory]
    ) -> None:
        parse_evidence(case["file"].encode()).verify(rotated[0])

    @refused(ROTATION["refuse"]["evidence"])
    def test_count_for_nothing_beyond_and_where_they_were_lost(
        self, value: str, rotated: tuple[KeyHistory, KeyHistory]
    ) -> None:
        with pytest.raises(LedgerError):
            parse_evidence(value.encode()).verify(rotated[0])

    @refused(ROTATION["refuse"]["key_histories"])
    def test_are_followed_by_the_rules(self, value: str) -> None:
        with pytest.raises(LedgerError):
            history_of({**ROTATION["logs"][0], "key_history": value}, ROTATION["trust"])

    @pytest.mark.parametrize("log", ROTATION["logs"], ids=lambda log: log["origin"])
    def test_stand_under_the_digest_of_the_vectors(self, log: dict[str, Any]) -> None:
        assert history_of(log, ROTATION["trust"]).history_digest == unhex(log["history_digest"])

    def test_bind_the_authoritys_next_one_to_the_history(self) -> None:
        said = {name: unhex(value) for name, value in ROTATION["digests"].items()}
        made = authority_digest(
            ROTATION["logs"][0]["origin"],
            said["previous_key_id"], said["public_key"], said["history_digest"],
        )  # fmt: skip
        assert made == said["digest"]

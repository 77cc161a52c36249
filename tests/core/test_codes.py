"""Codes: which numbers there are, what each means, and when it is valid."""

from __future__ import annotations

import pytest

from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError

# Table: highest number; each begins at 1 and has no gap.
NUMBERED = {
    "sector": 9, "purpose": 18, "category": 13, "sensitive_category": 11, "legal_basis": 11,
    "consent_form": 5, "exemption": 8, "protection": 4, "transmission": 6, "mechanism": 11,
    "direction": 2, "party_role": 3, "subject_type": 8, "means": 8, "authority": 5,
    "filing_result": 4, "pipia_conclusion": 3, "zone": 4, "band": 7, "method": 3, "grade": 4,
    "incident_cause": 7, "requester": 5, "change_cause": 6, "consent_change": 2,
}  # fmt: skip
# GB/T 2260; the nine cities of the standard contract (announcement 2023 No. 3), and Hong Kong.
PLACES = {440100, 440300, 440400, 440600, 440700, 441200, 441300, 441900, 442000, 810000}


class TestTables:
    @pytest.mark.parametrize("table", NUMBERED)
    def test_are_numbered_from_1_without_a_gap(self, table: str) -> None:
        assert list(codes.TABLES[table]) == list(range(1, NUMBERED[table] + 1))

    def test_are_these_and_those_of_places(self) -> None:
        assert set(codes.TABLES) == {*NUMBERED, "place", "contract_place", "onward_place"}

    @pytest.mark.parametrize("table", codes.TABLES)
    def test_name_every_code_once_and_its_source(self, table: str) -> None:
        rows = list(codes.TABLES[table].values())
        assert len({code.name for code in rows}) == len(rows)
        assert all(code.name and code.source for code in rows)

    def test_of_places_hold_macao_for_contracts_and_outside_for_what_goes_onward(self) -> None:
        assert set(codes.PLACES) == PLACES
        assert set(codes.CONTRACT_PLACES) == PLACES | {820000}
        assert set(codes.ONWARD_PLACES) == PLACES | {820000, 999999}

    def test_of_purposes_name_terms_of_dpv(self) -> None:
        iris = {code.number: code.iri for code in codes.TABLES["purpose"].values()}
        assert iris[3] == "https://w3id.org/dpv#CreditChecking"
        assert iris[5] == "https://w3id.org/dpv/sector/finance#PaymentProcessing"
        assert iris[12] == "https://w3id.org/dpv/sector/health#DiagnosisManagement"

    def test_are_seen_by_name_too(self) -> None:
        assert codes.MECHANISMS[1] == "GBA_SC_HK"


class TestALookUp:
    def test_of_a_list_in_order_is_taken(self) -> None:
        codes.check_code_list("means", codes.MEANS, [1, 2, 8])

    @pytest.mark.parametrize("listed", [[2, 1], [1, 1], [1, 3, 2]])
    def test_of_a_list_out_of_order_is_refused(self, listed: list[int]) -> None:
        with pytest.raises(FieldError, match="strictly ascending"):
            codes.check_code_list("means", codes.MEANS, listed)

    def test_of_an_unknown_code_says_which_are_known(self) -> None:
        with pytest.raises(FieldError) as refused:
            codes.check_codes("direction", codes.DIRECTIONS, [3])
        assert (refused.value.reason, refused.value.action) == ("UNKNOWN_CODE", "use one of 1, 2")


class TestValidity:
    @pytest.mark.parametrize(
        ("table", "number", "date", "valid"),
        [
            # The contract for Hong Kong was signed on 10 December 2023.
            ("mechanism", 1, 20231209, False),
            ("mechanism", 1, 20231210, True),
            # The Provisions, and with them the exemptions, are of 22 March 2024.
            ("exemption", 7, 20240321, False),
            ("exemption", 7, 20240322, True),
            ("exemption", 1, 20200101, True),
            # PIPL is in force since 1 November 2021.
            ("legal_basis", 1, 20211031, False),
            ("legal_basis", 1, 20211101, True),
            ("place", 440300, 19970701, True),
        ],
    )
    def test_begins_with_the_text_that_a_code_is_of(
        self, table: str, number: int, date: int, valid: bool
    ) -> None:
        assert codes.TABLES[table][number].valid_on(date) == valid


class TestDigest:
    def test_of_the_first_edition_never_changes(self) -> None:
        # A rule set in some log names it: new codes go into a new edition.
        assert codes.digest(1).hex() == DIGEST_OF_EDITION_1

    def test_of_an_edition_without_codes_is_another(self) -> None:
        assert codes.digest(0) != codes.digest(1)


DIGEST_OF_EDITION_1 = "ee2f139e2b3c6c7a445fc7e362f1e884cd80a417bd526c255d1d361169865ed6"

"""Ids of organisations: their check digits."""

from __future__ import annotations

import pytest

from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.org_id import check_org_id, fails_check_digits

# Published numbers of companies; LEIs as GLEIF lists them.
GOOD = [
    "uscc.91350100M000100Y43", "uscc.91330100799655058B", "uscc.914403001922038216",
    "lei.5493001KJTIIGC8Y1R12", "lei.529900T8BM49AURSDO55", "lei.213800WSGIIZCXF1P572",
    "hkbr.76543210", "hkbr.00000001",
]  # fmt: skip
BAD = [
    "uscc.91350100M000100Y44",  # another check digit
    "uscc.91350100M001000Y43",  # two digits changed places
    "uscc.91350100M000100Y4",  # 17
    "uscc.91350100M000100Y430",  # 19
    "uscc.9135O100M000100Y43",  # O is not in the alphabet
    "lei.5493001KJTIIGC8Y1R13",
    "lei.5493001KJTIIGC8YR112",
    "lei.5493001KJTIIGC8Y1R1",
    "lei.5493001KJTIIGC8Y1R123",
    "hkbr.7654321",
    "hkbr.765432100",
    "hkbr.7654321A",
]


class TestCheckDigits:
    @pytest.mark.parametrize("name", GOOD)
    def test_of_a_registered_organisation_pass(self, name: str) -> None:
        assert not fails_check_digits(name)

    @pytest.mark.parametrize("name", BAD)
    def test_of_a_number_mistyped_fail(self, name: str) -> None:
        assert fails_check_digits(name)

    @pytest.mark.parametrize("name", ["mo.12345", "bic.HSBCHKHH"])
    def test_of_a_scheme_that_is_not_known_are_not_judged(self, name: str) -> None:
        assert not fails_check_digits(name)

    def test_that_fail_are_named_with_their_field(self) -> None:
        with pytest.raises(FieldError, match="third_party"):
            check_org_id("third_party", "hkbr.1")

    @pytest.mark.parametrize("name", GOOD)
    def test_that_pass_raise_nothing(self, name: str) -> None:
        check_org_id("third_party", name)

"""
Free text with a person's number in it is refused, and text that only looks like it is not.

Every number is synthetic: region 000000 does not exist, the others are the examples of their
standards and the test numbers of the card networks.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import PersonalDataError
from ledgerd_client.core.personal import check_free_text

# GB 11643: region, birth date, sequence and the check digit of ISO 7064 MOD 11-2.
MAINLAND = [
    "11010519491231002X",  # the two examples of GB 11643-1999
    "440524188001010014",
    "000000190001010017",
    "00000019000101005X",
    "00000019000101005x",
    "000000202402290019",
    "000000209912319995",
    "000000180001010018",
]
# Letter, six digits, check: 9·36 + 8·letter + 7·… + 2·… + check is 0 modulo 11.
HONG_KONG = [
    "A123456(3)",
    "A1234563",
    "A123456 (3)",
    "A 123456(3)",
    "a123456(3)",
    "G123456(A)",
    "g123456a",
    "AB987654(3)",
    "ab9876543",
]
CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "3782 822463 10005",
    "30569309025904",
    "3056 930902 5904",
    "3530111333300000",
    "6011111111111117",
    "6200000000000005",
    "620000 0000000005",
    "6205500000000000004",
    "6205 5000 0000 0000 004",
    "620550 0000000000004",
]
WRITTEN = {
    "full-width digits": "\uff10\uff10\uff10\uff10\uff10\uff10\uff11\uff19\uff10\uff10\uff10\uff11\uff10\uff11\uff10\uff10\uff11\uff17",
    "full-width X": "00000019000101005\uff38",
    "circled digits": "\u24ea\u24ea\u24ea\u24ea\u24ea\u24ea\u2460\u2468\u24ea\u24ea\u24ea\u2460\u24ea\u2460\u24ea\u24ea\u2460\u2466",
    "mathematical digits": "".join(chr(0x1D7CE + int(digit)) for digit in "000000190001010017"),
    "groups with spaces": "000000 19000101 0017",
    "groups with hyphens": "000000-19000101-0017",
    "groups with no-break spaces": "000000\u00a019000101\u00a00017",
    "groups of four": "0000 0019 0001 0100 17",
    "groups with dots": "000000.19000101.0017",
    "groups with dashes": "000000\u201319000101\u20140017",
    "groups with middle dots": "000000\u00b719000101\u30fb0017",
    "groups with slashes": "000000/19000101/0017",
    "wide groups": "000000  19000101 - 0017",
    "groups with zero-width spaces": "000000\u200b19000101\u200b0017",
    "a dot after each digit": ".".join("000000190001010017"),
    "a card with dots": "4111.1111.1111.1111",
    "a card with full-width dots": "4111\uff0e1111\uff0e1111\uff0e1111",
    "a card with no-break spaces": "4111\u00a01111\u00a01111\u00a01111",
    "a card with narrow no-break spaces": "3782\u202f822463\u202f10005",
    "a card with underlines": "4111_1111_1111_1111",
    "a card with mixed separators": "4111.1111-1111 1111",
    "a card with wide gaps": "4111 - 1111 - 1111 - 1111",
    "a full-width card with full-width hyphens": "\uff0d".join(
        ["\uff14\uff11\uff11\uff11"] + ["\uff11" * 4] * 3
    ),
    "an HKID with a hyphen": "A123456-3",
    "an HKID with hyphens": "A-123456-3",
    "an HKID with dots": "A.123456.3",
    "an HKID in groups of three": "A 123 456 (3)",
    "an HKID with no-break spaces": "A\u00a0123456\u00a0(3)",
    "a full-width HKID with a full-width hyphen": "\uff21\uff11\uff12\uff13\uff14\uff15\uff16\uff0d\uff13",
    "a full-width HKID": "\uff21\uff11\uff12\uff13\uff14\uff15\uff16\uff08\uff13\uff09",
    "a full-width card": "\uff14" + "\uff11" * 15,
}
EMBEDDED = {
    "in a sentence": "subject 000000190001010017 asked to be told",
    "after letters": "ID000000190001010017",
    "in Chinese": "\u8eab\u4efd\u8bc1\u53f7\u7801000000190001010017\u5df2\u6838\u5b9e",
    "after a colon": "id:000000190001010017.",
    "after another number": "case 1234 000000 19000101 0017",
    "after a number that fills a group": "1234 110105 19491231 002X",
    "HKID in a sentence": "holder of A123456(3), no reply",
    "HKID in Chinese": "\u8eab\u4efd\u8b49A123456(3)\u865f",
    "HKID after an impossible one": "A123456 A123456(3)",
    "card with expiry date": "4111 1111 1111 1111 12/27",
    "card with check value": "4111 1111 1111 1111 123",
    "card in a sentence": "paid by 4111111111111111, twice",
    "card with dots at the end of a sentence": "paid by 4111.1111.1111.1111.",
    "HKID with a hyphen in a sentence": "holder of A123456-3. No reply",
    "card after another number": "5 4111 1111 1111 1111",
    "card in Chinese": "\u5361\u53f74111111111111111\u3002",
}
HARMLESS = {
    "nothing": "",
    "text": "not needed any more",
    "a Mainland number with the next check digit": "000000190001010018",
    "a Mainland number with the check digit before": "000000190001010016",
    "a Mainland number with X for its check digit": "00000019000101001X",
    "a Mainland number with two digits exchanged": "000000190010010017",
    "month 0": "000000190000010015",
    "month 13": "000000190013010014",
    "day 0": "000000190001000011",
    "day 32": "000000190001320015",
    "born in 1799": "000000179912310013",
    "born in 2100": "000000210001010012",
    "17 digits": "00000190001010017",
    "19 digits": "0000000190001010017",
    "18 digits in a longer code": "000000190001010017B7",
    "an HKID with the next check digit": "A123456(4)",
    "an HKID with A for its check digit": "A123456(A)",
    "an HKID with B for its check digit": "G123456(B)",
    "an HKID without its check digit": "A123456",
    "an HKID with another first letter": "B123456(3)",
    "an HKID with three letters": "ABC987654(3)",
    "an HKID with seven digits": "A1234567(3)",
    "an HKID in a longer code": "XA1234563B",
    "a card number with the next check digit": "4111111111111112",
    "a card number with two digits exchanged": "4111111111111151",
    "a card number that begins with 1": "1111111111111117",
    "12 digits": "411111111111",
    "20 digits": "41111111111111111110",
    "a card number in a longer code": "ORDER4111111111111111",
    "a contract number": "GBA-2026-0042",
    "a contract number of digits": "4403202600001234",
    "a contract number by city and date": "440300-20260803-0043",
    "a contract number in groups": "3456-78-901234567-9",
    "a filing number": "\u7ca4(\u6df1)\u57572026-000123",
    "an order number": "440320260000123000",
    "dates": "2026-08-03 to 2027-08-02",
    "times": "2026-08-03T01:00:00Z, 20260803010000",
    "a USCC": "91440300MA5EXMPLXX",
    "a USCC of digits": "914403001922038216",
    "a Hong Kong business registration": "76543210-000-08-26-3",
    "an LEI": "5493001KJTIIGC8Y1R12",
    "a telephone number": "+86 755 8888 8888, +852 2888 8888",
    "a version": "3.1.20260803-2",
    "a Mainland number with dots and the next check digit": "000000.19000101.0018",
    "a card with dots and the next check digit": "4111.1111.1111.1112",
    "an HKID with a hyphen and the next check digit": "A123456-4",
    "a contract number that ends as an HKID does": "GBA-A-123456-3",
    "a contract number that begins as an HKID does": "A-123456-3-2026",
    "a filing number by year": "\u7ca4\u5907\u30142026\u30150118\u53f7, GD-2026-118, HK-DPO/2026/0118",
    "a filing number with dots": "GD.440300.2026.0001.18",
    "a case number": "(2026)\u7ca40391\u6c11\u521d1234\u53f7",
    "an IBAN in groups": "DE89 3704 0044 0532 0130 00",
    "an IBAN": "DE89370400440532013000",
    "an IBAN with letters": "GB29 NWBK 6016 1331 9268 19",
    "a creditor reference": "RF18 5390 0754 7034",
    "an IBAN-like reference whose rest passes for a card": "XX00 4111 1111 1111 1111",
    "a digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "a digest of digits in groups": "00003900 41111111 11111111 00000012 34567890",
    "a digest with a card in it": "9f86d0814111111111111111a2feaa0c",
    "a version by date": "2026.08.03.1, v1.2026.0803.12",
    "an address": "192.168.100.200:8443, 10.0.12.34/24",
    "amounts": "1,234,567.89 and 4,111.11",
    "a UUID": "019fc525-37c4-7596-897f-3d075a7a2e3f",
}


def refusal(text: str) -> str:
    with pytest.raises(PersonalDataError) as refused:
        check_free_text("reason", text)
    return refused.value.message


def is_refused(text: str) -> bool:
    try:
        check_free_text("reason", text)
    except PersonalDataError:
        return True
    return False


class TestNumbersOfPersons:
    @pytest.mark.parametrize("text", MAINLAND)
    def test_a_mainland_identity_number_is_refused(self, text: str) -> None:
        assert refusal(text) == "reason holds a Mainland identity number"

    @pytest.mark.parametrize("text", HONG_KONG)
    def test_a_hong_kong_identity_card_number_is_refused(self, text: str) -> None:
        assert refusal(text) == "reason holds a Hong Kong identity card number"

    @pytest.mark.parametrize("text", CARDS)
    def test_a_card_number_is_refused(self, text: str) -> None:
        assert refusal(text) == "reason holds a card number"

    @pytest.mark.parametrize("what", WRITTEN)
    def test_another_way_to_write_it_does_not_help(self, what: str) -> None:
        assert refusal(WRITTEN[what])

    @pytest.mark.parametrize("what", EMBEDDED)
    def test_text_around_it_does_not_hide_it(self, what: str) -> None:
        assert refusal(EMBEDDED[what])

    @pytest.mark.parametrize("text", ["000000190001010017", "A123456(3)", "4111111111111111"])
    def test_the_refusal_does_not_repeat_it(self, text: str) -> None:
        assert text not in refusal(f"about {text}")

    def test_the_refusal_says_why(self) -> None:
        with pytest.raises(PersonalDataError) as refused:
            check_free_text("reason", "A123456(3)")
        assert refused.value.reason == "PERSONAL_DATA"


class TestCheckDigits:
    @pytest.mark.parametrize("digit", "0123456789X")
    def test_one_in_eleven_makes_a_mainland_number(self, digit: str) -> None:
        assert is_refused(f"00000019000101001{digit}") == (digit == "7")

    @pytest.mark.parametrize("digit", "0123456789A")
    def test_one_in_eleven_makes_an_hkid(self, digit: str) -> None:
        assert is_refused(f"A123456({digit})") == (digit == "3")

    @pytest.mark.parametrize("digit", "0123456789")
    def test_one_in_ten_makes_a_card_number(self, digit: str) -> None:
        assert is_refused(f"411111111111111{digit}") == (digit == "1")


class TestNumbersOfOtherThings:
    @pytest.mark.parametrize("check", "0123456789A")
    @pytest.mark.parametrize("start", ["SC-202601-", "A-202612-", "GBA-SC-123456-", "SC-123456-"])
    def test_what_ends_in_any_digit_after_a_hyphen_passes(self, start: str, check: str) -> None:
        check_free_text("contract_id", start + check)

    @pytest.mark.parametrize("what", HARMLESS)
    def test_they_pass(self, what: str) -> None:
        check_free_text("reason", HARMLESS[what])

    @given(st.text(st.sampled_from("0123456789 -()AXx\uff11\u2460\u0661\u00b2"), max_size=60))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        is_refused(text)

"""Length prefixes, base64 and decimals: one spelling per value, and no other is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.encoding import encode_base64, lp8, parse_base64, parse_decimal, u64
from ledgerd_client.core.errors import MalformedError

# RFC 4648 section 10.
RFC_4648 = {
    b"": "",
    b"f": "Zg==",
    b"fo": "Zm8=",
    b"foo": "Zm9v",
    b"foob": "Zm9vYg==",
    b"fooba": "Zm9vYmE=",
    b"foobar": "Zm9vYmFy",
}

NOT_BASE64 = {
    "no padding": "Zg",
    "half the padding": "Zg=",
    "too much padding": "Zg===",
    "padding of nothing": "====",
    "padding in the middle": "Zg==Zm9v",
    "stray bits after one byte": "Zh==",
    "stray bits after two bytes": "Zm9=",
    "one character": "Z",
    "a space before": " Zm9v",
    "a space after": "Zm9v ",
    "a newline within": "Zm\n9v",
    "a newline after": "Zm9v\n",
    "the URL alphabet": "-_-_",
    "a NUL": "Zm9v\0",
    "a letter beyond ASCII": "Zm9\u00e9",
    "full-width letters": "\uff3a\uff4d\uff19\uff56",
    "a surrogate": "Zm9\ud800",
}

NOT_DECIMAL = {
    "nothing": "",
    "a leading zero": "01",
    "two zeros": "00",
    "a plus sign": "+1",
    "a minus sign": "-1",
    "minus zero": "-0",
    "a space before": " 1",
    "a newline after": "1\n",
    "an underscore": "1_0",
    "a fraction": "1.0",
    "an exponent": "1e3",
    "hexadecimal": "0x1",
    "Arabic-Indic digits": "\u0661",
    "full-width digits": "\uff11",
    "a superscript": "\u00b2",
    "2^64": "18446744073709551616",
    "21 digits": "1" * 21,
    "a million digits": "1" * 1_000_000,
}


class TestIntegers:
    def test_u64_is_eight_bytes_big_endian(self) -> None:
        assert u64(0x0102030405060708) == b"\x01\x02\x03\x04\x05\x06\x07\x08"


class TestLengthPrefixes:
    @pytest.mark.parametrize(
        ("data", "prefixed"),
        [(b"", b"\x00"), (b"ab", b"\x02ab"), (b"a" * 255, b"\xff" + b"a" * 255)],
    )
    def test_lp8_is_one_byte_of_length_then_the_data(self, data: bytes, prefixed: bytes) -> None:
        assert lp8(data) == prefixed


class TestBase64:
    @pytest.mark.parametrize(("data", "text"), RFC_4648.items())
    def test_rfc_4648_example_is_written(self, data: bytes, text: str) -> None:
        assert encode_base64(data) == text

    @pytest.mark.parametrize(("data", "text"), RFC_4648.items())
    def test_rfc_4648_example_is_read(self, data: bytes, text: str) -> None:
        assert parse_base64(text) == data

    @pytest.mark.parametrize("what", NOT_BASE64)
    def test_another_spelling_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            parse_base64(NOT_BASE64[what])

    @given(st.binary(max_size=100))
    def test_what_is_written_is_read(self, data: bytes) -> None:
        assert parse_base64(encode_base64(data)) == data

    @given(st.text(st.sampled_from("AZaz09+/=-_ \n"), max_size=12))
    def test_what_is_read_is_written_the_same(self, text: str) -> None:
        try:
            data = parse_base64(text)
        except MalformedError:
            return
        assert encode_base64(data) == text

    @given(st.text(max_size=50))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        try:
            parse_base64(text)
        except MalformedError:
            return


class TestDecimals:
    @pytest.mark.parametrize("value", [0, 1, 9, 10, 2**63, 2**64 - 1])
    def test_its_one_spelling_is_read(self, value: int) -> None:
        assert parse_decimal(str(value)) == value

    @pytest.mark.parametrize("what", NOT_DECIMAL)
    def test_another_spelling_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            parse_decimal(NOT_DECIMAL[what])

    @given(st.text(max_size=25) | st.text(st.sampled_from("0123456789+-_ "), max_size=25))
    def test_what_is_read_is_written_the_same(self, text: str) -> None:
        try:
            value = parse_decimal(text)
        except MalformedError:
            return
        assert str(value) == text

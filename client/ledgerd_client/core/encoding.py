"""Length prefixes, strict base64 and strict decimals: one spelling per value."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode

from ledgerd_client.core.errors import MalformedError

U64_MAX = 2**64 - 1


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def lp8(data: bytes) -> bytes:
    """Length as one byte, then data (at most 255 bytes)."""
    return len(data).to_bytes(1, "big") + data


def lp16(data: bytes) -> bytes:
    """Length as two bytes, big-endian, then data (at most 65,535 bytes)."""
    return len(data).to_bytes(2, "big") + data


def encode_base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def parse_base64(text: str) -> bytes:
    """
    Decode RFC 4648 section 4 base64 with padding.

    Raises MalformedError for anything that does not re-encode to itself: other alphabets,
    white space, missing padding, non-zero padding bits.
    """
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise MalformedError("not base64") from None
    if encode_base64(data) != text:
        raise MalformedError("base64 is not canonical")
    return data


def parse_decimal(text: str) -> int:
    """
    Parse an unsigned 64-bit decimal without sign, leading zeros or other digits.

    Raises MalformedError.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise MalformedError("not a decimal number")
    value = int(text)
    if str(value) != text or value > U64_MAX:
        raise MalformedError("decimal number is not canonical")
    return value

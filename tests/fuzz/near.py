"""Bytes that come near to what is right: nothing else gets past a parser's first look."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

# What numbers, lines, lengths and text are made of, and what goes wrong in them.
PIECES = [
    b"", b"\0", b"\n", b"\n\n", b" ", b"\r\n", b"\t", b"=", b"+", b"-", b".", b"..", b"/", b"0", b"1", b"9" * 25,
    b"-1", b"00", b"\xff", b"\xff" * 10, b"\x80" * 12 + b"\x01", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xef\xbb\xbf",
    b"\xe2\x80\x94 ", b"AAAA", b'"', b"{", b"}", b"[", b"]", b"null", b"true", b"1e999", b"NaN", b"[" * 2000,
    b'{"a":' * 2000, b"A" * 5000, b"\\u0000", b"\\ud800", b"\x0a\x00", b"\x12\x7f", b"\xfa\xff\xff\xff\x0f",
]  # fmt: skip


@st.composite
def near(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """A sample with a few pieces cut out, put in, said again or taken from another."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 64)))
        other = draw(st.sampled_from(samples))
        place = draw(st.integers(0, len(other)))
        data[begin:end] = draw(
            st.one_of(
                st.sampled_from(PIECES),
                st.binary(max_size=8),
                st.just(bytes(data[begin:end]) * 2),
                st.just(other[place : place + 40]),
            )
        )
    return bytes(data)


def anything(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly near to samples; now and then no more than bytes."""
    return st.one_of(near(samples), near(samples), near(samples), st.binary(max_size=400))

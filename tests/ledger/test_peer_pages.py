"""What is looked at before a message of the peer is parsed."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.ledger.peer_pages import read_page
from ledgerd.ledger.reader import SHARED_PAGE_HEADERS
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import MalformedError


def page(count: int) -> pb.ListHeadersResponse:
    """As large as an honest page can be."""
    return pb.ListHeadersResponse(
        checkpoint=b"a note",
        first=2**63,
        headers=[os.urandom(210) for _ in range(count)],
        bodies=[pb.SharedBody(index=index, body=os.urandom(300)) for index in range(count)],
    )


class TestAPage:
    @pytest.mark.parametrize("count", [0, 1, SHARED_PAGE_HEADERS])
    def test_is_read_as_it_was_written(self, count: int) -> None:
        sent = page(count)
        assert read_page(pb.ListHeadersResponse, sent.SerializeToString()) == sent

    def test_of_more_fields_than_entries_have_is_refused(self) -> None:
        sent = pb.ListHeadersResponse(headers=[b""] * (2 * SHARED_PAGE_HEADERS + 3))
        with pytest.raises(MalformedError):
            read_page(pb.ListHeadersResponse, sent.SerializeToString())

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x08",
            b"\x1a\x05abc",
            b"\x80" * 100_000,
            b"\x0b",
            b"\x0d\0\0\0\0",
            b"\x1a",
            b"\xff" * 9,
        ],
    )
    def test_that_is_none_is_refused(self, raw: bytes) -> None:
        with pytest.raises(MalformedError):
            read_page(pb.ListHeadersResponse, raw)

    @given(st.binary(max_size=200))
    def test_of_garbage_is_read_or_refused(self, raw: bytes) -> None:
        with suppress(MalformedError):
            read_page(pb.ListHeadersResponse, raw)

"""Pages of an answer: how large one is, and the token by which the next one is asked for."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeAlias

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError

MAX_PAGE = 500
_DEFAULT_PAGE = 100
_TOKEN_TAG = b"ledgerd/page/v1\n"

Query: TypeAlias = pb.ListEntriesRequest | pb.ListFindingsRequest


def size_of_page(query: Query) -> int:
    """Entries that a query asks for at once; raises FieldError for too many."""
    if query.page_size > MAX_PAGE:
        raise FieldError(f"page_size is at most {MAX_PAGE}")
    return query.page_size or _DEFAULT_PAGE


def make_token(query: Query, index: int | None) -> bytes:
    """
    Where the next page of this very query begins; empty for None, when there is none.

    An index: entries never move or go away.
    """
    return b"" if index is None else u64(index) + _digest(query)


def read_token(query: Query) -> int:
    """The index in a query's page token; raises FieldError for a token of another query."""
    token = query.page_token
    if token[8:] != _digest(query):
        raise FieldError(
            "page_token is not of this query",
            reason="BAD_PAGE_TOKEN",
            action="repeat the first request word for word with the token, or begin anew",
        )
    return int.from_bytes(token[:8], "big")


def _digest(query: Query) -> bytes:
    asked = type(query)()
    asked.MergeFrom(query)  # type: ignore[arg-type] # of its own type
    asked.page_token = b""
    return sha256(_TOKEN_TAG + asked.SerializeToString(deterministic=True)).digest()[:16]

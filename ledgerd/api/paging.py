"""Pages of an answer: how large one is, and the token by which the next one is asked for."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError

MAX_PAGE: Final = 500
_DEFAULT_PAGE: Final = 100
_TOKEN_TAG: Final = b"ledgerd/page/v2\n"
_DIGEST: Final = slice(8, 24)

Paged: TypeAlias = pb.ListEntriesRequest | pb.ListFindingsRequest


class Token(NamedTuple):
    """Where the next page begins, and the checkpoint that all pages are as of; b"" for none."""

    start: int
    note: bytes = b""


def size_of_page(request: Paged) -> int:
    """Entries that are asked for at once; raises FieldError for too many."""
    if request.page_size > MAX_PAGE:
        raise FieldError(f"page_size is at most {MAX_PAGE}")
    return request.page_size or _DEFAULT_PAGE


def make_token(request: Paged, index: int | None, note: bytes = b"") -> bytes:
    """
    Where the next page of this very request begins; empty for None, when there is none.

    An index: entries never move or go away. Nothing is remembered here, and no secret is in it:
    who forges one gets what a request of his own would give him. It keeps tokens apart by mistake.
    """
    return b"" if index is None else u64(index) + _digest(request, index, note) + note


def read_token(request: Paged) -> Token:
    """What a request's page token says; raises FieldError for a token of another request."""
    raw = request.page_token
    token = Token(int.from_bytes(raw[:8], "big"), raw[_DIGEST.stop :])
    if raw[_DIGEST] != _digest(request, *token):
        raise not_of_this_query()
    return token


def not_of_this_query() -> FieldError:
    return FieldError(
        "page_token is not of this query",
        reason="BAD_PAGE_TOKEN",
        action="repeat the first request word for word with the token, or begin anew",
    )


def _digest(request: Paged, index: int, note: bytes) -> bytes:
    asked = type(request)()
    asked.MergeFrom(request)  # type: ignore[arg-type] # of its own type
    asked.page_token = b""
    stated = asked.SerializeToString(deterministic=True)
    return sha256(_TOKEN_TAG + stated + u64(index) + note).digest()[:16]

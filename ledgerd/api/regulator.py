"""RegulatorService: entries and transfers for whoever holds a grant to read."""

from __future__ import annotations

from hashlib import sha256

from ledgerd.api.encode import TransferEncoder
from ledgerd.api.errors import Context
from ledgerd.api.threads import InThread
from ledgerd.ledger.reader import Page, Reader
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.body import DIGEST_SIZE, check_size
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import MAX_INSTITUTION_BYTES

MAX_PAGE = 500
_DEFAULT_PAGE = 100
_TOKEN_TAG = b"ledgerd/page/v1\n"


class RegulatorHandlers(service_pb2_grpc.RegulatorServiceServicer):
    """For regulators."""

    def __init__(self, reader: Reader, transfers: TransferEncoder, in_thread: InThread) -> None:
        self._reader = reader
        self._transfers = transfers
        self._in_thread = in_thread

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Context
    ) -> pb.ListEntriesResponse:
        if request.page_size > MAX_PAGE:
            raise FieldError(f"page_size is at most {MAX_PAGE}")
        if len(request.institution.encode()) > MAX_INSTITUTION_BYTES:
            raise FieldError(f"an institution's id is at most {MAX_INSTITUTION_BYTES} bytes")
        page = await self._in_thread(self._page, request)
        return pb.ListEntriesResponse(
            entries=[pb.Entry(header=header, body=body) for header, body in page.entries],
            next_page_token=b"" if page.next is None else make_token(request, page.next),
            checkpoint=page.checkpoint,
        )

    async def GetTransfer(
        self, request: pb.RegulatorServiceGetTransferRequest, context: Context
    ) -> pb.RegulatorServiceGetTransferResponse:
        check_size("ref", request.ref, DIGEST_SIZE)
        view = await self._in_thread(self._view_transfer, request.ref)
        return pb.RegulatorServiceGetTransferResponse(transfer=view)

    def _view_transfer(self, ref: bytes) -> pb.TransferView:
        return self._transfers.encode(ref, self._reader.transfer(ref))

    def _page(self, request: pb.ListEntriesRequest) -> Page:
        if request.page_token:
            start = read_token(request)
        else:
            start = self._reader.first_at(getattr(request, "from"))
        return self._reader.page(
            start,
            author=request.institution,
            until=request.until,
            count=request.page_size or _DEFAULT_PAGE,
        )


def make_token(request: pb.ListEntriesRequest, index: int) -> bytes:
    """Where the next page of this very query begins. An index: entries never move or go away."""
    return u64(index) + _digest(request)


def read_token(request: pb.ListEntriesRequest) -> int:
    """The index in a request's page token; raises FieldError for a token of another query."""
    token = request.page_token
    if token[8:] != _digest(request):
        raise FieldError(
            "page_token is not of this query",
            reason="BAD_PAGE_TOKEN",
            action="repeat the first request word for word with the token, or begin anew",
        )
    return int.from_bytes(token[:8], "big")


def _digest(request: pb.ListEntriesRequest) -> bytes:
    query = pb.ListEntriesRequest()
    query.CopyFrom(request)
    query.page_token = b""
    return sha256(_TOKEN_TAG + query.SerializeToString(deterministic=True)).digest()[:16]

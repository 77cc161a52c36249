"""RegulatorService: entries and transfers for whoever holds a grant to read."""

from __future__ import annotations

from ledgerd.api.encode import Views
from ledgerd.api.errors import Context
from ledgerd.api.paging import make_token, read_token, size_of_page
from ledgerd.api.threads import InThread
from ledgerd.ledger.reader import Page, Reader
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import DIGEST_SIZE, check_size
from ledgerd_client.core.header import MAX_INSTITUTION_BYTES


class RegulatorHandlers(service_pb2_grpc.RegulatorServiceServicer):
    """For regulators."""

    def __init__(self, reader: Reader, views: Views, in_thread: InThread) -> None:
        self._reader = reader
        self._views = views
        self._in_thread = in_thread

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Context
    ) -> pb.ListEntriesResponse:
        count = size_of_page(request)
        if len(request.institution.encode()) > MAX_INSTITUTION_BYTES:
            raise FieldError(f"an institution's id is at most {MAX_INSTITUTION_BYTES} bytes")
        page = await self._in_thread(self._page, request, count)
        return pb.ListEntriesResponse(
            entries=[pb.Entry(header=header, body=body) for header, body in page.entries],
            next_page_token=make_token(request, page.next),
            checkpoint=page.checkpoint,
        )

    async def GetTransfer(
        self, request: pb.RegulatorServiceGetTransferRequest, context: Context
    ) -> pb.RegulatorServiceGetTransferResponse:
        check_size("ref", request.ref, DIGEST_SIZE)
        view = await self._in_thread(self._view_transfer, request.ref)
        return pb.RegulatorServiceGetTransferResponse(transfer=view)

    def _view_transfer(self, ref: bytes) -> pb.TransferView:
        return self._views.transfer(ref, self._reader.transfer(ref))

    def _page(self, request: pb.ListEntriesRequest, count: int) -> Page:
        if request.page_token:
            start = read_token(request)
        else:
            start = self._reader.first_at(getattr(request, "from"))
        return self._reader.page(
            start, author=request.institution, until=request.until, count=count
        )

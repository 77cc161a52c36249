"""The part of LedgerService that is for everybody who may call: proofs, keys and information."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from ledgerd.api.errors import Context
from ledgerd.ledger.admission import MAX_RECORDS
from ledgerd.ledger.reader import Reader
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc
from ledgerd_client.core.body import MAX_BODY_BYTES
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import NotFoundError, NotReadyError, UnavailableError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note
from ledgerd_client.transport import MAX_REQUEST_BYTES


@dataclass(frozen=True, slots=True)
class Public:
    """
    What a node, or a mirror of it, says of its log to everybody.

    keys: of the log; peer_keys: of the peer's, None before any is known. cosigned: the newest
    checkpoint that the peer cosigned, a note, b"" for none. refused: why nothing is appended.
    """

    origin: str
    peer_origin: str
    reader: Reader
    keys: Callable[[], KeyHistory]
    peer_keys: Callable[[], KeyHistory | None]
    cosigned: Callable[[], bytes]
    refused: Callable[[], NotReadyError | None]


class PublicHandlers(service_pb2_grpc.LedgerServiceServicer):
    """For every caller."""

    def __init__(self, public: Public) -> None:
        self._public = public
        self._version = version("ledgerd")

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, context: Context
    ) -> pb.GetCheckpointResponse:
        checkpoint = self.checkpoint(cosigned=request.cosigned)
        return pb.GetCheckpointResponse(
            checkpoint=checkpoint or self._public.reader.head().checkpoint
        )

    async def GetInclusionProof(
        self, request: pb.GetInclusionProofRequest, context: Context
    ) -> pb.GetInclusionProofResponse:
        size, proof = self._public.reader.inclusion_proof(request.index, request.size)
        return pb.GetInclusionProofResponse(size=size, proof=proof)

    async def GetConsistencyProof(
        self, request: pb.GetConsistencyProofRequest, context: Context
    ) -> pb.GetConsistencyProofResponse:
        size, proof = self._public.reader.consistency_proof(request.old_size, request.new_size)
        return pb.GetConsistencyProofResponse(new_size=size, proof=proof)

    async def GetKeyHistory(
        self, request: pb.GetKeyHistoryRequest, context: Context
    ) -> pb.GetKeyHistoryResponse:
        entries = self._key_entries(request.origin)
        return pb.GetKeyHistoryResponse(
            entries=[pb.KeyEntry(header=header, body=body) for header, body in entries]
        )

    async def GetInfo(self, request: pb.GetInfoRequest, context: Context) -> pb.GetInfoResponse:
        public = self._public
        refused = public.refused()
        return pb.GetInfoResponse(
            version=self._version,
            origin=public.origin,
            peer_origin=public.peer_origin,
            max_records=MAX_RECORDS,
            max_body_bytes=MAX_BODY_BYTES,
            max_message_bytes=MAX_REQUEST_BYTES,
            size=public.reader.head().size,
            cosigned_size=size_of(public.cosigned()),
            appends=refused is None,
            why_not=refused.message if refused else "",
        )

    def checkpoint(self, *, cosigned: bool) -> bytes | None:
        """The newest cosigned checkpoint, or None where the newest of all will do."""
        if not cosigned:
            return None
        if note := self._public.cosigned():
            return note
        raise NotReadyError(
            "the peer has cosigned no checkpoint yet",
            reason="NOT_COSIGNED_YET",
            action="ask again in a moment",
        )

    def _key_entries(self, origin: str) -> list[tuple[bytes, bytes]]:
        if origin in {"", self._public.origin}:
            return self._public.keys().entries
        if origin != self._public.peer_origin:
            raise NotFoundError(f"{origin} is neither this log nor its peer")
        if (history := self._public.peer_keys()) is None:
            raise UnavailableError(
                "nothing of the peer is replayed yet",
                reason="REPLAY_BEHIND",
                action="ask again in a moment; if it stays, the other side's node is not reached",
            )
        return history.entries


def size_of(note: bytes) -> int:
    """Entries under a checkpoint of which only the size is of interest; 0 for b""."""
    return Checkpoint.parse(parse_note(note).text).size if note else 0

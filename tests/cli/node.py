"""The SDK's node for tests behind real gRPC and mutual TLS, for a program to call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from ledgerd_client._memory_service import MemoryService
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.authority import Authority
from ledgerd_client.authority_directory import save_authority
from ledgerd_client.core.errors import ForbiddenError, LedgerError
from ledgerd_client.core.record import Key, SignedRecord, read_facts, verified
from ledgerd_client.identity import OPERATOR, PEER, SpiffeId
from ledgerd_client.keyfile import KeyFile
from ledgerd_client.pki import CertificateRequest, TlsKey, Validity
from ledgerd_client.testing import MemoryNode
from ledgerd_client.tls_authority import TlsAuthority
from ledgerd_client.transport import STATUS_METADATA, to_status

METHODS = (
    ("Append", "append"),
    ("GetReceipt", "get_receipt"),
    ("GetEntry", "get_entry"),
    ("GetTransfer", "get_transfer"),
    ("GetCheckpoint", "get_checkpoint"),
    ("GetInclusionProof", "get_inclusion_proof"),
    ("GetConsistencyProof", "get_consistency_proof"),
    ("GetKeyHistory", "get_key_history"),
    ("GetInfo", "get_info"),
    ("Check", "check"),
    ("GetContract", "get_contract"),
    ("ListFindings", "list_findings"),
)


class ServedNode:
    """One side: its authority's directory, and its node at an endpoint."""

    def __init__(self, node: MemoryNode, domain: str) -> None:
        self.node = node
        validity = Validity.starting(datetime.now(UTC), timedelta(days=2))
        tls = TlsAuthority.create(domain, validity)
        log = node.log
        self.authority = Authority(log.origin, domain, KeyFile(log.authority, True), tls)
        self.endpoint = ""
        # What it keeps against its peer.
        self.listed = pb.ListEvidenceResponse()

    @contextmanager
    def serving(self) -> Iterator[None]:
        with ThreadPoolExecutor(4) as pool:
            server = grpc.server(pool)
            rpc.add_LedgerServiceServicer_to_server(_ledger_service(self.node), server)
            rpc.add_AdminServiceServicer_to_server(_AdminService(self), server)
            self.endpoint = (
                f"localhost:{server.add_secure_port('localhost:0', self._credentials())}"
            )
            server.start()
            try:
                yield
            finally:
                server.stop(None).wait()

    def _credentials(self) -> grpc.ServerCredentials:
        key, holder = TlsKey.generate(), SpiffeId(self.authority.domain, PEER, "side")
        request = CertificateRequest.make(key, holder, ["localhost"])
        validity = Validity.starting(datetime.now(UTC), timedelta(days=1))
        certificate = self.authority.tls.issue(request, validity)
        return grpc.ssl_server_credentials(
            [(key.pem, certificate.pem)], self.authority.tls.pem, require_client_auth=True
        )


def save(authority: Authority, directory: Path) -> None:
    directory.mkdir()
    save_authority(authority, directory)


_LOCK = threading.Lock()


def _ledger_service(node: MemoryNode) -> rpc.LedgerServiceServicer:
    def handler(name: str) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
        def handle(_: Any, request: Any, context: grpc.ServicerContext) -> Any:
            service = MemoryService(node.log, node.peer, _caller(context).id)
            return _answer(getattr(service, name), request, context)

        return handle

    def tail(_: Any, request: Any, context: grpc.ServicerContext) -> Any:
        service = MemoryService(node.log, node.peer, _caller(context).id)
        yield _answer(service.tail_findings, request, context)

    handlers = {rpc_name: handler(name) for rpc_name, name in METHODS} | {"TailFindings": tail}
    service: rpc.LedgerServiceServicer = type("_", (rpc.LedgerServiceServicer,), handlers)()
    return service


class _AdminService(rpc.AdminServiceServicer):
    def __init__(self, served: ServedNode) -> None:
        self._log, self._served = served.node.log, served

    def ListEvidence(  # noqa: N802 -- gRPC names its methods
        self, request: pb.ListEvidenceRequest, context: grpc.ServicerContext
    ) -> pb.ListEvidenceResponse:
        return self._served.listed

    def SubmitKeyEvent(  # noqa: N802 -- gRPC names its methods
        self, request: pb.SubmitKeyEventRequest, context: grpc.ServicerContext
    ) -> pb.SubmitKeyEventResponse:
        return _answer(lambda request: self._submit(request, _caller(context)), request, context)

    def _submit(
        self, request: pb.SubmitKeyEventRequest, caller: SpiffeId
    ) -> pb.SubmitKeyEventResponse:
        if caller.role != OPERATOR:
            raise ForbiddenError(f"an {caller.role} may not do that")
        sent, log = request.record, self._log
        record = SignedRecord(sent.body, sent.key_id, sent.signature)
        keys = {log.authority.key_id: Key(0, log.authority.public)}
        item = verified(record, read_facts(record.body)[1], log.origin, keys)
        receipt = log.receipt(log.append(item))
        return pb.SubmitKeyEventResponse(
            receipt=pb.Receipt(
                header=receipt.header, proof=receipt.proof, checkpoint=receipt.checkpoint
            )
        )


def _caller(context: grpc.ServicerContext) -> SpiffeId:
    names = context.auth_context()["x509_subject_alternative_name"]
    return next(SpiffeId.parse(n.decode()) for n in names if n.startswith(b"spiffe:"))


def _answer(method: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
    try:
        with _LOCK:
            return method(request)
    except LedgerError as error:
        code, message, details = to_status(error)
        context.set_trailing_metadata([(STATUS_METADATA, details)])
        context.abort(code, message)

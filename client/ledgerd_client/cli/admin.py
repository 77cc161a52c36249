"""The one call of an operator: hand in what the authority signed."""

from __future__ import annotations

import grpc

from ledgerd_client._histories import Histories
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import AdminServiceStub
from ledgerd_client._replies import check_receipt, to_receipt
from ledgerd_client.config import Settings
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import Receipt, check_body
from ledgerd_client.core.record import SignedRecord
from ledgerd_client.core.trust import Trust
from ledgerd_client.transport import (
    GrpcTransport,
    from_rpc_error,
    open_channel,
    read_tls_pair,
)


async def submit_key_event(settings: Settings, trust: Trust, record: SignedRecord) -> Receipt:
    """
    Have a key event recorded, and verify its receipt under the node's new key history.

    Raises what the node states, UnavailableError, or VerificationError when it proves nothing.
    """
    certificate, key = read_tls_pair(settings.tls_certificate, settings.tls_key)
    channel = open_channel(
        settings.endpoint,
        authorities=trust[settings.origin].certificates,
        certificate=certificate,
        key=key,
        use_proxy=settings.use_proxy,
    )
    sent = pb.Record(body=record.body, key_id=record.key_id, signature=record.signature)
    try:
        response = await AdminServiceStub(channel).SubmitKeyEvent(
            pb.SubmitKeyEventRequest(record=sent), timeout=settings.timeout_s
        )
        receipt = to_receipt(response.receipt)
        transport = GrpcTransport(channel, settings.timeout_s)
        histories = Histories(transport, trust, settings.keys_directory, settings.origin)
        await histories.refresh(settings.origin)

        def check(history: KeyHistory) -> None:
            check_receipt(receipt, history, None)
            check_body(receipt, record.body)

        await histories.judge(settings.origin, check)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        await channel.close()
    return receipt

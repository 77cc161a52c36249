"""
Every method of a real node, asked what is almost right by whoever may ask.

The node answers, or refuses with a status and a reason of its own; it never fails, never ends, and
its memory stays within bounds. All of it goes to one node, whose store is audited at the end.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from random import Random

import grpc
import pytest
from api.callers import MATRIX, METHODS, STANDBY
from border import Border, audit
from e2e import raw
from e2e.raw import World
from fuzz.messages import Maker
from fuzz.parsers import BODIES
from fuzz.profile import PROFILE
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client._status import stated
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.trust import Trust
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR
from ledgerd_client.transport import MAX_REQUEST_BYTES

pytestmark = pytest.mark.slow

HOMES = {
    INSTITUTION: "sz-hospital", REGULATOR: "cac", PEER: "hongkong/node", OPERATOR: "mainland-operator",
    STANDBY: "mainland/node",
}  # fmt: skip
OFFERED = {method: roles.split()[0] for method, roles in MATRIX.items() if roles}
# What may be said of a request that is wrong. INTERNAL and UNKNOWN may not, nor a bare UNAVAILABLE.
REFUSALS = {
    "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "ALREADY_EXISTS", "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED", "UNAVAILABLE",
}  # fmt: skip
MIB = 1 << 20

# Bodies that institutions write, one of each kind at least, and what states their terms.
OF_TRANSFERS = {
    "transfer": body_pb2.Terms,
    "ack": body_pb2.Terms,
    "cancel": body_pb2.Terms,
    "correction": body_pb2.Terms,
}
TERMS = {
    **OF_TRANSFERS,
    "contract": body_pb2.ContractTerms, "filing": body_pb2.ContractTerms,
    "supplement": body_pb2.ContractTerms, "termination": body_pb2.TerminationTerms,
    "disposal": body_pb2.DisposalTerms,
}  # fmt: skip
INSTITUTIONS = [
    body for body in BODIES if body_pb2.Body.FromString(body).author.startswith(("uscc.", "hkbr."))
]


class Target:
    """A node that runs, and a channel to it for each role."""

    def __init__(self, border: Border) -> None:
        self.border = border
        self.node = border.mainland
        self.world = World.of(border)
        self.channels = {role: self._channel(home) for role, home in HOMES.items()}
        self.likely = self._append_one()
        self.processes = self.node.processes
        self.memory = self._memory()

    def ask(self, method: str, role: str, request: bytes) -> str:
        """gRPC's code, and whether the node gave a reason of its own."""
        channel, path = self.channels[role], f"/{method}"
        try:
            if METHODS[method].server_streaming:
                # What is right may come to nothing for long: then it was answered.
                call = channel.unary_stream(path)(request, timeout=0.3 if waits(method) else 30)
                next(call, None)
                call.cancel()
            else:
                channel.unary_unary(path)(request, timeout=60)
        except grpc.RpcError as error:
            code = error.code().name  # type: ignore[attr-defined]
            if code == "DEADLINE_EXCEEDED" and waits(method):
                return "OK"
            return f"{code} {'' if stated(error) else 'without a reason'}".strip()  # type: ignore[arg-type]
        return "OK"

    def grown_mib(self) -> int:
        return (self._memory() - self.memory) // MIB

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()

    def _channel(self, home: str) -> grpc.Channel:
        directory = self.border.directory / home
        of = raw.settings(self.border, "sz-hospital")
        authorities = Trust.parse(of.trust.read_bytes())[of.origin].certificates
        credentials = grpc.ssl_channel_credentials(
            "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode(),
            (directory / "tls.key").read_bytes(),
            (directory / "tls.crt").read_bytes(),
        )
        options = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))
        return grpc.secure_channel(of.endpoint, credentials, options)

    def _append_one(self) -> list[bytes]:
        """What is in the log and means something: a transfer, its receipt, its names."""
        stub = rpc.LedgerServiceStub(self.channels[INSTITUTION])
        record = self.world.transfer()
        reply = stub.Append(pb.AppendRequest(records=[record]), wait_for_ready=True)
        body = body_pb2.Body.FromString(record.body)
        receipt = stub.GetReceipt(pb.GetReceiptRequest(index=reply.outcomes[0].recorded)).receipt
        return [
            record.body, record.key_id, record.signature, body.record_id, body.transfer.terms,
            body.origin.encode(), body.author.encode(), receipt.header, receipt.checkpoint,
            self.world.clinic.origin.encode(), self.world.clinic.id.encode(), b"GBA-SC-2026-001",
        ]  # fmt: skip

    def _memory(self) -> int:
        """Of all its processes, without the mapped file."""
        lines = [
            line
            for pid in self.processes
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("RssAnon")
        ]
        return sum(int(line.split()[1]) * 1024 for line in lines)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    border = Border(tmp_path_factory.mktemp("fuzz") / "border", law="newest")
    border.mainland.start()
    target = Target(border)
    try:
        yield target
    finally:
        target.close()
        border.close()


def record_like(random: Random, target: Target) -> pb.Record:
    """A body that is canonical and rightly signed, whatever it says."""
    world, maker = target.world, Maker(random, target.likely, readable=True)
    right = body_pb2.Body.FromString(world.transfer().body)
    made = body_pb2.Body.FromString(random.choice(INSTITUTIONS))
    for name in ("salt", "origin", "author", "record_id", "occurred_at"):
        setattr(made, name, getattr(right, name))
    statement = getattr(made, made.WhichOneof("record"))
    if hasattr(statement, "terms"):
        terms = TERMS[made.WhichOneof("record")].FromString(
            right.transfer.terms if made.WhichOneof("record") in OF_TRANSFERS else statement.terms
        )
        statement.terms = near(maker, terms)
    body = (
        near(maker, made) if random.random() < 0.5 else made.SerializeToString(deterministic=True)
    )
    try:
        return raw.sign(body, world.hospital.key)
    except (AssertionError, DecodeError, KeyError, LedgerError, OverflowError, ValueError):
        return pb.Record(body=body, key_id=world.hospital.key.key_id, signature=bytes(64))


def near(maker: Maker, message: Message) -> bytes:
    """Its canonical bytes, with some of its fields said again otherwise."""
    message.MergeFromString(maker.message(message.DESCRIPTOR))
    message.DiscardUnknownFields()
    return message.SerializeToString(deterministic=True)


def waits(method: str) -> bool:
    """Whether it says nothing until something happens."""
    return "Tail" in method or method.endswith("/Watch")


def is_refusal(answer: str) -> bool:
    return answer == "OK" or answer in REFUSALS


def check(target: Target, method: str, seed: int) -> None:
    request = Maker(Random(seed), target.likely).message(METHODS[method].input_type)
    answer = target.ask(method, OFFERED[method], request)
    # gRPC itself refuses what is larger than the node says, before any of it is looked at.
    too_large = len(request) > MAX_REQUEST_BYTES
    assert is_refusal(answer) or (too_large and answer.startswith("RESOURCE_EXHAUSTED")), answer


@pytest.mark.parametrize("method", sorted(m for m in OFFERED if not waits(m)))
@settings(PROFILE)
@given(seed=st.integers(0, 2**64 - 1))
def test_whatever_is_asked_is_answered_or_refused(target: Target, method: str, seed: int) -> None:
    check(target, method, seed)


@pytest.mark.parametrize("method", sorted(m for m in OFFERED if waits(m)))
@settings(PROFILE, max_examples=max(PROFILE.max_examples // 20, 20))
@given(seed=st.integers(0, 2**64 - 1))
def test_so_it_is_by_what_waits(target: Target, method: str, seed: int) -> None:
    """Fewer of them: what is right is waited for."""
    check(target, method, seed)


@pytest.mark.parametrize("method", ["Append", "Check"])
@settings(PROFILE)
@given(seed=st.integers(0, 2**64 - 1))
def test_so_is_whatever_is_rightly_signed(target: Target, method: str, seed: int) -> None:
    random = Random(seed)
    records = [record_like(random, target) for _ in range(random.choice([1, 1, 3]))]
    request = (
        pb.AppendRequest(records=records)
        if method == "Append"
        else pb.CheckRequest(bodies=[r.body for r in records])
    )
    answer = target.ask(
        f"ledger.v1.LedgerService/{method}", INSTITUTION, request.SerializeToString()
    )
    assert is_refusal(answer), answer


class TestAfterAllOfIt:
    """In the order in which they stand, at the end of the module."""

    def test_the_node_and_its_processes_are_those_that_were_started(self, target: Target) -> None:
        assert target.node.processes == target.processes

    def test_its_memory_has_stayed_within_bounds(self, target: Target) -> None:
        assert target.grown_mib() < 200

    def test_it_has_logged_no_fault_of_its_own(self, target: Target) -> None:
        lines = target.node.log.read_text().splitlines()
        events = {json.loads(line)["event"] for line in lines if line.startswith("{")}
        assert events & {"call_failed", "store_failed"} == set()
        assert not [line for line in lines if "Traceback" in line]

    def test_its_store_audits(self, target: Target) -> None:
        assert target.node.stop() == 0
        audit(target.node.config)

"""
What a hostile or broken caller sends to a real node, as raw gRPC: the SDK would refuse it first.

Everything is sent to one node, whose peer is down, so that its log grows by what it takes and by
nothing else. Each record is right and rightly signed but for the one thing that its name says.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import builders
import grpc
import pytest
from bench.load import connect
from border import Border, audit
from spellings import other_spellings

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client._status import stated
from ledgerd_client.config import Settings
from ledgerd_client.core.body import KIND_OF_RECORD, MAX_BODY_BYTES, MAX_COUNT
from ledgerd_client.core.header import Halves, signed_bytes
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.transfer import ref_of
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_key_file
from ledgerd_client.transport import MAX_MESSAGE_BYTES

APPEND = "/ledger.v1.LedgerService/Append"
HONGKONG = "hongkong.dev.invalid/log"
MINUTE = 60_000_000
REPLAY = b"\x00" * 32


@dataclass(frozen=True, slots=True)
class World:
    """A hospital that calls, a bank on its side, and a clinic across the border."""

    border: Border
    hospital: builders.Institution
    bank: builders.Institution
    clinic: builders.Institution

    @classmethod
    def of(cls, border: Border) -> World:
        names = ("sz-hospital", "gz-bank", "hk-clinic")
        return cls(border, *(institution(settings(border, name)) for name in names))

    def terms(self, **changes: object) -> bytes:
        made = builders.Border(
            builders.Log(self.hospital.origin), builders.Log(HONGKONG), self.hospital, self.clinic
        ).terms(**changes)
        return made.SerializeToString(deterministic=True)

    def transfer(self, **changes: object) -> pb.Record:
        """A TRANSFER by the hospital; changes are of its terms."""
        return self.record(transfer=body_pb2.Transfer(terms=self.terms(**changes)))

    def record(self, *, at: int | None = None, **record: object) -> pb.Record:
        return sign(self.hospital.body(at or now(), **record), self.hospital.key)

    def ack(self, recipient: builders.Institution, **changes: object) -> pb.Record:
        """An ACK by the hospital of a transfer from the clinic to recipient."""
        terms = self.terms(exporter=self.clinic.party, recipient=recipient.party)
        fields = {
            "terms": terms,
            "outcome": body_pb2.OUTCOME_ACCEPTED,
            "received_at": now(),
            "received_commitment": body_pb2.Terms.FromString(terms).commitment,
        }
        return self.record(ack=body_pb2.Ack(**{**fields, **changes}))


def settings(border: Border, name: str) -> Settings:
    return Settings.from_file(border.client(name))


def institution(of: Settings) -> builders.Institution:
    assert of.institution is not None
    assert of.signing_key is not None
    return builders.Institution(of.origin, of.institution, read_key_file(of.signing_key).key, 0)


def now() -> int:
    return time.time_ns() // 1000


def sign(raw: bytes, key: SigningKey) -> pb.Record:
    """Sign a body as format.md says, whatever it says."""
    body = body_pb2.Body.FromString(raw)
    name = body.WhichOneof("record")
    assert name is not None
    message, halves = getattr(body, name), None
    if terms := getattr(message, "terms", b""):
        parties = body_pb2.Terms.FromString(terms)
        is_exporter = body.author == parties.exporter.institution
        other = parties.recipient if is_exporter else parties.exporter
        digest, outcome = sha256(terms).digest(), getattr(message, "outcome", 0)
        halves = Halves(ref_of(parties), digest, outcome, other.origin)
    kind, digest = KIND_OF_RECORD[name], sha256(raw).digest()
    signature = key.sign(signed_bytes(body.origin, kind, digest, key.key_id, halves))
    return pb.Record(body=raw, key_id=key.key_id, signature=signature)


def changed(record: pb.Record, **changes: bytes) -> pb.Record:
    fields = {"body": record.body, "key_id": record.key_id, "signature": record.signature}
    return pb.Record(**{**fields, **changes})


def other_bytes(record: pb.Record, key: SigningKey) -> pb.Record:
    """Another record of the same id."""
    body = body_pb2.Body.FromString(record.body)
    body.salt = os.urandom(16)
    return sign(body.SerializeToString(deterministic=True), key)


def of_the_other_log(world: World) -> pb.Record:
    elsewhere = replace(world.hospital, origin=HONGKONG)
    there = replace(world.clinic, origin=world.hospital.origin)
    terms = world.terms(exporter=elsewhere.party, recipient=there.party)
    return sign(
        elsewhere.body(now(), transfer=body_pb2.Transfer(terms=terms)), world.hospital.key
    )


def by_another(world: World) -> pb.Record:
    terms = world.terms(exporter=world.bank.party)
    return sign(world.bank.body(now(), transfer=body_pb2.Transfer(terms=terms)), world.bank.key)


def by_authority(world: World) -> pb.Record:
    event = body_pb2.KeyEvent(
        action=body_pb2.KEY_ACTION_REVOKE,
        role=body_pb2.ROLE_INSTITUTION,
        subject=world.bank.id,
        public_key=world.bank.key.public,
    )
    raw = builders.new_body(world.hospital.origin, "authority", now(), key_event=event)
    return sign(raw, world.hospital.key)


def cancel(world: World, reason: str) -> pb.Record:
    return world.record(cancel=body_pb2.Cancel(terms=world.terms(), reason=reason))


# What is wrong with a record, the reason that the node must give, and the record.
RECORDS: dict[str, tuple[str, Callable[[World], pb.Record]]] = {
    "it is not signed": ("UNSIGNED", lambda w: changed(w.transfer(), signature=b"")),
    "its signature is another record's": (
        "BAD_SIGNATURE",
        lambda w: changed(w.transfer(), signature=w.transfer().signature),
    ),
    "its body was changed after signing": (
        "BAD_SIGNATURE",
        lambda w: changed(w.transfer(), body=w.transfer().body),
    ),
    "its signature is cut short": (
        "FIELD_OUT_OF_RANGE",
        lambda w: changed(w.transfer(), signature=bytes(63)),
    ),
    "its key was never admitted": (
        "KEY_UNKNOWN",
        lambda w: sign(w.transfer().body, builders.new_key()),
    ),
    "its key is another institution's": (
        "KEY_UNKNOWN",
        lambda w: sign(w.transfer().body, w.bank.key),
    ),
    "another institution wrote it": ("WRONG_AUTHOR", by_another),
    "it is an authority's to state": ("WRONG_AUTHOR", by_authority),
    "it is of another log": ("WRONG_ORIGIN", of_the_other_log),
    "its terms name another exporter": (
        "NOT_EXPORTER",
        lambda w: w.transfer(exporter=w.bank.party),
    ),
    "it acknowledges what another was sent": ("NOT_RECIPIENT", lambda w: w.ack(w.bank)),
    "it accepts another payload than was declared": (
        "FIELD_OUT_OF_RANGE",
        lambda w: w.ack(w.hospital, received_commitment=os.urandom(32)),
    ),
    "its outcome has no meaning": ("UNKNOWN_CODE", lambda w: w.ack(w.hospital, outcome=9)),
    "it is not canonically encoded": (
        "NOT_CANONICAL",
        lambda w: changed(w.transfer(), body=w.transfer().body + b"\xf8\x07\x01"),
    ),
    "its terms are not canonically encoded": (
        "NOT_CANONICAL",
        lambda w: w.record(transfer=body_pb2.Transfer(terms=w.terms() + b"\xf8\x07\x01")),
    ),
    "its body is no message": ("MALFORMED", lambda w: changed(w.transfer(), body=b"\xff")),
    "its body is empty": ("FIELD_OUT_OF_RANGE", lambda w: changed(w.transfer(), body=b"")),
    "its body is too large": (
        "BODY_TOO_LARGE",
        lambda w: changed(w.transfer(), body=bytes(MAX_BODY_BYTES + 1)),
    ),
    "it counts more people than there are": (
        "FIELD_OUT_OF_RANGE",
        lambda w: w.transfer(subjects=MAX_COUNT + 1),
    ),
    "it counts more first-timers than people": (
        "FIELD_OUT_OF_RANGE",
        lambda w: w.transfer(subjects=3, subjects_first_this_year=4),
    ),
    "it names a purpose that is not known": ("UNKNOWN_CODE", lambda w: w.transfer(purposes=[999])),
    "its purposes are not ascending": (
        "FIELD_OUT_OF_RANGE",
        lambda w: w.transfer(purposes=[7, 2]),
    ),
    "its day of deletion is none": (
        "FIELD_OUT_OF_RANGE",
        lambda w: w.transfer(delete_by=20270229),
    ),
    "nothing crosses": (
        "FIELD_OUT_OF_RANGE",
        lambda w: w.transfer(recipient=w.bank.party),
    ),
    "it holds a Mainland identity number": (
        "PERSONAL_DATA",
        lambda w: w.transfer(contract_id="No 11010519491231002X"),
    ),
    "it holds a Hong Kong identity card number": (
        "PERSONAL_DATA",
        lambda w: cancel(w, "asked by A123456(3) at the desk"),
    ),
    "it holds a card number": (
        "PERSONAL_DATA",
        lambda w: cancel(w, "charged to 4111 1111 1111 1111"),
    ),
    "it is of six minutes from now": ("CLOCK_AHEAD", lambda w: w.record(
        at=now() + 6 * MINUTE, transfer=body_pb2.Transfer(terms=w.terms())
    )),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caller:
    """A certificate that is shown to the Mainland node."""

    # A directory of the border that holds tls.crt and tls.key.
    name: str

    async def call(self, world: World, method: str, request: bytes) -> None:
        home = world.border.directory / self.name
        shown = replace(
            settings(world.border, "sz-hospital"),
            tls_certificate=home / "tls.crt",
            tls_key=home / "tls.key",
        )
        async with connect(shown) as channel:
            if method.endswith("ListHeaders"):
                await anext(aiter(channel.unary_stream(method)(request, timeout=30)), None)
            else:
                await channel.unary_unary(method)(request, timeout=30)


async def without_certificate(world: World) -> None:
    async with channel_without_limits(world, certificate=False) as channel:
        await channel.unary_unary(APPEND)(one(world), timeout=30)


async def too_long(world: World) -> None:
    async with channel_without_limits(world) as channel:
        await channel.unary_unary(APPEND)(bytes(MAX_MESSAGE_BYTES + 1), timeout=30)


def channel_without_limits(world: World, *, certificate: bool = True) -> grpc.aio.Channel:
    """As a library of somebody else's may open it."""
    of = settings(world.border, "sz-hospital")
    authorities = Trust.parse(of.trust.read_bytes())[of.origin].certificates
    pair = (of.tls_key.read_bytes(), of.tls_certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(
        "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode(),
        *(pair if certificate else (None, None)),
    )
    options = (("grpc.enable_http_proxy", 0),)
    return grpc.aio.secure_channel(of.endpoint, credentials, options)


def one(world: World) -> bytes:
    return pb.AppendRequest(records=[world.transfer()]).SerializeToString()


def many(world: World) -> bytes:
    return pb.AppendRequest(records=[world.transfer()] * 1001).SerializeToString()


def by(name: str, method: str, request: Callable[[World], bytes] = lambda _: b"") -> Call:
    return lambda world: Caller(name).call(world, f"/ledger.v1.{method}", request(world))


Call = Callable[[World], Awaitable[None]]

# What is wrong with a call as a whole, its reason (or gRPC's code where the node itself says
# nothing), and the call.
CALLS: dict[str, tuple[str, Call]] = {
    "it has no record": ("BATCH_EMPTY", by("sz-hospital", "LedgerService/Append")),
    "it has 1,001 records": ("BATCH_TOO_LARGE", by("sz-hospital", "LedgerService/Append", many)),
    "it is no message": ("MALFORMED", by("sz-hospital", "LedgerService/Append", lambda _: b"\xff")),
    "its message is too large": ("RESOURCE_EXHAUSTED", too_long),
    "its caller has no certificate": ("UNAVAILABLE", without_certificate),
    "an institution of the other side appends": (
        "TRUST_DOMAIN",
        by("hk-clinic", "LedgerService/Append", one),
    ),
    "the peer appends": ("WRONG_ROLE", by("hongkong/node", "LedgerService/Append", one)),
    "an operator appends": ("WRONG_ROLE", by("mainland-operator", "LedgerService/Append", one)),
    "an institution asks for headers": ("WRONG_ROLE", by("gz-bank", "PeerService/ListHeaders")),
    "an institution asks to be cosigned": ("WRONG_ROLE", by("gz-bank", "PeerService/AddCheckpoint")),
    "an institution asks what is cosigned": ("WRONG_ROLE", by("gz-bank", "PeerService/GetCosigned")),
    "an institution submits a key": ("WRONG_ROLE", by("gz-bank", "AdminService/SubmitKeyEvent")),
    "an institution reads everything": ("WRONG_ROLE", by("gz-bank", "RegulatorService/ListEntries")),
    "the peer submits a key": ("WRONG_ROLE", by("hongkong/node", "AdminService/SubmitKeyEvent")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Played:
    """What the node answered, its log's size before and after, and what its audit found."""

    answers: dict[str, str]
    spellings: set[str]
    reused: str
    sizes: tuple[int, int]
    audit: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    border = Border(tmp_path_factory.mktemp("bad-input") / "border")
    try:
        border.mainland.start()
        answers = asyncio.run(send_everything(World.of(border)))
        assert border.mainland.stop() == 0
        yield Played(*answers, audit(border.mainland.config))
    finally:
        border.close()


async def send_everything(world: World) -> tuple[dict[str, str], set[str], str, tuple[int, int]]:
    async with connect(settings(world.border, "sz-hospital")) as channel:
        stub = rpc.LedgerServiceStub(channel)

        async def outcome(record: pb.Record) -> pb.AppendOutcome:
            reply = await stub.Append(pb.AppendRequest(records=[record]), wait_for_ready=True)
            return reply.outcomes[0]

        good = world.transfer()
        # A right one is taken: what refuses the others is not how they are made here.
        assert (await outcome(good)).WhichOneof("result") == "recorded"
        before = (await stub.GetInfo(pb.GetInfoRequest())).size
        answers = {
            name: (await outcome(make(world))).refused.reason
            for name, (_, make) in RECORDS.items()
        }
        reused = (await outcome(other_bytes(good, world.hospital.key))).refused.reason
        spelled = [
            (await outcome(changed(good, body=body))).refused.reason
            for body in other_spellings(good.body).values()
        ]
        answers |= {name: await reason_of(call(world)) for name, (_, call) in CALLS.items()}
        after = (await stub.GetInfo(pb.GetInfoRequest())).size
    return answers, set(spelled), reused, (before, after)


async def reason_of(call: Awaitable[None]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        told = stated(error)
        return told.reason if told else error.code().name
    return "it was answered"


@pytest.mark.parametrize("what", RECORDS)
def test_a_record_is_refused_because(played: Played, what: str) -> None:
    assert played.answers[what] == RECORDS[what][0]


@pytest.mark.parametrize("what", CALLS)
def test_a_call_is_refused_because(played: Played, what: str) -> None:
    assert played.answers[what] == CALLS[what][0]


def test_a_record_id_is_not_used_for_other_bytes(played: Played) -> None:
    assert played.reused == "RECORD_ID_REUSED"


def test_no_second_spelling_of_a_stored_record_is_taken(played: Played) -> None:
    assert played.spellings <= {"NOT_CANONICAL", "MALFORMED"}


def test_nothing_of_it_is_stored(played: Played) -> None:
    assert played.sizes[0] == played.sizes[1]


def test_the_store_audits_afterwards(played: Played) -> None:
    assert played.audit.stdout.startswith(f"{played.sizes[1]} entries")

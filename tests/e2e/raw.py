"""Records and calls below the SDK, which would refuse most of them: rightly signed, whatever they say."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import builders
import grpc
from bench.load import connect
from border import Border

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._status import stated
from ledgerd_client.config import Settings
from ledgerd_client.core.body import KIND_OF_RECORD
from ledgerd_client.core.header import Halves, encode_halves, signed_bytes
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.transfer import ref_of
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_key_file

APPEND = "/ledger.v1.LedgerService/Append"
HONGKONG = "hongkong.dev.invalid/log"


@dataclass(frozen=True, slots=True)
class World:
    """A border's institutions: a hospital that calls, a bank on its side, a clinic across."""

    border: Border
    hospital: builders.Institution
    bank: builders.Institution
    clinic: builders.Institution

    @classmethod
    def of(cls, border: Border) -> World:
        names = ("sz-hospital", "gz-bank", "hk-clinic")
        return cls(border, *(institution(settings(border, name)) for name in names))

    def terms(self, **changes: Any) -> bytes:
        logs = builders.Log(self.hospital.origin), builders.Log(HONGKONG)
        made = builders.Border(*logs, self.hospital, self.clinic).terms(**changes)
        return made.SerializeToString(deterministic=True)

    def transfer(self, **changes: Any) -> pb.Record:
        """A TRANSFER by the hospital; changes are of its terms."""
        return self.record(transfer=body_pb2.Transfer(terms=self.terms(**changes)))

    def ack(self, recipient: builders.Institution, **changes: Any) -> pb.Record:
        """An ACK by the hospital of a transfer from the clinic to recipient."""
        terms = self.terms(exporter=self.clinic.party, recipient=recipient.party)
        fields = {
            "terms": terms,
            "outcome": body_pb2.OUTCOME_ACCEPTED,
            "received_at": now(),
            "received_commitment": body_pb2.Terms.FromString(terms).commitment,
        }
        return self.record(ack=body_pb2.Ack(**{**fields, **changes}))

    def cancel(self, reason: str) -> pb.Record:
        return self.record(cancel=body_pb2.Cancel(terms=self.terms(), reason=reason))

    def record(self, *, at: int = 0, **record: Any) -> pb.Record:
        return sign(self.hospital.body(at or now(), **record), self.hospital.key)

    def by_bank(self) -> pb.Record:
        terms = self.terms(exporter=self.bank.party)
        return sign(self.bank.body(now(), transfer=body_pb2.Transfer(terms=terms)), self.bank.key)

    def of_the_other_log(self) -> pb.Record:
        ours = replace(self.hospital, origin=HONGKONG)
        theirs = replace(self.clinic, origin=self.hospital.origin)
        terms = self.terms(exporter=ours.party, recipient=theirs.party)
        return sign(ours.body(now(), transfer=body_pb2.Transfer(terms=terms)), ours.key)

    def revocation_of_bank(self) -> pb.Record:
        """What only the authority may sign, signed by the hospital."""
        event = body_pb2.KeyEvent(
            action=body_pb2.KEY_ACTION_REVOKE,
            role=body_pb2.ROLE_INSTITUTION,
            subject=self.bank.id,
            public_key=self.bank.key.public,
        )
        raw = builders.new_body(self.hospital.origin, "authority", now(), key_event=event)
        return sign(raw, self.hospital.key)


def settings(border: Border, name: str) -> Settings:
    return Settings.from_file(border.client(name))


def institution(of: Settings) -> builders.Institution:
    assert of.institution is not None
    assert of.signing_key is not None
    return builders.Institution(of.origin, of.institution, read_key_file(of.signing_key).key, 0)


def now() -> int:
    return time.time_ns() // 1000


def sign(raw: bytes, key: SigningKey) -> pb.Record:
    """Sign a body as docs/format.md says."""
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
    stated = signed_bytes(body.origin, kind, digest, key.key_id, encode_halves(halves))
    signature = key.sign(stated)
    return pb.Record(body=raw, key_id=key.key_id, signature=signature)


def changed(record: pb.Record, **changes: bytes) -> pb.Record:
    fields = {"body": record.body, "key_id": record.key_id, "signature": record.signature}
    return pb.Record(**{**fields, **changes})


def other_bytes(record: pb.Record, key: SigningKey) -> pb.Record:
    """Another record of the same id."""
    body = body_pb2.Body.FromString(record.body)
    body.salt = os.urandom(16)
    return sign(body.SerializeToString(deterministic=True), key)


Call = Callable[[World], Awaitable[None]]


def by(name: str, method: str, request: Callable[[World], bytes] = lambda _: b"") -> Call:
    """A call to the Mainland node with the certificate in a directory of the border."""

    async def call(world: World) -> None:
        home, path = world.border.directory / name, f"/ledger.v1.{method}"
        shown = replace(
            settings(world.border, "sz-hospital"),
            tls_certificate=home / "tls.crt",
            tls_key=home / "tls.key",
        )
        async with connect(shown) as channel:
            if method.endswith("ListHeaders"):
                await anext(aiter(channel.unary_stream(path)(request(world), timeout=30)), None)
            else:
                await channel.unary_unary(path)(request(world), timeout=30)

    return call


def unlimited(request: Callable[[World], bytes], *, certificate: bool = True) -> Call:
    """An Append by the hospital with a library that knows no limits, and perhaps no certificate."""

    async def call(world: World) -> None:
        of = settings(world.border, "sz-hospital")
        authorities = Trust.parse(of.trust.read_bytes())[of.origin].certificates
        pair = (of.tls_key.read_bytes(), of.tls_certificate.read_bytes())
        credentials = grpc.ssl_channel_credentials(
            "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode(),
            *(pair if certificate else (None, None)),
        )
        options = (("grpc.enable_http_proxy", 0),)
        async with grpc.aio.secure_channel(of.endpoint, credentials, options) as channel:
            await channel.unary_unary(APPEND)(request(world), timeout=30)

    return call


async def reason_of(call: Awaitable[object]) -> str:
    """Why a call is refused, or gRPC's code where the node itself says nothing."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        told = stated(error)
        return told.reason if told else error.code().name
    return "it was answered"

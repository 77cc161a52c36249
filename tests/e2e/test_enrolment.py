"""
docs/enrolment.md from two empty directories to a transfer across the border, with real keys and
the installed programs; then those who are not let in any more, or never were.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench.load import connect, make_transfer
from border import LEDGERCTL, LEDGERD, Node, audit, run
from e2e.raw import reason_of
from institutions import Registry, command, until

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto.service_pb2_grpc import LedgerServiceStub
from ledgerd_client.authority_directory import load_authority
from ledgerd_client.config import Settings
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.header import Header
from ledgerd_client.core.record import sign_record
from ledgerd_client.enrolment import EnrolmentRequest
from ledgerd_client.keyfile import read_key_file
from ledgerd_client.pki import Certificate, Validity
from ledgerd_client.tls_authority import TlsAuthority

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HOSPITAL, CLINIC, BANK = "uscc.12440300MB0000001U", "hkbr.50000001", "uscc.91440100MA0000002D"

NODE_TOML = """\
origin = "{origin}"
id = "{name}"
trust_domain = "{domain}"
data = "data"
listen = "127.0.0.1:{port}"
trust = "../../trust.txt"
operators = ["ops-1"]
keys = {{ log = "keys/log.key", entry = "keys/entry.key", cosigner = "keys/cosigner.key" }}
tls = {{ certificate = "tls.crt", key = "keys/tls.key", hosts = ["localhost", "127.0.0.1"] }}
peer = {{ endpoint = "127.0.0.1:{peer_port}", id = "{peer}", trust_domain = "{peer_domain}" }}
timing = {{ anchor_interval_s = 1, poll_interval_s = 0.2 }}
rules = {{ law = "" }}
"""


@dataclass(slots=True)
class Side:
    """One side, below home, as its people make it."""

    home: Path
    name: str
    port: int
    vkey: str = field(init=False)
    node: Node = field(init=False)

    @property
    def domain(self) -> str:
        return f"{self.name}.ledger.example"

    @property
    def origin(self) -> str:
        return f"{self.domain}/transfers"

    @property
    def authority(self) -> Path:
        return self.home / "authority"

    def begin(self) -> None:
        init = ("authority", "init", "--dir", self.authority, "--origin", self.origin)
        self.vkey = json.loads(command(*init, "--json"))["authority"]

    def found(self, peer: Side) -> None:
        """The node asks, the authority signs, the node takes it."""
        config, request, approval = (
            self.home / "node" / name for name in ("node.toml", "request.json", "approval.json")
        )
        config.parent.mkdir()
        config.write_text(NODE_TOML.format(
            origin=self.origin, name=self.name, domain=self.domain, port=self.port,
            peer=peer.name, peer_domain=peer.domain, peer_port=peer.port,
        ))  # fmt: skip
        asked = run(LEDGERD, "init", "--config", str(config), "--request", str(request))
        signed = run(
            LEDGERCTL, "authority", "genesis", str(request), "--dir", str(self.authority),
            "--peer-origin", peer.origin, "--peer-authority", peer.vkey,
            "--out", str(approval), "--yes",
        )  # fmt: skip
        # What the one reads out is what the other is shown.
        assert f"fingerprint      {asked.stdout.strip()}" in signed.stderr
        run(LEDGERD, "init", "--config", str(config), "--genesis", str(approval))
        self.node = Node(config, options=())

    def enrol(self, name: str, role: str, subject: str, place: str = "") -> Settings:
        operator, trust = self.home / "operator" / "client.toml", self.home.with_name("trust.txt")
        registry = Registry(self.origin, self.authority, operator, trust, f"127.0.0.1:{self.port}")
        options = ("--place", place, "--sector", "3") if place else ()
        return Settings.from_file(registry.enrol(self.home / name, role, subject, *options))

    def client(self, name: str) -> Path:
        return self.home / name / "client.toml"


@dataclass(slots=True)
class Story:
    """What came of it."""

    states: list[str] = field(default_factory=list)
    # Where a record is, as its author was told before and after its key was revoked.
    places: list[int] = field(default_factory=list)
    # What a declaration after that was told.
    refusal: str = ""
    callers: dict[str, str] = field(default_factory=dict)
    audits: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("enrolment")
    mainland, hongkong = sides = make_sides(home)
    try:
        for side in sides:
            side.node.launch()
        for side in sides:
            side.node.wait_for("READY=1")
            side.enrol("operator", "operator", "ops-1")
        hospital = mainland.enrol("hospital", "institution", HOSPITAL, "440300")
        hongkong.enrol("clinic", "institution", CLINIC, "810000")
        story = Story()
        story.states = transfer(mainland, hongkong)
        story.callers = asyncio.run(call_with_certificates(mainland, hongkong, hospital))
        revoke(story, mainland, hospital)
        assert [side.node.stop() for side in sides] == [0, 0]
        story.audits = [audit(side.node.config).stdout for side in sides]
        yield story
    finally:
        for side in sides:
            side.node.close()


def make_sides(home: Path) -> tuple[Side, Side]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        ports = [free.getsockname()[1] for free in (one, two)]
    mainland = Side(home / "mainland", "mainland", ports[0])
    hongkong = Side(home / "hongkong", "hongkong", ports[1])
    for side in (mainland, hongkong):
        side.begin()
    theirs = [side.authority / "trust.txt" for side in (mainland, hongkong)]
    command("trust", "make", *theirs, "--out", home / "trust.txt")
    mainland.found(hongkong)
    hongkong.found(mainland)
    return mainland, hongkong


def transfer(mainland: Side, hongkong: Side) -> list[str]:
    """Declare and acknowledge a file; what both nodes make of it in the end."""
    payload, ticket = mainland.home / "scan.dcm", mainland.home / "ticket"
    payload.write_bytes(b"an image")
    declare(mainland, "--ticket", ticket, payload)
    command("ack", ticket, "--payload", payload, "--config", hongkong.client("clinic"))
    return [state(mainland.client("hospital"), ticket), state(hongkong.client("clinic"), ticket)]


def declare(mainland: Side, *words: str | Path, code: int = 0) -> str:
    done = run(
        LEDGERCTL, "declare", *map(str, words), "--to", CLINIC, "--contract", "SCC-2026-001",
        "--subjects", "1", "--purpose", "ReferralManagement",
        "--category", "health and physiology", "--legal-basis", "CN13_1 consent",
        "--config", str(mainland.client("hospital")), code=code,
    )  # fmt: skip
    return done.stderr


def state(config: Path, ticket: Path) -> str:
    """Once both halves are known there."""

    def ask() -> str:
        shown: dict[str, str] = json.loads(command("show", ticket, "--config", config, "--json"))
        return shown["state"]

    return until(ask, lambda found: found != "open")


def revoke(story: Story, mainland: Side, hospital: Settings) -> None:
    assert hospital.signing_key is not None
    key = read_key_file(hospital.signing_key).key
    signed = sign_record(make_transfer(hospital), key)
    record = pb.Record(body=signed.body, key_id=signed.key_id, signature=signed.signature)
    story.places.append(asyncio.run(append(hospital, record)).recorded)
    revocation = mainland.home / "revocation.json"
    command("enrol", "revoke", "--id", HOSPITAL, "--public-key", encode_base64(key.public),
            "--dir", mainland.authority, "--out", revocation, "--yes")  # fmt: skip
    command("enrol", "submit", revocation, "--config", mainland.client("operator"))
    again = asyncio.run(append(hospital, record)).repeated
    story.places.append(Header.parse(again.header).index)
    story.refusal = declare(
        mainland, "--ticket", mainland.home / "second", mainland.home / "scan.dcm", code=3
    )


async def append(settings: Settings, record: pb.Record) -> pb.AppendOutcome:
    async with connect(settings) as channel:
        reply = await LedgerServiceStub(channel).Append(pb.AppendRequest(records=[record]))
    return reply.outcomes[0]


async def call_with_certificates(
    mainland: Side, hongkong: Side, hospital: Settings
) -> dict[str, str]:
    """How the Mainland node answers certificates that all name an institution of its side."""
    asked = EnrolmentRequest.parse((mainland.home / "hospital" / "request.json").read_bytes())
    ours, theirs = (load_authority(side.authority).tls for side in (mainland, hongkong))
    start, today = Validity.of(ours.certificate).not_before, datetime.now(UTC)
    a_day = Validity.starting(today, timedelta(days=1))
    past = Validity(start, start + timedelta(minutes=1))
    stranger = TlsAuthority.create("Stranger", Validity.starting(today, timedelta(days=9)))

    async def call(issuer: TlsAuthority, validity: Validity, subject: str = HOSPITAL) -> str:
        request = asked.certificate_request
        holder = replace(request.holder, id=subject)
        return await answer(hospital, issuer.issue(replace(request, holder=holder), validity))

    return {
        "it is as it should be": await call(ours, a_day),
        "it has expired": await call(ours, past),
        "it is by the other side's authority": await call(theirs, a_day),
        "it is by an authority that nobody knows": await call(stranger, a_day),
        "its institution is not in the log": await call(ours, a_day, BANK),
    }


async def answer(settings: Settings, certificate: Certificate) -> str:
    path = settings.tls_certificate.with_name("tried.crt")
    path.write_bytes(certificate.pem)
    async with connect(replace(settings, tls_certificate=path)) as channel:
        return await reason_of(LedgerServiceStub(channel).GetInfo(pb.GetInfoRequest()))


def test_a_transfer_is_matched_on_both_sides(story: Story) -> None:
    assert story.states == ["matched", "matched"]


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("it is as it should be", "it was answered"),
        ("it has expired", "UNAVAILABLE"),
        ("it is by the other side's authority", "UNAUTHENTICATED"),
        ("it is by an authority that nobody knows", "UNAVAILABLE"),
        ("its institution is not in the log", "NOT_ADMITTED"),
    ],
)
def test_how_a_certificate_is_answered(story: Story, certificate: str, reason: str) -> None:
    """
    UNAVAILABLE is what a caller sees of a handshake that fails.
    """
    assert story.callers[certificate] == reason


def test_a_revoked_key_declares_nothing_more(story: Story) -> None:
    assert "(KEY_REVOKED)" in story.refusal


def test_a_retry_of_what_it_signed_before_still_gets_its_receipt(story: Story) -> None:
    assert story.places[0] == story.places[1]


def test_both_stores_audit(story: Story) -> None:
    assert all("everything is as the log says" in said for said in story.audits)

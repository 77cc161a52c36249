"""Setting up a side and letting members in: what is signed, what is refused, what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cli.tool import Tool

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.authority_directory import load_authority, save_authority
from ledgerd_client.config import Settings
from ledgerd_client.core.admission import admission_digest
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.header import (
    Kind,
    encode_halves,
    genesis_previous,
    header_bytes,
    header_tail,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.merkle import leaf_hash
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import SpiffeId
from ledgerd_client.keyfile import KeyFile, read_key_file
from ledgerd_client.pki import CertificateRequest, TlsKey, Validity

ORIGIN = "mainland.example/log"
PEER_ORIGIN = "hongkong.example/log"
SUBJECT = "uscc.91440300MA5EXAMPLE"
MEMBER = SpiffeId("mainland.example", "institution", SUBJECT)
NODE = SpiffeId("mainland.example", "peer", "mainland")

APPLY = (
    *("enrol", "request", "--role", "institution", "--id", SUBJECT, "--origin", ORIGIN),
    *("--name", "深圳市第一医院", "--place", "440300", "--sector", "3"),
)

SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: data[:0],
    "cut short": lambda data: data[:-3],
    "with more after it": lambda data: data + b"x",
    "not UTF-8": lambda data: data.replace(b"uscc", b"\xff\xff"),
    "a list": lambda data: b"[" + data + b"]",
    "deep": lambda data: b"[" * 100_000 + data,
    "without a field": lambda data: data.replace(b'"name"', b'"game"'),
    "a field twice": lambda data: data.replace(b"{", b'{"place": 440300,', 1),
}


def fresh_key() -> SigningKey:
    return SigningKey(os.urandom(32))


def edited(data: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(data) | fields).encode()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def genesis_request(origin: str = ORIGIN, holder: SpiffeId = NODE) -> GenesisRequest:
    csr = CertificateRequest.make(TlsKey.generate(), holder, ["node.example"])
    log, entry, cosigner = fresh_key(), fresh_key(), fresh_key()
    return GenesisRequest.make(origin=origin, log=log, entry=entry, cosigner=cosigner, csr=csr)


def history(tool: Tool, *approvals: str) -> KeyHistory:
    """The key history of a log that holds these approvals' records, in this order."""
    entries: list[tuple[bytes, bytes]] = []
    previous = genesis_previous(ORIGIN)
    for index, name in enumerate(approvals):
        record = Approval.parse(tool.path(name).read_bytes()).record
        kind = Kind.KEY if index else Kind.GENESIS
        digest = sha256(record.body).digest()
        tail = header_tail(kind, digest, 0, record.key_id, record.signature, encode_halves(None))
        header = header_bytes(index, index, previous, tail)
        previous = leaf_hash(header)
        entries.append((header, record.body))
    authority = Trust.parse(tool.path("authority/trust.txt").read_bytes()).authority(ORIGIN)
    return KeyHistory.of(ORIGIN, authority, entries)


@pytest.fixture
def side(tool: Tool) -> Tool:
    """Both authorities, the trust file, and a request of an institution."""
    tool.ok("authority", "init", "--dir", "authority", "--origin", ORIGIN)
    tool.ok("authority", "init", "--dir", "peer", "--origin", PEER_ORIGIN)
    tool.ok("trust", "make", "authority/trust.txt", "peer/trust.txt", "--out", "trust.txt")
    tool.ok(*APPLY, "--dir", "me")
    return tool


def begin(tool: Tool, request: bytes, *args: object) -> int:
    write(tool.path("genesis-request.json"), request)
    peer = Trust.parse(tool.path("trust.txt").read_bytes())[PEER_ORIGIN].authority.vkey
    options = ("--peer-origin", PEER_ORIGIN, "--peer-authority", peer, "--out", "genesis.json")
    directory = ("--dir", "authority", "--yes")
    command = ("authority", "genesis", "genesis-request.json", *directory, *options, *args)
    return tool(*command).code


def approve(tool: Tool, *args: object, request: str = "me/request.json") -> int:
    command = ("enrol", "approve", request, "--dir", "authority", "--out", "approval.json")
    return tool(*command, "--yes", *args).code


def install(tool: Tool, *args: object, approval: str = "approval.json") -> int:
    options = ("--dir", "me", "--trust", "trust.txt", "--endpoint", "localhost:7443")
    return tool("enrol", "install", approval, *options, *args).code


def public_key(tool: Tool, request: str = "me/request.json") -> str:
    key: str = json.loads(tool.path(request).read_bytes())["public_key"]
    return key


class TestKeygen:
    def test_the_key_that_is_printed_is_the_one_in_the_file(self, tool: Tool) -> None:
        printed = tool.ok("keygen", "--out", "a.key", "--json").data["public_key"]
        assert printed == encode_base64(read_key_file("a.key").key.public)

    def test_a_name_makes_a_verifier_key(self, tool: Tool) -> None:
        printed = tool.ok("keygen", "--out", "a.key", "--name", "log.example", "--json").data
        assert printed["vkey"].startswith("log.example+")

    def test_a_bad_name_makes_no_file(self, tool: Tool) -> None:
        assert tool("keygen", "--out", "a.key", "--name", "a b").code == 2
        assert not tool.path("a.key").exists()

    def test_a_key_file_is_not_written_over(self, tool: Tool) -> None:
        tool.ok("keygen", "--out", "a.key")
        assert tool("keygen", "--out", "a.key").code == 2


class TestAuthority:
    def test_secrets_are_for_their_owner_only(self, side: Tool) -> None:
        secret = {path.name for path in side.path("authority").glob("*.key")}
        exposed = {p.name for p in side.path("authority").iterdir() if p.stat().st_mode & 0o077}
        assert secret == {"authority.key", "tls-ca.key"}
        assert not secret & exposed

    def test_an_authority_is_never_made_over_another(self, side: Tool) -> None:
        assert side("authority", "init", "--dir", "authority", "--origin", ORIGIN).code == 2

    def test_the_throwaway_mark_survives_a_round_trip(self, tmp_path: Path) -> None:
        validity = Validity.starting(datetime.now(UTC), timedelta(days=1))
        made = Authority.create(ORIGIN, "dev.invalid", validity=validity, throwaway=True)
        save_authority(made, tmp_path)
        assert load_authority(tmp_path).key_file.throwaway

    def test_whoever_signs_with_a_throwaway_key_is_told(self, side: Tool) -> None:
        path = side.path("authority/authority.key")
        key = read_key_file(path).key
        path.write_bytes(KeyFile(key, throwaway=True).format())
        args = ("me/request.json", "--dir", "authority", "--out", "approval.json", "--yes")
        assert "proves nothing" in side.ok("enrol", "approve", *args).err

    def test_a_key_that_others_may_read_is_not_used(self, side: Tool) -> None:
        side.path("authority/authority.key").chmod(0o644)
        assert approve(side) == 2

    def test_an_origin_with_no_trust_domain_in_it_needs_one(self, tool: Tool) -> None:
        assert tool("authority", "init", "--dir", "a", "--origin", "Log").code == 2


class TestTrust:
    def test_the_trust_file_pins_both_authorities(self, side: Tool) -> None:
        trust = Trust.parse(side.path("trust.txt").read_bytes())
        pinned = {origin.origin: origin.authority.public for origin in trust.origins}
        assert pinned == {
            ORIGIN: read_key_file("authority/authority.key").key.public,
            PEER_ORIGIN: read_key_file("peer/authority.key").key.public,
        }

    def test_the_order_of_the_sides_does_not_matter(self, side: Tool) -> None:
        side.ok("trust", "make", "peer/trust.txt", "authority/trust.txt", "--out", "again.txt")
        assert side.path("again.txt").read_bytes() == side.path("trust.txt").read_bytes()

    def test_two_authorities_of_one_origin_are_refused(self, side: Tool) -> None:
        side.ok("authority", "init", "--dir", "impostor", "--origin", ORIGIN)
        args = ("authority/trust.txt", "impostor/trust.txt", "--out", "both.txt")
        assert side("trust", "make", *args).code == 2

    def test_the_fingerprint_is_the_files_digest(self, side: Tool) -> None:
        shown = side.ok("trust", "show", "trust.txt", "--json").out.splitlines()[0]
        digits = json.loads(shown)["fingerprint"].replace(" ", "")
        assert digits == sha256(side.path("trust.txt").read_bytes()).hexdigest()[:32]

    def test_what_is_no_trust_file_is_bad_input(self, side: Tool) -> None:
        assert side("trust", "show", "me/request.json").code == 2


class TestGenesis:
    def test_the_signed_entry_begins_a_key_history(self, side: Tool) -> None:
        request = genesis_request()
        begin(side, request.format())
        assert history(side, "genesis.json").need_genesis().log_key == request.log_key

    def test_the_peer_is_the_one_that_was_named(self, side: Tool) -> None:
        begin(side, genesis_request().format())
        genesis = history(side, "genesis.json").need_genesis()
        peer = read_key_file("peer/authority.key").key.public
        assert (genesis.peer_origin, genesis.peer_authority_key) == (PEER_ORIGIN, peer)

    def test_the_nodes_certificate_names_side_and_hosts(self, side: Tool) -> None:
        begin(side, genesis_request().format())
        certificate = Approval.parse(side.path("genesis.json").read_bytes()).tls_certificate
        assert (certificate.holder, certificate.hosts) == (NODE, ("node.example",))

    @pytest.mark.parametrize("name", ["log", "entry", "cosigner"])
    def test_a_key_that_the_node_does_not_hold_is_refused(self, side: Tool, name: str) -> None:
        other = encode_base64(fresh_key().public)
        assert begin(side, edited(genesis_request().format(), **{f"{name}_key": other})) == 1

    def test_a_possession_of_one_key_is_none_of_another(self, side: Tool) -> None:
        request = genesis_request()
        swapped = replace(
            request,
            log_key=request.entry_key,
            log_possession=request.entry_possession,
            entry_key=request.log_key,
            entry_possession=request.log_possession,
        )
        assert begin(side, swapped.format()) == 1

    def test_a_node_of_another_origin_is_refused(self, side: Tool) -> None:
        assert begin(side, genesis_request(PEER_ORIGIN).format()) == 2

    def test_a_node_of_another_trust_domain_is_refused(self, side: Tool) -> None:
        node = SpiffeId("hongkong.example", "peer", "mainland")
        assert begin(side, genesis_request(holder=node).format()) == 2

    def test_a_log_is_not_its_own_peer(self, side: Tool) -> None:
        assert begin(side, genesis_request().format(), "--peer-origin", ORIGIN) == 2

    def test_a_peers_authority_that_is_no_verifier_key_is_refused(self, side: Tool) -> None:
        assert begin(side, genesis_request().format(), "--peer-authority", "a+b+c") == 2


class TestRequest:
    def test_a_request_reads_back(self, side: Tool) -> None:
        data = side.path("me/request.json").read_bytes()
        assert EnrolmentRequest.parse(data).format() == data

    def test_the_signing_key_shows_that_it_is_held(self, side: Tool) -> None:
        request = EnrolmentRequest.parse(side.path("me/request.json").read_bytes())
        digest = admission_digest(ORIGIN, SUBJECT, pb.ROLE_INSTITUTION, request.public_key)
        key = read_key_file("me/signing.key").key
        assert request.possession == key.sign(digest)

    def test_both_parties_see_the_same_fingerprint(self, side: Tool) -> None:
        told = side.ok(*APPLY, "--dir", "other", "--json").data["fingerprint"]
        args = ("other/request.json", "--dir", "authority", "--out", "a.json", "--yes")
        assert told in side.ok("enrol", "approve", *args).err

    def test_an_operator_has_no_signing_key(self, tool: Tool) -> None:
        options = ("--role", "operator", "--id", "ops", "--origin", ORIGIN, "--name", "Ops")
        tool.ok("enrol", "request", *options, "--dir", "ops")
        assert {path.name for path in tool.path("ops").iterdir()} == {"tls.key", "request.json"}

    @pytest.mark.parametrize(
        "changed",
        [
            ("--id", "nobody"),
            ("--id", "uscc.with space"),
            ("--place", "110000"),
            ("--sector", "99"),
            ("--origin", "two words"),
            ("--name", "张三 110101199003077475"),
            ("--name", "x" * 201),
            ("--domain", "Not A Domain"),
            ("--role", "emperor"),
        ],
    )
    def test_what_no_authority_could_approve_is_refused_at_once(
        self, tool: Tool, changed: tuple[str, str]
    ) -> None:
        assert tool(*APPLY, *changed, "--dir", "me").code == 2
        assert not tool.path("me").exists()


class TestApproval:
    def test_an_approved_key_is_admitted_by_the_log(self, side: Tool) -> None:
        begin(side, genesis_request().format())
        approve(side)
        key = history(side, "genesis.json", "approval.json").find(
            key_id(read_key_file("me/signing.key").key.public)
        )
        assert key is not None
        assert (key.subject, key.place, key.sector, key.name) == (
            (SUBJECT, 440300, 3, "深圳市第一医院")
        )

    def test_the_certificate_is_of_who_asked(self, side: Tool) -> None:
        approve(side)
        approval = Approval.parse(side.path("approval.json").read_bytes())
        assert approval.tls_certificate.holder == MEMBER

    def test_an_operator_gets_a_certificate_and_no_entry(self, side: Tool) -> None:
        options = ("--role", "operator", "--id", "ops", "--origin", ORIGIN, "--name", "Ops")
        side.ok("enrol", "request", *options, "--dir", "ops")
        approve(side, request="ops/request.json")
        assert Approval.parse(side.path("approval.json").read_bytes()).body == b""

    def test_a_regulators_key_is_admitted_as_such(self, side: Tool) -> None:
        options = ("--role", "regulator", "--id", "cac", "--origin", ORIGIN, "--name", "CAC")
        side.ok("enrol", "request", *options, "--dir", "cac")
        approve(side, "--until", "2027-01-01", request="cac/request.json")
        body = Approval.parse(side.path("approval.json").read_bytes()).read_body()
        assert body.key_event.role == pb.ROLE_REGULATOR

    @pytest.mark.parametrize(
        ("role", "options"),
        [
            ("regulator", ()),
            ("regulator", ("--place", "440300")),
            ("regulator", ("--until", "2027-01-01", "--from", "2027-01-01")),
            ("regulator", ("--until", "2027-01-01", "--renewal")),
            ("regulator", ("--until", "tomorrow")),
            ("regulator", ("--until", "2027-01-01T00:00")),
            ("regulator", ("--until", "2027-01-01", "--place", "110000")),
            ("regulator", ("--until", "2027-01-01", "--sector", "10")),
            ("regulator", ("--until", "2027-01-01", "--kind", "gossip")),
            ("operator", ("--until", "2027-01-01")),
            ("operator", ("--kind", "transfer", "--until", "2027-01-01")),
        ],
    )
    def test_a_grant_is_a_regulators_and_has_an_end(
        self, side: Tool, role: str, options: tuple[str, ...]
    ) -> None:
        asked = ("--role", role, "--id", "cac", "--origin", ORIGIN, "--name", "CAC")
        side.ok("enrol", "request", *asked, "--dir", "cac")
        assert approve(side, *options, request="cac/request.json") == 2

    def test_a_grant_says_places_sectors_kinds_and_times(self, side: Tool) -> None:
        asked = ("--role", "regulator", "--id", "hkma", "--origin", ORIGIN, "--name", "HKMA")
        side.ok("enrol", "request", *asked, "--dir", "hkma")
        limits = ("--place", "810000", "--place", "440300", "--sector", "BANK", "--kind", "ack",
                  "--kind", "transfer", "--from", "2026-01-01", "--until", "2027-01-01T08:00Z")  # fmt: skip
        approve(side, *limits, request="hkma/request.json")
        body = Approval.parse(side.path("approval.json").read_bytes()).read_body()
        assert body.key_event.grant == pb.Grant(
            places=[440300, 810000],
            sectors=[1],
            kinds=[18, 19],
            valid_from=1_767_196_800_000_000,
            valid_until=1_798_790_400_000_000,
        )

    def test_whoever_approves_reads_the_grant_before(self, side: Tool) -> None:
        asked = ("--role", "regulator", "--id", "hkma", "--origin", ORIGIN, "--name", "HKMA")
        side.ok("enrol", "request", *asked, "--dir", "hkma")
        args = ("hkma/request.json", "--dir", "authority", "--out", "approval.json")
        grant = ("--place", "440300", "--sector", "1", "--until", "2027-01-01")
        said = side("enrol", "approve", *args, *grant, stdin="n\n").err
        assert all(word in said for word in ("Shenzhen", "BANK", "2027-01-01 00:00", "every kind"))

    @pytest.fixture
    def two_requests(self, side: Tool) -> Tool:
        """Of one regulator, of which the first is let in."""
        asked = ("--role", "regulator", "--id", "hkma", "--origin", ORIGIN, "--name", "HKMA")
        for directory in ("hkma", "new"):
            side.ok("enrol", "request", *asked, "--dir", directory)
        assert self.grant(side, "hkma") == 0
        return side

    def grant(self, side: Tool, who: str, *args: object) -> int:
        request, out = f"{who}/request.json", f"{who}.approval"
        return approve(side, "--until", "2027-01-01", "--out", out, *args, request=request)

    def test_a_second_grant_beside_one_that_stands_is_refused(self, two_requests: Tool) -> None:
        """With the second key revoked, the first one's grant would be in force again."""
        assert self.grant(two_requests, "new") == 2
        assert not two_requests.path("new.approval").exists()

    def test_one_in_its_place_is_not(self, two_requests: Tool) -> None:
        old = public_key(two_requests, "hkma/request.json")
        assert self.grant(two_requests, "new", "--replaces", old) == 0

    def test_nor_one_after_it_was_revoked(self, two_requests: Tool) -> None:
        old = public_key(two_requests, "hkma/request.json")
        options = ("--id", "hkma", "--public-key", old, "--dir", "authority", "--yes")
        two_requests.ok("enrol", "revoke", *options, "--out", "revocation.json")
        assert self.grant(two_requests, "new") == 0

    def test_nor_anothers(self, two_requests: Tool) -> None:
        asked = ("--role", "regulator", "--id", "cac", "--origin", ORIGIN, "--name", "CAC")
        two_requests.ok("enrol", "request", *asked, "--dir", "cac")
        assert self.grant(two_requests, "cac") == 0

    def test_nothing_is_signed_without_a_yes(self, side: Tool) -> None:
        args = ("me/request.json", "--dir", "authority", "--out", "approval.json")
        assert side("enrol", "approve", *args, stdin="n\n").code == 3
        assert not side.path("approval.json").exists()

    def test_a_key_is_let_in_once(self, side: Tool) -> None:
        approve(side)
        assert approve(side, "--out", "again.json") == 2

    def test_a_renewal_keeps_the_key_and_leaves_the_log_alone(self, side: Tool) -> None:
        approve(side)
        side.ok(*APPLY, "--signing-key", "me/signing.key", "--dir", "next")
        approve(side, "--renewal", "--out", "renewal.json", request="next/request.json")
        renewal = Approval.parse(side.path("renewal.json").read_bytes())
        assert (public_key(side, "next/request.json"), renewal.body) == (public_key(side), b"")

    def test_a_certificate_can_be_short_lived(self, side: Tool) -> None:
        approve(side, "--days", 2)
        validity = Approval.parse(side.path("approval.json").read_bytes()).tls_certificate.validity
        assert validity.not_after - validity.not_before == timedelta(days=2)

    def test_a_certificate_ends_with_the_authority_that_issues_it(self, tool: Tool) -> None:
        tool.ok("authority", "init", "--dir", "authority", "--origin", ORIGIN, "--days", 60)
        tool.ok(*APPLY, "--dir", "me")
        assert approve(tool) == 0
        issued = Approval.parse(tool.path("approval.json").read_bytes()).tls_certificate
        authority = load_authority(tool.path("authority")).tls.certificate
        assert issued.validity.not_after == authority.not_valid_after_utc

    def test_a_life_beyond_the_authoritys_own_names_the_option(self, tool: Tool) -> None:
        tool.ok("authority", "init", "--dir", "authority", "--origin", ORIGIN, "--days", 60)
        tool.ok(*APPLY, "--dir", "me")
        args = ("me/request.json", "--dir", "authority", "--out", "approval.json", "--yes")
        ran = tool("enrol", "approve", *args, "--days", 90)
        assert (ran.code, "--days" in ran.err) == (2, True)

    @pytest.mark.parametrize("days", [0, -1, 399, 10**9, 10**12])
    def test_a_life_beyond_the_bounds_is_refused(self, side: Tool, days: int) -> None:
        assert approve(side, "--days", days) == 2

    def test_an_authority_of_another_origin_approves_nothing(self, side: Tool) -> None:
        assert approve(side, "--dir", "peer") == 2

    def test_possession_by_another_key_is_refused(self, side: Tool) -> None:
        data = side.path("me/request.json").read_bytes()
        key = encode_base64(fresh_key().public)
        write(side.path("forged.json"), edited(data, public_key=key))
        assert approve(side, request="forged.json") == 1

    @pytest.mark.parametrize("field", ["origin", "id", "role"])
    def test_possession_is_for_one_origin_id_and_role(self, side: Tool, field: str) -> None:
        key = fresh_key()
        asked = {"origin": ORIGIN, "id": SUBJECT, "role": pb.ROLE_INSTITUTION}
        other = {"origin": PEER_ORIGIN, "id": "uscc.OTHER", "role": pb.ROLE_REGULATOR}
        signed = asked | {field: other[field]}
        digest = admission_digest(
            str(signed["origin"]), str(signed["id"]), int(signed["role"]), key.public
        )
        data = side.path("me/request.json").read_bytes()
        possession = {
            "public_key": encode_base64(key.public),
            "possession": encode_base64(key.sign(digest)),
        }
        write(side.path("forged.json"), edited(data, **possession))
        assert approve(side, request="forged.json") == 1

    @pytest.mark.parametrize(
        "holder",
        [
            SpiffeId("mainland.example", "institution", "uscc.OTHER"),
            SpiffeId("mainland.example", "operator", SUBJECT),
            SpiffeId("mainland.example", "peer", SUBJECT),
            SpiffeId("hongkong.example", "institution", SUBJECT),
        ],
    )
    def test_a_certificate_request_of_another_identity_is_refused(
        self, side: Tool, holder: SpiffeId
    ) -> None:
        csr = CertificateRequest.make(TlsKey.generate(), holder).pem.decode()
        data = side.path("me/request.json").read_bytes()
        write(side.path("forged.json"), edited(data, csr=csr))
        assert approve(side, request="forged.json") == 2

    def test_a_member_gets_no_certificate_of_a_server(self, side: Tool) -> None:
        csr = CertificateRequest.make(TlsKey.generate(), MEMBER, ["node.example"]).pem.decode()
        data = side.path("me/request.json").read_bytes()
        write(side.path("forged.json"), edited(data, csr=csr))
        assert approve(side, request="forged.json") == 2

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("format", "ledgerd-enrolment-request/v2"),
            ("surprise", ""),
            ("place", "440300"),
            ("place", 440300.0),
            ("place", 2**64),
            ("place", None),
            ("sector", True),
            ("sector", -3),
            ("name", "\ud800"),
            ("name", "\x1b[2J"),
            ("name", ["a"]),
            ("public_key", "AA"),
            ("public_key", encode_base64(bytes(32))),
            ("public_key", ""),
            ("csr", ""),
            ("csr", "-----BEGIN CERTIFICATE REQUEST-----"),
            ("role", "peer"),
            ("role", "operator"),
        ],
    )
    def test_a_field_out_of_range_is_bad_input(self, side: Tool, field: str, value: object) -> None:
        data = side.path("me/request.json").read_bytes()
        write(side.path("spoilt.json"), edited(data, **{field: value}))
        assert approve(side, request="spoilt.json") == 2

    @pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
    def test_a_malformed_file_is_bad_input(
        self, side: Tool, spoil: Callable[[bytes], bytes]
    ) -> None:
        write(side.path("spoilt.json"), spoil(side.path("me/request.json").read_bytes()))
        assert approve(side, request="spoilt.json") == 2


class TestRotationAndRevocation:
    @pytest.fixture
    def admitted(self, side: Tool) -> Tool:
        begin(side, genesis_request().format())
        approve(side)
        side.ok(*APPLY, "--dir", "new")
        return side

    def rotate(self, tool: Tool, *args: object) -> int:
        options = ("--replaces", public_key(tool), "--out", "rotation.json")
        return approve(tool, *options, *args, request="new/request.json")

    def revoke(self, tool: Tool, *args: object) -> int:
        options = ("--id", SUBJECT, "--public-key", public_key(tool), "--dir", "authority")
        return tool("enrol", "revoke", *options, "--out", "revocation.json", "--yes", *args).code

    def test_a_replaced_key_is_revoked_by_the_same_entry(self, admitted: Tool) -> None:
        self.rotate(admitted)
        log = history(admitted, "genesis.json", "approval.json", "rotation.json")
        old = log.find(key_id(read_key_file("me/signing.key").key.public))
        new = log.find(key_id(read_key_file("new/signing.key").key.public))
        assert old is not None
        assert new is not None
        assert old.revoked_at == new.admitted_at == 2

    def test_a_revoked_key_is_revoked_from_its_entry_on(self, admitted: Tool) -> None:
        self.revoke(admitted)
        log = history(admitted, "genesis.json", "approval.json", "revocation.json")
        key = log.find(key_id(read_key_file("me/signing.key").key.public))
        assert key is not None
        assert key.revoked_at == 2

    def test_the_time_of_a_compromise_is_recorded(self, admitted: Tool) -> None:
        self.revoke(admitted, "--compromised-since", "2026-01-31T16:00+08:00")
        body = Approval.parse(admitted.path("revocation.json").read_bytes()).read_body()
        # date -u -d 2026-01-31T08:00Z +%s
        assert body.key_event.compromised_since == 1_769_846_400 * 1_000_000

    @pytest.mark.parametrize(
        "time", ["2026-01-31", "yesterday", "1969-01-01T00:00Z", "2200-01-01T00:00Z"]
    )
    def test_a_time_that_is_none_is_refused(self, admitted: Tool, time: str) -> None:
        assert self.revoke(admitted, "--compromised-since", time) == 2

    def test_a_key_of_somebody_else_is_not_revoked(self, admitted: Tool) -> None:
        assert self.revoke(admitted, "--id", "uscc.OTHER") == 2

    def test_a_key_that_was_never_let_in_is_not_revoked(self, admitted: Tool) -> None:
        assert self.revoke(admitted, "--public-key", public_key(admitted, "new/request.json")) == 2

    def test_a_kept_admission_by_another_authority_is_not_revoked(self, admitted: Tool) -> None:
        (kept,) = admitted.path("authority/admitted").iterdir()
        approval = Approval.parse(kept.read_bytes())
        forged = replace(approval, key_id=key_id(fresh_key().public))
        kept.write_bytes(forged.format())
        assert self.revoke(admitted) == 1

    def test_a_renewal_replaces_no_key(self, admitted: Tool) -> None:
        assert self.rotate(admitted, "--renewal") == 2

    def test_a_compromise_without_a_replaced_key_is_refused(self, admitted: Tool) -> None:
        assert approve(admitted, "--compromised-since", "2026-01-31T08:00Z") == 2


class TestInstall:
    @pytest.fixture
    def approved(self, side: Tool) -> Tool:
        approve(side)
        return side

    def test_the_settings_are_those_that_the_sdk_reads(self, approved: Tool) -> None:
        install(approved)
        settings = Settings.from_file("me/client.toml", environ={})
        assert (settings.institution, settings.origin) == (SUBJECT, ORIGIN)

    def test_every_file_that_the_settings_name_is_there(self, approved: Tool) -> None:
        install(approved)
        settings = Settings.from_file("me/client.toml", environ={})
        named = (settings.trust, settings.tls_certificate, settings.tls_key, settings.signing_key)
        assert all(path is not None and path.exists() for path in named)

    def test_the_settings_of_others_name_no_signing_key(self, side: Tool) -> None:
        options = ("--role", "operator", "--id", "ops", "--origin", ORIGIN, "--name", "Ops")
        side.ok("enrol", "request", *options, "--dir", "ops")
        approve(side, request="ops/request.json")
        install(side, "--dir", "ops")
        settings = Settings.from_file("ops/client.toml", environ={})
        assert (settings.institution, settings.signing_key) == (None, None)

    def test_an_approval_by_a_wrong_authority_is_refused(self, approved: Tool) -> None:
        approved.ok("authority", "init", "--dir", "impostor", "--origin", ORIGIN)
        approve(approved, "--dir", "impostor", "--out", "forged.json")
        assert install(approved, approval="forged.json") == 1
        assert not approved.path("me/client.toml").exists()

    def test_an_approval_whose_record_was_changed_is_refused(self, approved: Tool) -> None:
        approval = Approval.parse(approved.path("approval.json").read_bytes())
        body = parse_body(approval.body)
        body.key_event.name = "somebody else"
        write(
            approved.path("forged.json"), replace(approval, body=body.SerializeToString()).format()
        )
        assert install(approved, approval="forged.json") == 1

    def test_an_approval_of_another_request_is_refused(self, approved: Tool) -> None:
        approved.ok(*APPLY, "--dir", "other")
        approve(approved, "--out", "other.json", request="other/request.json")
        assert install(approved, approval="other.json") == 2

    def test_an_approval_that_admits_another_key_is_refused(self, approved: Tool) -> None:
        approved.ok(*APPLY, "--dir", "other")
        approve(approved, "--out", "other.json", request="other/request.json")
        mine, other = (
            Approval.parse(approved.path(name).read_bytes())
            for name in ("approval.json", "other.json")
        )
        write(approved.path("mixed.json"), replace(other, certificate=mine.certificate).format())
        assert install(approved, approval="mixed.json") == 2

    def test_a_revocation_is_nothing_to_install(self, approved: Tool) -> None:
        options = ("--id", SUBJECT, "--public-key", public_key(approved), "--dir", "authority")
        approved.ok("enrol", "revoke", *options, "--out", "revocation.json", "--yes")
        assert install(approved, approval="revocation.json") == 2

    def test_a_trust_file_without_the_origin_does_not_do(self, approved: Tool) -> None:
        assert install(approved, "--trust", "peer/trust.txt") != 0

    @pytest.mark.parametrize("name", ["me/request.json", "trust.txt", "absent"])
    def test_what_is_no_approval_is_bad_input(self, approved: Tool, name: str) -> None:
        assert install(approved, approval=name) == 2

    @pytest.mark.parametrize("endpoint", ["", "localhost", "https://localhost:7443", "a b:1"])
    def test_an_endpoint_that_is_none_is_bad_input(self, approved: Tool, endpoint: str) -> None:
        assert install(approved, "--endpoint", endpoint) == 2
        assert not approved.path("me/tls.crt").exists()

    def test_an_exposed_tls_key_is_not_used(self, approved: Tool) -> None:
        approved.path("me/tls.key").chmod(0o640)
        assert install(approved) == 2


class TestProgram:
    def test_help_comes_from_the_installed_program(self, tool: Tool) -> None:
        ran = tool.program("--help")
        assert (ran.code, ran.err) == (0, "")

    def test_no_command_is_wrong_usage(self, tool: Tool) -> None:
        assert tool.program("enrol", "dance").code == 2

    def test_bad_input_exits_2_with_one_line_and_no_traceback(self, tool: Tool) -> None:
        ran = tool.program("trust", "show", "absent")
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)

    def test_data_and_words_do_not_mix(self, tool: Tool) -> None:
        ran = tool.program("authority", "init", "--dir", "a", "--origin", ORIGIN, "--json")
        assert (ran.data["origin"], ran.err) == (ORIGIN, "")

    def test_without_its_extra_the_program_says_what_to_install(self) -> None:
        code = (
            "import sys; sys.modules['typer'] = None; from ledgerd_client.cli import main; main()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        said = "ledgerctl needs typer: pip install 'ledgerd-client[cli]'\n"
        assert (done.returncode, done.stderr.decode()) == (2, said)

    def test_a_file_without_end_is_bad_input(self, tool: Tool) -> None:
        assert tool.program("trust", "show", "/dev/full").code == 2

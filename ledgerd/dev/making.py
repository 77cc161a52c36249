"""
Making a border: a throw-away authority and operator on each side, their nodes, and the parties.

Its keys are marked as throw-away, and `ledgerd serve` refuses them: nothing that they sign proves
anything.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ledgerd.clock import now
from ledgerd.config import NEWEST, Config
from ledgerd.credentials import NodeKeys
from ledgerd.dev.parties import INSTITUTIONS, REGULATORS, SIDES, Regulator, Side, node_settings
from ledgerd.init import found
from ledgerd.ledger.high_water import HighWater, write_mark
from ledgerd.ledger.peer_log import NoPeerLog
from ledgerd.ledger.writer import Writer
from ledgerd.store.lmdb import LmdbStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import to_micros
from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.authority_directory import save_authority
from ledgerd_client.core.errors import InputError, LedgerError
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.record import Key, read_facts, verified
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest, client_settings
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR, SpiffeId
from ledgerd_client.keyfile import KeyFile, write_key_file, write_new
from ledgerd_client.pki import CertificateRequest, TlsKey, Validity

_HOST: Final = "127.0.0.1"
_LIFE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class BorderRules:
    """What a border's rule set has of its own; law as in the configuration's [rules]."""

    acknowledge_within_s: int = 120
    record_within_s: int = 86_400
    law: str = NEWEST


def make_border(directory: Path, rules: BorderRules) -> None:
    """
    Make everything that a border needs below a directory that is not there yet.

    Raises InputError when the directory is there.
    """
    try:
        directory.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise InputError(
            f"{directory} is there already",
            action="name another directory; a border that was made is started again as it is",
        ) from None
    mainland, hongkong = _free_ports()
    endpoints = {"mainland": f"{_HOST}:{mainland}", "hongkong": f"{_HOST}:{hongkong}"}
    authorities = {side.name: _make_authority(directory, side) for side in SIDES}
    trust = Trust.of(authority.trust for authority in authorities.values())
    write_new(directory / "trust.txt", trust.format(), mode=0o644)
    for side, other in (SIDES, SIDES[::-1]):
        _SideMaker(directory, side, other, authorities, trust, endpoints, rules).make()


def _free_ports() -> tuple[int, int]:
    """Two ports of loopback that nobody listens on."""
    with socket.socket() as one, socket.socket() as two:
        one.bind((_HOST, 0))
        two.bind((_HOST, 0))
        return one.getsockname()[1], two.getsockname()[1]


def _make_authority(directory: Path, side: Side) -> Authority:
    validity = Validity.starting(datetime.now(UTC), 2 * _LIFE)
    authority = Authority.create(side.origin, side.domain, validity=validity, throwaway=True)
    home = directory / side.name / "authority"
    for each in (home.parent, home):
        each.mkdir(mode=0o700)
    save_authority(authority, home)
    return authority


@dataclass(frozen=True, slots=True)
class _SideMaker:
    """Makes one side: its node's directory and ledger, its institutions and its operator."""

    directory: Path
    side: Side
    other: Side
    authorities: dict[str, Authority]
    trust: Trust
    endpoints: dict[str, str]
    rules: BorderRules

    @property
    def authority(self) -> Authority:
        return self.authorities[self.side.name]

    def make(self) -> None:
        admissions = [
            self._enrol(who.name, INSTITUTION, who.id, who.registered_as, who.place, who.sector)
            for who in INSTITUTIONS
            if who.side == self.side.name
        ]
        admissions += [
            self._enrol(who.name, REGULATOR, who.id, who.registered_as, grant=_grant(who))
            for who in REGULATORS
            if who.side == self.side.name
        ]
        self._enrol(f"{self.side.name}-operator", OPERATOR, "operator", "Operator")
        self._make_node(admissions)

    def _enrol(
        self,
        name: str,
        role: str,
        subject: str,
        registered_as: str,
        place: int = 0,
        sector: int = 0,
        grant: pb.Grant | None = None,
    ) -> Approval:
        home = self.directory / name
        home.mkdir(mode=0o700)
        key, tls = _new_key(), TlsKey.generate()
        csr = CertificateRequest.make(tls, SpiffeId(self.side.domain, role, subject))
        request = EnrolmentRequest.make(
            origin=self.side.origin,
            name=registered_as,
            csr=csr,
            key=None if role == OPERATOR else key,
            place=place,
            sector=sector,
        )
        approval = self.authority.approve(request, now=datetime.now(UTC), life=_LIFE, grant=grant)
        if role != OPERATOR:
            write_key_file(home / "signing.key", KeyFile(key, throwaway=True))
        write_new(home / "tls.key", tls.pem, mode=0o600)
        write_new(home / "tls.crt", approval.tls_certificate.pem, mode=0o644)
        write_new(home / "trust.txt", self.trust.format(), mode=0o644)
        settings = client_settings(request, self.endpoints[self.side.name], self.other.origin)
        write_new(home / "client.toml", settings, mode=0o644)
        return approval

    def _make_node(self, admissions: list[Approval]) -> None:
        home = node_settings(self.directory, self.side.name).parent
        home.mkdir(mode=0o700)
        keys = {name: _new_key() for name in ("log", "entry", "cosigner")}
        for name, key in keys.items():
            write_key_file(home / f"{name}.key", KeyFile(key, throwaway=True))
        tls = TlsKey.generate()
        holder = SpiffeId(self.side.domain, PEER, self.side.name)
        csr = CertificateRequest.make(tls, holder, ("localhost", _HOST))
        request = GenesisRequest.make(origin=self.side.origin, csr=csr, **keys)
        genesis = self.authority.begin(
            request,
            peer_origin=self.other.origin,
            peer_authority=self.authorities[self.other.name].verifier.public,
            now=datetime.now(UTC),
            life=_LIFE,
        )
        write_new(home / "tls.key", tls.pem, mode=0o600)
        write_new(home / "trust.txt", self.trust.format(), mode=0o644)
        write_new(home / "node.toml", self._node_toml().encode(), mode=0o644)
        config = Config.load(home / "node.toml")
        found(config, genesis, clock=now, random=os.urandom)
        self._admit(config, admissions)

    def _admit(self, config: Config, admissions: list[Approval]) -> None:
        """Admit this side's institutions and regulators before anybody asks for them."""
        keys, authority = NodeKeys.load(config), self.authority.verifier.public
        known = {key_id(authority): Key(0, authority)}
        items = []
        for approval in admissions:
            _, facts = read_facts(approval.body)
            items.append(verified(approval.record, facts, self.side.origin, known))
        with closing(LmdbStore.open(config.store)) as store:
            writer = Writer(
                store,
                log_key=keys.log_signer,
                entry_key=keys.entry,
                authority=authority,
                peer_log=NoPeerLog(),
                clock=now,
                random=os.urandom,
            )
            for outcome in writer.commit([items])[0].outcomes:
                if isinstance(outcome, LedgerError):
                    raise outcome
            write_mark(config.data, HighWater(store.instance, writer.head.size))

    def _node_toml(self) -> str:
        return _NODE_TOML.format(
            origin=self.side.origin,
            id=self.side.name,
            listen=self.endpoints[self.side.name],
            domain=self.side.domain,
            peer_endpoint=self.endpoints[self.other.name],
            peer_id=self.other.name,
            peer_domain=self.other.domain,
            **asdict(self.rules),
        )


_NODE_TOML = """\
# Made by `ledgerd dev`. Its keys are throw-away.
origin = "{origin}"
id = "{id}"
data = "data"
listen = "{listen}"
trust = "trust.txt"
trust_domain = "{domain}"
operators = ["operator"]

[keys]
log = "log.key"
entry = "entry.key"
cosigner = "cosigner.key"

[tls]
certificate = "tls.crt"
key = "tls.key"
hosts = ["localhost", "127.0.0.1"]

[peer]
endpoint = "{peer_endpoint}"
id = "{peer_id}"
trust_domain = "{peer_domain}"

[timing]
anchor_interval_s = 1
poll_interval_s = 0.2

[rules]
law = "{law}"
acknowledge_within_s = {acknowledge_within_s}
correct_within_s = 120
record_within_s = {record_within_s}
"""


def _grant(who: Regulator) -> pb.Grant:
    end = datetime.now(UTC) + _LIFE
    return pb.Grant(sectors=who.sectors, valid_from=now(), valid_until=to_micros("until", end))


def _new_key() -> SigningKey:
    return SigningKey(secrets.token_bytes(32))

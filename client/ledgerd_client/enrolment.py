"""
What is asked of an authority: to be let in, and for a node's GENESIS (docs/enrolment.md).

Parsing a request proves that the asker holds every key it names; it does not say who the asker is,
which the authority asks by other means, with the file's fingerprint. Needs the extra [cli].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import ClassVar, Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.admission import admission_digest
from ledgerd_client.core.encoding import lp8
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import check_id, check_institution, check_size, check_text
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.keys import PUBLIC_SIZE, SigningKey
from ledgerd_client.identity import INSTITUTION, OPERATOR, PEER, REGULATOR
from ledgerd_client.jsonfile import JsonFile
from ledgerd_client.pki import CertificateRequest
from ledgerd_client.possession import check_asker

ROLE_NUMBERS: Mapping[str, pb.Role.ValueType] = MappingProxyType(
    {INSTITUTION: pb.ROLE_INSTITUTION, REGULATOR: pb.ROLE_REGULATOR}
)

_NODE_KEY_TAG = b"ledgerd/node-key/v1\n"


@dataclass(frozen=True, slots=True)
class EnrolmentRequest(JsonFile):
    """
    An institution, regulator or operator asks to be let in; csr is PEM.

    An operator signs no records: its public_key and possession are empty. place and sector are an
    institution's, else 0; group is empty unless it is an institution of a group.
    """

    FORMAT: ClassVar = "ledgerd-enrolment-request/v1"

    origin: str
    role: str
    id: str
    name: str
    place: int
    sector: int
    group: str
    public_key: bytes
    possession: bytes
    csr: str

    @classmethod
    def make(
        cls, *, origin: str, name: str, csr: CertificateRequest,
        key: SigningKey | None = None, place: int = 0, sector: int = 0, group: str = "",
    ) -> Self:  # fmt: skip
        """Ask in the name of csr's holder; key is None for an operator. Raises as check does."""
        check_origin(origin)  # before it is signed
        role, subject = csr.holder.role, csr.holder.id
        public = possession = b""
        if key is not None and role in ROLE_NUMBERS:
            public = key.public
            possession = key.sign(admission_digest(origin, subject, ROLE_NUMBERS[role], public))
        request = cls(
            origin, role, subject, name, place, sector, group, public, possession,
            csr.pem.decode(),
        )  # fmt: skip
        request.check()
        return request

    @property
    def certificate_request(self) -> CertificateRequest:
        return CertificateRequest.parse(self.csr.encode())

    def key_event(self) -> pb.KeyEvent:
        """The ADMIT event that this asks for; raises FieldError for an operator."""
        if self.role not in ROLE_NUMBERS:
            raise FieldError(f"an {self.role} signs no records: the log admits no key of it")
        return pb.KeyEvent(
            action=pb.KEY_ACTION_ADMIT,
            role=ROLE_NUMBERS[self.role],
            subject=self.id,
            public_key=self.public_key,
            possession=self.possession,
            place=self.place,
            sector=self.sector,
            name=self.name,
            group=self.group,
        )

    def check(self) -> None:
        """Raise FieldError or MalformedError, or SignatureError when a key is not the asker's."""
        check_origin(self.origin)
        check_text("name", self.name, 200)
        check_id("group", self.group, 64)
        self._check_place()
        holder = self.certificate_request.holder
        if (holder.role, holder.id) != (self.role, self.id):
            raise FieldError(
                f"the certificate request is of {holder.uri}, the request of {self.role} {self.id}"
            )
        if self.role in ROLE_NUMBERS:
            number = ROLE_NUMBERS[self.role]
            digest = admission_digest(self.origin, self.id, number, self.public_key)
            check_asker(self.public_key, digest, self.possession)
        elif self.role != OPERATOR or self.public_key or self.possession:
            raise FieldError("a request is an institution's, a regulator's or an operator's")

    def _check_place(self) -> None:
        if self.role == INSTITUTION:
            check_institution("id", self.id)
            codes.check_codes("place", codes.PLACES, (self.place,))
            codes.check_codes("sector", codes.SECTORS, (self.sector,))
        elif self.place or self.sector or self.group:
            raise FieldError("only an institution has a place, a sector and a group")


@dataclass(frozen=True, slots=True)
class GenesisRequest(JsonFile):
    """A new node asks for its GENESIS and certificate; csr (PEM) names it, as a peer, by hosts."""

    FORMAT: ClassVar = "ledgerd-genesis-request/v1"

    origin: str
    log_key: bytes
    log_possession: bytes
    entry_key: bytes
    entry_possession: bytes
    cosigner_key: bytes
    cosigner_possession: bytes
    csr: str

    @classmethod
    def make(
        cls, *, origin: str, log: SigningKey, entry: SigningKey, cosigner: SigningKey,
        csr: CertificateRequest,
    ) -> Self:  # fmt: skip
        """Ask for the node whose keys these are; raises as check does."""

        def possession(name: str, key: SigningKey) -> bytes:
            return key.sign(genesis_key_digest(origin, name, key.public))

        request = cls(
            origin,
            log.public,
            possession("log", log),
            entry.public,
            possession("entry", entry),
            cosigner.public,
            possession("cosigner", cosigner),
            csr.pem.decode(),
        )
        request.check()
        return request

    @property
    def certificate_request(self) -> CertificateRequest:
        return CertificateRequest.parse(self.csr.encode())

    def check(self) -> None:
        """Raise FieldError or MalformedError, or SignatureError when a key is not the asker's."""
        check_origin(self.origin)
        if self.certificate_request.holder.role != PEER:
            raise FieldError(f"a node's certificate request has the role {PEER}")
        for name, public, possession in (
            ("log", self.log_key, self.log_possession),
            ("entry", self.entry_key, self.entry_possession),
            ("cosigner", self.cosigner_key, self.cosigner_possession),
        ):
            check_asker(public, genesis_key_digest(self.origin, name, public), possession)


def client_settings(request: EnrolmentRequest, endpoint: str, peer_origin: str = "") -> bytes:
    """
    client.toml of whoever asked, for a directory that holds its keys, certificate and trust file.

    endpoint is host:port of the node on its side. Without peer_origin nothing can be declared,
    not even queued, before that node was first reached.
    """
    settings = {
        "endpoint": endpoint,
        "origin": request.origin,
        "peer_origin": peer_origin,
        "trust": "trust.txt",
        "tls_certificate": "tls.crt",
        "tls_key": "tls.key",
        "keys": "keys",
    }
    if request.role == INSTITUTION:
        settings |= {"institution": request.id, "signing_key": "signing.key", "outbox": "outbox.db"}
    # A JSON string is a TOML string.
    lines = [f"{name} = {json.dumps(v, ensure_ascii=False)}\n" for name, v in settings.items() if v]
    return "".join(lines).encode()


def genesis_key_digest(origin: str, name: str, public: bytes) -> bytes:
    """What a node's key signs in a GENESIS request; name is `log`, `entry` or `cosigner`."""
    check_size("public_key", public, PUBLIC_SIZE)
    return sha256(_NODE_KEY_TAG + lp8(origin.encode()) + lp8(name.encode()) + public).digest()

"""What a node is told by files beside its configuration: keys, certificate, trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from ledgerd.config import Config
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file, read_key_file
from ledgerd_client.pki import Certificate
from ledgerd_client.transport import read_tls_pair


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The three keys that GENESIS names, and whether one of them was made for a trial."""

    origin: str
    log: SigningKey
    entry: SigningKey
    cosigner: SigningKey
    throwaway: bool

    @classmethod
    def load(cls, config: Config) -> Self:
        """Read the key files; raises InputError."""
        paths = (config.keys.log, config.keys.entry, config.keys.cosigner)
        log, entry, cosigner = files = [read_key_file(path) for path in paths]
        throwaway = any(file.throwaway for file in files)
        return cls(config.origin, log.key, entry.key, cosigner.key, throwaway)

    @property
    def log_signer(self) -> Signer:
        """Signs checkpoints of this log."""
        return Signer(self.origin, ED25519, self.log)

    @property
    def cosigner_signer(self) -> Signer:
        """Cosigns checkpoints of the peer's log."""
        return Signer(self.origin, COSIGNATURE_V1, self.cosigner)

    def check_named(self, genesis: pb.Genesis) -> None:
        """Refuse keys that are not those of the ledger's GENESIS; raises FieldError."""
        named = (genesis.log_key, genesis.entry_key, genesis.cosigner_key)
        if named != (self.log.public, self.entry.public, self.cosigner.public):
            raise FieldError(
                "GENESIS names other keys than the key files hold",
                reason="WRONG_KEYS",
                action="name the key files that this ledger was made with",
            )

    def check_throwaway(self, config: Config, *, allowed: bool) -> None:
        """Refuse keys that were made for a trial, unless it is one; raises InputError."""
        if not self.throwaway:
            return
        if not allowed:
            raise InputError(
                "the node's keys were made by `ledgerd dev`: what they sign proves nothing",
                reason="THROWAWAY_KEY",
                action="make real ones with `ledgerd init`, in a new directory",
            )
        if not config.listens_on_loopback:
            raise InputError(
                f"throw-away keys are for this machine only, and {config.listen} is not",
                reason="THROWAWAY_KEY",
                action="listen on 127.0.0.1",
            )


@dataclass(frozen=True, slots=True)
class NodeTls:
    """The node's certificate (PEM, with its chain) and key (PEM)."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def load(cls, config: Config, trust: Trust) -> Self:
        """
        Read certificate and key.

        Raises InputError, or TrustError for a certificate that this side's authority did not issue.
        """
        pem, key = read_tls_pair(config.tls.certificate, config.tls.key)
        certificate = Certificate.parse(pem)
        if certificate.holder != config.spiffe_id:
            raise FieldError(
                f"{config.tls.certificate} is of {certificate.holder.uri},"
                f" this node is {config.spiffe_id.uri}",
                reason="WRONG_CERTIFICATE",
                action="correct id and trust_domain, or name the certificate of this node",
            )
        certificate.check_issuer(trust[config.origin].certificates)
        return cls(pem, key)


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """All of it, and found to be of this node."""

    trust: Trust
    keys: NodeKeys
    tls: NodeTls

    @classmethod
    def load(cls, config: Config, *, throwaway: bool) -> Self:
        """Read every file that the configuration names; throwaway allows keys of a trial."""
        trust, keys = load_trust(config), NodeKeys.load(config)
        keys.check_throwaway(config, allowed=throwaway)
        return cls(trust, keys, NodeTls.load(config, trust))


def load_trust(config: Config) -> Trust:
    """Read the trust file; raises InputError, or TrustError when it does not know this log."""
    trust = Trust.parse(read_file(config.trust))
    trust[config.origin]  # raises TrustError
    return trust

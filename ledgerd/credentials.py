"""What a node is told by files beside its configuration: keys, certificate, trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from ledgerd.config import Config, Tls
from ledgerd.named_files import LOST_KEY, naming, read_certificate
from ledgerd.observe.vitals import CertificateEnd
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import to_micros
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import KeyFile, read_file, read_key_file
from ledgerd_client.pki import Certificate, read_end
from ledgerd_client.transport import read_tls_pair

# Beside a key's file: the one that is to replace it, and the one that it replaced.
NEXT: Final = ".next"
RETIRED: Final = ".retired"

_NAMES: Final[Mapping[int, str]] = {
    pb.ROLE_LOG: "log",
    pb.ROLE_ENTRY: "entry",
    pb.ROLE_COSIGNER: "cosigner",
}


def key_path(config: Config, role: int) -> Path:
    """Where the node's key of a role lies."""
    path: Path = getattr(config.keys, _NAMES[role])
    return path


def beside(path: Path, suffix: str) -> Path:
    """Where the next key lies, or the retired one, of one at path."""
    return path.with_name(path.name + suffix)


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The node's three keys, and whether one was made for a trial."""

    origin: str
    log: SigningKey
    entry: SigningKey
    cosigner: SigningKey
    throwaway: bool
    # Of each role: keys that are to replace these, and those that they replaced. The latter sign
    # only beside the former: a store from before a rotation must not go on under a retired key.
    coming: Mapping[int, Sequence[SigningKey]] = field(default_factory=dict)
    retired: Mapping[int, Sequence[SigningKey]] = field(default_factory=dict)

    @classmethod
    def load(cls, config: Config) -> Self:
        """Read the key files, with those beside them that are there; raises InputError."""
        files: list[KeyFile] = []
        coming: dict[int, list[SigningKey]] = {}
        retired: dict[int, list[SigningKey]] = {}
        for role in _NAMES:
            path = key_path(config, role)
            # A key that is lost is missing; if nothing is there, the message names it.
            there = [each for each in (path, beside(path, NEXT)) if each.exists()] or [path]
            own, *following = (_read_key(config, role, each) for each in there)
            files.append(own)
            coming[role] = [file.key for file in following]
            old = beside(path, RETIRED)
            retired[role] = [_read_key(config, role, old).key] if old.exists() else []
        log, entry, cosigner = (file.key for file in files)
        throwaway = any(file.throwaway for file in files)
        return cls(config.origin, log, entry, cosigner, throwaway, coming, retired)

    def held(self, role: int) -> tuple[SigningKey, ...]:
        """The key of a role, and those that are to replace it."""
        own: SigningKey = getattr(self, _NAMES[role])
        return (own, *self.coming.get(role, ()))

    def with_next(self, role: int, key: SigningKey) -> NodeKeys:
        """The same, and a key that is to replace the one of a role."""
        return replace(self, coming={**self.coming, role: (*self.coming.get(role, ()), key)})

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
            raise _wrong_keys("GENESIS names other keys than the key files hold")

    def in_force(self, history: KeyHistory) -> NodeKeys:
        """
        The same, each that the log says is in force in its place.

        Raises FieldError WRONG_KEYS when one of them is not here.
        """
        present: list[SigningKey] = []
        coming: dict[int, Sequence[SigningKey]] = {}
        retired: dict[int, Sequence[SigningKey]] = {}
        for role, named in _NAMES.items():
            held = self.held(role)
            publics = [key.public for key in held]
            wanted = history.key_in_force(role).public
            if wanted not in publics:
                raise _wrong_keys(f"the log names another {named} key than the key files hold")
            place = publics.index(wanted)
            present.append(held[place])
            coming[role] = held[place + 1 :]
            retired[role] = (*self.retired.get(role, ()), *held[:place])
        log, entry, cosigner = present
        return NodeKeys(self.origin, log, entry, cosigner, self.throwaway, coming, retired)

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


def key_setting(role: int) -> str:
    """The setting that names the file of the node's key of a role."""
    return f"keys.{_NAMES[role]}"


def _read_key(config: Config, role: int, path: Path) -> KeyFile:
    with naming(key_setting(role), path, LOST_KEY):
        return read_key_file(path, config.keys.passphrase)


def _wrong_keys(message: str) -> FieldError:
    return FieldError(
        message,
        reason="WRONG_KEYS",
        action="name the key files that this ledger was made with, or that it was rotated to",
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
        # First: of two that are swapped, the certificate would be told to be a key that is open.
        certificate = read_certificate(config)
        pem, key = read_tls_pair(config.tls.certificate, config.tls.key)
        if certificate.holder != config.spiffe_id:
            raise FieldError(
                f"{config.tls.certificate} is of {certificate.holder.uri},"
                f" this node is {config.spiffe_id.uri}",
                reason="WRONG_CERTIFICATE",
                action="correct id and trust_domain, or name the certificate of this node",
            )
        certificate.check_issuer(trust[config.origin].certificates)
        return cls(pem, key)

    def check_dates(self, now: datetime) -> None:
        """As check_dates, of this certificate."""
        check_dates(Certificate.parse(self.certificate), now)

    @staticmethod
    def made_at(files: Tls) -> tuple[int, ...]:
        """What changes when either file is replaced; empty while one is not there."""
        try:
            return tuple(path.stat().st_mtime_ns for path in (files.certificate, files.key))
        except OSError:
            return ()


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


def check_dates(certificate: Certificate, now: datetime) -> None:
    """Refuse one that nobody would take now; raises FieldError CERTIFICATE_DATES."""
    valid = certificate.validity
    if not valid.not_before <= now <= valid.not_after:
        raise FieldError(
            f"the certificate is valid from {valid.not_before} to {valid.not_after}, and this"
            f" machine says {now:%Y-%m-%d %H:%M:%S%z}",
            reason="CERTIFICATE_DATES",
            action="compare the authority's clock with this machine's; if both are right, have"
            " another one issued",
        )


def certificate_ends(
    trust: Trust, tls: NodeTls, origin: str, peer_origin: str
) -> tuple[CertificateEnd, ...]:
    """When the node's certificate ends, and those of the authorities of both sides."""
    named = [("node", tls.certificate)]
    for name, each in (("authority", origin), ("peer_authority", peer_origin)):
        named += [(name, der) for der in trust[each].certificates]
    ends = ((name, *read_end(certificate)) for name, certificate in named)
    return tuple(
        CertificateEnd(name, fingerprint[:16], to_micros(name, at))
        for name, fingerprint, at in ends
    )


def load_trust(config: Config) -> Trust:
    """Read the trust file; raises InputError, or TrustError when it does not know this log."""
    with naming("trust", config.trust, "correct it, or name the trust file of both sides"):
        trust = Trust.parse(read_file(config.trust))
    trust[config.origin]  # raises TrustError
    return trust

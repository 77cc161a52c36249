"""An authority's directory: its keys, certificate and settings as files, and its next key."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.authority import Authority
from ledgerd_client.core.errors import InputError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.trust import Trust
from ledgerd_client.jsonfile import JsonFile
from ledgerd_client.keyfile import read_file, read_key_file, read_secret, write_new
from ledgerd_client.tls_authority import TlsAuthority


@dataclass(frozen=True, slots=True)
class _Settings(JsonFile):
    """What the directory says of the authority, beside its keys."""

    FORMAT: ClassVar = "ledgerd-authority/v1"

    origin: str
    domain: str


def save_authority(authority: Authority, directory: Path) -> None:
    """
    Write keys, certificate, settings and trust file (of this side) into an empty directory.

    Raises InputError when one is there already, or cannot be written.
    """
    settings = _Settings(authority.origin, authority.domain)
    write_new(directory / "authority.key", authority.key_file.format(), mode=0o600)
    write_new(directory / "tls-ca.key", authority.tls.key.pem, mode=0o600)
    write_new(directory / "tls-ca.crt", authority.tls.pem, mode=0o644)
    write_new(directory / "trust.txt", Trust.of([authority.trust]).format(), mode=0o644)
    write_new(directory / "authority.json", settings.format(), mode=0o644)


def load_authority(directory: Path) -> Authority:
    """Read what save_authority wrote; raises InputError."""
    settings = _Settings.parse(read_file(directory / "authority.json"))
    tls = TlsAuthority.parse(
        read_file(directory / "tls-ca.crt"), read_secret(directory / "tls-ca.key")
    )
    key_file = read_key_file(directory / "authority.key")
    return Authority(settings.origin, settings.domain, key_file, tls)


def take_over_key(authority: Authority, directory: Path, history: KeyHistory) -> Authority:
    """
    Go over to the key in authority.key.next, once a history says that it is in force.

    The old key is kept as authority.key.retired; the trust file names the new one. Raises
    InputError when that key is not here or not in force, or a file cannot be written.
    """
    path = directory / "authority.key"
    following, retired = (path.with_name(path.name + each) for each in (".next", ".retired"))
    if not following.exists():
        raise InputError(
            f"there is no {following}: this authority has signed no rotation of its key",
            action="run `authority rotate` with --out first, and submit what it makes",
        )
    next_key = read_key_file(following)
    if history.key_in_force(pb.ROLE_AUTHORITY).public != next_key.key.public:
        raise InputError(
            "the key history does not say that the next key is in force",
            action="submit the rotation, then have the operator fetch the history anew with"
            " `ledgerctl trust keys`",
        )
    renewed = replace(authority, key_file=next_key)
    trust = directory / "trust.txt.new"
    trust.unlink(missing_ok=True)
    write_new(trust, Trust.of([renewed.trust]).format(), mode=0o644)
    # A crash leaves either file whole under the key's name.
    retired.unlink(missing_ok=True)
    os.link(path, retired)
    following.replace(path)
    trust.replace(directory / "trust.txt")
    return renewed

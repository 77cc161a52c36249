"""Keys, certificate and trust file, whose faults name the file and the setting that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledgerd.config import Config
from ledgerd_client.core.errors import MalformedError
from ledgerd_client.keyfile import read_file, read_secret
from ledgerd_client.pki import Certificate, TlsKey

LOST_KEY: Final = (
    "correct the setting, or put a copy of the key in its place; if there is none, have the"
    " authority rotate it (`ledgerd rotate --lost`)"
)
_PAIR: Final = "correct the settings tls.certificate and tls.key: each names a file of its own, PEM"
_SWAPPED: Final = "a private key lies there: swap tls.certificate and tls.key, or correct both"


@contextmanager
def naming(setting: str, path: Path, cure: str) -> Iterator[None]:
    """Have a MalformedError say which file is wrong, the setting that names it, and the cure."""
    try:
        yield
    except MalformedError as error:
        raise MalformedError(f"{setting}: {path}: {error.message}", action=cure) from error


def read_certificate(config: Config) -> Certificate:
    """The node's certificate; raises InputError."""
    path = config.tls.certificate
    pem = read_file(path)
    with naming("tls.certificate", path, _SWAPPED if b"PRIVATE KEY-----" in pem else _PAIR):
        return Certificate.parse(pem)


def read_tls_key(config: Config) -> TlsKey:
    """The key of its certificate; raises InputError."""
    with naming("tls.key", config.tls.key, _PAIR):
        return TlsKey.parse(read_secret(config.tls.key))

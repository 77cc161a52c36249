"""Settings of a client: a TOML file, and the environment over it (docs/sdk.md, "Configuration")."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Self

from ledgerd_client.core.errors import FieldError, InputError, TrustError
from ledgerd_client.core.fields import check_institution
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file

ENVIRONMENT_PREFIX = "LEDGERD_"

# Before the path of a mirror's socket, in place of host:port.
LOCAL_ENDPOINT = "unix:"
_ENDPOINT = re.compile(
    rf"{LOCAL_ENDPOINT}[^\x00-\x1f]{{1,100}}|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{{1,5}}"
)
_SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Where the node is and who we are. Raises InputError for what cannot be.

    institution, signing_key and outbox go together; an operator's tool has none of them.
    """

    # host:port of the node on one's own side, or unix:PATH of a regulator's mirror of it.
    endpoint: str
    # The name of its log.
    origin: str
    # The trust file of both sides.
    trust: Path
    # PEM: the client certificate with its chain, and its private key.
    tls_certificate: Path
    tls_key: Path
    # The other side's log; by default the one that GENESIS names.
    peer_origin: str | None = None
    # Our institution's id, the key file that signs its records, and the SQLite file of its outbox.
    institution: str | None = None
    signing_key: Path | None = None
    outbox: Path | None = None
    # Where key histories and the newest verified checkpoint are kept.
    keys: Path | None = None
    # Obey http_proxy and its like in the environment.
    use_proxy: bool = False
    # How long one call to the node may take.
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not _ENDPOINT.fullmatch(self.endpoint):
            raise FieldError(f"endpoint: {self.endpoint!r} is neither host:port nor unix:PATH")
        check_origin(self.origin)
        if self.peer_origin is not None:
            check_origin(self.peer_origin)
        if self.institution is not None:
            check_institution("institution", self.institution)
        if len({name is None for name in (self.institution, self.signing_key, self.outbox)}) > 1:
            raise FieldError(
                "institution, signing_key and outbox are given all three or not at all"
            )
        if not 0 < self.timeout_s <= 600:
            raise FieldError("timeout_s is above 0 and at most 600")

    @property
    def keys_directory(self) -> Path:
        """`keys`, or a directory of that name beside the outbox (without one, the trust file)."""
        return self.keys or (self.outbox or self.trust).with_name("keys")

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ
    ) -> Self:
        """
        Read a TOML file; LEDGERD_<NAME> in the environment overrides the value `name`.

        Paths are relative to the file. Raises InputError for a file that cannot be read or holds a
        key that is not known, and for a value that is missing or of another type.
        """
        path = Path(path)
        values: dict[str, object] = _read(path)
        known = {field.name: str(field.type) for field in fields(cls)}
        if unknown := sorted(values.keys() - known.keys()):
            raise InputError(
                f"{path}: {unknown[0]!r} is not a setting",
                reason="UNKNOWN_SETTING",
                action=f"use {', '.join(known)}",
            )
        for name, kind in known.items():
            if (text := environ.get(ENVIRONMENT_PREFIX + name.upper())) is not None:
                values[name] = _from_text(kind, text)
        for field in fields(cls):
            if field.default is MISSING and field.name not in values:
                raise InputError(f"{path}: {field.name} is missing", reason="MISSING_SETTING")
        parsed = {name: _parse(path, name, known[name], value) for name, value in values.items()}
        return cls(**parsed)  # type: ignore[arg-type] # _parse went by the fields' types

    def read_trust(self) -> Trust:
        """Whom these settings trust; raises InputError, also when that is nobody of their log."""
        try:
            trust = Trust.parse(read_file(self.trust))
            trust.authority(self.origin)
        except TrustError as error:
            raise InputError(
                f"{self.trust}: {error.message}", action="mend trust or origin in the settings"
            ) from None
        return trust


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(read_file(path).decode("utf-8-sig"))
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    except InputError as error:
        raise InputError(
            error.message,
            reason=error.reason,
            action="name the client.toml that `ledgerctl enrol install` wrote: with --config, or in"
            " LEDGERCTL_CONFIG",
        ) from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path} is not TOML: {error}") from None


def _from_text(kind: str, text: str) -> object:
    if kind == "bool":
        return _BOOLEANS.get(text, text)
    if kind == "float" and _SECONDS.fullmatch(text):
        return float(text)
    return text


def _parse(path: Path, name: str, kind: str, value: object) -> object:
    kind = kind.removesuffix(" | None")
    if kind == "Path" and isinstance(value, str) and value:
        return path.parent / value
    if kind == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != kind:
        raise InputError(f"{path}: {name} is a {kind.lower()}, not {value!r}")
    return value

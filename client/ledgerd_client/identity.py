"""Who a TLS certificate speaks for: one SPIFFE URI, `spiffe://<trust domain>/<role>/<id>`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from ledgerd_client.core.errors import FieldError, MalformedError

INSTITUTION = "institution"
REGULATOR = "regulator"
OPERATOR = "operator"
# The other side's node; a node's own certificate says so of itself.
PEER = "peer"
ROLES = (INSTITUTION, REGULATOR, OPERATOR, PEER)

_SCHEME = "spiffe://"
# SPIFFE-ID section 2: what a trust domain and a segment of the path are made of.
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A caller's name; raises FieldError for what a SPIFFE URI cannot carry."""

    domain: str
    role: str
    id: str

    def __post_init__(self) -> None:
        if not _DOMAIN.fullmatch(self.domain):
            raise FieldError(
                f"{self.domain!r} is no trust domain",
                action="write small letters, digits, '.', '_' and '-', say ledger.example",
            )
        if self.role not in ROLES:
            raise FieldError(f"{self.role!r} is no role", action=f"use one of {', '.join(ROLES)}")
        if not _SEGMENT.fullmatch(self.id) or self.id in {".", ".."}:
            raise FieldError(
                f"{self.id!r} is no id", action="write 1 to 64 letters, digits, '.', '_' and '-'"
            )

    @property
    def uri(self) -> str:
        return f"{_SCHEME}{self.domain}/{self.role}/{self.id}"

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read a URI; raises MalformedError for another shape, FieldError for a bad part."""
        parts = uri.removeprefix(_SCHEME).split("/")
        if not uri.startswith(_SCHEME) or len(parts) != 3:
            raise MalformedError(f"{uri!r} is not spiffe://<trust domain>/<role>/<id>")
        return cls(*parts)

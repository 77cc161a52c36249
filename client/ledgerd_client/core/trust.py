"""
The trust file: all that a verifier must know beforehand (docs/format.md, "Trust file").

It pins, for each origin, the authority's key and the certificates of the TLS authority. Read its
fingerprint to the authority over the telephone before you use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import MalformedError, TrustError
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.note import Verifier, parse_vkey

FILE_HEAD = "ledgerd-trust/v1"


@dataclass(frozen=True, slots=True)
class OriginTrust:
    """What is pinned for one origin; certificates are DER."""

    origin: str
    authority: Verifier
    certificates: tuple[bytes, ...]

    def lines(self) -> list[str]:
        head = [f"origin {self.origin}", f"authority {self.authority.vkey}"]
        return head + [f"ca {encode_base64(der)}" for der in self.certificates]


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust file, parsed."""

    origins: tuple[OriginTrust, ...]

    @classmethod
    def of(cls, origins: Iterable[OriginTrust]) -> Self:
        return cls(tuple(sorted(origins, key=lambda trust: trust.origin)))

    def __getitem__(self, origin: str) -> OriginTrust:
        for trust in self.origins:
            if trust.origin == origin:
                return trust
        raise TrustError(f"the trust file does not know {origin}")

    def authority(self, origin: str) -> bytes:
        """The authority's raw public key; raises TrustError for an unknown origin."""
        return self[origin].authority.public

    def format(self) -> bytes:
        lines = [FILE_HEAD, *(line for trust in self.origins for line in trust.lines())]
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def fingerprint(self) -> str:
        """128 bits of the file's digest, in groups that can be read aloud."""
        digits = sha256(self.format()).hexdigest()[:32]
        return " ".join(digits[i : i + 4] for i in range(0, 32, 4))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a trust file; raises MalformedError unless data is its one spelling."""
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            raise MalformedError("a trust file is text") from None
        blocks: list[list[tuple[str, str]]] = []
        for line in lines[1:-1]:
            word, _, value = line.partition(" ")
            if word == "origin" or not blocks:
                blocks.append([])
            blocks[-1].append((word, value))
        parsed = cls.of(_parse_block(block) for block in blocks)
        if not blocks or parsed.format() != data:
            raise MalformedError("not a ledgerd-trust/v1 file, or not in its one spelling")
        if len({trust.origin for trust in parsed.origins}) != len(blocks):
            raise MalformedError("a trust file names each origin once")
        return parsed


def _parse_block(block: list[tuple[str, str]]) -> OriginTrust:
    words = [word for word, _ in block]
    if words[:2] != ["origin", "authority"] or set(words[2:]) != {"ca"}:
        raise MalformedError("a trust file has origin, authority and ca lines for each origin")
    origin, vkey, *certificates = [value for _, value in block]
    check_origin(origin)
    authority = parse_vkey(vkey)
    if authority.algorithm != 1 or authority.name != f"{origin}/authority":
        raise MalformedError("an authority's key is Ed25519, under its origin's name")
    if not all(certificates):
        raise MalformedError("a ca line holds a certificate")
    return OriginTrust(origin, authority, tuple(map(parse_base64, certificates)))

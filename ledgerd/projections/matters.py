"""
Matters: incidents, requests of authorities, provisions onward. Said again, a matter is stated anew.

MATTERS: lp8(institution) ‖ matter (16 bytes) → the row below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self

from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.transfers import OpenFinding
from ledgerd_client.core.encoding import lp8

_MATTER_BYTES: Final = 16


def matter_key(institution: str, matter: bytes) -> bytes:
    return lp8(institution.encode()) + matter


def matter_of(key: bytes) -> tuple[str, bytes]:
    """(institution, matter) of a key."""
    return key[1:-_MATTER_BYTES].decode(), key[-_MATTER_BYTES:]


@dataclass(slots=True)
class Matter:
    """
    The newest statement of a matter.

    record: its field in pb.Body, and body that message, encoded. due is µs, 0 for none.
    """

    record: str
    position: int
    body: bytes
    due: int = 0
    findings: list[OpenFinding] = field(default_factory=list)

    def encode(self) -> bytes:
        return encode(
            self.record, self.position, self.body, self.due, findings_value(self.findings)
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        record, position, body, due, found = values
        return cls(record, position, body, due, parse_findings(found))

"""
Matters: incidents, requests of authorities, provisions onward. Said again, a matter is stated anew.

MATTERS: lp8(institution) ‖ u8 kind ‖ matter (16 bytes) → Matter, so that one id of two kinds is two
matters; 0 ‖ lp8(institution) ‖ lp8(contract_id) ‖ matter → "", of each provision onward under that
contract; the same without a matter → Sweep. No institution has an empty name, so no matter's key
begins with 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.transfer_row import OpenFinding
from ledgerd.store.base import Snapshot
from ledgerd.store.tables import Table
from ledgerd_client.core.encoding import lp8

_MATTER_BYTES: Final = 16
_KINDS: Final = ("onward", "incident", "gov_access", "consent_change")


def matter_key(institution: str, record: str, matter: bytes) -> bytes:
    """record: its field in pb.Body."""
    return lp8(institution.encode()) + bytes([_KINDS.index(record)]) + matter


def matter_of(key: bytes) -> tuple[str, bytes]:
    """(institution, matter) of a key."""
    return key[1 : -_MATTER_BYTES - 1].decode(), key[-_MATTER_BYTES:]


def onward_key(institution: str, contract_id: str, matter: bytes = b"") -> bytes:
    named = lp8(institution.encode()) + lp8(contract_id.encode())
    return b"\0" + named + matter


def onward_under(snapshot: Snapshot, sweep_key: bytes, start: bytes) -> Iterator[bytes]:
    """Matters that are a provision onward under a contract, from one on, in their order."""
    keys = snapshot.scan(Table.MATTERS, sweep_key + start, sweep_key + b"\xff" * 17)
    # Nothing below the first matter: that is the Sweep itself.
    return (key[-_MATTER_BYTES:] for key, _ in keys if key != sweep_key)


def contract_of_sweep(key: bytes) -> tuple[str, str]:
    """(institution, contract_id) of an onward_key() without a matter."""
    end = 2 + key[1]
    return key[2:end].decode(), key[end + 1 :].decode()


@dataclass(slots=True)
class Matter:
    """
    The newest statement of a matter.

    record: its field in pb.Body, and body that message, encoded, without digests of documents and
    with the earliest time at which it was ever said to have begun. recorded_at: µs, when it was
    first stated. due is µs, 0 for none.
    """

    record: str
    position: int
    body: bytes
    recorded_at: int = 0
    due: int = 0
    findings: list[OpenFinding] = field(default_factory=list)

    def encode(self) -> bytes:
        return encode(
            self.record, self.position, self.body, self.recorded_at, self.due,
            findings_value(self.findings),
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        record, position, body, recorded_at, due, found = values
        return cls(record, position, body, recorded_at, due, parse_findings(found))

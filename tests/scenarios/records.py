"""Records as the story's institutions state them, made of a contract and what differs from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any, NamedTuple

from google.protobuf.message import Message
from scenarios.names import HONG_KONG, THIRD_PARTIES, Institution, derive

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.transfer import Side, transfer_ref

ORIGINS = {"mainland": "mainland.story.invalid/log", "hongkong": "hongkong.story.invalid/log"}
HERE = timezone(timedelta(hours=8))
MINUTE = 60_000_000
DAY = 86_400_000_000
GBA, ASSESSED, NATIONAL = 1, 3, 4
MAINLAND_AUTHORITY, HONG_KONG_AUTHORITY = 1, 2
ACCEPTED, MISMATCH = 1, 4


class Event(NamedTuple):
    """
    A record on its way into its author's log.

    label is unique there, "" where nobody asks for it. exact: recorded at `at` to the microsecond,
    and not with what comes some minutes later.
    """

    at: int
    author: Institution
    label: str
    kind: str
    message: Message
    occurred_at: int
    seed: str
    exact: bool = True

    @property
    def node(self) -> str:
        return self.author.side

    @property
    def record_id(self) -> bytes:
        """A UUIDv7 whose random part follows from the seed."""
        stamp, tail = (self.at // 1000).to_bytes(6, "big"), bytearray(derive(self.seed, 10))
        tail[0] = 0x70 | tail[0] & 0x0F
        tail[2] = 0x80 | tail[2] & 0x3F
        return stamp + bytes(tail)


def micros(moment: date | datetime) -> int:
    """µs since the epoch of a time of the table, which is one of UTC+8; a date is its midnight."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 - below
    # Integers: a float has no room for microseconds.
    return (moment.replace(tzinfo=HERE) - datetime(1970, 1, 1, tzinfo=HERE)) // timedelta(
        microseconds=1
    ) - 8 * 3_600_000_000


def number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day


def day_of(at: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=HERE) + timedelta(microseconds=at + 28_800_000_000)).date()


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


@dataclass(slots=True)
class Deal:
    """
    A contract between two institutions of the story, as its exporter knows it.

    terms: what the newest version says other than the default; side: what the exporter says of
    itself.
    """

    id: str
    exporter: Institution
    recipient: Institution
    effective_on: date
    terms: dict[str, Any] = field(default_factory=dict)
    side: dict[str, Any] = field(default_factory=dict)
    version: int = 0

    @property
    def parties(self) -> dict[str, Any]:
        return {"exporter": party(self.exporter), "recipient": party(self.recipient)}

    @property
    def head(self) -> dict[str, Any]:
        return {**self.parties, "nonce": derive(f"nonce {self.id}", 16), "contract_id": self.id}

    @property
    def mechanism(self) -> int:
        mechanism: int = self.terms.get("mechanism", GBA)
        return mechanism

    def contract(self, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            **self.head,
            "version": self.version,
            "document_digest": digest(f"{self.id} {self.version}"),
            "mechanism": GBA,
            "direction": 1 if self.exporter.side == "mainland" else 2,
            "exporter_place": self.exporter.place,
            "recipient_place": self.recipient.place,
            "exporter_sector": self.exporter.sector,
            "recipient_sector": self.recipient.sector,
            "exporter_role": 1,
            "recipient_role": 1,
            "signed_on": self.effective_on - timedelta(days=7),
            "effective_on": self.effective_on,
            "purposes": range(1, 19),
            "categories": range(1, 14),
            "sensitive_categories": range(1, 12),
            "means": range(1, 9),
            "subject_types": [1],
            "planned_scale": 10_000_000,
            "retention_days": 1_000,
            "storage_places": [self.recipient.place],
            "transmissions": range(1, 7),
        }
        return encode(pb.ContractTerms(**plain({**fields, **self.terms, **changes})))

    def own(self, **changes: Any) -> pb.ContractSide:
        authorised = {"authorised_on": date(2026, 1, 5), "authorised_scale": 10_000_000}
        fields = authorised if self.mechanism in {2, 3, 5} else {}
        return pb.ContractSide(**plain({**fields, **self.side, **changes}))

    def transfer(self, seed: str, at: int, **changes: Any) -> bytes:
        """Terms of a transfer; `first` and `sensitive_first` are how many are new this year."""
        first, sensitive = changes.pop("first", 0), changes.pop("sensitive_first", 0)
        mainland = self.exporter.side == "mainland"
        fields = {
            **self.parties,
            "nonce": derive(f"nonce {seed}", 16),
            "contract_id": self.id,
            "commitment": derive(f"commitment {seed}", 32),
            "subjects": max(10, first),
            "subjects_first_this_year": first,
            "sensitive_subjects": sensitive,
            "sensitive_first_this_year": sensitive,
            "purposes": [1],
            "categories": [1],
            "legal_basis": 1 if mainland else 9,
            "consent_form": 3 if mainland else 4,
            "notice_digest": "notice",
            "notice_version": "2026-03",
            "exemption": 1,
            "protections": [1],
            "transmission": 1,
            "delete_by": day_of(at) + timedelta(days=900),
        }
        return encode(pb.Terms(**plain({**fields, **changes})))

    def ref(self, seed: str) -> bytes:
        exporter = Side(ORIGINS[self.exporter.side], self.exporter.id)
        return transfer_ref(exporter, derive(f"nonce {seed}", 16))


def ack(terms: bytes, at: int, **changes: Any) -> pb.Ack:
    stated = pb.Terms.FromString(terms)
    outcome = changes.get("outcome", ACCEPTED)
    arrived = digest("something else") if outcome == MISMATCH else stated.commitment
    fields = {
        "terms": terms,
        "outcome": ACCEPTED,
        "received_at": at,
        "received_subjects": stated.subjects,
        "received_commitment": arrived,
    }
    return pb.Ack(**{**fields, **changes})


def authority_of(institution: Institution) -> int:
    return HONG_KONG_AUTHORITY if institution.place == HONG_KONG else MAINLAND_AUTHORITY


def party(institution: Institution) -> pb.Party:
    return pb.Party(origin=ORIGINS[institution.side], institution=institution.id)


def encode(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """As protobuf takes them: dates as numbers, documents as digests, third parties by their ids."""
    return {name: _plain(name, value) for name, value in fields.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, date):
        return number(value)
    if name.endswith("_digest") and isinstance(value, str):
        return digest(value) if value else b""
    if name == "nonce" and isinstance(value, str):
        return derive(value, 16)
    if name == "third_parties":
        return [THIRD_PARTIES[label] for label in value]
    return value

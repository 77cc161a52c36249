"""
Contracts as one party of this side has stated them.

CONTRACTS: lp8(author) ‖ contract_id → Contract. A row is there as soon as any record names the
contract; until its CONTRACT comes, it has no version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.terms import Terms, read_terms
from ledgerd.projections.transfers import OpenFinding
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import end_of
from ledgerd_client.core.encoding import lp8

# Records that named a contract before it was known, and are kept to be found.
MAX_DANGLING: Final = 100


def contract_key(author: str, contract_id: str) -> bytes:
    """The row of a contract: one id names one contract of an author."""
    return _author(author) + contract_id.encode()


def parse_contract_key(key: bytes) -> tuple[str, str]:
    """(author, contract_id) of a key."""
    end = 1 + key[0]
    return key[1:end].decode(), key[end:].decode()


@lru_cache(maxsize=4096)
def _author(author: str) -> bytes:
    return lp8(author.encode())


class Version(NamedTuple):
    """
    What the contract says by its newest statement of one version; lean_terms() and side encoded.

    recorded_at: when it was first said in these very terms, so that saying it again moves no
    deadline.
    """

    position: int
    recorded_at: int
    digest: bytes
    terms: bytes
    side: bytes


def stated_terms(body: bytes) -> pb.ContractTerms:
    """What the CONTRACT or SUPPLEMENT of a body states in common, whole."""
    parsed = pb.Body.FromString(body)
    statement = parsed.contract if parsed.HasField("contract") else parsed.supplement
    return pb.ContractTerms.FromString(statement.terms)


class Filed(NamedTuple):
    """A FILING: the digest of what was filed, with whom, the day, the result, its number."""

    position: int
    digest: bytes
    authority: int
    filed_on: int
    result: int
    number: str


class Change(NamedTuple):
    """A SUSPEND or a RESUME: from that µs on the contract is suspended, or is not."""

    at: int
    position: int
    suspended: bool


class Ended(NamedTuple):
    """
    The newest TERMINATION: its day, and the one on which the authority was notified (0: not).

    recorded_at: when that day was first stated.
    """

    position: int
    recorded_at: int
    day: int
    notified_on: int


_NONE: Final = Change(0, 0, suspended=False)


@dataclass(slots=True)
class Contract:
    """
    versions in the order of their numbers, the newest statement of each.

    Without a version the contract is not known (yet). due is µs, 0 for none.
    """

    ref: bytes = b""
    # Whether the author is the one who exports.
    exporting: bool = True
    versions: list[Version] = field(default_factory=list)
    filings: list[Filed] = field(default_factory=list)
    # Position, day of completion, conclusion.
    pipias: list[tuple[int, int, int]] = field(default_factory=list)
    # In log order.
    suspensions: list[Change] = field(default_factory=list)
    ended: Ended | None = None
    # Positions of records that named it before it was known, at most MAX_DANGLING.
    dangling: list[int] = field(default_factory=list)
    due: int = 0
    findings: list[OpenFinding] = field(default_factory=list)

    def encode(self) -> bytes:
        return encode(
            self.ref,
            int(self.exporting),
            tuple(self.versions),
            tuple(self.filings),
            tuple(self.pipias),
            tuple((at, position, int(held)) for at, position, held in self.suspensions),
            () if self.ended is None else self.ended,
            tuple(self.dangling),
            self.due,
            findings_value(self.findings),
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        ref, exporting, versions, filings, pipias, suspensions, ended, dangling, due, found = values
        return cls(
            ref,
            bool(exporting),
            [Version(*version) for version in versions],
            [Filed(*filed) for filed in filings],
            list(pipias),
            [Change(at, position, bool(held)) for at, position, held in suspensions],
            Ended(*ended) if ended else None,
            list(dangling),
            due,
            parse_findings(found),
        )

    def terms(self) -> tuple[Terms, ...]:
        """What the versions say, in the same order."""
        return _read_versions(tuple(self.versions))

    @property
    def ends_at(self) -> int:
        """The last µs of a known contract, by its terms or by its TERMINATION; 0: no end."""
        ends = [self.terms()[-1].ends_at, 0 if self.ended is None else end_of(self.ended.day)]
        return min(filter(None, ends), default=0)

    def is_suspended(self, at: int) -> bool:
        """Whether it was suspended at a time (µs): the latest change up to it says so."""
        return max((each for each in self.suspensions if each.at <= at), default=_NONE).suspended

    def covered(self, at: int, until: int) -> int:
        """The scope of a known contract at a time, with what came into force up to another (µs)."""
        scope = self.in_force(at).scope
        for each in self.terms():
            if at < each.starts_at <= until:
                scope |= each.scope
        return scope

    def in_force(self, at: int) -> Terms:
        """What a known contract says at a time (µs); before it is in effect, its first version."""
        versions = self.terms()
        return next((each for each in reversed(versions) if each.starts_at <= at), versions[0])


# A hostile institution's contract has a hundred versions, and each is kept here whole.
@lru_cache(maxsize=256)
def _read_versions(versions: tuple[Version, ...]) -> tuple[Terms, ...]:
    return tuple(read_terms(version.terms, version.side) for version in versions)

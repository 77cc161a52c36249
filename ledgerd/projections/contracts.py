"""
Contracts as one party of this side has stated them.

CONTRACTS: lp8(author) ‖ contract_id → Contract. A row is there as soon as any record names the
contract; until its CONTRACT comes, it has no version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from ledgerd.projections.rows import decode, encode, findings_value, parse_findings
from ledgerd.projections.terms import Terms, read_terms
from ledgerd.projections.transfer_row import OpenFinding
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

    recorded_at: when this version was first stated, so that stating it anew moves no deadline.
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
    """
    One filing with the party's own authority, as all statements of it come to.

    They have its number and the version's in common. digest, filed_on and result: by the newest
    statement. well, latest: the (day, position) of the newest one by which it was handed in and not
    returned or withdrawn, and of the one with the latest day of those; (0, 0) without any.
    """

    version: int
    number: str
    digest: bytes
    filed_on: int
    result: int
    well: tuple[int, int] = (0, 0)
    latest: tuple[int, int] = (0, 0)


class Change(NamedTuple):
    """A SUSPEND or a RESUME: from that µs on the contract is suspended, or is not."""

    at: int
    position: int
    suspended: bool


class Ended(NamedTuple):
    """
    The newest TERMINATION: its day, and the one on which the authority was notified (0: not).

    recorded_at: when an end was first stated, so that stating another day moves no grace.
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
    suspensions: list[Change] = field(default_factory=list)
    ended: Ended | None = None
    # Positions of records that named it before it was known, at most MAX_DANGLING.
    dangling: list[int] = field(default_factory=list)
    # Of the first statement by which it carries afterwards what it did not; -1: there is none.
    restated: int = -1
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
            self.restated,
            self.due,
            findings_value(self.findings),
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        values: Any = decode(data)
        ref, exporting, versions, filings, pipias, suspensions, ended, *rest, found = values
        dangling, restated, due = rest
        return cls(
            ref,
            bool(exporting),
            [Version(*version) for version in versions],
            [Filed(*filed) for filed in filings],
            list(pipias),
            [Change(at, position, bool(held)) for at, position, held in suspensions],
            Ended(*ended) if ended else None,
            list(dangling),
            restated,
            due,
            parse_findings(found),
        )

    def terms(self) -> tuple[Terms, ...]:
        """What the versions say, in the same order."""
        return _read_versions(tuple(self.versions))

    def ends_at(self, at: int) -> int:
        """
        The last µs of a known contract, by its TERMINATION or by what is in force at a time (µs).

        0: no end.
        """
        ends = [self.in_force(at).ends_at, 0 if self.ended is None else end_of(self.ended.day)]
        return min(filter(None, ends), default=0)

    def is_suspended(self, at: int) -> bool:
        """Whether it was suspended at a time (µs): the latest change up to it says so."""
        return max((each for each in self.suspensions if each.at <= at), default=_NONE).suspended

    def is_open(self, at: int) -> bool:
        """Whether a known contract was in effect at a time (µs): begun, not over, not suspended."""
        if at < self.terms()[0].starts_at or self.is_suspended(at):
            return False
        end = self.ends_at(at)
        return not end or at <= end

    def opened_since(self, old: Contract, until: int) -> int | None:
        """The first time (µs) before until at which it is open, and was not by an old row."""
        turns = {turn for row in (old, self) for turn in row.turns() if turn < until}
        opened = (turn for turn in sorted(turns) if self.is_open(turn) and not old.is_open(turn))
        return next(opened, None)

    def turns(self) -> Iterator[int]:
        """Times (µs) from which a known contract may be open, or not any more."""
        for each in self.terms():
            yield each.starts_at
            yield each.ends_at + 1
        yield from (each.at for each in self.suspensions)
        if self.ended is not None:
            yield end_of(self.ended.day) + 1

    def covered(self, at: int, until: int) -> int:
        """The scope of a known contract at a time, with what came into force up to another (µs)."""
        scope = self.in_force(at).scope
        for each in self.terms():
            if at < each.starts_at <= until:
                scope |= each.scope
        return scope

    def in_force(self, at: int) -> Terms:
        """What a known contract says at a time (µs); before it is in effect, its first version."""
        return self.terms()[self._place(at)]

    def version_at(self, at: int) -> Version:
        """The version that in_force() is of."""
        return self.versions[self._place(at)]

    def _place(self, at: int) -> int:
        places = reversed([*enumerate(self.terms())])
        return next((place for place, each in places if each.starts_at <= at), 0)

    def next_start(self, at: int) -> int:
        """When a version takes effect after a time (µs); 0: none does."""
        return min((each.starts_at for each in self.terms() if each.starts_at > at), default=0)


def with_change(changes: Sequence[Change], new: Change, most: int) -> list[Change]:
    """
    Suspensions with one more change, in the order of their times.

    Of more than most those go that change nothing, and then the time between the first two
    suspensions: so many of them are one, and none is forgotten.
    """
    merged = sorted((*changes, new))
    if len(merged) <= most:
        return merged
    kept: list[Change] = []
    for each in merged:
        if each.suspended != (bool(kept) and kept[-1].suspended):
            kept.append(each)
    if len(kept) > most:
        del kept[1:3]
    return kept


# A hostile institution's contract has a hundred versions, and each is kept here whole.
@lru_cache(maxsize=256)
def _read_versions(versions: tuple[Version, ...]) -> tuple[Terms, ...]:
    return tuple(read_terms(version.terms, version.side) for version in versions)

"""
The law as dated data: the files `law/<version>.toml`, each of which is never changed.

A RULESET entry names a version and holds the hash of its file, so a log says by which figures each
of its findings came to be. A file that this program does not have, it can't judge by.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, NamedTuple

from ledgerd.rules.calendars import Calendar
from ledgerd_client.core.days import from_date
from ledgerd_client.core.errors import NotReadyError

_SUFFIX: Final = ".toml"


@dataclass(frozen=True, eq=False, slots=True)
class Parameters:
    """The figures in force on a day; 0: none is. Equal only to itself, so it is a cheap key."""

    subjects_contract: int
    subjects_assessment: int
    sensitive_contract: int
    sensitive_assessment: int
    near_percent: int
    split_percent: int
    split_members: int
    filing_days: int
    national_filing_days: int
    authorisation_years: int
    authorisation_warning_days: int
    incident_hours: int
    incident_ciio_hours: int
    incident_other_hours: int
    gov_access_hours: int
    dispose_days: int
    terminate_notice_days: int
    retention_years: int


class Source(NamedTuple):
    """What a rule or a figure rests on. unread: the text itself was not read in full."""

    text: str
    grade: str
    unread: bool


class Dated(NamedTuple):
    """A figure from its first day to its last one (None: no end)."""

    name: str
    value: int
    valid_from: int
    valid_to: int | None
    source: str


@dataclass(frozen=True, eq=False)
class Law:
    """One version of the dated data."""

    version: str
    codes_edition: int
    # SHA-256 of the file.
    file_digest: bytes
    # By side: "CN", "HK".
    calendars: Mapping[str, Calendar]
    sources: Mapping[str, Source]
    figures: Sequence[Dated]
    # The days on which a figure changes, and what is in force before the first and from each on.
    changes: Sequence[int]
    in_force: Sequence[Parameters]

    def at(self, day: int) -> Parameters:
        """The figures of a day: the same object for every day on which they are the same."""
        return self.in_force[bisect_right(self.changes, day)]


@lru_cache(maxsize=16)
def load_law(version: str) -> Law:
    """Return a version; raises NotReadyError NO_SUCH_LAW when this program does not have it."""
    file = _files().get(version)
    if file is None:
        raise NotReadyError(
            f"this program holds no law of version {version!r}",
            reason="NO_SUCH_LAW",
            action=f"use a ledgerd that holds it; this one has {', '.join(sorted(_files()))}",
        )
    data = file.read_bytes()
    return _parse(tomllib.loads(data.decode()), sha256(data).digest())


def newest_law() -> str:
    return max(_files(), key=_order)


def _files() -> dict[str, Traversable]:
    folder = resources.files("ledgerd.rules") / "law"
    return {file.name.removesuffix(_SUFFIX): file for file in folder.iterdir()}


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _parse(data: dict[str, Any], digest: bytes) -> Law:
    figures = [
        Dated(
            row["name"],
            row["value"],
            _day(row["valid_from"]),
            _day(row["valid_to"]) if "valid_to" in row else None,
            row["source"],
        )
        for row in data["parameter"]
    ]
    starts = {figure.valid_from for figure in figures}
    ends = {figure.valid_to + 1 for figure in figures if figure.valid_to is not None}
    changes = sorted(starts | ends)
    return Law(
        data["version"],
        data["codes_edition"],
        digest,
        {side: _calendar(side, data["calendar"]) for side in ("CN", "HK")},
        {
            row["id"]: Source(row["text"], row["grade"], row.get("unread", False))
            for row in data["source"]
        },
        figures,
        changes,
        [_in_force(figures, day) for day in (changes[0] - 1, *changes)],
    )


def _in_force(figures: Sequence[Dated], day: int) -> Parameters:
    values = {field.name: 0 for field in fields(Parameters)}
    for figure in figures:
        if figure.valid_from <= day and (figure.valid_to is None or day <= figure.valid_to):
            values[figure.name] = figure.value
    return Parameters(**values)


def _calendar(side: str, rows: Sequence[Mapping[str, Any]]) -> Calendar:
    return Calendar({
        row["year"]: (_days(row["year"], row["holidays"]), _days(row["year"], row["workdays"]))
        for row in rows
        if row["side"] == side
    })  # fmt: skip


def _days(year: int, monthly: Sequence[str]) -> frozenset[int]:
    return frozenset(from_date(year * 10_000 + int(mmdd)) for mmdd in monthly)


def _day(day: date) -> int:
    return from_date(day.year * 10_000 + day.month * 100 + day.day)

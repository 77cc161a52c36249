"""What a regulator asks for, in names or numbers, and the message that says it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._values import LOCAL, Code, codes_of, make, time_of
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.fields import DIGEST_SIZE, check_size
from ledgerd_client.core.supervision import KIND_NUMBERS

SEVERITIES = ("information", "medium", "high")
STANDINGS = ("", "stands", "closed")
# The node's limit for each field.
MAX_VALUES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """
    Which entries: any value of each field that is given, and all the fields that are.

    Codes are numbers or names (`ledgerctl codes`), kinds the names of records ("transfer"), rules
    ids or families of them ("K15").
    """

    # first <= index < end; end None: no bound.
    first: int = 0
    end: int | None = None
    # Of recorded_at: since <= time < until; aware of their time zone.
    since: datetime | None = None
    until: datetime | None = None
    # The author; of a finding, whom it concerns.
    institutions: Sequence[str] = ()
    counterparties: Sequence[str] = ()
    contract_ids: Sequence[str] = ()
    kinds: Sequence[str] = ()
    directions: Sequence[Code] = ()
    places: Sequence[Code] = ()
    sectors: Sequence[Code] = ()
    categories: Sequence[Code] = ()
    sensitive_categories: Sequence[Code] = ()
    purposes: Sequence[Code] = ()
    mechanisms: Sequence[Code] = ()
    rules: Sequence[str] = ()
    severities: Sequence[str] = ()
    standing: Literal["", "stands", "closed"] = ""
    # Of the transfer, as TransferView.state.
    states: Sequence[str] = ()
    refs: Sequence[bytes] = ()
    newest_first: bool = False

    def to_message(self, checkpoint: bytes = b"") -> pb.Query:
        """
        The message; checkpoint, a signed note, is the one to answer at (b"": the newest).

        Raises FieldError for what cannot be asked.
        """
        for name in ("institutions", "counterparties", "contract_ids", "rules", "states"):
            _check_texts(name, getattr(self, name))
        for ref in self.refs:
            check_size("refs", ref, DIGEST_SIZE)
        if self.end == 0:
            raise FieldError("end: there is no entry before 0")
        query = make(
            pb.Query,
            checkpoint=checkpoint,
            first=self.first,
            end=self.end or 0,
            until=time_of("until", self.until),
            institutions=self.institutions,
            counterparties=self.counterparties,
            contract_ids=self.contract_ids,
            kinds=sorted({_kind(kind) for kind in self.kinds}),
            directions=codes_of("directions", "direction", self.directions),
            places=codes_of("places", "place", self.places),
            sectors=codes_of("sectors", "sector", self.sectors),
            categories=codes_of("categories", "category", self.categories),
            sensitive_categories=codes_of(
                "sensitive_categories", "sensitive_category", self.sensitive_categories
            ),
            purposes=codes_of("purposes", "purpose", self.purposes),
            mechanisms=codes_of("mechanisms", "mechanism", self.mechanisms),
            rules=self.rules,
            severities=sorted({_place("severities", SEVERITIES, s) + 1 for s in self.severities}),
            standing=_place("standing", STANDINGS, self.standing),
            states=self.states,
            refs=self.refs,
            newest_first=self.newest_first,
            **{"from": time_of("since", self.since)},  # a word of Python's
        )
        _check_counts(query)
        return query


def moment_of(field: str, text: str) -> datetime:
    """A day, which begins at midnight in UTC+8, or a time with its offset; raises FieldError."""
    try:
        if len(text) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(text), time(), LOCAL)
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise FieldError(
            f"{field}: {text!r} is neither a day nor a time with its offset",
            action="give 2026-01-31, say, or 2026-01-31T18:00:00+08:00",
        )
    return moment


def _check_texts(name: str, values: object) -> None:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise FieldError(f"{name} is a list, not {values!r}")
    if not all(values):
        raise FieldError(f"{name}: an empty one names nothing")


def _check_counts(query: pb.Query) -> None:
    for field in query.DESCRIPTOR.fields:
        if field.is_repeated and len(getattr(query, field.name)) > MAX_VALUES:
            raise FieldError(f"{field.name} has at most {MAX_VALUES} values")


def _kind(name: str) -> int:
    if name not in KIND_NUMBERS:
        raise _unknown("kinds", KIND_NUMBERS, name)
    return KIND_NUMBERS[name]


def _place(field: str, names: Sequence[str], value: str) -> int:
    if value not in names:
        raise _unknown(field, names, value)
    return names.index(value)


def _unknown(field: str, names: Iterable[str], value: str) -> FieldError:
    return FieldError(
        f"{field}: {value!r} is not known here",
        reason="UNKNOWN_CODE",
        action=f"use one of {', '.join(name for name in names if name)}",
    )

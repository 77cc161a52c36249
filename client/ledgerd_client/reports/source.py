"""What reports are made from: one client, one checkpoint, and the question's parameters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from ledgerd_client._asking import moment_of
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._values import day_of
from ledgerd_client.core.admission import AdmittedKey
from ledgerd_client.core.checkpoint import OpenedCheckpoint
from ledgerd_client.core.errors import FieldError, ForbiddenError, VerificationError
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.regulator import Erased, FoundEntry, Query, RegulatorClient

_INSTITUTION = 1  # body.ROLE_INSTITUTION


@dataclass(frozen=True, slots=True)
class Source:
    """Answers as of one checkpoint. Its calls raise as the client's do."""

    client: RegulatorClient
    parameters: Mapping[str, tuple[str, ...]]
    checkpoint: OpenedCheckpoint
    # Of the checkpoint's newest entry, µs: reports have no other clock.
    as_of: int
    history: KeyHistory
    # Of the entries that were found, those whose bodies were erased.
    erased: dict[int, Erased] = field(default_factory=dict)

    @classmethod
    async def of(
        cls,
        client: RegulatorClient,
        parameters: Mapping[str, tuple[str, ...]],
        checkpoint: OpenedCheckpoint,
    ) -> Source:
        as_of = await client.as_of(checkpoint)
        return cls(client, parameters, checkpoint, as_of, await client.history())

    def query(self, **more: Any) -> Query:
        """A query by the parameters, and more fields."""
        taken: dict[str, Any] = {
            "institutions": self.parameters.get("institution", ()),
            "contract_ids": self.parameters.get("contract", ()),
            "places": tuple(map(_code, self.parameters.get("place", ()))),
            "sectors": tuple(map(_code, self.parameters.get("sector", ()))),
        }
        for name in ("since", "until"):
            for text in self.parameters.get(name, ()):
                taken[name] = moment_of(name, text)
        return Query(**{**taken, **more})

    def entries(
        self, *, proof: bool = False, limit: int | None = None, **query: Any
    ) -> AsyncGenerator[FoundEntry, None]:
        return self.find(self.query(**query), proof=proof, limit=limit)

    async def find(
        self, query: Query, *, proof: bool = False, limit: int | None = None
    ) -> AsyncGenerator[FoundEntry, None]:
        """What a query finds; of several kinds, those that the grant covers."""

        def ask(query: Query) -> AsyncGenerator[FoundEntry, None]:
            return self.client.entries(query, at=self.checkpoint.note, proof=proof, limit=limit)

        found = ask(query)
        try:
            first = await anext(found, None)
        except ForbiddenError as error:
            found = ask(await self._covered(query, error))
            first = await anext(found, None)
        if first is None:
            return
        yield self._seen(first)
        async for entry in found:
            yield self._seen(entry)

    async def groups(self, by: Sequence[str], **query: Any) -> list[pb.Group]:
        """Counts of what a query finds; of several kinds, those that the grant covers."""
        asked, note = self.query(**query), self.checkpoint.note
        try:
            summary = await self.client.summarize(asked, by, note)
        except ForbiddenError as error:
            summary = await self.client.summarize(await self._covered(asked, error), by, note)
        return list(summary.groups)

    def _seen(self, entry: FoundEntry) -> FoundEntry:
        if entry.erased is not None:
            self.erased[entry.index] = entry.erased
        return entry

    async def _covered(self, query: Query, refused: ForbiddenError) -> Query:
        """A query for those of its kinds that are not refused; raises refused if all are."""
        if not is_outside(refused) or len(query.kinds) < 2:
            raise refused
        kinds = [kind for kind in query.kinds if await self._covers(kind)]
        if not kinds or kinds == list(query.kinds):
            raise refused
        return replace(query, kinds=kinds)

    async def _covers(self, kind: str) -> bool:
        found = self.client.entries(Query(kinds=(kind,)), at=self.checkpoint.note, limit=1)
        try:
            await anext(found, None)
        except ForbiddenError as error:
            if not is_outside(error):
                raise
            return False
        await found.aclose()
        return True

    def one(self, name: str) -> str:
        """A parameter without which the report says nothing; raises FieldError."""
        values = self.parameters.get(name, ())
        if len(values) != 1:
            raise FieldError(f"this report is of one {name}", action=f"give --{name} once")
        return values[0]

    @property
    def today(self) -> date:
        """The day, in UTC+8, that it is as of."""
        return day_of(self.as_of)

    def age_days(self, micros: int) -> int:
        return (self.today - day_of(micros)).days

    def registered(self, institution: str) -> AdmittedKey | None:
        """How the authority registered an institution of this side, as of the checkpoint."""
        keys = self.history.of_subject(_INSTITUTION, institution)
        size = self.checkpoint.checkpoint.size
        return max(
            (key for _, key in keys if key.admitted_at < size),
            key=lambda key: key.admitted_at,
            default=None,
        )


def is_outside(refused: ForbiddenError) -> bool:
    """Whether a query was refused for naming what the grant does not cover."""
    return refused.reason == "GRANT"


def _code(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def key_code(key: str) -> int | None:
    """
    A number as a summary's key; None for the key of what has none.

    Raises VerificationError for what is no number.
    """
    if key and not (key.isascii() and key.isdigit()):
        raise VerificationError(f"{key!r:.40} is no number to count by")
    return int(key) if key else None


def share(part: int, whole: int) -> str:
    """Per cent with one decimal, rounded half up; "" of nothing."""
    if not whole:
        return ""
    tenths = (part * 2000 + whole) // (2 * whole)
    return f"{tenths // 10}.{tenths % 10}"


def joined(values: Iterable[object]) -> str:
    return " ".join(map(str, values))

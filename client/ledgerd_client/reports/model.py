"""
What a report says: tables of text and numbers, the question, and the checkpoint it is as of.

It holds no word of any language and no rounding of the moment, so that the same question at the
same checkpoint makes the same report, byte for byte, wherever and whenever it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, Self

from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import U64_MAX
from ledgerd_client.core.errors import LedgerError, MalformedError
from ledgerd_client.core.note import parse_note
from ledgerd_client.jsonfile import json_text

FORM = "ledgerd-report/v1"
MAX_BYTES = 64 * 1024 * 1024

Cell = str | int | None
Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """
    Whose cells read as their unit says.

    text; index; count, days, hours; share (per cent, as text); year, month (yyyymm), date
    (yyyymmdd), time (µs, UTC); word, of our own vocabulary; words, several with blanks between;
    finding, its rule and NAME=NUMBER with blanks between; code.TABLE, of core/codes.py.
    """

    name: str
    unit: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns have names that stand in the catalogue; each row has a cell for each."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """
    One report. parameters are its question; as_of is in µs, of the newest entry it rests on.

    checkpoint is the signed note, whole.
    """

    name: str
    parameters: Mapping[str, tuple[str, ...]]
    checkpoint: bytes
    as_of: int
    tables: tuple[Table, ...]

    @property
    def tree(self) -> Checkpoint:
        """Origin, size and root that it is as of."""
        return Checkpoint.parse(parse_note(self.checkpoint).text)

    @property
    def digest(self) -> bytes:
        """SHA-256 of everything that it says."""
        return sha256(_encode(self._content())).digest()

    def to_json(self) -> bytes:
        """One object, by which the report can be made again and compared."""
        return _encode({**self._content(), "digest": self.digest.hex()}) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what to_json made; raises MalformedError for anything else."""
        try:
            if len(data) > MAX_BYTES:
                raise ValueError  # noqa: TRY301 -- one message for all that is no report
            report = cls._read(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerError):
            raise _no_report() from None
        if report.to_json() != data:
            raise MalformedError(
                "the report is not as it was written: its digest is another one",
                action="use the file that `ledgerctl report NAME --json` wrote, untouched",
            )
        return report

    def _content(self) -> dict[str, Any]:
        tree = self.tree
        return {
            "format": FORM,
            "report": self.name,
            "parameters": {name: list(values) for name, values in self.parameters.items()},
            "origin": tree.origin,
            "size": tree.size,
            "root": tree.root.hex(),
            "as_of": self.as_of,
            "checkpoint": self.checkpoint.decode(),
            "tables": [
                {
                    "name": table.name,
                    "columns": [[column.name, column.unit] for column in table.columns],
                    "rows": [list(row) for row in table.rows],
                }
                for table in self.tables
            ],
        }

    @classmethod
    def _read(cls, found: Any) -> Self:
        parameters = {
            json_text(name): tuple(map(json_text, values))
            for name, values in found["parameters"].items()
        }
        tables = tuple(
            Table(
                json_text(table["name"]),
                tuple(Column(json_text(name), json_text(unit)) for name, unit in table["columns"]),
                tuple(tuple(map(_cell, row)) for row in table["rows"]),
            )
            for table in found["tables"]
        )
        as_of = found["as_of"]
        if type(as_of) is not int or not 0 <= as_of <= U64_MAX:
            raise TypeError
        checkpoint = json_text(found["checkpoint"]).encode()
        return cls(json_text(found["report"]), parameters, checkpoint, as_of, tables)


class Difference(NamedTuple):
    """A row of a table, counted from 1, as it was and as it is now; None where there is none."""

    table: str
    row: int
    was: Row | None
    now: Row | None


def first_difference(was: Report, now: Report) -> Difference | None:
    """The first row in which two makings of one report differ; None if the rows are the same."""
    old, new = ({table.name: table.rows for table in each.tables} for each in (was, now))
    for name in {**old, **new}:
        before, after = old.get(name, ()), new.get(name, ())
        for place in range(max(len(before), len(after))):
            rows = _row(before, place), _row(after, place)
            if rows[0] != rows[1]:
                return Difference(name, place + 1, *rows)
    return None


def _row(rows: Sequence[Row], place: int) -> Row | None:
    return rows[place] if place < len(rows) else None


def _no_report() -> MalformedError:
    return MalformedError(
        "this is no report", action="use the file that `ledgerctl report NAME --json` wrote"
    )


def _encode(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _cell(value: Any) -> Cell:
    if value is None or type(value) is int:
        return value
    return json_text(value)

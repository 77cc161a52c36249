"""What stands in a dossier, block after block, in words; nothing of it is drawn here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledgerd_client.catalogue import Catalogue
from ledgerd_client.reports.model import Cell, Column, Report, Table
from ledgerd_client.reports.text import headings, lines_of, shown

# Days up to which findings are of one age; the last group has no end.
_AGES: Final = (30, 90, 180, 365)
_RIGHT: Final = frozenset(("count", "index", "days", "hours", "share"))
# Of a ref or a digest within a table: enough to find it, and the file beside has it whole.
_HEX_SHOWN: Final = 16
# In the places of Latin letters, with what stands beside them.
_BESIDE: Final = 2
_WIDEST: Final = 44
_OFFSET: Final = "+08:00"


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and values."""

    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as it is read; widths are relative."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each label; values are whole numbers of 0 or more."""

    bars: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Seal:
    """A box to sign and seal in: what is signed, above it, and what is to be filled in."""

    what: str
    lines: tuple[str, ...]


Block: TypeAlias = Heading | Paragraph | Facts | Grid | Bars | Seal


def compose(report: Report, words: Catalogue) -> list[Block]:
    """The blocks of a report: what it says, in tables and pictures; what it rests on; the end."""
    told = words.report(report.name)
    blocks: list[Block] = [Heading(told.title), Paragraph(told.shows)]
    blocks.append(Facts(tuple((words.column(name), value) for name, value in lines_of(report))))
    for table in report.tables:
        blocks += _of_table(table, words)
    blocks += [Heading(words.word("proves_title")), Paragraph(words.word("proves"))]
    blocks += [Heading(words.word("cannot_show")), Paragraph(told.cannot)]
    blocks.append(Paragraph(words.word("cannot_prove")))
    lines = tuple(words.word(name) for name in ("seal", "seal_name", "seal_date"))
    named = report.parameters.get("contract", ())
    blocks.append(Seal(" ".join((told.title, *named)), lines))
    return blocks


def texts_of(blocks: Iterable[Block]) -> Iterator[str]:
    """Everything that is to be printed."""
    for block in blocks:
        match block:
            case Heading(text) | Paragraph(text):
                yield text
            case Facts(lines):
                for label, value in lines:
                    yield from (label, value)
            case Grid(headings, rows):
                yield from headings
                for row in rows:
                    yield from row
            case Bars(bars):
                yield from (label for label, _ in bars)
            case Seal(what, lines_within):
                yield from (what, *lines_within)


def _of_table(table: Table, words: Catalogue) -> Iterator[Block]:
    yield Heading(words.column(f"table_{table.name}"))
    if not table.rows:
        yield Paragraph(words.word("nothing_found"))
        return
    if table.name == "months":
        month, transfers = table.columns[0], 1
        yield Bars(
            tuple((shown(row[0], month.unit, words), _int(row[transfers])) for row in table.rows)
        )
    if table.name == "standing":
        ages = [_int(row[2]) for row in table.rows]
        yield Bars(tuple(_by_age(ages, words.word("days_old"))))
    yield _grid(table, words)


def _by_age(ages: Sequence[int], days: str) -> Iterator[tuple[str, int]]:
    begin = 0
    for end in _AGES:
        yield f"{begin} - {end} {days}", sum(begin <= age <= end for age in ages)
        begin = end + 1
    yield f"{begin} + {days}", sum(age >= begin for age in ages)


def _grid(table: Table, words: Catalogue) -> Grid:
    """Columns in which nothing stands are left out."""
    full = [
        place
        for place, _ in enumerate(table.columns)
        if any(row[place] not in {None, ""} for row in table.rows)
    ]
    columns = tuple(table.columns[place] for place in full)
    rows = tuple(
        tuple(_cell(row[place], table.columns[place], words) for place in full)
        for row in table.rows
    )
    names = headings(columns, words)
    widths = tuple(
        min(_WIDEST, max(_wide(text) for text in (name, *(row[place] for row in rows)))) + _BESIDE
        for place, name in enumerate(names)
    )
    return Grid(tuple(names), rows, tuple(column.unit in _RIGHT for column in columns), widths)


def _cell(cell: Cell, column: Column, words: Catalogue) -> str:
    text = shown(cell, column.unit, words)
    if column.unit == "time":  # the heading says it
        return text.removesuffix(_OFFSET)
    return text[:_HEX_SHOWN] if column.name == "ref" else text


def _wide(text: str) -> int:
    return len(text) + sum(unicodedata.east_asian_width(letter) in {"W", "F"} for letter in text)


def _int(cell: object) -> int:
    return cell if isinstance(cell, int) else 0

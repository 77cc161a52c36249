"""Reports in words: cells as people read them, and a file for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from ledgerd_client._results import Finding
from ledgerd_client._values import LOCAL, from_micros, harmless, to_date
from ledgerd_client.catalogue import Catalogue
from ledgerd_client.reports.model import Cell, Column, Report
from ledgerd_client.rulebook import RULES

_BOM = "\ufeff"


def shown(cell: Cell, unit: str, words: Catalogue) -> str:
    """A cell as it is read in a language; "" for none."""
    if cell is None or cell == "":
        return ""
    if unit.startswith("code."):
        return words.code(unit.removeprefix("code."), int(cell))
    return _UNITS.get(unit, _as_it_is)(cell, words)


def headings(columns: tuple[Column, ...], words: Catalogue) -> list[str]:
    return [words.column(column.name) for column in columns]


def lines_of(report: Report) -> Iterator[tuple[str, str]]:
    """What a report rests on, as (label, value): its question, log, tree, time and digest."""
    tree = report.tree
    for name, values in report.parameters.items():
        if name != "from":  # a whole note, and in the report's own table as its size
            yield name, ", ".join(values)
    yield "origin", tree.origin
    yield "size", str(tree.size)
    yield "root", tree.root.hex()
    yield "as_of", time_text(report.as_of)
    yield "report_digest", report.digest.hex()


def to_csv(report: Report, words: Catalogue) -> bytes:
    """
    A file for a spreadsheet: UTF-8 with a byte order mark, lines end in CR LF.

    A cell that begins as a formula does gets an apostrophe before it. Between two tables is an
    empty line; the last lines begin with "# " and say what the report rests on.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for place, table in enumerate(report.tables):
        if place:
            writer.writerow([])
        writer.writerow(headings(table.columns, words))
        for row in table.rows:
            cells = zip(row, table.columns, strict=True)
            writer.writerow([_cell(cell, column.unit, words) for cell, column in cells])
    for label, value in lines_of(report):
        writer.writerow([f"# {words.column(label)}", harmless(value)])
    return (_BOM + out.getvalue()).encode()


def time_text(micros: int) -> str:
    """A time in UTC+8, to the second, with its offset."""
    moment = from_micros(micros).astimezone(LOCAL).replace(microsecond=0)
    return moment.isoformat(sep=" ")


def _cell(cell: Cell, unit: str, words: Catalogue) -> str:
    # Numbers are for reckoning: as digits alone.
    return (
        str(cell) if type(cell) is int and unit in _NUMBERS else harmless(shown(cell, unit, words))
    )


def _as_it_is(cell: str | int, _: Catalogue) -> str:
    return str(cell)


def _count(cell: str | int, _: Catalogue) -> str:
    return f"{int(cell):,}"


def _month(cell: str | int, _: Catalogue) -> str:
    return f"{int(cell) // 100:04}-{int(cell) % 100:02}"


def _date(cell: str | int, _: Catalogue) -> str:
    day = to_date(int(cell))
    return day.isoformat() if day else ""


def _time(cell: str | int, _: Catalogue) -> str:
    return time_text(int(cell))


def _share(cell: str | int, _: Catalogue) -> str:
    return f"{cell} %"


def _word(cell: str | int, words: Catalogue) -> str:
    return words.word(str(cell))


def _words(cell: str | int, words: Catalogue) -> str:
    return words.word("and").join(map(words.word, str(cell).split()))


def _finding(cell: str | int, words: Catalogue) -> str:
    rule, *pairs = str(cell).split()
    numbers = dict(pair.split("=") for pair in pairs)
    severity = RULES[rule].severity if rule in RULES else 0
    finding = Finding(
        b"", rule, severity, (), closed=False,
        numbers={name: int(number) for name, number in numbers.items()},
    )  # fmt: skip
    return words.finding(finding).says


_NUMBERS = frozenset(("count", "index", "days", "hours", "year"))
_UNITS: Mapping[str, Callable[[str | int, Catalogue], str]] = MappingProxyType({
    "count": _count, "days": _count, "hours": _count, "month": _month, "date": _date,
    "time": _time, "share": _share, "word": _word, "words": _words, "finding": _finding,
})  # fmt: skip

"""Entries as plain values, and a file of them in constant memory."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, Protocol

from google.protobuf.message import Message

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import harmless
from ledgerd_client.core.body import parse_message
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.keyfile import cannot_write, check_free
from ledgerd_client.regulator import FoundEntry, Query, RegulatorClient

# What is nested as bytes, by the record and the field that holds it.
_TERMS: Mapping[str, type[Message]] = MappingProxyType({
    **dict.fromkeys(("transfer", "ack", "cancel", "correction"), pb.Terms),
    **dict.fromkeys(("contract", "filing", "supplement"), pb.ContractTerms),
    "termination": pb.TerminationTerms,
    "disposal": pb.DisposalTerms,
})  # fmt: skip

# Of one line of a table; in lists of codes there are blanks between.
COLUMNS = (
    "index", "recorded_at", "occurred_at", "kind", "author", "record_id", "ref", "state",
    "contract_id", "exporter", "recipient", "subjects", "sensitive_subjects", "purposes",
    "categories", "sensitive_categories", "legal_basis", "rule", "severity", "institution",
    "closed_by", "erased_by", "body_digest", "record",
)  # fmt: skip
_NUMBERS = frozenset((
    "index", "recorded_at", "occurred_at", "subjects", "sensitive_subjects", "legal_basis",
    "severity", "closed_by", "erased_by",
))  # fmt: skip
_ROW_GROUP = 5_000

# How far along the log it is, from 0 to 1.
Progress = Callable[[float], None]


class Exported(NamedTuple):
    entries: int
    # The checkpoint that all of them are as of: a signed note.
    checkpoint: bytes


async def export(
    client: RegulatorClient,
    query: Query,
    out: Path | None,
    form: str,
    *,
    at: bytes = b"",
    progress: Progress | None = None,
) -> Exported:
    """
    Write what a query finds, as it comes, and all as of one checkpoint; every entry is verified.

    form is "jsonl", to out or to standard output; "csv", for a spreadsheet; or "parquet", which
    needs the extra of that name. A file is there whole, or not at all. Raises InputError when it
    cannot be written or is there already, and as the client does.
    """
    if form not in _WRITERS:
        raise FieldError(f"{form!r} is no form", action=f"use one of {', '.join(_WRITERS)}")
    checkpoint = await (client.open(at) if at else client.checkpoint())
    first, end = (
        query.first,
        min(query.end or checkpoint.checkpoint.size, checkpoint.checkpoint.size),
    )
    count = 0
    with _new_file(out) as file, closing(_WRITERS[form](file)) as writer:
        async for entry in client.entries(query, at=checkpoint.note):
            writer.write(plain(entry))
            count += 1
            if progress is not None:
                progress((entry.index + 1 - first) / max(1, end - first))
    return Exported(count, checkpoint.note)


@contextmanager
def _new_file(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        return
    check_free(out)
    try:
        with tempfile.NamedTemporaryFile(
            dir=out.parent, prefix=f".{out.name}.", delete=False
        ) as file:
            part = Path(file.name)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                part.replace(out)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise cannot_write(out, error) from error


class _Writer(Protocol):
    def write(self, entry: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


class _JsonLines:
    """One object a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, entry: dict[str, Any]) -> None:
        self._file.write(_json(entry).encode() + b"\n")

    def close(self) -> None:
        self._file.flush()


class _Csv:
    """For a spreadsheet: with a byte order mark, and no cell that is taken for a formula."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._file.write("\ufeff".encode())
        self._row(COLUMNS)

    def write(self, entry: dict[str, Any]) -> None:
        cells = ("" if cell is None else str(cell) for cell in flat(entry).values())
        self._row(harmless(cell) for cell in cells)

    def close(self) -> None:
        self._file.flush()

    def _row(self, cells: Iterable[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        self._file.write(line.getvalue().encode())


class _Parquet:
    """Row groups of 5,000, so that no more than that is ever held."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 -- an extra
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise InputError(
                "Parquet is an extra that is not installed",
                reason="NO_PARQUET",
                action="pip install 'ledgerd-client[parquet]', or use --form csv",
            ) from None
        kinds = {True: pa.int64(), False: pa.string()}
        self._schema = pa.schema([(name, kinds[name in _NUMBERS]) for name in COLUMNS])
        self._table = pa.Table
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, entry: dict[str, Any]) -> None:
        self._rows.append(flat(entry))
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


_WRITERS: Mapping[str, Callable[[IO[bytes]], _Writer]] = MappingProxyType({
    "jsonl": _JsonLines, "csv": _Csv, "parquet": _Parquet,
})  # fmt: skip


def flat(entry: Mapping[str, Any]) -> dict[str, str | int | None]:
    """An entry that plain() made, by COLUMNS."""
    record = entry["record"]
    terms = record.get("terms", {})
    found = {**record, **terms, **entry}
    for party in ("exporter", "recipient"):
        found[party] = terms.get(party, {}).get("institution")
    found["record"] = _json(record)
    return {name: _cell(found.get(name)) for name in COLUMNS}


def _cell(value: Any) -> str | int | None:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain(entry: FoundEntry) -> dict[str, Any]:
    """An entry as text, numbers and lists of them, under one name each; bytes are in hex."""
    header, halves = entry.header, entry.header.halves
    erased = entry.erased
    return {
        "index": entry.index,
        "recorded_at": header.recorded_at,
        "kind": entry.kind,
        "author": entry.author,
        "ref": halves.ref.hex() if halves else "",
        "state": entry.state,
        "closed_by": entry.closed_by,
        "erased_by": erased.index if erased else None,
        "body_digest": header.body_digest.hex(),
        "occurred_at": entry.body.occurred_at if entry.body else None,
        "record_id": entry.body.record_id.hex() if entry.body else "",
        "record": _record(entry),
    }


def _record(entry: FoundEntry) -> dict[str, Any]:
    if entry.body is None:
        return {}
    record = _message(getattr(entry.body, entry.kind))
    if entry.kind in _TERMS:
        terms = getattr(entry.body, entry.kind).terms
        record["terms"] = _message(parse_message(_TERMS[entry.kind], terms, "terms"))
    return record


def _message(message: Message) -> dict[str, Any]:
    return {field.name: _value(value) for field, value in message.ListFields()}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Message):
        return _message(value)
    if isinstance(value, str | int):
        return value
    return [_value(item) for item in value]

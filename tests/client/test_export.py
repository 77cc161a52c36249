"""A file of entries: whole or not there, harmless in a spreadsheet, and in constant memory."""

from __future__ import annotations

import csv
import io
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ledgerd_client import FieldError, InputError, UnavailableError
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.export import COLUMNS, export
from ledgerd_client.regulator import Erased, FoundEntry, Query

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [parquet]")

TERMS = pb.Terms(
    exporter=pb.Party(origin="a.example", institution="uscc.BANK1"),
    recipient=pb.Party(origin="b.example", institution="hkbr.1"),
    contract_id="=1+1",
    subjects=7,
    purposes=[3, 7],
)

WHY = Erased(9, 1, "asked", pb.Body())


def entry(index: int, **more: Any) -> FoundEntry:
    header = Header(index, 1_000_000, bytes(32), Kind.TRANSFER, bytes(32), 0, bytes(33), b"", None)
    body = pb.Body(
        author="uscc.BANK1",
        record_id=bytes(16),
        occurred_at=5,
        transfer=pb.Transfer(terms=TERMS.SerializeToString()),
    )
    return FoundEntry(index, header, "uscc.BANK1", body, "transfer", **more)


class Client:
    """A client that finds so many entries, and then what stops it."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self._count = count
        self._error = error

    async def checkpoint(self) -> OpenedCheckpoint:
        return OpenedCheckpoint(Checkpoint("a.example", self._count, bytes(32)), b"a note", (), {})

    async def entries(self, query: Query, *, at: bytes) -> AsyncIterator[FoundEntry]:
        assert at == b"a note"
        for index in range(self._count):
            yield entry(index)
        if self._error is not None:
            raise self._error


async def write(out: Path, form: str, count: int = 3, **how: Any) -> Path:
    await export(Client(count), Query(), out, form, **how)  # type: ignore[arg-type]
    return out


class TestLinesOfJson:
    async def test_hold_each_entry_with_its_terms(self, tmp_path: Path) -> None:
        lines = (await write(tmp_path / "x", "jsonl")).read_text().splitlines()
        found = [json.loads(line) for line in lines]
        assert [one["index"] for one in found] == [0, 1, 2]
        assert found[0]["record"]["terms"]["purposes"] == [3, 7]

    async def test_say_what_was_erased(self, tmp_path: Path) -> None:
        class Erasing(Client):
            async def entries(self, query: Query, *, at: bytes) -> AsyncIterator[FoundEntry]:
                found = entry(0)
                yield FoundEntry(0, found.header, found.author, None, "transfer", erased=WHY)

        await export(Erasing(1), Query(), tmp_path / "x", "jsonl")  # type: ignore[arg-type]
        found = json.loads((tmp_path / "x").read_text())
        assert (found["erased_by"], found["record"]) == (9, {})

    async def test_go_to_standard_output_without_a_file(
        self, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        await export(Client(2), Query(), None, "jsonl")  # type: ignore[arg-type]
        assert len(capfdbinary.readouterr().out.splitlines()) == 2


class TestASpreadsheet:
    async def test_has_a_byte_order_mark_and_the_columns(self, tmp_path: Path) -> None:
        data = (await write(tmp_path / "x", "csv")).read_bytes()
        assert data.startswith(b"\xef\xbb\xbf" + ",".join(COLUMNS).encode() + b"\r\n")

    async def test_has_no_cell_that_is_taken_for_a_formula(self, tmp_path: Path) -> None:
        text = (await write(tmp_path / "x", "csv")).read_text("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert (rows[0]["contract_id"], rows[0]["purposes"]) == ("'=1+1", "3 7")


class TestParquet:
    async def test_is_read_back(self, tmp_path: Path) -> None:
        table = parquet.read_table(await write(tmp_path / "x", "parquet"))
        assert table.column_names == list(COLUMNS)
        assert table.column("subjects").to_pylist() == [7, 7, 7]

    async def test_has_groups_of_five_thousand_rows(self, tmp_path: Path) -> None:
        file = parquet.ParquetFile(await write(tmp_path / "x", "parquet", 12_000))
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert rows == [5_000, 5_000, 2_000]


class TestAFile:
    @pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
    async def test_is_not_there_when_it_was_broken_off(self, tmp_path: Path, form: str) -> None:
        with pytest.raises(UnavailableError):
            await export(
                Client(10, UnavailableError("gone")),  # type: ignore[arg-type]
                Query(),
                tmp_path / "x",
                form,
            )
        assert sorted(tmp_path.glob("*")) == []  # noqa: ASYNC240 -- a test

    async def test_is_written_over_no_other(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("mine")
        with pytest.raises(InputError):
            await write(tmp_path / "x", "csv")
        assert (tmp_path / "x").read_text() == "mine"

    async def test_that_cannot_be_made_is_said_to_be_one(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot write"):
            await write(tmp_path / "no" / "x", "csv")

    async def test_of_no_known_form_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FieldError):
            await write(tmp_path / "x", "xls")

    async def test_tells_how_far_it_is(self, tmp_path: Path) -> None:
        told: list[float] = []
        await write(tmp_path / "x", "jsonl", 4, progress=told.append)
        assert told == [0.25, 0.5, 0.75, 1.0]

    @pytest.mark.slow
    @pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
    async def test_of_a_hundred_thousand_entries_needs_no_more_memory(
        self, tmp_path: Path, form: str
    ) -> None:
        await write(tmp_path / "small", form, 6_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await write(tmp_path / "large", form, 100_000)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (after - before) / 1024 < 40  # MiB

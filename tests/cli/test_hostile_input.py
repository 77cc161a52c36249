"""Whatever stands in an option, an argument or a file, a command ends in words and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cli.enrolled import EXPORTER, RECIPIENT, Border, enrolled
from cli.tool import Ran, Tool, made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerd_client import Contract, Side
from ledgerd_client.cli.program import app
from ledgerd_client.cli.record_file import KINDS
from ledgerd_client.testing import HONG_KONG, MAINLAND

# NUL and other control characters, half a character as the shell passes it on and as nobody does,
# direction and zero width, what folds to several characters, and what options and paths are made of.
NASTY = "\0\n\r\t\x1b\x7f\x9b\udcff\ud800\u202e\u2066\u200b\ufeff\ufdfa\uff11\U000e0041é合'\"\\{}%-=#.:a0"
NUMBERS = ["0", "-1", "1e400", "nan", "9" * 30, str(2**63), str(2**64), "9" * 5000, "٣", "0x1"]
FILES = {
    "empty": b"",
    "nul": b"\0" * 64,
    "bom.toml": b'\xef\xbb\xbfrecord = "pipia"\n',
    "crlf.toml": b'record = "resume"\r\ncontract_id = "C"\r\nat = 2026-05-01T00:00:00Z\r\n',
    "deep.toml": b"x = " + b"[" * 5000,
    "deep.json": b"[" * 100_000,
    "wide.toml": b"x = " + b"9" * 5000,
    "latin": b"\xff\xfe\xe9",
    "surrogate.json": b'{"format": "ledgerd-approval/v1", "id": "\\ud800"}',
    "surrogate.toml": b'record = "filing"\ncontract = "\\u0000"\n',
    "long": b"a" * 300_000,
    "trust.txt\r": b"ledgerd-trust/v1\r\n",
}
PATHS = [*FILES, "directory", "pipe", "loop", "n" * 300, "nowhere/x", "/dev/null", "/proc/self/mem"]
REAL = [
    "hospital/client.toml", "mainland-ops/client.toml", "trust.txt", "a.ticket", "batch.csv",
    "hospital.approval", "hospital/request.json", "hospital/signing.key", "hospital/outbox.db",
    "mainland", "hospital/keys", "hospital",
]  # fmt: skip
# These go on for ever, or wait.
ENDLESS = {"--follow", "--wait", "--help"}

# No "/": what a command makes stays in the test's directory.
texts = st.text(st.sampled_from(NASTY), max_size=12)
hostile = st.one_of(texts, st.sampled_from([*NUMBERS, *PATHS, *REAL]), st.just("a" * 5_000))


def commands(group: Any, name: Sequence[str] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands, by the words that they are called with."""
    for word, deferred in group.commands.items():
        command = made(deferred)
        if hasattr(command, "commands"):
            yield from commands(command, (*name, word))
        else:
            yield (*name, word), command


COMMANDS = dict(commands(app))


# What lets a command go on to what comes next, by parameter.
FITTING = {
    "approval": "hospital.approval", "asked": "hospital/request.json", "caller_ref": "018",
    "category": "5", "cause": "mistake", "compromised_since": "2026-05-01T00:00Z", "consent": "4",
    "contract": "SCC-2026-001", "contract_id": "SCC-2026-001", "days": "3",
    "delete_by": "2027-01-01", "directory": "mainland", "domain": "mainland.example",
    "endpoint": "localhost:1", "exemption": "1", "file": "trust.txt", "files": "batch.csv",
    "keys": "hospital/keys", "legal_basis": "1", "means": "3", "name": "An Example Ltd",
    "notice": "batch.csv", "notice_version": "3", "origin": MAINLAND, "outcome": "partial",
    "payload": "batch.csv", "place": "440300", "protection": "1", "purpose": "3",
    "reason": "sent twice", "received_subjects": "5", "record": "2", "record_id": "ab" * 16,
    "request": "hospital/request.json", "role": "institution", "sector": "3", "sides": "trust.txt",
    "subject": EXPORTER, "subjects": "5", "table": "purpose", "ticket": "a.ticket",
    "to": RECIPIENT, "transfer": "a.ticket", "transmission": "api", "trust": "trust.txt",
}  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> list[str]:
    """A command with some of its options and all arguments, each fitting or hostile."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    words, positional = [*draw(st.sampled_from([(), (), ("--lang", "zh-Hans")])), *name], []
    for param in COMMANDS[name].params:
        option = param.opts[0]
        if option in ENDLESS or not (param.required or option == "--config" or draw(st.booleans())):
            continue
        fitting = FITTING.get(param.name)
        if option == "--config":
            fitting = draw(st.sampled_from(REAL[:2]))
        value = draw(st.sampled_from([fitting] * 8 + [None])) or draw(hostile)
        if getattr(param, "is_flag", False):
            words.append(option)
        elif option.startswith("-"):
            words += [option, value]
        else:
            positional.append(value)
    return [*words, "--", *positional] if positional else words


# What a record file may hold where something else belongs.
literals = st.sampled_from([
    '""', '"\\u0000"', '"\\u202e"', '"directory"', '"pipe"', '"a.ticket"', '"empty"', "[]", "[[]]",
    "{}", "-1", "0", "7", str(2**63), str(2**64), "9" * 4000, "1.5", "nan", "-inf", "true",
    "0001-01-01", "9999-12-31", "2026-05-01", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00", "2026-05-01T00:00:00", "00:00:00", '["CAC_GD"]',
    '[["CAC_GD", 2026-05-01T00:00:00Z]]', '[""]', '["C", 7]', "[1, 1]", "[[1, 2, 3]]", '["pipe"]',
    '{ file = "directory" }', '{ origin = "", institution = "" }', f'"{"ab" * 32}"', f'"{"ab" * 16}"',
    "{ ciio = 1 }", '{ subjects = -1, delete_by = "x" }', "{ purposes = [true] }",
])  # fmt: skip


# Of a field's type.
ELEMENTS = {
    "bool": "true", "int": "7", "str": '"SCC-2026-001"', "Sequence[str]": '["SCC-2026-001"]',
    "bytes": f'"{"ab" * 16}"', "Sequence[bytes]": f'["{"ab" * 32}"]', "date": "2026-05-01",
    "datetime": "2026-05-01T00:00:00Z", "Digest": '"batch.csv"', "Sequence[Digest]": '["batch.csv"]',
    "Code": "1", "Sequence[Code]": "[3]", "Ticket": '"a.ticket"', "Restated": "{ subjects = 3 }",
    "Contract": '"scc.contract"', "OwnSide": "{ ciio = true }",
    "Sequence[tuple[Code, datetime]]": '[["CAC_GD", 2026-05-01T00:00:00Z]]',
    "Side": f'{{ origin = "{MAINLAND}", institution = "{EXPORTER}" }}',
}  # fmt: skip


@st.composite
def record_files(draw: st.DrawFn) -> str:
    """A record with some of its fields, each fitting or hostile."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    lines = []
    for field in fields(KINDS[kind]):
        if field.default is not MISSING and draw(st.booleans()):
            continue
        fitting = ELEMENTS[str(field.type).removesuffix(" | None")]
        value = draw(st.sampled_from([fitting] * 12 + [""])) or draw(literals)
        lines.append(f"{field.name} = {value}")
    return "\n".join([f'record = "{kind}"', *lines])


@pytest.fixture(scope="module")
def border(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Border]:
    directory, before = tmp_path_factory.mktemp("hostile"), Path.cwd()
    os.chdir(directory)
    with enrolled(Tool(directory)) as border:
        border.declare("batch.csv")
        (directory / "scc.contract").write_bytes(a_contract().file())
        for name, data in FILES.items():
            (directory / name).write_bytes(data)
        (directory / "directory").mkdir()
        os.mkfifo(directory / "pipe")
        (directory / "loop").symlink_to("loop")
        yield border
    os.chdir(before)


def a_contract() -> Contract:
    parties = (Side(MAINLAND, EXPORTER), Side(HONG_KONG, RECIPIENT))
    return Contract(
        exporter=parties[0], recipient=parties[1], contract_id="SCC-2026-001", document=bytes(32),
        mechanism=1, direction=1, exporter_place=440300, recipient_place=810000, exporter_sector=3,
        recipient_sector=3, signed_on=date(2026, 2, 5), effective_on=date(2026, 2, 6),
        purposes=[11], categories=[5], subject_types=[2], planned_scale=5000, retention_days=365,
        storage_places=[810000], transmissions=[2],
    )  # fmt: skip


def is_told(ran: Ran) -> bool:
    """Whether it ended as ledgerctl's help says, and said why if it did nothing."""
    return ran.code in {0, 1, 2, 3} and bool(ran.err or ran.code == 0)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=calls())
def test_no_command_ends_in_a_traceback(border: Border, words: list[str]) -> None:
    assert is_told(border.tool(*words))


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=record_files(), command=st.sampled_from(["record", "check"]))
def test_no_record_file_ends_in_a_traceback(border: Border, text: str, command: str) -> None:
    border.tool.path("hostile.toml").write_text(text, encoding="utf-8")
    assert is_told(border.exporter(command, "hostile.toml"))

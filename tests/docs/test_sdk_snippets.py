"""
docs/sdk.md does what it says: every snippet runs, and what it lists is what the code has.

A comment above a snippet says where it runs: `<!-- run: border -->` as a program against two real
nodes, `<!-- run: pytest -->` as a test module, `<!-- run: first -->` before every other one. The
rest runs against a node in memory, section by section, each in a namespace of its own.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from border import Border
from client.contracts import a_contract

from ledgerd_client import Contract, LedgerClient, OwnSide, Recordable, Settings, Statement
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.cli.record_file import read_record
from ledgerd_client.core.contract import parse_contract_terms
from ledgerd_client.testing import HONG_KONG, MemoryNode, MemoryTransport

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
EXPORTER, RECIPIENT = "uscc.91440100MA0000002D", "hkbr.50000002"
DATA = b"customer;score\n1;700\n"

TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
FIELDS = PAGE.partition("| Of | Fields |")[2].partition("\n\n")[0]
SNIPPET = re.compile(r"(?ms)^(?:<!-- run: (\w+) -->\n)?```python\n(.*?)^```$")
REASON = re.compile(r'(?m)(?:\breason=|\bdefault_reason = |^_?[A-Z_]+ = )"([A-Z][A-Z_]*[A-Z])"')

# What a caller of the client can meet comes from the SDK without its tools, and from these.
TOOLS = {"approval", "authority", "enrolment", "erasing", "export", "pki", "tls_authority"}
NODE = (
    "api/errors", "api/identity", "api/law", "api/ledger", "api/encode", "api/roles",
    "api/streams", "ledger/reader", "ledger/sequencer", "ledger/standing",
)  # fmt: skip
# Given for files that tools make, for key events, which are told as NOT_TRUSTED, and for proofs
# beyond the end, which the SDK does not ask for; and to regulators (regulators.md), and operators.
# The last is no reason but a variable.
NOT_MET = {
    "FILE_EXISTS", "KEY_KNOWN", "NO_POSSESSION", "BEYOND_THE_END", "GRANT_NOT_YET",
    "GRANT_EXPIRED", "NOT_ORDERED", "HISTORY_MOVED", "LEDGER_PASSPHRASE_FILE",
    "BEGINS_LATER", "NO_MIRROR",
}  # fmt: skip


class Snippet(NamedTuple):
    section: str
    # "border", "pytest", "first", or empty: in memory.
    where: str
    # Empty lines before it make line numbers in tracebacks the page's.
    code: str


def snippets() -> Iterator[Snippet]:
    for found in SNIPPET.finditer(PAGE):
        before = PAGE[: found.start(2)]
        section = re.findall(r"^## (.+)$", before, re.MULTILINE)[-1]
        yield Snippet(section, found[1] or "", "\n" * before.count("\n") + found[2])


def of(where: str) -> list[Snippet]:
    return [snippet for snippet in snippets() if snippet.where == where]


(FIRST,) = of("first")
SECTIONS = list(dict.fromkeys(snippet.section for snippet in of("")))


def table(first_cell: str) -> list[list[str]]:
    """The first cells of the rows below a header that begins so: the code spans in each."""
    rows = re.split(rf"^\| {re.escape(first_cell)} \|.*\n", PAGE, flags=re.MULTILINE)[1]
    cells = [line.split(" | ")[0] for line in rows.partition("\n\n")[0].splitlines()[1:]]
    return [re.findall(r"`([^`]+)`", cell) for cell in cells]


def reasons(*sources: Path) -> set[str]:
    return {found for path in sources for found in REASON.findall(path.read_text(encoding="utf-8"))}


async def run(snippet: Snippet, namespace: dict[str, Any]) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compiled = compile(snippet.code, ROOT / "docs" / "sdk.md", "exec", flags=flags)
    result = eval(compiled, namespace)  # noqa: S307 -- our own page
    if inspect.iscoroutine(result):
        await result


class WitnessedTransport(MemoryTransport):
    """To a node whose checkpoints the other side's node cosigns at once."""

    def __init__(self, node: MemoryNode, institution: str) -> None:
        super().__init__(node, institution)
        self._cosign = node.cosign

    async def append(self, request: pb.AppendRequest) -> pb.AppendResponse:
        response = await super().append(request)
        self._cosign()
        return response


class Parties(NamedTuple):
    """Of the transfers in the snippets, and the nodes of their sides."""

    node: MemoryNode
    bank: Settings
    other: MemoryNode
    bureau: Settings


@pytest.fixture
def parties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parties:
    """The working directory becomes the bank's, with the files that snippets name."""
    node, other = MemoryNode.border()
    bank = replace(node.enrol(EXPORTER, tmp_path), peer_origin=HONG_KONG)
    monkeypatch.chdir(tmp_path / EXPORTER)
    Path("trust.txt").write_bytes(node.trust().format())
    for name in ("batch.csv", "model.bin", "signed.pdf", "pipia.pdf"):
        Path(name).write_bytes(DATA)
    return Parties(node, bank, other, other.enrol(RECIPIENT, tmp_path))


@pytest.fixture
async def namespace(parties: Parties) -> AsyncIterator[dict[str, Any]]:
    """What snippets in memory begin with."""
    node, bank, other, partner = parties
    async with (
        LedgerClient(bank, transport=WitnessedTransport(node, EXPORTER)) as ledger,
        LedgerClient(partner, transport=WitnessedTransport(other, RECIPIENT)) as bureau,
    ):
        namespace = {"ledger": ledger, "bureau": bureau, "node": node}
        await run(FIRST, namespace)
        yield namespace


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of an institution of two real nodes, with its client.toml."""
    border = Border(tmp_path_factory.mktemp("sdk") / "border")
    border.start()
    directory = border.client("gz-bank").parent
    (directory / "batch.csv").write_bytes(DATA)
    yield directory
    border.close()


def python(directory: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, *words], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class TestSnippets:
    @pytest.mark.parametrize("section", SECTIONS)
    async def test_those_of_a_section_run(self, section: str, namespace: dict[str, Any]) -> None:
        for snippet in of(""):
            if snippet.section == section:
                await run(snippet, namespace)

    @pytest.mark.parametrize("snippet", of("border"), ids=lambda snippet: snippet.section)
    def test_a_program_runs_against_real_nodes(self, snippet: Snippet, bank: Path) -> None:
        (bank / "program.py").write_text(FIRST.code + snippet.code, encoding="utf-8")
        python(bank, "program.py")

    @pytest.mark.parametrize("snippet", of("pytest"), ids=lambda snippet: snippet.section)
    def test_a_test_passes(self, snippet: Snippet, tmp_path: Path) -> None:
        (tmp_path / "test_it.py").write_text(FIRST.code + snippet.code, encoding="utf-8")
        pytest_alone = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
        python(tmp_path, *pytest_alone, "test_it.py")

    def test_there_is_no_other_place_to_run(self) -> None:
        assert {snippet.where for snippet in snippets()} == {"", "border", "first", "pytest"}

    def test_no_snippet_is_overlooked(self) -> None:
        assert len(list(snippets())) == PAGE.count("```python")


class TestConfiguration:
    toml = TOML[0]

    def test_lists_every_setting(self) -> None:
        assert set(tomllib.loads(self.toml)) == {field.name for field in fields(Settings)}

    def test_is_read_as_it_stands(self, tmp_path: Path) -> None:
        (tmp_path / "client.toml").write_text(self.toml, encoding="utf-8")
        assert Settings.from_file(tmp_path / "client.toml", {}).institution == EXPORTER

    def test_gives_the_defaults_that_are_values(self) -> None:
        defaults = {field.name: field.default for field in fields(Settings)}
        values = {name: one for name, one in defaults.items() if one not in {MISSING, None}}
        assert values.items() <= tomllib.loads(self.toml).items()


class TestRecordFile:
    @pytest.mark.parametrize("text", TOML[1:])
    def test_is_read_as_it_stands(self, text: str, tmp_path: Path) -> None:
        contract = a_contract("mainland.example/ledger", "hongkong.example/ledger")
        (tmp_path / "gba-sc.contract").write_bytes(contract.file())
        (tmp_path / "signed.pdf").write_bytes(DATA)
        (tmp_path / "record.toml").write_text(text, encoding="utf-8")
        message = read_record(tmp_path / "record.toml", keeps_nonce=True).message()
        assert parse_contract_terms(message.terms).contract_id == contract.contract_id

    def test_of_a_contract_has_every_field_that_a_person_states(self) -> None:
        made_by_itself = {"nonce", "version"}
        stated = set(tomllib.loads(TOML[1])) - {"record"}
        assert stated == {field.name for field in fields(Contract)} - made_by_itself


class TestKinds:
    kinds = (*get_args(Recordable), OwnSide)

    @pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)
    def test_has_its_fields_listed(self, kind: Any) -> None:
        (row,) = re.findall(rf"(?m)^\| `{kind.__name__}` \| (.*;.*|[^;]*?) \|$", FIELDS)
        required, _, optional = row.partition(";")
        expected: tuple[set[str], set[str]] = (set(), set())
        for field in fields(kind):
            expected[field.default is not field.default_factory].add(field.name)
        assert tuple(set(re.findall("`(.*?)`", part)) for part in (required, optional)) == expected

    def test_lists_every_one(self) -> None:
        kinds = {kind.__name__ for kind in get_args(Recordable)}
        assert {name for row in table("Record") for name in row if name[0].isupper()} == kinds


class TestStatement:
    def test_lists_every_keyword(self) -> None:
        assert {name for row in table("Keyword") for name in row} == set(Statement.__annotations__)


class TestReasons:
    listed = tuple(name for row in table("Reason") for name in row)
    client = ROOT / "client" / "ledgerd_client"

    def test_are_listed_once(self) -> None:
        assert len(set(self.listed)) == len(self.listed)

    def test_are_all_that_a_caller_can_meet(self) -> None:
        sdk = [path for path in self.client.glob("*.py") if path.stem not in TOOLS]
        node = [ROOT / "ledgerd" / f"{name}.py" for name in NODE]
        met = reasons(*sdk, *(self.client / "core").glob("*.py"), *node) - NOT_MET
        assert met - set(self.listed) == set()

    def test_are_given_by_the_code(self) -> None:
        code = [*self.client.rglob("*.py"), *(ROOT / "ledgerd").rglob("*.py")]
        assert set(self.listed) - reasons(*code) == set()

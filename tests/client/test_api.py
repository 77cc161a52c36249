from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from inspect import getmembers, getsource, isfunction, signature
from pathlib import Path
from typing import Any

import pytest

import ledgerd_client
from ledgerd_client import client, regulator, sync
from ledgerd_client.core import errors

THEIR_TEST = """
from ledgerd_client.sync import LedgerClient

def test_it_declares(ledger_node, tmp_path):
    settings = ledger_node.enrol("uscc.BANK", tmp_path)
    with LedgerClient(settings, transport=ledger_node.transport("uscc.BANK")) as ledger:
        declared = ledger.declare(
            b"data", recipient="hkbr.12345678", contract_id="C", subjects=1,
            purposes=["CreditChecking"], categories=["property"], legal_basis="CN13_2A contract",
        )
    assert declared.status == "recorded"
"""

# What type checkers see: the names of the package, and the module that each is imported from.
DECLARED = {
    name.name: node.module or ""
    for node in ast.walk(ast.parse(getsource(ledgerd_client)))
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ledgerd_client")
    for name in node.names
}


class TestThePackage:
    def test_all_is_what_type_checkers_see(self) -> None:
        assert set(ledgerd_client.__all__) == DECLARED.keys()

    @pytest.mark.parametrize("name", DECLARED)
    def test_each_name_is_what_type_checkers_take_it_for(self, name: str) -> None:
        declared = getattr(import_module(DECLARED[name]), name)
        assert getattr(ledgerd_client, name) is declared

    def test_it_lists_all_of_them(self) -> None:
        assert set(ledgerd_client.__all__) <= set(dir(ledgerd_client))

    def test_all_is_sorted(self) -> None:
        assert ledgerd_client.__all__ == sorted(ledgerd_client.__all__, key=str.lower)

    def test_every_error_is_in_it(self) -> None:
        classes = {
            name
            for name, value in vars(errors).items()
            if isinstance(value, type) and issubclass(value, errors.LedgerError)
        }
        assert classes <= set(ledgerd_client.__all__)

    def test_a_name_that_is_not_there_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="Ledger"):
            ledgerd_client.Ledger  # noqa: B018 -- the access is the test

    @pytest.mark.parametrize("module", ["grpc", "sqlite3", "asyncio", "pytest", "logging"])
    def test_whoever_only_verifies_loads_nothing_that_can_do_io(self, module: str) -> None:
        program = (
            "import sys; from ledgerd_client import Trust, verify_receipt;"
            f" sys.exit({module!r} in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_the_sdk_does_not_need_pytest(self) -> None:
        program = "import sys; import ledgerd_client.testing; sys.exit('pytest' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class TestThePytestPlugin:
    def test_it_gives_tests_of_others_a_node(self, tmp_path: Path) -> None:
        (tmp_path / "conftest.py").write_text('pytest_plugins = ["ledgerd_client.testing"]\n')
        (tmp_path / "test_theirs.py").write_text(THEIR_TEST)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run([*command, tmp_path], check=False, capture_output=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout.decode()


def methods(cls: type) -> dict[str, object]:
    return {name: value for name, value in getmembers(cls, isfunction) if name[0] != "_"}


CLIENTS = [
    (sync.LedgerClient, client.LedgerClient),
    (sync.RegulatorClient, regulator.RegulatorClient),
]
CALLS = [(*pair, name) for pair in CLIENTS for name in sorted(methods(pair[1]))]


class TestTheBlockingClients:
    @pytest.mark.parametrize(("ours", "theirs"), CLIENTS)
    def test_each_has_whatever_the_other_has(self, ours: type, theirs: type) -> None:
        had, wanted = ({name for name in dir(cls) if name[0] != "_"} for cls in (ours, theirs))
        assert had == wanted

    @pytest.mark.parametrize(("ours", "theirs"), CLIENTS)
    def test_each_is_read_from_the_same(self, ours: Any, theirs: Any) -> None:
        assert signature(ours.from_file).parameters == signature(theirs.from_file).parameters

    @pytest.mark.parametrize(("ours", "theirs", "name"), CALLS)
    def test_each_call_takes_the_same_and_says_the_same(
        self, ours: type, theirs: type, name: str
    ) -> None:
        our, their = methods(ours)[name], methods(theirs)[name]
        assert (signature(our), our.__doc__) == (signature(their), their.__doc__)

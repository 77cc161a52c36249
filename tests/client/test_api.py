from __future__ import annotations

import subprocess
import sys
from inspect import getmembers, isfunction, signature
from pathlib import Path
from types import ModuleType

import pytest

import ledgerd_client
from ledgerd_client import client, sync
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

# What makes LedgerClient load lazily.
MACHINERY = {"TYPE_CHECKING"}


class TestThePackage:
    def test_all_is_what_is_visible(self) -> None:
        from ledgerd_client import LedgerClient

        visible = {
            name
            for name, value in vars(ledgerd_client).items()
            if not name.startswith("_") and not isinstance(value, ModuleType)
        }
        assert LedgerClient is client.LedgerClient
        assert visible - MACHINERY | {"LedgerClient"} == set(ledgerd_client.__all__)

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
        program = f"import sys, ledgerd_client.core.receipt; sys.exit({module!r} in sys.modules)"
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


class TestTheBlockingClient:
    def test_it_has_every_call_of_the_other(self) -> None:
        assert methods(sync.LedgerClient).keys() == methods(client.LedgerClient).keys()

    @pytest.mark.parametrize("name", sorted(methods(client.LedgerClient)))
    def test_each_takes_the_same_and_says_the_same(self, name: str) -> None:
        ours = methods(sync.LedgerClient)[name]
        theirs = methods(client.LedgerClient)[name]
        assert (signature(ours), ours.__doc__) == (signature(theirs), theirs.__doc__)

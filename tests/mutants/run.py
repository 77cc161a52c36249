"""
Break each promise by one line; the named test must turn red.

mutants.toml lists them. The tree is copied, so nothing here touches the checkout; the copy comes
first on PYTHONPATH, also for the installed programs that end-to-end tests start. Each pytest is a
fork of this process, which has imported what is not ours.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import runpy
import shutil
import sys
import tomllib
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from py_compile import PycInvalidationMode

from rich.console import Console
from rich.table import Column, Table

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "build" / "mutants"
COPIED = ("ledgerd", "client", "tests", "proto", "deploy", "docs", "pyproject.toml", "README.md")
# What takes long to import and is no mutant's. No plugin of pytest: it wants to import them itself.
OTHERS = (
    "cryptography.x509", "google.protobuf.message", "grpc.aio", "lmdb", "nacl.bindings",
    "prometheus_client", "pydantic", "pytest", "structlog", "typer",
)  # fmt: skip
# pytest's exit code for "tests were run, and some failed"; every other one is no verdict.
FAILED = 1


@dataclass(frozen=True, slots=True)
class Mutant:
    """One line of one file said otherwise, and the test that must notice."""

    name: str
    promise: str
    file: str
    before: str
    after: str
    test: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="names of mutants; all by default")
    names = parser.parse_args().only
    listed = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]
    mutants = [m for m in (Mutant(**row) for row in listed) if not names or m.name in names]
    copy_tree()
    for name in OTHERS:
        importlib.import_module(name)
    console = Console(width=160)
    if pytest(sorted({mutant.test for mutant in mutants})) != 0:
        console.print("the tests fail without any mutant; see above")
        return 1
    table = Table("mutant", "promise", Column("caught by", overflow="fold"))
    survived = 0
    for mutant in mutants:
        caught = is_caught(mutant)
        survived += not caught
        table.add_row(mutant.name, mutant.promise, mutant.test if caught else "NOTHING")
    console.print(table)
    console.print(f"{len(mutants) - survived} passed, {survived} failed", highlight=False)
    return 1 if survived else 0


def copy_tree() -> None:
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, TREE / name, ignore=ignored)
        else:
            shutil.copy(source, TREE / name)
    # By time and size a mutant may look like the line that it replaces.
    by_hash = PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(TREE, quiet=1, maxlevels=99, invalidation_mode=by_hash)


def is_caught(mutant: Mutant) -> bool:
    path = TREE / mutant.file
    original = path.read_text()
    if original.count(mutant.before) != 1:
        sys.exit(f"{mutant.name}: the line to change is not there exactly once in {mutant.file}")
    path.write_text(original.replace(mutant.before, mutant.after))
    try:
        return pytest([mutant.test], quiet=True) == FAILED
    finally:
        path.write_text(original)


def pytest(tests: list[str], *, quiet: bool = False) -> int:
    process = get_context("fork").Process(target=run_pytest, args=(tests, quiet))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def run_pytest(tests: list[str], quiet: bool) -> None:
    """What `python -m pytest` does in the copied tree."""
    paths = [str(TREE), str(TREE / "client"), str(TREE / "tests")]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.chdir(TREE)
    sys.path[:1] = paths
    if quiet:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
    sys.argv = ["pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.exit(main())

"""A dispute bundle and a ticket, by commands: made by both sides, and opened years later."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from border import LEDGERCTL, PATIENCE, Border, run

TERMS = (
    *("--to", "hkbr.50000001", "--contract", "SCC-2026-001", "--subjects", "1200"),
    *("--purpose", "12", "--category", "5", "--legal-basis", "CN13_1 consent"),
    *("--consent", "separate", "--transmission", "sftp"),
)


class Case:
    """A transfer that both sides stated, and a bundle by parties and one by regulators."""

    def __init__(self, border: Border, directory: Path) -> None:
        self.border, self.directory = border, directory
        (directory / "batch.csv").write_bytes(b"name;score\nA;700\n")
        self.ref: str = self.declare("a.ticket")["ref"]
        self.by("hk-clinic", "ack", "a.ticket", "--payload", "batch.csv")
        for first, second, name in (("sz-hospital", "hk-clinic", "p"), ("cac", "dpo", "r")):
            self.when_cosigned(first, "bundle", "create", self.ref, "--out", f"{name}1.json")
            self.when_cosigned(second, "bundle", "add", f"{name}1.json", "--out", f"{name}2.json")

    def declare(self, ticket: str) -> Any:
        done = self.by("sz-hospital", "declare", "batch.csv", *TERMS, "--ticket", ticket, "--json")
        return json.loads(done.stdout)

    def by(self, who: str, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(*args, "--config", str(self.border.client(who)), code=code)

    def run(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        paths = [
            str(self.directory / arg) if arg.endswith((".json", ".ticket", ".csv")) else arg
            for arg in args
        ]
        return run(LEDGERCTL, *paths, code=code)

    def when_cosigned(self, who: str, *args: str) -> None:
        """The other side's node cosigns within seconds."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.by(who, *args)
            except AssertionError as error:
                if "COSIGNED" not in str(error) or time.monotonic() > end:
                    raise
            else:
                return

    def verify(self, name: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        trust = ("--trust", str(self.border.directory / "trust.txt"))
        return self.run("bundle", "verify", name, *trust, "--json", code=code)

    def open(self, ticket: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        trust = ("--trust", str(self.border.directory / "trust.txt"))
        payload = ("--payload", "batch.csv", "--bundle", "p2.json")
        return self.run("open", ticket, *payload, *trust, "--json", code=code)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    directory = tmp_path_factory.mktemp("bundle")
    border = Border(directory / "border")
    try:
        border.start()
        yield Case(border, directory)
    finally:
        border.close()


class TestABundle:
    @pytest.mark.parametrize("name", ["p1.json", "r1.json"])
    def test_of_one_side_is_one_sided(self, case: Case, name: str) -> None:
        assert json.loads(case.verify(name).stdout)["state"] == "one_sided"

    @pytest.mark.parametrize("name", ["p2.json", "r2.json"])
    def test_of_both_sides_says_what_they_come_to(self, case: Case, name: str) -> None:
        proven = json.loads(case.verify(name).stdout)
        found = (proven["ref"], proven["state"], len(proven["halves"]))
        assert found == (case.ref, "matched", 2)

    def test_says_that_more_may_be_there_than_is_in_it(self, case: Case) -> None:
        assert "the logs may hold more" in case.verify("p2.json").stderr

    def test_has_no_bodies_unless_they_are_asked_for(self, case: Case) -> None:
        halves = json.loads(case.verify("p2.json").stdout)["halves"]
        assert [half["body"] for half in halves] == ["", ""]

    def test_with_bodies_is_confirmed_first(self, case: Case) -> None:
        case.by("sz-hospital", "bundle", "create", case.ref, "--out", "b.json", "--bodies", code=3)
        assert not (case.directory / "b.json").exists()

    def test_in_which_a_part_was_exchanged_exits_1(self, case: Case) -> None:
        content = json.loads((case.directory / "p2.json").read_text())
        first, second = content["sides"]
        first["halves"], second["halves"] = second["halves"], first["halves"]
        changed = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (case.directory / "changed.json").write_text(changed)
        case.verify("changed.json", code=1)

    def test_that_is_none_exits_2(self, case: Case) -> None:
        case.verify("batch.csv", code=2)

    def test_is_not_written_over(self, case: Case) -> None:
        case.by("hk-clinic", "bundle", "add", "p1.json", "--out", "p2.json", code=2)

    def test_of_a_transfer_that_is_unknown_exits_3(self, case: Case) -> None:
        case.by("sz-hospital", "bundle", "create", "00" * 32, "--out", "x.json", code=3)


class TestYearsLater:
    def test_the_file_is_the_one_that_was_declared(self, case: Case) -> None:
        proven = json.loads(case.open("a.ticket").stdout)
        assert (proven["ref"], proven["kind"]) == (case.ref, "transfer")

    def test_a_ticket_of_another_transfer_is_not_in_the_bundle(self, case: Case) -> None:
        case.declare("b.ticket")
        assert "OTHER_RECORD" in case.open("b.ticket", code=1).stderr

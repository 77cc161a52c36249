"""Every edge of the table on both nodes: found live, after a kill, and by an audit from the logs."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from ledger.by_remains import check_by_remains
from rich.console import Console
from scenarios import refusals, run, year
from scenarios.background import END
from scenarios.compare import RULES, Comparison, Found, wrong_severities
from scenarios.records import micros
from scenarios.sides import Border
from scenarios.story import Expected, load, plots

from ledgerd.ledger.verifying import AuditError
from ledgerd_client._proto import body_pb2 as pb

TRANSFERS = 4_000
HERE = Path(__file__).parent
SEED = 20261122
REFUSING = {"K1", "K21"}

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Played:
    """One year, recorded by processes that ran through and that were killed, and rebuilt."""

    expected: list[Expected]
    live: list[Found]
    killed: list[Found]
    rebuilt: list[Found]
    # Of the live one.
    directory: Path


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    scratch = tmp_path_factory.mktemp("year")
    quiet = Console(quiet=True)
    run.record(scratch, TRANSFERS, Random(SEED), quiet)
    expected, live = year.told(scratch / "live")
    _, killed = year.told(scratch / "killed")
    rebuilt = run.rebuild(scratch / "live", quiet)
    return Played(expected, live, killed, rebuilt, scratch / "live")


class TestEachRule:
    @pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in REFUSING])
    def test_finds_what_was_planted_and_nothing_else(self, rule: str, played: Played) -> None:
        def of_rule(rows: list) -> list:  # type: ignore[type-arg]
            return [row for row in rows if row.rule.split(".")[0] == rule]

        comparison = Comparison.of(of_rule(played.expected), of_rule(played.live))

        assert (comparison.missing, comparison.extra) == ([], [])

    @pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in REFUSING])
    def test_has_edges_with_the_article_that_they_follow_from(self, rule: str) -> None:
        quotes = [edge["quote"] for edge in load()["edge"] if edge["rule"] == rule]

        assert quotes
        assert all(quotes)


class TestTheWholeYear:
    def test_comes_to_what_was_planted(self, played: Played) -> None:
        comparison = Comparison.of(played.expected, played.live)

        assert (comparison.missing, comparison.extra) == ([], [])

    def test_comes_to_the_same_on_nodes_that_were_killed(self, played: Played) -> None:
        assert sorted(played.killed) == sorted(played.live)

    def test_comes_to_the_same_when_it_is_rebuilt(self, played: Played) -> None:
        assert sorted(played.rebuilt) == sorted(played.live)

    @pytest.mark.parametrize("side", ["mainland", "hongkong"])
    def test_comes_to_the_same_by_what_remains_of_its_bodies(
        self, played: Played, side: str
    ) -> None:
        with closing(Border(played.directory)) as border:
            check_by_remains(border.nodes[side])

    def test_gives_each_finding_the_severity_of_the_table(self, played: Played) -> None:
        assert wrong_severities(played.live, load()["severity"]) == []


class TestRefusals:
    def test_k1_refuses_what_is_malformed_and_takes_what_is_on_the_edge(self) -> None:
        outcomes = refusals.try_records(load())

        assert [each for each in outcomes if each.came != each.wanted] == []

    def test_k21_keeps_for_three_years_and_to_three_years_after_the_contract(
        self, tmp_path: Path
    ) -> None:
        outcomes = refusals.try_erasures(load(), tmp_path)

        assert [each for each in outcomes if each.came != each.wanted] == []


Findings = list[pb.Finding]


class TestALyingNode:
    """With all its keys: what it signs is well formed, and not what its log calls for."""

    @pytest.fixture
    def lying(self, tmp_path: Path) -> Callable[[Callable[[Findings], Findings]], Path]:
        def play(change: Callable[[Findings], Findings]) -> Path:
            border = Border(tmp_path / "lying")
            machine = border.nodes["mainland"].writer.machine
            honest = machine.apply
            machine.apply = lambda *given: change(honest(*given))  # type: ignore[method-assign]
            named = next(plot for plot in plots(load()) if plot.edge["name"] == "nobody files")
            border.play(sorted(named.events, key=lambda event: event.at), lambda _: None)
            border.advance(micros(END))
            border.anchor_both()
            border.close()
            (tmp_path / "lying" / "names.json").write_text("[]")
            return tmp_path / "lying"

        return play

    def test_is_named_by_the_finding_that_it_left_out(
        self, lying: Callable[[Callable[[Findings], Findings]], Path]
    ) -> None:
        directory = lying(lambda due: [each for each in due if each.rule != "K4.overdue"])

        with pytest.raises(AuditError, match=r"finding K4\.overdue, which is missing"):
            year.rebuild(directory, "mainland", lambda _done, _total: None)

    def test_is_named_by_the_finding_that_it_put_in(
        self, lying: Callable[[Callable[[Findings], Findings]], Path]
    ) -> None:
        def add(due: Findings) -> Findings:
            extra = [pb.Finding() for each in due if each.rule == "K4.overdue"]
            for finding, model in zip(extra, due, strict=False):
                finding.CopyFrom(model)
                finding.rule, finding.finding_id = "K8.important_data", bytes(32)
            return due + extra

        directory = lying(add)

        with pytest.raises(AuditError, match=r"finding K8\.important_data is not what the log"):
            year.rebuild(directory, "mainland", lambda _done, _total: None)


class TestTheScenarios:
    def test_share_no_code_with_the_rules(self) -> None:
        imported = {
            name
            for path in HERE.glob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            for name in _names(node)
        }

        forbidden = ("ledgerd.rules", "ledgerd_client.rulebook", "ledgerd_client.core.codes",
                     "ledgerd_client.core.code_tables")  # fmt: skip
        assert [name for name in imported if name.startswith(forbidden)] == []


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []

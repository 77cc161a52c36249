"""
deploy/: alert rules, runbook and dashboard say the same, and of metrics that there are.

What Prometheus thinks of the rules its own promtool says (Debian: in the package prometheus).
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from client.outbox_worker import make_record
from nodes import found_one, free_port, refused, serve
from prometheus_client.parser import text_string_to_metric_families

from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.cli.outbox import as_metrics
from ledgerd_client.outbox import Outbox

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "alerts.yml"
CASES = Path(__file__).with_name("alerts_test.yml")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
TARGETS = [target for panel in PANELS for target in panel.get("targets", ())]

# Made by Prometheus itself for each target.
_SYNTHETIC = {"up"}
_METRIC = re.compile(r"\b(?:ledgerd_[a-z_]+|process_[a-z_]+|up)\b(?=[{\[\s)]|$)")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def promtool(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, args)], capture_output=True, text=True, check=False
    )


def sections() -> dict[str, str]:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def named(expression: str) -> set[str]:
    """The metrics of an expression, without what stands in quotes."""
    return set(_METRIC.findall(re.sub(r'"[^"]*"', '""', expression)))


def widened(expression: str) -> str:
    """A panel's expression as Prometheus would get it from Grafana."""
    return expression.replace("$__rate_interval", "5m").replace("$instance", ".*")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all samples that a node that runs shows, and an outbox."""
    directory = tmp_path_factory.mktemp("watched")
    return asyncio.run(of_a_node(directory / "border")) | of_an_outbox(directory)


async def of_a_node(directory: Path) -> set[str]:
    side, peer = found_one(directory)
    port = free_port()
    side.configure(peer, top=f'metrics_listen = "localhost:{port}"')
    async with serve(side, peer) as node:
        exporter = await node.institution()
        await exporter.append(exporter.transfer(at=1))
        await refused(exporter.ledger.GetEntry(pb.GetEntryRequest(index=99)))
        url = f"http://localhost:{port}/metrics"
        return samples((await asyncio.to_thread(lambda: urlopen(url).read())).decode())


def of_an_outbox(directory: Path) -> set[str]:
    with closing(Outbox.open(directory / "outbox.db", now=lambda: 1)) as outbox:
        outbox.put(make_record())
        return samples(as_metrics(outbox.stats(), "uscc.ONE"))


def samples(text: str) -> set[str]:
    return {sample.name for each in text_string_to_metric_families(text) for sample in each.samples}


class TestRules:
    @needs_promtool
    def test_promtool_takes_them(self) -> None:
        done = promtool("check", "rules", ALERTS)
        assert done.returncode == 0, done.stdout + done.stderr

    @needs_promtool
    def test_each_fires_when_it_should_and_not_when_it_should_not(self) -> None:
        done = promtool("test", "rules", CASES)
        assert done.returncode == 0, done.stdout + done.stderr

    @needs_promtool
    @pytest.mark.parametrize("told", ["good", "bad"])
    def test_and_promtool_would_say_if_not(self, told: str, tmp_path: Path) -> None:
        """The same cases, of which one is told otherwise."""
        cases = yaml.safe_load(CASES.read_text())
        (case,) = (case for case in cases["tests"] if case["name"] == "LedgerdDiskFull")
        (series, *_) = (s for s in case["input_series"] if f'"{told}"' in s["series"])
        series["values"] = {"good": "1x10", "bad": "1000x10"}[told]
        cases |= {"rule_files": [str(ALERTS)], "tests": [case]}
        path = tmp_path / "alerts_test.yml"
        path.write_text(yaml.safe_dump(cases))
        assert promtool("test", "rules", path).returncode == 1

    def test_each_has_a_case(self) -> None:
        assert [case["name"] for case in yaml.safe_load(CASES.read_text())["tests"]] == NAMES

    def test_each_has_a_name_of_its_own(self) -> None:
        assert len(set(NAMES)) == len(NAMES) > 20

    @pytest.mark.parametrize("rule", RULES, ids=NAMES)
    def test_each_looks_at_metrics_that_there_are(
        self, rule: dict[str, Any], scraped: set[str]
    ) -> None:
        assert named(rule["expr"])
        assert named(rule["expr"]) - scraped - _SYNTHETIC == set()

    @pytest.mark.parametrize("rule", RULES, ids=NAMES)
    def test_each_says_how_urgent_it_is(self, rule: dict[str, Any]) -> None:
        assert rule["labels"]["severity"] in {"critical", "warning"}

    def test_together_they_look_at_every_state_in_which_appends_are_refused(self) -> None:
        looked_at = [rule["expr"] for rule in RULES if "ledgerd_appends_state" in rule["expr"]]
        matchers = [re.findall(r'(!~|=)"([^"]+)"', expression) for expression in looked_at]
        assert matchers == [
            [("!~", "OPEN|ROLLED_BACK|REPLACED")], [("=", "ROLLED_BACK")], [("=", "REPLACED")],
        ]  # fmt: skip


class TestRunbook:
    def test_has_a_section_for_each_alert_and_no_other(self) -> None:
        assert list(sections()) == NAMES

    @pytest.mark.parametrize("rule", RULES, ids=NAMES)
    def test_each_alert_leads_to_its_section(self, rule: dict[str, Any]) -> None:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"

    @pytest.mark.parametrize("rule", RULES, ids=NAMES)
    def test_each_section_says_what_it_means_and_what_to_do(self, rule: dict[str, Any]) -> None:
        said = re.findall(r"^\* \*\*(.+?)\*\*: ", sections()[rule["alert"]], re.MULTILINE)
        assert said == ["Means", "At risk", "Do first", "Do not"]

    @pytest.mark.parametrize("rule", RULES, ids=NAMES)
    def test_alert_and_section_agree_on_what_is_at_risk(self, rule: dict[str, Any]) -> None:
        said = re.search(r"\*\*At risk\*\*: (yes|no)\b", sections()[rule["alert"]])
        assert said is not None
        assert said[1] == rule["annotations"]["at_risk"]


class TestDashboard:
    def test_every_panel_has_an_id_of_its_own(self) -> None:
        ids = [panel["id"] for panel in PANELS]
        assert len(set(ids)) == len(ids)

    def test_every_panel_asks_for_something_and_says_what(self) -> None:
        silent = [
            panel["id"]
            for panel in PANELS
            if not panel["title"] or (panel["type"] != "row" and not panel["targets"])
        ]
        assert silent == []

    def test_no_panel_lies_on_another(self) -> None:
        places = [panel["gridPos"] for panel in PANELS]
        assert [(one, other) for one, other in combinations(places, 2) if overlap(one, other)] == []
        assert all(place["x"] + place["w"] <= 24 for place in places)

    def test_every_panel_asks_the_data_source_that_is_chosen(self) -> None:
        chosen = {"type": "prometheus", "uid": "${datasource}"}
        assert [t for t in TARGETS if t["datasource"] != chosen] == []
        assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {
            "datasource", "instance",
        }  # fmt: skip

    @needs_promtool
    def test_promtool_takes_every_expression(self, tmp_path: Path) -> None:
        rules = [
            {"record": f"panel:{number}", "expr": widened(target["expr"])}
            for number, target in enumerate(TARGETS)
        ]
        path = tmp_path / "panels.yml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        done = promtool("check", "rules", path)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_panel_shows_metrics_that_there_are(self, scraped: set[str]) -> None:
        shown = set().union(*(named(target["expr"]) for target in TARGETS))
        assert shown - scraped == set()

    def test_every_metric_of_ours_is_shown_or_an_alert_looks_at_it(self, scraped: set[str]) -> None:
        used = set().union(*(named(t["expr"]) for t in TARGETS), *(named(r["expr"]) for r in RULES))
        ours = {name for name in scraped if name.startswith("ledgerd_")}
        of_histograms = ("_bucket", "_sum", "_count", "_created")
        assert {name for name in ours if not name.endswith(of_histograms)} - used == set()


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )

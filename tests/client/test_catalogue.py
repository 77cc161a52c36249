"""Words for codes, findings and errors: all there are, in every language, and neutral."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ledgerd_client
from ledgerd_client import Catalogue, Finding, InputError
from ledgerd_client.catalogue import LANGUAGES
from ledgerd_client.core.codes import TABLES
from ledgerd_client.reports import REPORTS
from ledgerd_client.rulebook import RULES

CLIENT = Path(ledgerd_client.__file__).parent
ROOT = CLIENT.parents[1]
CHINESE = ("zh-Hans", "zh-Hant")
WORDS: dict[str, dict[str, Any]] = {
    lang: tomllib.loads((CLIENT / "words" / f"{lang}.toml").read_text(encoding="utf-8"))
    for lang in LANGUAGES
}
# Where a node's answers are made, beside its api; and what only a peer, or an operator, is told.
NODE = [
    path
    for name in (
        "reader",
        "sequencer",
        "standing",
        "writer",
        "checker",
        "committer",
        "answers",
        "summary",
        "query_log",
        "erasing",
    )
    if (path := ROOT / "ledgerd" / "ledger" / f"{name}.py").exists()
]
PRINTING = (
    "bundles",
    "entry_text",
    "erase",
    "findings",
    "key_history",
    "keys",
    "outbox",
    "queries",
    "receipts",
    "records",
    "tickets",
    "timeline",
    "transfers",
)
OPERATORS = {"CANNOT_LISTEN", "STORE_CHANGED", "STREAM_TOO_LONG", "STREAM_UNDER_WAY", "NO_BODY"}
# What is for programs only, or names a parameter of a question.
NOT_PRINTED = {"numbers", "all", "from", "since", "until", "newest_first"}
FORBIDDEN = re.compile(
    r"illegal|violat|breach of law|unlawful|违法|違法|违规|違規|违反|違反|违约|違約", re.IGNORECASE
)

each_language = pytest.mark.parametrize("lang", LANGUAGES)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def reasons(*sources: Path) -> set[str]:
    """Every reason that an error is given in some sources, literally or by a constant there."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources]
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.keyword) and node.arg == "reason":
            found |= {n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)}
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "default_reason":
            found |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
    return {reason for reason in found if isinstance(reason, str) and reason.isupper()}


def keys_of(source: Path) -> set[str]:
    """Of the mappings that stand in it."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    keys = [key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def report_names() -> set[str]:
    """Of all columns and tables that reports are made of, and of what they rest on."""
    found: set[str] = set()
    for path in (CLIENT / "reports").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.args[0] if node.args else None
                if node.func.id in {"Column", "Table"} and isinstance(name, ast.Constant):
                    found.add("table_" * (node.func.id == "Table") + str(name.value))
    takes = set().union(*(kind.takes for kind in REPORTS.values()))
    return found | (takes - {"from"}) | {"origin", "size", "root", "as_of", "report_digest"}


def a_finding(rule: str, **numbers: int) -> Finding:
    return Finding(b"", rule, RULES[rule].severity, (), closed=False, numbers=numbers)


class TestEntries:
    @each_language
    def test_every_rule_says_what_it_found_and_what_cures_it(self, lang: str) -> None:
        rules = WORDS[lang]["rule"]
        assert {rule: set(words) for rule, words in rules.items()} == {
            rule: {"says", "cure"} for rule in RULES
        }

    @each_language
    def test_a_sentence_holds_only_numbers_that_its_rule_has(self, lang: str) -> None:
        for rule, words in WORDS[lang]["rule"].items():
            held = placeholders(words["says"]) | placeholders(words["cure"])
            assert held <= set(RULES[rule].numbers), rule

    @pytest.mark.parametrize("lang", CHINESE)
    def test_a_sentence_holds_the_numbers_that_the_english_one_holds(self, lang: str) -> None:
        for rule, words in WORDS[lang]["rule"].items():
            english = WORDS["en"]["rule"][rule]
            for part in ("says", "cure"):
                assert placeholders(words[part]) == placeholders(english[part]), (rule, part)

    @each_language
    def test_every_disputed_source_has_two_readings(self, lang: str) -> None:
        readings = {rule.reading for rule in RULES.values() if rule.reading}
        held = {name: set(words) for name, words in WORDS[lang]["reading"].items()}
        assert held == {name: {"a", "b"} for name in readings}

    @each_language
    def test_every_code_has_a_meaning(self, lang: str) -> None:
        held = {table: set(words) for table, words in WORDS[lang]["code"].items()}
        assert held == {table: set(map(str, codes)) for table, codes in TABLES.items()}

    @pytest.mark.parametrize("table", ["word", "report", "column"])
    def test_all_languages_have_the_same_words(self, table: str) -> None:
        assert len({frozenset(WORDS[lang][table]) for lang in LANGUAGES}) == 1

    @each_language
    def test_every_report_says_what_it_is_and_what_it_cannot_show(self, lang: str) -> None:
        reports = {name: set(words) for name, words in WORDS[lang]["report"].items()}
        named = {*REPORTS, "dossier"}
        assert reports == {name: {"title", "shows", "cannot"} for name in named}

    @each_language
    def test_every_column_and_table_of_a_report_has_a_heading(self, lang: str) -> None:
        assert report_names() - set(WORDS[lang]["column"]) == set()

    @pytest.mark.parametrize("table", ["label", "error"])
    def test_both_chinese_files_have_the_same(self, table: str) -> None:
        assert set(WORDS["zh-Hans"][table]) == set(WORDS["zh-Hant"][table])

    @pytest.mark.parametrize("lang", CHINESE)
    def test_every_field_that_the_tool_prints_has_a_label(self, lang: str) -> None:
        printed = set().union(*(keys_of(CLIENT / "cli" / f"{name}.py") for name in PRINTING))
        assert printed - NOT_PRINTED <= set(WORDS[lang]["label"])

    @pytest.mark.parametrize("lang", CHINESE)
    def test_every_line_of_a_nodes_status_has_a_label(self, lang: str) -> None:
        source = (CLIENT / "cli" / "status.py").read_text(encoding="utf-8")
        names = set(re.findall(r'yield "(\w+)"', source))
        assert len(names) > 10
        assert names - set(WORDS[lang]["label"]) == set()

    @pytest.mark.parametrize("lang", CHINESE)
    def test_every_trouble_of_a_node_is_explained(self, lang: str) -> None:
        # Of the checkout: where the SDK alone is installed, ROOT has no node.
        path = Path(__file__).parents[2] / "ledgerd" / "observe" / "troubles.py"
        source = path.read_text(encoding="utf-8")
        codes = set(re.findall(r'^        "([A-Z_]+)": "', source, re.MULTILINE))
        assert len(codes) > 10
        assert set(WORDS[lang]["trouble"]) == codes

    @each_language
    def test_every_phrase_that_the_tool_says_is_there(self, lang: str) -> None:
        sources = "".join(p.read_text(encoding="utf-8") for p in (CLIENT / "cli").glob("*.py"))
        said = set(re.findall(r'\bword\(\s*"(\w+)"', sources))
        said |= set(re.findall(r'"(status_\w+)"', sources))
        assert len(said) > 10
        assert said - set(WORDS[lang]["word"]) == set()

    @pytest.mark.parametrize("lang", CHINESE)
    def test_every_reason_that_the_sdk_gives_is_explained(self, lang: str) -> None:
        given = reasons(*CLIENT.rglob("*.py"))
        assert given - set(WORDS[lang]["error"]) == set()

    @pytest.mark.parametrize("lang", CHINESE)
    def test_and_every_reason_that_a_node_answers_with(self, lang: str) -> None:
        given = reasons(*(ROOT / "ledgerd" / "api").glob("*.py"), *NODE)
        assert given - set(WORDS[lang]["error"]) - OPERATORS == set()

    @each_language
    def test_nothing_is_empty(self, lang: str) -> None:
        def empty(words: Any) -> bool:
            return any(map(empty, words.values())) if isinstance(words, dict) else not words

        assert not empty(WORDS[lang])

    def test_the_two_chinese_files_are_written_in_characters_of_their_own(self) -> None:
        simplified, traditional = (str(WORDS[lang]) for lang in CHINESE)
        assert [c for c in "个记录与时实应并数据据统" if c in traditional] == []
        assert [c for c in "個記錄與時實應並數據統" if c in simplified] == []

    @pytest.mark.parametrize(
        ("lang", "term"),
        [
            *(("zh-Hans", term) for term in ("个人信息", "标准合同", "个人信息处理者", "提供")),
            ("zh-Hans", "个人信息保护影响评估"),
            *(("zh-Hant", term) for term in ("個人資料", "標準合約", "資料使用者", "轉移")),
            ("zh-Hant", "私隱影響評估"),
        ],
    )
    def test_each_uses_the_terms_of_its_place(self, lang: str, term: str) -> None:
        assert term in str(WORDS[lang])


class TestNeutrality:
    @each_language
    def test_no_word_adjudicates(self, lang: str) -> None:
        assert FORBIDDEN.findall(str(WORDS[lang])) == []

    @pytest.mark.parametrize(
        "path", ["client/ledgerd_client/rulebook.py", "docs/rules.md", "docs/sdk.md", "README.md"]
    )
    def test_nor_does_what_is_said_about_rules(self, path: str) -> None:
        if (ROOT / path).exists():  # docs/ are not where the SDK is tested alone
            assert FORBIDDEN.findall((ROOT / path).read_text(encoding="utf-8")) == []

    def test_nor_does_the_tool(self) -> None:
        for path in (CLIENT / "cli").glob("*.py"):
            assert FORBIDDEN.findall(path.read_text(encoding="utf-8")) == [], path


class TestAFindingInWords:
    @pytest.mark.parametrize(
        ("lang", "says"),
        [
            ("zh-Hans", "未见本合同的备案记录；备案期限为 2026-02-27。"),  # noqa: RUF001 -- Chinese
            ("zh-Hant", "未見本合約的備案紀錄；備案期限為 2026-02-27。"),  # noqa: RUF001 -- Chinese
        ],
    )
    def test_a_date_is_printed_as_one(self, lang: str, says: str) -> None:
        told = Catalogue.load(lang).finding(a_finding("K4.overdue", deadline_on=20260227))
        assert told.says == says

    def test_a_time_is_printed_with_its_offset(self) -> None:
        # 2026-03-01T02:00:00Z
        finding = a_finding("K17.no_notice", discovered_at=1_772_330_400_000_000, deadline_at=1)
        assert "2026-03-01T10:00:00+08:00" in Catalogue.load("en").finding(finding).says

    def test_a_count_is_grouped(self) -> None:
        finding = a_finding("K11.subjects_contract", count=100_001, edge=100_000)
        assert "100,001" in Catalogue.load("en").finding(finding).says

    def test_a_year_is_not(self) -> None:
        assert "2026" in Catalogue.load("en").finding(a_finding("K11.route", year=2026)).says

    def test_a_number_that_is_missing_is_a_question_mark(self) -> None:
        assert "?" in Catalogue.load("en").finding(a_finding("K4.overdue")).says

    def test_a_provisional_date_is_said_to_be_one(self) -> None:
        finding = a_finding("K4.pending", deadline_on=20270112, provisional=1)
        catalogue = Catalogue.load("zh-Hant")
        assert catalogue.finding(finding).says.endswith(catalogue.word("provisional"))

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_what_was_found_later_says_of_how_many_transfers(self, lang: str) -> None:
        finding = a_finding("K3.suspended", found_later=1_234)
        assert "1,234" in Catalogue.load(lang).finding(finding).says

    def test_a_disputed_source_is_told_with_both_readings(self) -> None:
        assert len(Catalogue.load("en").finding(a_finding("K11.route_disputed")).readings) == 2

    def test_a_heuristic_is_listed_for_review(self) -> None:
        assert "listed for review" in Catalogue.load("en").finding(a_finding("K14.split")).severity

    def test_a_closing_is_as_grave_as_what_it_closes(self) -> None:
        closing = Finding(b"", "K4.overdue", 0, (), closed=True)
        assert Catalogue.load("en").finding(closing).severity == "high"

    def test_a_rule_of_a_newer_node_is_told_by_its_id(self) -> None:
        newer = Finding(b"", "K99.new", 3, (), closed=False, numbers={"0": 7})
        assert Catalogue.load("zh-Hans").finding(newer).says == "K99.new, 0 7"


class TestAskingFor:
    def test_a_language_that_there_is_not_is_refused(self) -> None:
        with pytest.raises(InputError, match="'fr'"):
            Catalogue.load("fr")

    def test_a_code_that_is_not_known_is_its_number(self) -> None:
        assert Catalogue.load("zh-Hans").code("purpose", 999) == "999"

    def test_a_code_is_what_it_means(self) -> None:
        assert Catalogue.load("zh-Hant").code("purpose", 3) == "信貸查核"

    def test_a_word_that_is_not_known_is_itself(self) -> None:
        assert Catalogue.load("en").word("no_such") == "no_such"

"""The dated data: figures by day, as regulation facts and plan have them, and its digest."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
from rules.contracts import LAW, day

from ledgerd.rules import law
from ledgerd.rules.law import Parameters, load_law, newest_law
from ledgerd.rules.ruleset import make_rule_set, rule_set_digest
from ledgerd_client.core import codes
from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.rulebook import RULES

FILE = Path(law.__file__).parent / "law" / "2026.1.toml"
OF_THE_RULE_SET = {"acknowledge_within", "correct_within", "record_within", "agree_within"}


class TestFigures:
    @pytest.mark.parametrize(
        ("name", "date", "value"),
        [
            # CAC Provisions, in force on 22 March 2024: articles 5, 7, 8.
            ("subjects_contract", "2024-03-21", 0),
            ("subjects_contract", "2024-03-22", 100_000),
            ("subjects_assessment", "2024-03-22", 1_000_000),
            ("sensitive_contract", "2024-03-22", 1),
            ("sensitive_assessment", "2024-03-22", 10_000),
            # Article 9.
            ("authorisation_years", "2024-03-22", 3),
            ("authorisation_warning_days", "2024-03-22", 60),
            # GBA Standard Contract, published with filing within 10 working days.
            ("filing_days", "2023-12-09", 0),
            ("filing_days", "2023-12-10", 10),
            # Measures on reporting incidents, from 1 November 2025.
            ("incident_hours", "2025-10-31", 0),
            ("incident_hours", "2025-11-01", 4),
            ("incident_ciio_hours", "2025-11-01", 1),
            # PIPL, from 1 November 2021.
            ("retention_years", "2021-10-31", 0),
            ("retention_years", "2021-11-01", 3),
        ],
    )
    def test_a_figure_is_in_force_from_its_day(self, name: str, date: str, value: int) -> None:
        assert getattr(LAW.at(day(date)), name) == value

    def test_days_of_one_law_have_the_same_figures_object(self) -> None:
        assert LAW.at(day("2026-01-01")) is LAW.at(day("2033-06-30"))

    @pytest.mark.parametrize(
        ("last", "in_force"),
        [
            (date(2026, 1, 31), {"2026-01-01": 10, "2026-01-31": 10, "2026-02-01": 0}),
            # For a single day.
            (date(2026, 1, 1), {"2025-12-31": 0, "2026-01-01": 10, "2026-01-02": 0}),
        ],
    )
    def test_a_figure_ends_after_its_last_day(self, last: date, in_force: dict[str, int]) -> None:
        data = {
            "version": "t", "codes_edition": 1, "source": [], "calendar": [],
            "parameter": [
                {"name": "filing_days", "value": 10, "valid_from": date(2026, 1, 1),
                 "valid_to": last, "source": "x"},
            ],
        }  # fmt: skip
        dated = law._parse(data, b"")
        assert {text: dated.at(day(text)).filing_days for text in in_force} == in_force

    def test_every_parameter_has_a_figure(self) -> None:
        assert {figure.name for figure in LAW.figures} == {f.name for f in fields(Parameters)}

    def test_every_figure_names_a_source_that_is_there(self) -> None:
        assert {figure.source for figure in LAW.figures} <= set(LAW.sources)


class TestCalendars:
    def test_holidays_are_weekdays_and_made_up_days_are_not(self) -> None:
        from ledgerd_client.core.days import is_weekend

        for calendar in LAW.calendars.values():
            for holidays, workdays in calendar.years.values():
                assert not any(is_weekend(free) for free in holidays)
                assert all(is_weekend(made) for made in workdays)

    def test_the_years_published(self) -> None:
        years = {side: sorted(calendar.years) for side, calendar in LAW.calendars.items()}
        assert years == {"CN": [2024, 2025, 2026], "HK": [2024, 2025, 2026, 2027]}


class TestVersions:
    def test_an_unknown_version_is_no_version_here(self) -> None:
        with pytest.raises(NotReadyError) as refused:
            load_law("../2026.1")
        assert refused.value.reason == "NO_SUCH_LAW"

    def test_the_newest_is_the_highest_number(self) -> None:
        assert (newest_law(), max(("2026.9", "2026.10"), key=law._order)) == ("2026.1", "2026.10")

    def test_a_file_says_the_version_that_it_is_named_by(self) -> None:
        assert LAW.version == "2026.1"


class TestDigest:
    def test_a_version_is_what_its_file_holds(self) -> None:
        assert LAW.file_digest == sha256(FILE.read_bytes()).digest()

    def test_it_covers_rule_set_law_and_codes(self) -> None:
        rules = make_rule_set(law="2026.1", agree_within=5)
        bare = make_rule_set(law="2026.1", agree_within=5)
        bare.ClearField("digest")
        data = bare.SerializeToString() + LAW.file_digest + codes.digest(1)
        assert rules.digest == sha256(b"ledgerd/rules/v2\n" + data).digest()

    def test_without_a_law_it_is_what_it_was_before_there_were_any(self) -> None:
        # Computed by the release before this one.
        assert make_rule_set().digest.hex() == (
            "de43bd9cceb148b61cc5f1807a7a2d2852fe260eed9433292948ca14e823a10c"
        )

    def test_it_does_not_depend_on_the_digest_that_is_stated(self) -> None:
        rules = make_rule_set(law="2026.1")
        right, rules.digest = rules.digest, b"another"
        assert rule_set_digest(rules) == right


class TestRulebook:
    def test_every_source_of_a_rule_is_in_the_law(self) -> None:
        assert {source for rule in RULES.values() for source in rule.sources} <= set(LAW.sources)

    def test_every_parameter_of_a_rule_is_one(self) -> None:
        known = {field.name for field in fields(Parameters)} | OF_THE_RULE_SET
        assert {name for rule in RULES.values() for name in rule.parameters} <= known

    def test_every_parameter_is_some_rules(self) -> None:
        used = {name for rule in RULES.values() for name in rule.parameters}
        assert {field.name for field in fields(Parameters)} <= used

    @pytest.mark.parametrize("rule", RULES)
    def test_a_rules_grade_is_that_of_its_weakest_source(self, rule: str) -> None:
        order = ("A", "B", "C", "GK", "ours")
        grades = [LAW.sources[source].grade for source in RULES[rule].sources]
        assert RULES[rule].grade == max(grades, key=order.index)

    @pytest.mark.parametrize("rule", RULES)
    def test_a_rule_is_marked_unread_when_a_source_is(self, rule: str) -> None:
        unread = any(LAW.sources[source].unread for source in RULES[rule].sources)
        assert RULES[rule].unread == (unread and not RULES[rule].review)

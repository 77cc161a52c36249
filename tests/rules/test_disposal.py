"""K16 and K21: data goes by its day (PIPL 19, 47), records stay for three years (PIPL 56)."""

from __future__ import annotations

import pytest
from builders import at
from rules.contracts import GRACE, LAW, day

from ledgerd.projections.obligations import Obligation
from ledgerd.rules.disposal import judge_obligation
from ledgerd.rules.lapse import Judgement, Lapse
from ledgerd.rules.retention import keep_until
from ledgerd_client.core.days import to_date

PARAMETERS = LAW.at(day("2026-06-30"))
DAY = day("2026-06-30")


def held(transfers: int = 2, recorded: str = "2026-03-01") -> Obligation:
    return Obligation(31, at(recorded), transfers, 40, 0)


class TestOverdue:
    @pytest.mark.parametrize(
        ("now", "rules"),
        [
            # What says that it is gone has a day to reach the log.
            ("2026-07-01 23:59:59.999999", []),
            ("2026-07-02 00:00:00.000000", ["K16.overdue"]),
        ],
    )
    def test_a_day_after_the_last_us_of_the_day(self, now: str, rules: list[str]) -> None:
        found = judge_obligation(held(), DAY, at(now), GRACE)
        assert [lapse.rule for lapse in found.lapses] == rules

    def test_until_then_it_is_awaited(self) -> None:
        found = judge_obligation(held(), DAY, at("2026-06-01"), GRACE)
        assert found == Judgement(due=at("2026-07-01 23:59:59.999999"))

    def test_it_names_what_is_left(self) -> None:
        found = judge_obligation(held(), DAY, at("2026-07-02"), GRACE)
        assert found.lapses == (Lapse("K16.overdue", ((True, 31),), (20260630, 2, 40)),)

    @pytest.mark.parametrize(
        ("now", "rules"),
        [
            ("2026-07-05 09:00:00.000000", []),
            ("2026-07-05 09:00:00.000001", ["K16.overdue"]),
        ],
    )
    def test_what_was_accepted_after_the_day_has_24_hours(self, now: str, rules: list[str]) -> None:
        found = judge_obligation(held(recorded="2026-07-04 09:00"), DAY, at(now), GRACE)
        assert [lapse.rule for lapse in found.lapses] == rules

    def test_what_is_gone_is_not(self) -> None:
        assert judge_obligation(held(transfers=0), DAY, at("2026-07-02"), GRACE) == Judgement()

    def test_without_a_day_nothing_is_overdue(self) -> None:
        # The exporter answers for it: K16.retention.
        assert judge_obligation(held(), 0, at("2030-01-01"), GRACE) == Judgement()


class TestKept:
    @pytest.mark.parametrize(
        ("recorded", "ends_on", "until"),
        [
            # Three years from the later of the record and the contract's end.
            ("2026-03-01 23:59:59.999999", "2026-03-01", 20290301),
            ("2026-03-01", "2026-12-31", 20291231),
            ("2027-03-01", "2026-12-31", 20300301),
            ("2024-02-29", "2024-02-29", 20270301),
        ],
    )
    def test_three_years(self, recorded: str, ends_on: str, until: int) -> None:
        kept = keep_until(at(recorded), day(ends_on), PARAMETERS)
        assert kept is not None
        assert to_date(kept) == until

    def test_as_long_as_the_contract_has_no_end(self) -> None:
        assert keep_until(at("2020-01-01"), None, PARAMETERS) is None

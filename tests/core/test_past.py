"""What has happened lies in the past of the record that says so."""

from __future__ import annotations

import pytest
from builders import at

from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.past import check_past_date


class TestADate:
    @pytest.mark.parametrize(
        "occurred", ["2026-08-03 23:55:00.000000", "2026-08-04 00:00:00.000000"]
    )
    def test_has_come_when_it_begins_in_utc_plus_8_but_for_five_minutes(
        self, occurred: str
    ) -> None:
        check_past_date("filed_on", 20260804, at(occurred))

    def test_has_not_come_a_microsecond_before(self) -> None:
        with pytest.raises(FieldError):
            check_past_date("filed_on", 20260804, at("2026-08-03 23:54:59.999999"))

    def test_that_is_not_stated_lies_nowhere(self) -> None:
        check_past_date("authorised_on", 0, 1)

"""What a transfer shows of itself: K3, K9, K10, K16's retention, K18, K20, L2."""

from __future__ import annotations

import pytest
from builders import at
from rules.contracts import (
    BANK_OF_HONG_KONG,
    BANK_OF_SHENZHEN,
    EXPORTER,
    LAW,
    RECIPIENT,
    Stated,
    day,
)

from ledgerd.projections.contracts import Change
from ledgerd.rules.content import Profile, content, dated_codes, invalid_codes, timing
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.code_tables import Code
from ledgerd_client.core.codes import TABLES

PARAMETERS = LAW.at(day("2026-06-30"))
NONE, GENERAL, SEPARATE, WRITTEN, GUARDIAN = 1, 2, 3, 4, 5
CONSENT, CONTRACT, LEGAL_DUTY, EMERGENCY = 1, 2, 4, 5
CREDIT_CHECKING, PAYMENT, MARKETING = 3, 5, 17
CREDIT_REF, HOSPITAL = 2, 3
AGENCY = BANK_OF_SHENZHEN._replace(sector=CREDIT_REF)

CLEAN = Profile((PAYMENT,), (1, 7), (5,), CONSENT, SEPARATE, 1, False, True, True)


class TestConsent:
    """K9: PIPL 29, 39, separate consent for sensitive data and for export; 31, a guardian's."""

    @pytest.mark.parametrize(
        ("consent", "found"),
        [
            (NONE, ("K9.separate_consent",)),
            (GENERAL, ("K9.separate_consent",)),
            (SEPARATE, ()),
            (WRITTEN, ()),
            (GUARDIAN, ()),
        ],
    )
    def test_of_sensitive_data(self, consent: int, found: tuple[str, ...]) -> None:
        assert content(CLEAN._replace(consent=consent), BANK_OF_SHENZHEN, PARAMETERS) == found

    def test_not_when_nobody_has_sensitive_data(self) -> None:
        profile = CLEAN._replace(consent=GENERAL, has_sensitive=False)
        assert content(profile, BANK_OF_SHENZHEN, PARAMETERS) == ()

    def test_not_on_another_basis(self) -> None:
        profile = CLEAN._replace(consent=NONE, basis=LEGAL_DUTY)
        assert content(profile, BANK_OF_SHENZHEN, PARAMETERS) == ()

    @pytest.mark.parametrize(("consent", "found"), [(WRITTEN, ("K9.guardian",)), (GUARDIAN, ())])
    def test_of_persons_under_14(self, consent: int, found: tuple[str, ...]) -> None:
        profile = CLEAN._replace(minors=True, consent=consent)
        assert content(profile, BANK_OF_SHENZHEN, PARAMETERS) == found

    def test_hong_kong_has_other_rules(self) -> None:
        profile = CLEAN._replace(consent=NONE, minors=True)
        assert content(profile, BANK_OF_HONG_KONG, PARAMETERS) == ()


class TestNotice:
    """K10: PIPL 39, tell the person; 18, not in an emergency."""

    @pytest.mark.parametrize(
        ("basis", "exemption", "found"),
        [
            (CONTRACT, 1, ("K10.no_notice",)),
            (EMERGENCY, 1, ()),
            (CONTRACT, 6, ()),
            (CONTRACT, 7, ("K10.no_notice",)),
        ],
    )
    def test_none_is_recorded(self, basis: int, exemption: int, found: tuple[str, ...]) -> None:
        profile = CLEAN._replace(has_notice=False, basis=basis, exemption=exemption)
        assert content(profile, BANK_OF_SHENZHEN, PARAMETERS) == found

    def test_nor_from_hong_kong(self) -> None:
        profile = CLEAN._replace(has_notice=False)
        assert content(profile, BANK_OF_HONG_KONG, PARAMETERS) == ()


class TestCreditReference:
    """K18: Credit Reporting Regulations 14 (religion, genes, fingerprints, disease) and 18."""

    @pytest.mark.parametrize(
        ("sensitive", "found"),
        [
            (1, ("K18.category",)),
            (2, ("K18.category",)),
            (3, ()),
            (4, ("K18.category",)),
            (5, ()),
            (9, ()),
            (10, ("K18.category",)),
        ],
    )
    def test_categories(self, sensitive: int, found: tuple[str, ...]) -> None:
        assert content(CLEAN._replace(sensitive=(sensitive,)), AGENCY, PARAMETERS) == found

    def test_a_hospital_may(self) -> None:
        hospital = BANK_OF_SHENZHEN._replace(sector=HOSPITAL)
        assert content(CLEAN._replace(sensitive=(4, 10)), hospital, PARAMETERS) == ()

    @pytest.mark.parametrize(("consent", "found"), [(SEPARATE, ("K18.consent",)), (WRITTEN, ())])
    def test_queries_need_written_consent(self, consent: int, found: tuple[str, ...]) -> None:
        profile = CLEAN._replace(purposes=(CREDIT_CHECKING,), consent=consent)
        assert content(profile, AGENCY, PARAMETERS) == found

    def test_not_from_hong_kong(self) -> None:
        agency = BANK_OF_HONG_KONG._replace(sector=CREDIT_REF)
        profile = CLEAN._replace(purposes=(CREDIT_CHECKING,), sensitive=(1, 2))
        assert content(profile, agency, PARAMETERS) == ()


class TestMarketing:
    """K20: PDPO 35K, written consent; PIPL 13, marketing is not needed to perform a contract."""

    @pytest.mark.parametrize(
        ("consent", "found"), [(SEPARATE, ("K20.written_consent",)), (WRITTEN, ())]
    )
    def test_from_hong_kong(self, consent: int, found: tuple[str, ...]) -> None:
        profile = CLEAN._replace(purposes=(MARKETING,), consent=consent)
        assert content(profile, BANK_OF_HONG_KONG, PARAMETERS) == found

    @pytest.mark.parametrize(("basis", "found"), [(CONTRACT, ("K20.basis",)), (CONSENT, ())])
    def test_from_the_mainland(self, basis: int, found: tuple[str, ...]) -> None:
        profile = CLEAN._replace(purposes=(MARKETING,), basis=basis)
        assert content(profile, BANK_OF_SHENZHEN, PARAMETERS) == found


CN = ("cn.example/log", EXPORTER)
HK = ("hk.example/log", RECIPIENT)


class TestTiming:
    """
    K3: transfers when the contract is in effect (1.10), not suspended or ended (1.19).

    In effect from 6 February to 30 June 2026, retention 10 days.
    """

    @pytest.fixture
    def stated(self) -> Stated:
        return Stated().state(expires_on=20260630, retention_days=10)

    @staticmethod
    def found(stated: Stated, occurred: str, delete_by: int | None = None) -> tuple[str, ...]:
        by = 20260206 if delete_by is None else delete_by
        return timing(stated.contract, CN, HK, at(occurred), by)

    @pytest.mark.parametrize(
        ("occurred", "found"),
        [
            ("2026-02-05 23:59:59.999999", ("K3.before_effect",)),
            ("2026-02-06 00:00:00.000000", ()),
            ("2026-06-30 23:59:59.999999", ()),
            ("2026-07-01 00:00:00.000000", ("K3.after_expiry",)),
        ],
    )
    def test_from_the_first_us_of_effect_to_the_last_day(
        self, stated: Stated, occurred: str, found: tuple[str, ...]
    ) -> None:
        assert self.found(stated, occurred) == found

    def test_a_contract_without_an_end_does_not_expire(self) -> None:
        assert self.found(Stated().state(), "2099-12-31") == ()

    def test_a_supplement_does_not_move_the_beginning(self, stated: Stated) -> None:
        stated.state(effective_on=20260601, expires_on=20260630)
        assert self.found(stated, "2026-03-01") == ()

    def test_a_supplement_moves_the_end(self, stated: Stated) -> None:
        stated.state(effective_on=20260601, expires_on=20261231)
        assert self.found(stated, "2026-07-01") == ()

    @pytest.mark.parametrize(
        ("occurred", "found"),
        [
            ("2026-03-01 11:59:59.999999", ()),
            ("2026-03-01 12:00:00.000000", ("K3.suspended",)),
            ("2026-03-05 07:59:59.999999", ("K3.suspended",)),
            ("2026-03-05 08:00:00.000000", ()),
        ],
    )
    def test_from_suspension_to_resumption(
        self, stated: Stated, occurred: str, found: tuple[str, ...]
    ) -> None:
        stated.contract.suspensions = [
            Change(at("2026-03-01 12:00"), 12, suspended=True),
            Change(at("2026-03-05 08:00"), 13, suspended=False),
        ]
        assert self.found(stated, occurred) == found

    def test_a_suspension_that_was_not_resumed_goes_on(self, stated: Stated) -> None:
        stated.contract.suspensions = [Change(at("2026-03-01 12:00"), 12, suspended=True)]
        assert self.found(stated, "2026-06-30") == ("K3.suspended",)

    @pytest.mark.parametrize(
        ("occurred", "found"),
        [
            ("2026-05-31 23:59:59.999999", ()),
            ("2026-06-01 00:00:00.000000", ("K3.terminated",)),
        ],
    )
    def test_the_last_day_of_a_terminated_contract_is_in(
        self, stated: Stated, occurred: str, found: tuple[str, ...]
    ) -> None:
        stated.end("2026-05-31", recorded="2026-05-31")
        assert self.found(stated, occurred) == found

    @pytest.mark.parametrize(
        ("exporter", "recipient", "found"),
        [
            (CN, HK, ()),
            (HK, CN, ("K3.foreign_contract",)),
            (CN, ("hk.example/log", "hkbr.12345678"), ("K3.foreign_contract",)),
            (("cn.example/other", EXPORTER), HK, ("K3.foreign_contract",)),
        ],
    )
    def test_parties_and_direction_are_the_contracts(
        self,
        stated: Stated,
        exporter: tuple[str, str],
        recipient: tuple[str, str],
        found: tuple[str, ...],
    ) -> None:
        occurred = at("2026-03-01")
        assert timing(stated.contract, exporter, recipient, occurred, 20260301) == found

    def test_of_an_unknown_contract_nothing_is_said_here(self) -> None:
        assert timing(Stated().contract, CN, HK, at("2026-03-01"), 0) == ()


class TestRetention:
    """K16: PIPL 19, 47; the transfer of 28 February may be kept 10 days, until 10 March."""

    @pytest.mark.parametrize(
        ("delete_by", "found"),
        [
            (20260309, ()),
            (20260310, ()),
            (20260311, ("K16.retention",)),
            (0, ("K16.retention",)),
            (99991231, ("K16.retention",)),
        ],
    )
    def test_delete_by(self, delete_by: int, found: tuple[str, ...]) -> None:
        stated = Stated().state(retention_days=10)
        occurred = "2026-02-28 23:59:59.999999"
        assert TestTiming.found(stated, occurred, delete_by) == found

    def test_the_newest_version_in_effect_counts(self) -> None:
        stated = Stated().state(retention_days=10).state(retention_days=11)
        assert TestTiming.found(stated, "2026-02-28", 20260311) == ()

    @pytest.mark.parametrize(
        ("occurred", "found"),
        [("2026-02-27 23:59:59.999999", ()), ("2026-02-28", ("K16.retention",))],
    )
    def test_a_supplement_counts_from_its_day_of_effect_on(
        self, occurred: str, found: tuple[str, ...]
    ) -> None:
        stated = Stated().state(retention_days=11)
        stated.state(retention_days=1, effective_on=20260228)
        assert TestTiming.found(stated, occurred, 20260310) == found


class TestCodes:
    """L2: a code outside its dates, both of which are in."""

    DATED = dated_codes({
        **TABLES,
        "purpose": {5: Code(5, "old", "test", 20250101, 20261231)},
        "exemption": {7: Code(7, "new", "test", 20260701)},
    })  # fmt: skip

    @pytest.mark.parametrize(
        ("on", "found"),
        [
            (20241231, ("L2.code_not_valid",)),
            (20250101, ()),
            (20261231, ()),
            (20270101, ("L2.code_not_valid",)),
        ],
    )
    def test_of_a_list(self, on: int, found: tuple[str, ...]) -> None:
        assert invalid_codes(pb.Terms(purposes=[1, 5]), on, self.DATED) == found

    @pytest.mark.parametrize(("on", "found"), [(20260630, ("L2.code_not_valid",)), (20260701, ())])
    def test_of_a_single_field(self, on: int, found: tuple[str, ...]) -> None:
        assert invalid_codes(pb.Terms(exemption=7), on, self.DATED) == found

    def test_of_codes_that_are_valid_for_ever_nothing(self) -> None:
        assert invalid_codes(pb.Terms(purposes=[1], exemption=6), 20200101, self.DATED) == ()

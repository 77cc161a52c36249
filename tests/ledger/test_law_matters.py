"""What is found of matters, end to end: stated, found, stated anew, closed (docs/rules.md)."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ledger.law_world import CONTRACT_ID, DAY, LawWorld, rules_of

from ledgerd.ledger.law_matters import SWEEP_STEP
from ledgerd.rules.ruleset import HOUR
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.encoding import u64

CAC_GD, HK_PCPD = 1, 4


class TestOnward:
    """K7: onward within the recipient's own jurisdiction, on four conditions."""

    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"third_party_place": 999999}, "K7.outside"),
            ({"third_party_place": 440300}, "K7.outside"),
            ({"told": False}, "K7.conditions"),
            ({}, "K7.unlisted"),
        ],
    )
    def test_is_found_on_the_matter(
        self, law: LawWorld, changes: dict[str, Any], rule: str
    ) -> None:
        listed = [] if rule == "K7.unlisted" else ["hkbr.11111111"]
        law.hong_kong.place(law.counterpart(third_parties=listed))
        law.hong_kong.place(law.by_recipient(onward=law.onward(**changes)))
        assert rules_of(law.hong_kong) == {rule}

    def test_stated_anew_is_closed(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart(third_parties=["hkbr.11111111"]))
        law.hong_kong.place(law.by_recipient(onward=law.onward(told=False)))
        law.hong_kong.place(law.by_recipient(onward=law.onward()))
        assert rules_of(law.hong_kong) == set()

    def test_unlisted_is_closed_by_a_supplement_that_lists_it(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart())
        law.hong_kong.place(law.by_recipient(onward=law.onward()))
        terms = law.contract_terms(version=1, third_parties=["hkbr.11111111"])
        law.hong_kong.place(law.by_recipient(supplement=pb.Supplement(terms=terms)))
        law.tick(law.hong_kong, law.clock() + 1)
        assert rules_of(law.hong_kong) == set()

    def test_a_supplement_that_lists_fewer_is_judged_by_ticks_in_their_steps(
        self, law: LawWorld
    ) -> None:
        law.hong_kong.place(law.counterpart(third_parties=["hkbr.11111111"]))
        many = [law.onward(matter=u64(number) * 2) for number in range(SWEEP_STEP + 1)]
        law.hong_kong.append(*(law.by_recipient(onward=each) for each in many))
        terms = law.contract_terms(version=1)
        law.hong_kong.place(law.by_recipient(supplement=pb.Supplement(terms=terms)))
        found = [len(law.hong_kong.findings())]
        law.clock.advance(1)
        for _ in range(2):
            law.hong_kong.place(law.hong_kong.by_node(tick=pb.Tick()))
            found.append(len(law.hong_kong.findings()))
        assert found == [0, SWEEP_STEP, SWEEP_STEP + 1]

    def test_are_judged_by_new_terms_once_a_day(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart(third_parties=["hkbr.11111111"]))
        law.hong_kong.place(law.by_recipient(onward=law.onward()))
        for number in range(10):
            listed = [] if number % 2 == 0 else ["hkbr.11111111"]
            terms = law.contract_terms(version=1, third_parties=listed)
            law.hong_kong.place(law.by_recipient(supplement=pb.Supplement(terms=terms)))
            law.tick(law.hong_kong, law.clock() + HOUR)
        found = [finding.rule for finding in law.hong_kong.findings()]
        assert found.count("K7.unlisted") == 1

    def test_under_a_contract_that_nobody_stated_is_found(self, law: LawWorld) -> None:
        law.hong_kong.place(law.by_recipient(onward=law.onward()))
        assert rules_of(law.hong_kong) == {"C2.no_contract"}


class TestIncidents:
    """K17: notice within 4 hours, or 1 hour of critical infrastructure."""

    def test_without_notice_is_not_found_at_four_hours(self, law: LawWorld) -> None:
        law.mainland.place(law.by_exporter(incident=law.incident()))
        law.tick(law.mainland, law.clock() + 4 * HOUR + DAY)
        assert rules_of(law.mainland) == set()

    def test_without_notice_is_found_after_four_hours(self, law: LawWorld) -> None:
        law.mainland.place(law.by_exporter(incident=law.incident()))
        law.tick(law.mainland, law.clock() + 4 * HOUR + DAY + 1)
        assert rules_of(law.mainland) == {"K17.no_notice"}

    def test_of_critical_infrastructure_is_found_after_one(self, law: LawWorld) -> None:
        law.mainland.place(law.by_exporter(incident=law.incident(ciio=True)))
        law.tick(law.mainland, law.clock() + HOUR + DAY + 1)
        assert rules_of(law.mainland) == {"K17.no_notice"}

    @pytest.mark.parametrize(
        ("after", "found"), [(4 * HOUR, set()), (4 * HOUR + 1, {"K17.late_notice"})]
    )
    def test_with_a_notice_is_judged_by_its_time(
        self, law: LawWorld, after: int, found: set[str]
    ) -> None:
        incident = law.incident()
        law.mainland.place(law.by_exporter(incident=incident))
        law.tick(law.mainland, law.clock() + 5 * HOUR)
        incident.notices.add(authority=CAC_GD, at=incident.discovered_at + after)
        law.mainland.place(law.by_exporter(incident=incident))
        assert rules_of(law.mainland) == found

    def test_in_hong_kong_are_information(self, law: LawWorld) -> None:
        incident = law.incident()
        law.hong_kong.place(law.by_recipient(incident=incident))
        law.tick(law.hong_kong, law.clock() + 24 * HOUR + DAY + 1)
        found = rules_of(law.hong_kong)
        incident.notices.add(authority=HK_PCPD, at=law.clock())
        law.hong_kong.place(law.by_recipient(incident=incident))
        assert (found, rules_of(law.hong_kong)) == ({"K17.hk_no_notice"}, set())

    def test_are_found_for_each_unknown_contract_that_they_name(self, law: LawWorld) -> None:
        law.mainland.place(law.by_exporter(incident=law.incident(contract_ids=["A", "B"])))
        found = {each.finding_id: each.contract_id for each in law.mainland.findings()}
        assert list(found.values()) == ["A", "B"]

    def test_do_not_vanish_behind_another_matter_by_their_id(self, law: LawWorld) -> None:
        law.agree()
        incident = law.incident()
        law.mainland.place(law.by_exporter(incident=incident))
        law.tick(law.mainland, law.clock() + 4 * HOUR + DAY + 1)
        change = pb.ConsentChange(
            contract_id=CONTRACT_ID, matter=incident.matter, change=1, subjects=3,
            from_date=20260803,
        )  # fmt: skip
        law.mainland.place(law.by_exporter(consent_change=change))
        assert rules_of(law.mainland) == {"K17.no_notice"}

    def test_gain_no_time_by_a_later_discovery(self, law: LawWorld) -> None:
        for _ in range(3):
            law.mainland.place(law.by_exporter(incident=law.incident()))
            law.tick(law.mainland, law.clock() + 20 * HOUR)
        assert rules_of(law.mainland) == {"K17.no_notice"}


class TestPublicBodies:
    """K24: the exporter is told when a public body asks for the data."""

    def access(self, law: LawWorld, **changes: Any) -> pb.GovAccess:
        fields = {
            "contract_id": CONTRACT_ID,
            "matter": bytes(16),
            "requester": 2,
            "territory": 810000,
            "received_at": law.clock(),
        }
        return pb.GovAccess(**{**fields, **changes})

    def test_that_got_it_before_the_exporter_knew_are_found_at_once(self, law: LawWorld) -> None:
        law.hong_kong.place(law.counterpart())
        law.hong_kong.place(law.by_recipient(gov_access=self.access(law, disclosed=True)))
        assert rules_of(law.hong_kong) == {"K24.no_notice"}

    def test_that_asked_are_found_after_72_hours_and_closed_by_the_notice(
        self, law: LawWorld
    ) -> None:
        law.hong_kong.place(law.counterpart())
        access = self.access(law)
        law.hong_kong.place(law.by_recipient(gov_access=access))
        law.tick(law.hong_kong, law.clock() + 72 * HOUR + DAY + 1)
        found = rules_of(law.hong_kong) - {"K4.pending"}
        access.exporter_notified_at = law.clock()
        law.hong_kong.place(law.by_recipient(gov_access=access))
        closed = rules_of(law.hong_kong) - {"K4.pending"}
        assert (found, closed) == ({"K24.no_notice"}, {"K24.late_notice"})


class TestConsent:
    def test_that_changed_is_kept_and_raises_nothing(self, law: LawWorld) -> None:
        law.agree()
        change = pb.ConsentChange(
            contract_id=CONTRACT_ID, matter=os.urandom(16), change=1, subjects=3, from_date=20260803
        )
        law.mainland.place(law.by_exporter(consent_change=change))
        assert law.mainland.findings() == []

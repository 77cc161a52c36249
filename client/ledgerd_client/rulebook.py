"""
What is known of each rule: the daemon judges by it, ledgerctl and docs/rules.md print it.

Rule ids are for ever; what a rule says in words stands in the catalogue (`words/`), and the sources
and parameters that are named here stand in the dated law file that the RULESET entry names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ledgerd_client._proto import body_pb2 as pb

HIGH: Final[int] = pb.SEVERITY_HIGH
MEDIUM: Final[int] = pb.SEVERITY_MEDIUM
INFORMATION: Final[int] = pb.SEVERITY_INFORMATION
REFUSED: Final = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule, by the id that its findings name.

    where: whose node can see it: "exporter", "recipient", "own" (either, of its own institution),
    "both" (from headers), "admission". grade: of its weakest source, as regulation facts are graded
    (A read, B law firm, C quoted, GK general knowledge; "ours": a figure of this system).
    """

    id: str
    # A number of pb.Severity; REFUSED: there is no finding, the record or the request is refused.
    severity: int
    where: str
    # Ids of the law file's sources.
    sources: tuple[str, ...]
    grade: str
    # Of the law file, or of the RULESET entry.
    parameters: tuple[str, ...] = ()
    # Names of Finding.numbers: …_on a date (yyyymmdd), …_at a time (µs), any other a count.
    numbers: tuple[str, ...] = ()
    # Stands once for each first record, not once for each subject.
    each: bool = False
    # Rests on a text that was not read in full.
    unread: bool = False
    # Key of the catalogue's [reading]: the two ways to read the source.
    reading: str = ""
    # A heuristic: what it finds is listed for review.
    review: bool = False


_CLAUSE: Final = "clause_unread"
_VOLUME: Final = "gba_volume"
# Of a finding on a contract: of how many transfers it was found later, by what came after them.
_LATER: Final = ("found_later",)

_ADMISSION = (
    Rule("K1", REFUSED, "admission", ("protocol",), "ours"),
    Rule("K21", REFUSED, "admission", ("pipl_55_56", "ndsr_12", "gba_records"), "B",
         ("retention_years",)),
)  # fmt: skip

_CONTRACTS = (
    Rule("K2.places", HIGH, "own", ("gba_parties",), "A"),
    Rule("K2.direction", HIGH, "own", ("gba_parties",), "A"),
    Rule("K2.registered", MEDIUM, "own", ("gba_parties",), "A"),
    Rule("K2.uscc_place", INFORMATION, "own", ("id_numbers",), "GK"),
    Rule("K2.org_id", INFORMATION, "own", ("id_numbers",), "GK"),
    Rule("K3.unknown_contract", HIGH, "exporter", ("gba_effect",), "B"),
    Rule("K3.before_standard", MEDIUM, "own", ("gba_effect",), "B", ("filing_days",),
         ("effective_on",)),
    Rule("K3.restated", INFORMATION, "exporter", ("gba_effect", "gba_end", "ours"), "ours",
         ("record_within",), unread=True, reading=_CLAUSE),
    Rule("K4.pending", INFORMATION, "own", ("gba_filing", "national_sc"), "GK",
         ("filing_days", "national_filing_days", "record_within"),
         ("deadline_on", "provisional"), each=True),
    Rule("K4.overdue", HIGH, "own", ("gba_filing", "national_sc"), "GK",
         ("filing_days", "national_filing_days", "record_within"), ("deadline_on",), each=True),
    Rule("K4.filed_late", HIGH, "own", ("gba_filing", "national_sc"), "GK",
         ("filing_days", "national_filing_days"), ("deadline_on", "filed_on"), each=True),
    Rule("K4.restated", INFORMATION, "own", ("gba_filing", "national_sc"), "GK",
         ("filing_days", "national_filing_days"), ("deadline_on", "filed_on", "said_on"),
         each=True),
    Rule("K4.other_terms", MEDIUM, "own", ("gba_filing", "national_sc"), "GK",
         ("filing_days", "national_filing_days"), each=True),
    Rule("K5.no_pipia", HIGH, "exporter", ("pipl_55_56", "gba_pipia"), "C",
         numbers=("first_transfer_on",), unread=True, reading=_CLAUSE),
    Rule("K5.pipia_late", HIGH, "exporter", ("pipl_55_56", "gba_pipia"), "C",
         numbers=("completed_on", "first_transfer_on"), unread=True, reading=_CLAUSE),
    Rule("K5.by_recipient", INFORMATION, "recipient", ("pipl_55_56",), "A"),
    Rule("K6.purposes", HIGH, "exporter", ("gba_amend", "pipl_14"), "GK",
         numbers=("codes",), unread=True, reading=_CLAUSE),
    Rule("K6.categories", HIGH, "exporter", ("gba_amend", "pipl_14"), "GK",
         numbers=("codes",), unread=True, reading=_CLAUSE),
    Rule("K6.means", HIGH, "exporter", ("gba_amend", "pipl_14"), "GK",
         numbers=("codes",), unread=True, reading=_CLAUSE),
    Rule("K8.important_data", HIGH, "exporter", ("gba_excluded",), "B"),
    Rule("K11.route", HIGH, "exporter", ("provisions_7_8",), "C",
         ("subjects_contract", "subjects_assessment", "sensitive_contract",
          "sensitive_assessment"), ("year",)),
    Rule("K11.route_disputed", INFORMATION, "exporter", ("provisions_7_8", "gba_volume"), "C",
         ("subjects_contract", "subjects_assessment", "sensitive_contract",
          "sensitive_assessment"), ("year",), reading=_VOLUME),
    Rule("K13.ciio", HIGH, "exporter", ("pipl_40", "ciio_standing"), "C", unread=True,
         reading=_CLAUSE),
    Rule("K16.held_after_end", HIGH, "recipient", ("gba_end", "pipl_19_47"), "GK",
         ("dispose_days", "record_within"), ("terminated_on", "transfers"), unread=True,
         reading=_CLAUSE),
    Rule("K16.end_not_notified", HIGH, "own", ("gba_end",), "GK",
         ("terminate_notice_days", "record_within"), ("terminated_on", "deadline_on"), unread=True,
         reading=_CLAUSE),
    Rule("K16.end_notified_late", HIGH, "own", ("gba_end", "ours"), "ours",
         ("terminate_notice_days",), ("terminated_on", "deadline_on", "notified_on"), unread=True,
         reading=_CLAUSE),
    Rule("K19.hgr", HIGH, "exporter", ("hgr",), "C"),
    Rule("K22.planned", MEDIUM, "exporter", ("gba_scale",), "GK",
         numbers=("subjects", "scale"), unread=True, reading=_CLAUSE),
    Rule("K22.assessed", HIGH, "exporter", ("ndsr_38",), "A", numbers=("subjects", "scale")),
    Rule("K23.expiring", INFORMATION, "exporter", ("provisions_9",), "C",
         ("authorisation_years", "authorisation_warning_days"), ("expires_on", "working_days")),
    Rule("K23.expired", HIGH, "exporter", ("provisions_9",), "C",
         ("authorisation_years", "record_within"), ("expires_on",)),
)  # fmt: skip

_TRANSFERS = (
    Rule("K3.foreign_contract", HIGH, "exporter", ("gba_effect",), "B", numbers=_LATER),
    Rule("K3.before_effect", HIGH, "exporter", ("gba_effect",), "B", numbers=_LATER),
    Rule("K3.after_expiry", HIGH, "exporter", ("gba_effect",), "B", numbers=_LATER),
    Rule("K3.suspended", HIGH, "exporter", ("gba_end",), "GK", numbers=_LATER, unread=True,
         reading=_CLAUSE),
    Rule("K3.terminated", HIGH, "exporter", ("gba_end",), "GK", numbers=_LATER, unread=True,
         reading=_CLAUSE),
    Rule("K9.separate_consent", HIGH, "exporter", ("pipl_28_31", "pipl_39"), "A"),
    Rule("K9.guardian", HIGH, "exporter", ("pipl_28_31",), "A"),
    Rule("K10.no_notice", MEDIUM, "exporter", ("pipl_39",), "A"),
    Rule("K12.volume", HIGH, "exporter", ("provisions_3_6",), "C", ("subjects_contract",)),
    Rule("K12.volume_disputed", INFORMATION, "exporter", ("provisions_3_6", "gba_volume"), "C",
         ("subjects_contract",), reading=_VOLUME),
    Rule("K16.retention", HIGH, "exporter", ("pipl_19_47",), "A", numbers=_LATER),
    Rule("K18.category", HIGH, "exporter", ("credit_14_18",), "A"),
    Rule("K18.consent", HIGH, "exporter", ("credit_14_18",), "A"),
    Rule("K20.written_consent", HIGH, "exporter", ("pdpo_35k",), "C"),
    Rule("K20.basis", HIGH, "exporter", ("pipl_13",), "A"),
    Rule("L2.code_not_valid", INFORMATION, "own", ("protocol",), "ours"),
)  # fmt: skip

_COUNTERS = (
    *(
        Rule(f"K11.{rule}", INFORMATION, "exporter", ("provisions_7_8",), "C",
             ("near_percent", rule.removeprefix("near_")) if rule.startswith("near_") else (rule,),
             ("count", "edge", "year"))
        for rule in (
            "near_subjects_contract", "near_subjects_assessment", "near_sensitive_assessment",
            "subjects_contract", "subjects_assessment", "sensitive_contract",
            "sensitive_assessment",
        )
    ),
    Rule("K14.split", MEDIUM, "exporter", ("filing_guide", "ours"), "ours",
         ("split_percent", "split_members"), ("contracts", "edge", "year"), review=True),
)  # fmt: skip

_MATTERS = (
    Rule("K7.outside", HIGH, "recipient", ("gba_onward",), "B"),
    Rule("K7.conditions", HIGH, "recipient", ("gba_onward_conditions",), "GK", unread=True,
         reading=_CLAUSE),
    Rule("K7.unlisted", MEDIUM, "recipient", ("gba_onward_conditions",), "GK", unread=True,
         reading=_CLAUSE),
    Rule("K17.no_notice", HIGH, "own", ("pipl_57", "incident_2025", "ours"), "ours",
         ("incident_hours", "incident_ciio_hours", "incident_other_hours", "record_within"),
         ("discovered_at", "deadline_at"), unread=True, reading="incident_hours"),
    Rule("K17.late_notice", HIGH, "own", ("pipl_57", "incident_2025", "ours"), "ours",
         ("incident_hours", "incident_ciio_hours", "incident_other_hours"),
         ("discovered_at", "notified_at", "deadline_at"), unread=True, reading="incident_hours"),
    Rule("K17.hk_no_notice", INFORMATION, "own", ("pcpd_breach", "ours"), "ours",
         ("incident_other_hours", "record_within"), ("discovered_at", "deadline_at"), unread=True),
    Rule("K24.no_notice", HIGH, "recipient", ("gba_gov_access", "ours"), "ours",
         ("gov_access_hours", "record_within"), ("received_at", "deadline_at"), unread=True,
         reading=_CLAUSE),
    Rule("K24.late_notice", HIGH, "recipient", ("gba_gov_access", "ours"), "ours",
         ("gov_access_hours",), ("received_at", "told_at", "deadline_at"), unread=True,
         reading=_CLAUSE),
)  # fmt: skip

_DISPOSALS = (
    Rule("K16.overdue", HIGH, "recipient", ("pipl_19_47",), "A", ("record_within",),
         ("delete_by_on", "transfers", "subjects")),
    Rule("K16.disposed_late", HIGH, "recipient", ("pipl_19_47",), "A", (),
         ("delete_by_on", "disposed_on", "transfers")),
    Rule("K16.disposed_more", MEDIUM, "recipient", ("gba_records", "ours"), "ours", (),
         ("transfers", "outstanding_transfers", "subjects", "outstanding_subjects"),
         unread=True),
)  # fmt: skip


def _halves(rule: str, severity: int, *parameters: str) -> Rule:
    return Rule(rule, severity, "both", ("ndsr_12", "protocol"), "ours", parameters)


_HALVES = (
    _halves("K15.unacknowledged", HIGH, "acknowledge_within"),
    _halves("K15.undeclared", HIGH, "acknowledge_within"),
    _halves("K15.mismatch", HIGH, "correct_within"),
    _halves("K15.refused", HIGH),
    _halves("K15.cancelled_and_accepted", HIGH),
    _halves("K15.foreign_half", HIGH),
    _halves("K15.second_transfer", MEDIUM),
    _halves("K15.contradictory_ack", MEDIUM),
    _halves("K15.matched_in_part", MEDIUM),
    _halves("K15.too_many_halves", MEDIUM),
    _halves("K15.acknowledged_late", INFORMATION, "acknowledge_within"),
    _halves("K15.declared_late", INFORMATION, "acknowledge_within"),
    Rule("K15.subjects", HIGH, "recipient", ("ndsr_12", "protocol"), "ours",
         numbers=("received", "stated")),
    _halves("C1.differs", HIGH),
    _halves("C1.one_sided", MEDIUM, "agree_within"),
    _halves("C1.foreign_half", HIGH),
    _halves("C1.too_many_halves", MEDIUM),
    Rule("C1.second_contract", MEDIUM, "own", ("protocol",), "ours"),
    Rule("C2.no_contract", MEDIUM, "own", ("protocol",), "ours"),
    Rule("C3.corrects_nothing", MEDIUM, "own", ("protocol",), "ours"),
    Rule("L1.recorded_late", INFORMATION, "own", ("protocol",), "ours", ("record_within",)),
    Rule("S1.key_compromised", HIGH, "own", ("protocol",), "ours",
         numbers=("records", "first_at", "last_at")),
)  # fmt: skip

RULES: Mapping[str, Rule] = MappingProxyType({
    rule.id: rule
    for rule in (
        *_ADMISSION, *_CONTRACTS, *_TRANSFERS, *_COUNTERS, *_MATTERS, *_DISPOSALS, *_HALVES,
    )
})  # fmt: skip

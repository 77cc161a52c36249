"""
The tables of codes: which numbers there are, what each means, by which source, and since when.

Data alone; `codes` is how it is used. A row never changes once a log may hold it: what is new is
added with the next edition, so that the digest of an edition stays what it was. valid_from and
valid_to are dates (yyyymmdd, both included; 0: no bound). A source marked GK is from general
knowledge and was not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Code(NamedTuple):
    """One number of a table; iri is the term of W3C DPV 2.3 that means the same, if any."""

    number: int
    name: str
    source: str
    valid_from: int = 0
    valid_to: int = 0
    iri: str = ""
    edition: int = 1

    def valid_on(self, date: int) -> bool:
        """Whether it is in use on a date (yyyymmdd)."""
        return self.valid_from <= date and (not self.valid_to or date <= self.valid_to)


def _table(source: str, names: Mapping[int, str], *, since: int = 0) -> tuple[Code, ...]:
    return tuple(Code(number, name, source, since) for number, name in names.items())


_GBA = "CAC and ITIB announcement 2023 No. 3"
_PROVISIONS = "CAC Provisions of 22 March 2024"
_SINCE_PIPL = 20211101
_DPV = "https://w3id.org/dpv"
_OURS = "ledgerd"

_CITIES = _table(f"GB/T 2260; {_GBA}", {
    440100: "Guangzhou", 440300: "Shenzhen", 440400: "Zhuhai", 440600: "Foshan",
    440700: "Jiangmen", 441200: "Zhaoqing", 441300: "Huizhou", 441900: "Dongguan",
    442000: "Zhongshan",
})  # fmt: skip
_PLACES = (*_CITIES, Code(810000, "Hong Kong", f"GB/T 2260; {_GBA}"))
_CONTRACT_PLACES = (*_PLACES, Code(820000, "Macao", "GB/T 2260; reserved"))

_SECTORS = _table(_OURS, {
    1: "BANK", 2: "CREDIT_REF", 3: "HOSPITAL", 4: "INSURANCE", 5: "SECURITIES", 6: "PAYMENT",
    7: "PUBLIC", 8: "RESEARCH", 9: "OTHER",
})  # fmt: skip

# Each in the part of DPV that has it.
_PURPOSES = tuple(
    Code(number, name, "W3C DPV 2.3", iri=f"{_DPV}{part}#{name}")
    for number, part, name in (
        (1, "", "IdentityVerification"),
        (2, "", "EstablishContractualAgreement"),
        (3, "", "CreditChecking"),
        (4, "/sector/finance", "LoanServiceProvision"),
        (5, "/sector/finance", "PaymentProcessing"),
        (6, "/sector/finance", "AntiMoneyLaunderingCompliance"),
        (7, "", "FraudPreventionAndDetection"),
        (8, "/sector/finance", "WealthManagement"),
        (9, "/sector/finance", "InsuranceClaimsManagement"),
        (10, "/sector/finance", "InsuranceRiskAssessment"),
        (11, "/sector/health", "ReferralManagement"),
        (12, "/sector/health", "DiagnosisManagement"),
        (13, "/sector/health", "PatientInformationManagement"),
        (14, "/legal/eu/ehds", "HealthcareScientificResearch"),
        (15, "", "HumanResourceManagement"),
        (16, "", "CustomerCare"),
        (17, "", "DirectMarketing"),
        (18, "", "LegalCompliance"),
    )
)

_CATEGORIES = _table("GB/T 35273-2020 annex A (GK)", {
    1: "basic", 2: "identity documents", 3: "biometric", 4: "network identity",
    5: "health and physiology", 6: "education and work", 7: "property", 8: "communications",
    9: "contacts", 10: "web records", 11: "device", 12: "location", 13: "other",
})  # fmt: skip

_SENSITIVE = "PIPL 28; GB/T 45574-2025"
_SENSITIVE_CATEGORIES = (
    *_table(_SENSITIVE, {
        1: "biometric", 2: "religious", 3: "specific identity", 4: "medical health",
        5: "financial account", 6: "whereabouts", 7: "under 14", 8: "other",
    }),
    Code(9, "CREDIT_ADVERSE", "Credit Reporting Regulations 16"),
    Code(10, "GENETIC", "Credit Reporting Regulations 14; human genetic resources rules (GK)"),
    Code(11, "ID_IMAGE", "GB/T 45574-2025"),
)  # fmt: skip

_LEGAL_BASES = (
    Code(1, "CN13_1 consent", "PIPL 13(1)", _SINCE_PIPL, iri=f"{_DPV}#Consent"),
    Code(2, "CN13_2A contract", "PIPL 13(2)", _SINCE_PIPL, iri=f"{_DPV}#ContractPerformance"),
    Code(3, "CN13_2B human resources", "PIPL 13(2)", _SINCE_PIPL),
    Code(4, "CN13_3 legal duty", "PIPL 13(3)", _SINCE_PIPL, iri=f"{_DPV}#LegalObligation"),
    Code(5, "CN13_4 emergency", "PIPL 13(4)", _SINCE_PIPL, iri=f"{_DPV}#VitalInterest"),
    Code(6, "CN13_5 news", "PIPL 13(5)", _SINCE_PIPL),
    Code(7, "CN13_6 public data", "PIPL 13(6)", _SINCE_PIPL),
    Code(8, "CN13_7 other law", "PIPL 13(7)", _SINCE_PIPL),
    Code(9, "HK_DPP3_ORIG", "PDPO DPP3"),
    Code(10, "HK_DPP3_CONSENT", "PDPO DPP3"),
    Code(11, "HK_PART8_EXEMPT", "PDPO Part 8"),
)

_CONSENT_FORMS = _table("PIPL 14, 29, 31; PDPO 35K", {
    1: "none", 2: "general", 3: "separate", 4: "written", 5: "guardian",
})  # fmt: skip

_EXEMPTIONS = (
    Code(1, "none", _PROVISIONS),
    *_table(_PROVISIONS, {
        2: "ART3", 3: "ART4", 4: "ART5_1 contract", 5: "ART5_2 human resources",
        6: "ART5_3 emergency", 7: "ART5_4 volume", 8: "ART6 list",
    }, since=20240322),
)  # fmt: skip

_PROTECTIONS = _table("PIPL 51", {
    1: "encrypted", 2: "deidentified", 3: "aggregated", 4: "plain",
})  # fmt: skip

_TRANSMISSIONS = _table(_OURS, {
    1: "api", 2: "sftp", 3: "portal", 4: "physical", 5: "remote_view", 6: "other",
})  # fmt: skip

_MECHANISMS = (
    Code(1, "GBA_SC_HK", _GBA, 20231210),
    Code(2, "GBA_CERT", "GBA certification (B)"),
    Code(3, "CAC_ASSESSMENT", "PIPL 38(1), 40", _SINCE_PIPL),
    Code(4, "CN_SC", "PIPL 38(3); Measures on the Standard Contract (GK)", 20230601),
    Code(5, "CN_CERT", "PIPL 38(2)", _SINCE_PIPL),
    Code(6, "CN_EXEMPT", f"{_PROVISIONS} 3 to 5", 20240322),
    Code(7, "FTZ_NEGLIST", f"{_PROVISIONS} 6", 20240322),
    Code(8, "HETAO_LIST", "Hetao pilot list; none published yet"),
    Code(9, "HK_RMC", "PCPD Recommended Model Contractual Clauses", 20220512),
    Code(10, "HK_PDPO_ONLY", "PDPO"),
    Code(11, "GBA_SC_MO", "announcement 2024 No. 1; reserved", 20240910),
)

_DIRECTIONS = _table(_OURS, {1: "CN_HK", 2: "HK_CN"})
_PARTY_ROLES = _table("PIPL 20 to 23", {1: "controller", 2: "entrusted", 3: "joint"})
_SUBJECT_TYPES = _table(_OURS, {
    1: "customer", 2: "patient", 3: "employee", 4: "applicant", 5: "policyholder",
    6: "guarantor", 7: "minor", 8: "other",
})  # fmt: skip
_MEANS = _table("PIPL 4", {
    1: "collect", 2: "store", 3: "use", 4: "process", 5: "transmit", 6: "provide",
    7: "disclose", 8: "delete",
}, since=_SINCE_PIPL)  # fmt: skip

_AUTHORITIES = _table(f"{_GBA}; guidelines", {
    1: "CAC_GD", 2: "HK_DPO", 3: "MO_DSPDP", 4: "HK_PCPD", 5: "CAC",
})  # fmt: skip
_FILING_RESULTS = _table(_OURS, {1: "submitted", 2: "accepted", 3: "returned", 4: "withdrawn"})
_PIPIA_CONCLUSIONS = _table("PIPL 55, 56; the codes ours", {
    1: "go", 2: "go with measures", 3: "do not go",
})  # fmt: skip
_ZONES = _table(_OURS, {1: "HETAO", 2: "QIANHAI", 3: "NANSHA", 4: "HENGQIN"})
_BANDS = _table(f"{_PROVISIONS} 7, 8", {
    1: "B0 none", 2: "B1 1-999", 3: "B2 1,000-9,999", 4: "B3 10,000-99,999",
    5: "B4 100,000-999,999", 6: "B5 1,000,000-9,999,999", 7: "B6 10,000,000 and more",
})  # fmt: skip
_METHODS = _table("PIPL 21, 47", {1: "return", 2: "delete", 3: "delete_incl_backups"})

_GRADES = _table("2025 Measures on reporting of cybersecurity incidents (cut-offs GK)", {
    1: "general", 2: "larger", 3: "major", 4: "especially major",
})  # fmt: skip
_INCIDENT_CAUSES = _table("PIPL 57; the codes ours", {
    1: "leak", 2: "tampering", 3: "loss", 4: "unauthorised access", 5: "ransomware",
    6: "misdelivery", 7: "other",
})  # fmt: skip
_REQUESTERS = _table(_OURS, {
    1: "court", 2: "police", 3: "prosecutor", 4: "regulator", 5: "other",
})  # fmt: skip
_CHANGE_CAUSES = _table(_OURS, {
    1: "agreed", 2: "contract not kept", 3: "order of an authority", 4: "change of law",
    5: "mistake", 6: "other",
})  # fmt: skip
_CONSENT_CHANGES = _table("PIPL 15", {1: "withdrawn", 2: "given anew"})

ROWS: Mapping[str, tuple[Code, ...]] = MappingProxyType({
    "place": _PLACES,
    "contract_place": _CONTRACT_PLACES,
    "onward_place": (*_CONTRACT_PLACES, Code(999999, "OUTSIDE", _OURS)),
    "sector": _SECTORS,
    "purpose": _PURPOSES,
    "category": _CATEGORIES,
    "sensitive_category": _SENSITIVE_CATEGORIES,
    "legal_basis": _LEGAL_BASES,
    "consent_form": _CONSENT_FORMS,
    "exemption": _EXEMPTIONS,
    "protection": _PROTECTIONS,
    "transmission": _TRANSMISSIONS,
    "mechanism": _MECHANISMS,
    "direction": _DIRECTIONS,
    "party_role": _PARTY_ROLES,
    "subject_type": _SUBJECT_TYPES,
    "means": _MEANS,
    "authority": _AUTHORITIES,
    "filing_result": _FILING_RESULTS,
    "pipia_conclusion": _PIPIA_CONCLUSIONS,
    "zone": _ZONES,
    "band": _BANDS,
    "method": _METHODS,
    "grade": _GRADES,
    "incident_cause": _INCIDENT_CAUSES,
    "requester": _REQUESTERS,
    "change_cause": _CHANGE_CAUSES,
    "consent_change": _CONSENT_CHANGES,
})  # fmt: skip

"""
Numbers that stand in terms and key events, and what each of them means.

One table for each field; an unknown number is refused by `check_codes` and nothing else. Sources:
GB/T 2260 (places), PIPL 13 and PDPO DPP3 (legal bases), PIPL 14, 29, 31 (consent), PIPL 28 and
GB/T 45574-2025 (sensitive categories), GB/T 35273-2020 annex A (categories), W3C DPV 2.3
(purposes), CAC Provisions of 22 March 2024 articles 3 to 6 (exemptions), PIPL 51 (protections).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ledgerd_client.core.errors import FieldError

MAINLAND_CITIES: Mapping[int, str] = MappingProxyType({
    440100: "Guangzhou", 440300: "Shenzhen", 440400: "Zhuhai", 440600: "Foshan",
    440700: "Jiangmen", 441200: "Zhaoqing", 441300: "Huizhou", 441900: "Dongguan",
    442000: "Zhongshan",
})  # fmt: skip
PLACES: Mapping[int, str] = MappingProxyType({**MAINLAND_CITIES, 810000: "Hong Kong"})

SECTORS: Mapping[int, str] = MappingProxyType({
    1: "BANK", 2: "CREDIT_REF", 3: "HOSPITAL", 4: "INSURANCE", 5: "SECURITIES", 6: "PAYMENT",
    7: "PUBLIC", 8: "RESEARCH", 9: "OTHER",
})  # fmt: skip

PURPOSES: Mapping[int, str] = MappingProxyType({
    1: "IdentityVerification", 2: "EstablishContractualAgreement", 3: "CreditChecking",
    4: "LoanServiceProvision", 5: "PaymentProcessing", 6: "AntiMoneyLaunderingCompliance",
    7: "FraudPreventionAndDetection", 8: "WealthManagement", 9: "InsuranceClaimsManagement",
    10: "InsuranceRiskAssessment", 11: "ReferralManagement", 12: "DiagnosisManagement",
    13: "PatientInformationManagement", 14: "HealthcareScientificResearch",
    15: "HumanResourceManagement", 16: "CustomerCare", 17: "DirectMarketing",
    18: "LegalCompliance",
})  # fmt: skip

CATEGORIES: Mapping[int, str] = MappingProxyType({
    1: "basic", 2: "identity documents", 3: "biometric", 4: "network identity",
    5: "health and physiology", 6: "education and work", 7: "property", 8: "communications",
    9: "contacts", 10: "web records", 11: "device", 12: "location", 13: "other",
})  # fmt: skip

SENSITIVE_CATEGORIES: Mapping[int, str] = MappingProxyType({
    1: "biometric", 2: "religious", 3: "specific identity", 4: "medical health",
    5: "financial account", 6: "whereabouts", 7: "under 14", 8: "other",
    9: "CREDIT_ADVERSE", 10: "GENETIC", 11: "ID_IMAGE",
})  # fmt: skip

LEGAL_BASES: Mapping[int, str] = MappingProxyType({
    1: "CN13_1 consent", 2: "CN13_2A contract", 3: "CN13_2B human resources",
    4: "CN13_3 legal duty", 5: "CN13_4 emergency", 6: "CN13_5 news", 7: "CN13_6 public data",
    8: "CN13_7 other law", 9: "HK_DPP3_ORIG", 10: "HK_DPP3_CONSENT", 11: "HK_PART8_EXEMPT",
})  # fmt: skip

CONSENT_FORMS: Mapping[int, str] = MappingProxyType(
    {1: "none", 2: "general", 3: "separate", 4: "written", 5: "guardian"}
)

EXEMPTIONS: Mapping[int, str] = MappingProxyType({
    1: "none", 2: "ART3", 3: "ART4", 4: "ART5_1 contract", 5: "ART5_2 human resources",
    6: "ART5_3 emergency", 7: "ART5_4 volume", 8: "ART6 list",
})  # fmt: skip

PROTECTIONS: Mapping[int, str] = MappingProxyType(
    {1: "encrypted", 2: "deidentified", 3: "aggregated", 4: "plain"}
)

REMOTE_VIEW = 5
TRANSMISSIONS: Mapping[int, str] = MappingProxyType(
    {1: "api", 2: "sftp", 3: "portal", 4: "physical", REMOTE_VIEW: "remote_view", 6: "other"}
)


def check_codes(field: str, table: Mapping[int, str], codes: Iterable[int]) -> None:
    """Refuse a code that the table does not hold; raises FieldError UNKNOWN_CODE."""
    for code in codes:
        if code not in table:
            raise FieldError(
                f"{field}: {code} is not a known code",
                reason="UNKNOWN_CODE",
                action=f"use one of {', '.join(str(known) for known in table)}",
            )

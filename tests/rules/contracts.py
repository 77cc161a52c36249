"""Contracts, as the rules read them: a clean one, of which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from builders import at

from ledgerd.projections.contracts import Contract, Ended, Filed, Version
from ledgerd.projections.usage import Usage
from ledgerd.rules.contract import judge_contract
from ledgerd.rules.filing import take_filing
from ledgerd.rules.lapse import Grace, Judgement, Party
from ledgerd.rules.law import load_law
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import from_date
from ledgerd_client.core.transfer import Side

LAW = load_law("2026.1")
HOURS = 3_600_000_000
# Of a day: within it a contract's filing may follow.
GRACE = Grace(24 * HOURS)

# Characters 3 to 6 are Shenzhen's; the last one is the check digit of GB 32100-2015.
EXPORTER, RECIPIENT = "uscc.91440300MA5EXMPL04", "hkbr.76543210"
BANK_OF_SHENZHEN = Party(EXPORTER, "CN", 440300, 1)
BANK_OF_HONG_KONG = Party(RECIPIENT, "HK", 810000, 1)


def day(text: str) -> int:
    return from_date(int(text.replace("-", "")))


@dataclass
class Stated:
    """What one party has stated of its contract; positions are given in the order of the calls."""

    exporting: bool = True
    contract: Contract = field(default_factory=Contract)
    usage: Usage = field(default_factory=Usage)
    entries: int = 10

    def state(
        self,
        *,
        recorded: str = "2026-02-06",
        side: pb.ContractSide | None = None,
        **changes: object,
    ) -> Stated:
        """A CONTRACT, or the next SUPPLEMENT. changes: fields of ContractTerms."""
        self.contract.exporting = self.exporting
        terms = clean_terms(version=len(self.contract.versions), **changes)
        data = terms.SerializeToString(deterministic=True)
        self.contract.versions.append(
            Version(
                self.next(), at(recorded), sha256(data).digest(), data,
                (side or pb.ContractSide()).SerializeToString(),
            )
        )  # fmt: skip
        return self

    def file(
        self,
        filed_on: str,
        *,
        result: int = 1,
        version: int = -1,
        number: str = "",
    ) -> Stated:
        """A FILING with the party's own authority."""
        stated = self.contract.versions[version]
        number_of = pb.ContractTerms.FromString(stated.terms).version
        filed = Filed(number_of, number, stated.digest, day(filed_on), result)
        take_filing(self.contract.filings, filed, self.next(), 100)
        return self

    def assess(self, completed_on: str, conclusion: int = 1) -> Stated:
        self.contract.pipias.append((self.next(), day(completed_on), conclusion))
        return self

    def send(self, occurred: str, subjects: int = 1) -> Stated:
        """A clean transfer; the first one is the earliest."""
        position = self.next()
        if self.usage.first < 0:
            self.usage.since = self.usage.first = position
            self.usage.first_at = at(occurred)
        self.usage.transfers += 1
        self.usage.subjects += subjects
        return self

    def end(self, terminated_on: str, *, recorded: str, notified_on: str = "") -> Stated:
        notified = day(notified_on) if notified_on else 0
        self.contract.ended = Ended(self.next(), at(recorded), day(terminated_on), notified)
        return self

    def next(self) -> int:
        self.entries += 1
        return self.entries

    def judged(self, now: str, party: Party | None = None) -> Judgement:
        ours = BANK_OF_SHENZHEN if self.exporting else BANK_OF_HONG_KONG
        return judge_contract(self.contract, self.usage, party or ours, at(now), GRACE, LAW)

    def found(self, now: str, party: Party | None = None) -> list[str]:
        return rules_of(self.judged(now, party))


def rules_of(judgement: Judgement) -> list[str]:
    return sorted(lapse.rule for lapse in judgement.lapses)


def only(rules: Iterable[str], prefix: str) -> list[str]:
    return [rule for rule in rules if rule.startswith(prefix)]


def clean_terms(**changes: object) -> pb.ContractTerms:
    """A GBA Standard Contract from Shenzhen to Hong Kong, in effect from 6 February 2026."""
    terms = pb.ContractTerms(
        exporter=pb.Party(origin="cn.example/log", institution=EXPORTER),
        recipient=pb.Party(origin="hk.example/log", institution=RECIPIENT),
        nonce=bytes(16), contract_id="C-1", document_digest=bytes(32),
        mechanism=1, direction=1, exporter_place=440300, recipient_place=810000,
        exporter_sector=1, recipient_sector=1, exporter_role=1, recipient_role=1,
        signed_on=20260130, effective_on=20260206,
        purposes=[1, 5], means=[2, 5], categories=[1, 7], sensitive_categories=[5],
        subject_types=[1], planned_scale=50_000, retention_days=365,
        storage_places=[810000], transmissions=[1],
    )  # fmt: skip
    for name, value in changes.items():
        if isinstance(value, list):
            del getattr(terms, name)[:]
            getattr(terms, name).extend(value)
        elif isinstance(value, Side):
            getattr(terms, name).CopyFrom(
                pb.Party(origin=value.origin, institution=value.institution)
            )
        else:
            setattr(terms, name, value)
    return terms

"""
What both parties of a contract record: the contract, its filing, supplements, end and disposals.

Each is a plain value. Codes are numbers or names of core/codes.py, a digest is 32 bytes or the Path
of the file to hash, a time is aware of its zone. The `terms` that go into the log must be equal
bytes on both sides: one party makes the Contract and gives the other its file(), and both go on
from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from ledgerd_client._building import build
from ledgerd_client._contract import Contract, ContractChanges, OwnSide, new_nonce
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import Code, Digest

__all__ = [
    "Contract", "ContractChanges", "Disposal", "Filing", "OwnSide", "Supplement", "Termination",
    "new_nonce",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplement:
    """The contract as amended, whole: contract.amended(...). It is filed anew."""

    KIND: ClassVar[str] = "supplement"

    contract: Contract
    reason: str = ""

    def message(self) -> pb.Supplement:
        side = self.contract.own.message()
        return build(pb.Supplement, self, terms=self.contract.file(), side=side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """This version of the contract was filed with one's own side's authority."""

    KIND: ClassVar[str] = "filing"

    contract: Contract
    authority: Code
    filed_on: date
    filing_no: str = ""
    result: Code = "submitted"
    # What was filed.
    documents: Sequence[Digest] = ()

    def message(self) -> pb.Filing:
        return build(pb.Filing, self, terms=self.contract.file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """The contract ended; both parties state the same day, cause and method."""

    KIND: ClassVar[str] = "termination"

    contract: Contract
    # The last day on which it was in force.
    terminated_on: date
    cause: Code
    # What becomes of the data.
    method: Code
    # None: one's own authority does not know yet.
    authority_notified_on: date | None = None
    reason: str = ""

    def message(self) -> pb.Termination:
        terms = self.contract.terms_of(pb.TerminationTerms, self)
        return build(pb.Termination, self, terms=terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposal:
    """
    Data was returned or deleted: of the transfers due by a day, of some, or of all.

    due_by: of those with delete_by up to it; refs: of these transfers, at most 500; neither:
    everything. The recipient states it, and the exporter the same once it has the certificate.
    """

    KIND: ClassVar[str] = "disposal"

    contract: Contract
    method: Code
    done_at: datetime
    certificate: Digest
    # How many transfers, and how many people, it is about.
    transfers: int
    subjects: int
    due_by: date | None = None
    refs: Sequence[bytes] = ()
    reason: str = ""

    def message(self) -> pb.Disposal:
        terms = self.contract.terms_of(pb.DisposalTerms, self)
        return build(pb.Disposal, self, terms=terms)

"""
The law of what a party states of a contract: CONTRACT, SUPPLEMENT, FILING, TERMINATION, and the
PIPIA, SUSPEND and RESUME that name it.

The newest statement counts. A contract that is not known keeps the places of the records that name
it; they are looked at once more when its CONTRACT comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ledgerd.ledger.law_counts import CountLaw, is_national
from ledgerd.ledger.law_sent import SentTransfers
from ledgerd.ledger.law_state import LawState
from ledgerd.projections.contracts import (
    MAX_DANGLING,
    Change,
    Contract,
    Ended,
    Filed,
    Version,
    contract_key,
    parse_contract_key,
    with_change,
)
from ledgerd.projections.terms import Terms, lean_terms
from ledgerd.projections.transfer_row import MAX_HALVES
from ledgerd.rules.filing import AUTHORITIES, take_filing
from ledgerd.rules.lapse import Lapse, own
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.contract import contract_ref
from ledgerd_client.core.days import end_of, from_date
from ledgerd_client.core.transfer import side_of

_TERMS: Final[Mapping[type, Any]] = MappingProxyType({
    pb.Contract: pb.ContractTerms, pb.Supplement: pb.ContractTerms, pb.Filing: pb.ContractTerms,
    pb.Termination: pb.TerminationTerms, pb.Disposal: pb.DisposalTerms,
    pb.Transfer: pb.Terms, pb.Ack: pb.Terms, pb.Cancel: pb.Terms, pb.Correction: pb.Terms,
})  # fmt: skip
_VERSIONS: Final = frozenset(("contract", "supplement"))
_WITH_TERMS: Final = frozenset((*_VERSIONS, "filing", "termination"))
# Records that say something of a contract: what ContractLaw.state() takes.
OF_CONTRACT: Final = frozenset((*_WITH_TERMS, "pipia", "suspend", "resume"))

# Of each sort of statement that a row keeps: filings, assessments, suspensions.
_MAX_STATED: Final = 100
# Versions that a row keeps. A half states each of them, so beyond it C1.too_many_halves stands.
_MAX_VERSIONS: Final = MAX_HALVES + 1


class ContractLaw:
    """Keeps contracts as they are stated; whoever states something has it judged afterwards."""

    def __init__(self, state: LawState, counts: CountLaw, sent: SentTransfers) -> None:
        self._state = state
        self._counts = counts
        self._sent = sent

    def is_known(self, transaction: Transaction, key: bytes) -> bool:
        contract = self._state.contracts.get(transaction, key)
        return contract is not None and bool(contract.versions)

    def state(
        self, transaction: Transaction, position: int, recorded_at: int, body: pb.Body
    ) -> list[pb.Finding]:
        """Take a CONTRACT, or what says something of a known one; of two by one id the first."""
        record = body.WhichOneof("record") or ""
        statement: Any = getattr(body, record)
        named = named_by(statement)
        key = contract_key(body.author, named.contract_id)
        contract = self._state.contracts.get(transaction, key) or Contract()
        self._state.contracts.put(key, contract)
        if record in _WITH_TERMS:
            ref = contract_ref(side_of(named.exporter), named.nonce)
            if contract.ref not in {b"", ref}:
                return [self._second(contract, position, body.author, named.contract_id)]
            contract.ref = ref
        old, before = copy(contract), _Carries.of(contract)
        due: list[pb.Finding] = []
        if record in _VERSIONS:
            due = self._add_version(transaction, key, contract, position, recorded_at, statement)
        elif record == "filing":
            if statement.authority in AUTHORITIES[self._state.party(body.author).side]:
                filed = _filed(statement, named.version)
                take_filing(contract.filings, filed, position, _MAX_STATED)
        elif record == "termination":
            contract.ended = _ended(contract.ended, statement, position, recorded_at)
        elif record == "pipia":
            done = from_date(statement.completed_on)
            _keep(contract.pipias, (position, done, statement.conclusion))
        else:
            suspended = record == "suspend"
            change = Change(statement.at, position, suspended)
            contract.suspensions = with_change(contract.suspensions, change, _MAX_STATED)
        changes_at = record in {"suspend", "resume"}
        since = statement.at if changes_at else _Carries.of(contract).differs_from(before)
        if since is not None and contract.exporting:
            self._sent.judge_again(transaction, key, since, recorded_at)
            told = self._opens(transaction, key, old, contract, recorded_at)
            if told and contract.restated < 0:
                contract.restated = position
        return due

    def _opens(
        self, transaction: Transaction, key: bytes, old: Contract, new: Contract, recorded_at: int
    ) -> bool:
        """Whether what was said late opens a contract for a time in which something was sent."""
        late = recorded_at - self._state.rules.record_within
        opened = new.opened_since(old, late) if old.versions else None
        return opened is not None and self._sent.reaches(transaction, key, opened)

    def await_contract(
        self, transaction: Transaction, key: bytes, position: int, record: str
    ) -> None:
        """
        Keep the place of a record that names a contract which is not known (C2).

        Of records that say nothing of the contract itself only if it is the first of all.
        """
        contract = self._state.contracts.get(transaction, key) or Contract()
        kept = len(contract.dangling)
        if not kept or (record in OF_CONTRACT and kept < MAX_DANGLING):
            contract.dangling.append(position)
        self._state.contracts.put(key, contract)

    def take_dangling(self, transaction: Transaction, key: bytes) -> list[int]:
        """Places of the records that waited for a contract; they wait no longer."""
        contract = self._state.contracts.get(transaction, key)
        if contract is None or not contract.dangling:
            return []
        waiting, contract.dangling = contract.dangling, []
        self._state.contracts.put(key, contract)
        return waiting

    def _add_version(
        self,
        transaction: Transaction,
        key: bytes,
        contract: Contract,
        position: int,
        recorded_at: int,
        statement: Any,
    ) -> list[pb.Finding]:
        """The newest version's scope and mechanism are what K6 and K11 go by."""
        author, _ = parse_contract_key(key)
        terms = pb.ContractTerms.FromString(statement.terms)
        contract.exporting = terms.exporter == pb.Party(
            origin=self._state.origin, institution=author
        )
        before = is_national(contract)
        digest, side = sha256(statement.terms).digest(), encode_message(statement.side)
        version = Version(position, recorded_at, digest, lean_terms(terms), side)
        contract.versions = _with(contract.versions, version, terms.version)
        usage = self._state.usage.get(transaction, key)
        if usage is None or not contract.exporting:
            return []
        usage.cover(contract.in_force(recorded_at).scope)
        self._state.usage.put(key, usage)
        national = is_national(contract)
        if national == before:
            return []
        restated = position, recorded_at
        return self._counts.restated(transaction, key, restated, usage, national=national)

    def _second(
        self, contract: Contract, position: int, author: str, contract_id: str
    ) -> pb.Finding:
        """C1: a contract by an id that another one of this author has already."""
        records = (own(position), own(contract.versions[0].position))
        return self._state.once(Lapse("C1.second_contract", records), author, contract_id)


def named_by(statement: Any) -> Any:
    """What has the contract's id and, of a half, its parties: the statement or its terms."""
    terms = _TERMS.get(type(statement))
    return statement if terms is None else terms.FromString(statement.terms)


def _with(versions: list[Version], version: Version, number: int) -> list[Version]:
    """Enter a version by its number, in place of an earlier statement of it; of too many none."""
    numbered = {pb.ContractTerms.FromString(each.terms).version: each for each in versions}
    known = numbered.get(number)
    if known is not None:
        version = version._replace(recorded_at=known.recorded_at)
    if known is not None or len(numbered) < _MAX_VERSIONS:
        numbered[number] = version
    return [numbered[each] for each in sorted(numbered)]


class _Carried(NamedTuple):
    """What one version says of which transfers it carries."""

    starts_at: int
    ends_at: int
    exporter: tuple[str, str]
    recipient: tuple[str, str]
    scope: int
    retention_days: int

    @classmethod
    def of(cls, terms: Terms) -> _Carried:
        return cls(*(getattr(terms, name) for name in cls._fields))


class _Carries(NamedTuple):
    """What says which transfers a contract carries: its versions by digest, its end (µs)."""

    versions: Mapping[bytes, _Carried]
    ends: frozenset[int]

    @classmethod
    def of(cls, contract: Contract) -> _Carries:
        terms = contract.terms()
        carried = (_Carried.of(each) for each in terms)
        versions = (version.digest for version in contract.versions)
        ends = {end_of(contract.ended.day)} if contract.ended else set()
        return cls(dict(zip(versions, carried, strict=True)), frozenset(ends))

    def differs_from(self, old: _Carries) -> int | None:
        """From which time (µs) on it carries other transfers than it did; None: it does not."""
        new = [said for digest, said in self.versions.items() if digest not in old.versions]
        if not old.versions or len(self.versions) == len(old.versions):
            # Stated for the first time, or a version of it anew: as if it had never been otherwise.
            if [*self.versions.values()] != [*old.versions.values()]:
                return 0
            new = []
        times = [each.starts_at for each in new] + [*self.ends ^ old.ends]
        # Without an end is later than any.
        return min(filter(None, times), default=None)


def _filed(filing: pb.Filing, version: int) -> Filed:
    digest, filed_on = sha256(filing.terms).digest(), from_date(filing.filed_on)
    return Filed(version, filing.filing_no, digest, filed_on, filing.result)


def _ended(
    known: Ended | None, termination: pb.Termination, position: int, recorded_at: int
) -> Ended:
    terms = pb.TerminationTerms.FromString(termination.terms)
    notified = termination.authority_notified_on
    day = from_date(terms.terminated_on)
    if known is not None:
        recorded_at = known.recorded_at
    return Ended(position, recorded_at, day, from_date(notified) if notified else 0)


def _keep(stated: list[Any], new: Any) -> None:
    """Keep the first ones and the newest: the earliest and the latest are what rules ask for."""
    del stated[_MAX_STATED - 1 :]
    stated.append(new)

"""
What entries are found by: the postings that each adds (projections.postings), in log order.

An entry is posted by what is known of it when it is applied, and nothing of that changes later but
its transfer's state and whether a finding stands. The postings of halves that say the same but for
counts, salts and digests are worked out once; those with the same postings are posted at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.law_contracts import named_by
from ledgerd.ledger.law_matters import named_contracts
from ledgerd.projections.contracts import contract_key
from ledgerd.projections.postings import (
    Field,
    Postings,
    Stated,
    code,
    posting,
    put_closed_by,
    text,
)
from ledgerd.projections.transfer_row import Transfer
from ledgerd.projections.transfers import Moved
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import AdmittedKey
from ledgerd_client.core.body import KIND_OF_RECORD
from ledgerd_client.core.codes import CN_HK, HK_CN, HONG_KONG
from ledgerd_client.core.grant import NOBODYS, PUBLIC
from ledgerd_client.core.header import key_id_of
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.supervision import KIND_NUMBERS

# STANDING of a finding, numbers of pb.Standing.
STANDS: Final = 1
CLOSED: Final = 2
# STATE of a half that is more than are kept of a transfer, beside the numbers of State.
NOT_COUNTED: Final = 255

# Kinds whose record is one message with the terms of a transfer.
_TRANSFERS: Final[Mapping[int, int]] = {
    KIND_OF_RECORD[record]: KIND_NUMBERS[record]
    for record in ("transfer", "ack", "cancel", "correction")
}
# Fields of their terms by which nothing is posted.
_UNPOSTED: Final = (
    "minors_present", "legal_basis", "consent_form", "exemption", "protections",
    "transmission", "delete_by", "onward_declared", "means",
)  # fmt: skip
_STATEMENTS: Final = frozenset(("contract", "supplement"))
# Ways to be alike whose postings are kept.
_MAX_KNOWN: Final = 4096


# Kind, key id and Facts.like: equal only for records with the same postings. No NamedTuple,
# because one is made for each record.
_Alike: TypeAlias = tuple[int, bytes, bytes]


class Indexer:
    """Posts entries. After a transaction that did not commit, make it anew."""

    def __init__(self, history: KeyHistory) -> None:
        self._history = history
        self._postings = Postings()
        # Indexes that are yet to be posted, ascending, by their postings.
        self._coming: dict[tuple[bytes, ...], list[int]] = defaultdict(list)
        self._in_state: dict[int, list[int]] = defaultdict(list)
        self._known: dict[_Alike, tuple[bytes, ...]] = {}
        # What of that is of a contract, by author and its id.
        self._of_contract: dict[tuple[str, str], list[_Alike]] = defaultdict(list)
        # As registered(), as of so many key entries.
        self._newest: dict[str, list[AdmittedKey]] = {}
        self._key_entries = 0

    def take(self, transaction: Transaction, entry: Entry, transfer: Transfer | None) -> None:
        """Post an institution's record; transfer: the row that it is a half of, if one is kept."""
        position, _, facts, _, header, body = entry
        if facts.kind not in _TRANSFERS:
            self._statement(transaction, position, pb.Body.FromString(body), key_id_of(header))
            return
        alike = facts.kind, key_id_of(header), facts.like
        names = self._known.get(alike) or self._remember(transaction, alike, facts.author)
        self._coming[names].append(position)
        self._in_state[NOT_COUNTED if transfer is None else transfer.state].append(position)

    def take_other(self, transaction: Transaction, position: int, body: pb.Body) -> None:
        """Post an entry by authority or node, but for a FINDING."""
        kind = KIND_NUMBERS[body.WhichOneof("record") or ""]
        names = [posting(Field.KIND, code(kind))]
        places = sectors = {code(PUBLIC)}
        if body.HasField("query_log"):
            places = sectors = {asked_by(body.query_log.regulator)}
        elif body.HasField("erasure"):
            institution = pb.ErasureOrder.FromString(body.erasure.order).institution
            names.append(posting(Field.INSTITUTION, text(institution)))
            places, sectors = _places_of(self._registered([institution]))
        names += _names(Field.PLACE, places) + _names(Field.SECTOR, sectors)
        self._postings.add(transaction, tuple(names), (position,))

    def take_finding(
        self,
        transaction: Transaction,
        position: int,
        finding: pb.Finding,
        concerned: Sequence[str],
        closes: int | None,
    ) -> None:
        """Post a FINDING of institutions of this side; closes: the FINDING entry that it closes."""
        places, sectors = _places_of(self._registered(concerned))
        names = [
            posting(Field.KIND, code(KIND_NUMBERS["finding"])),
            posting(Field.RULE, text(finding.rule)),
            posting(Field.SEVERITY, code(finding.severity)),
            *_names(Field.INSTITUTION, map(text, concerned)),
            *_names(Field.PLACE, places),
            *_names(Field.SECTOR, sectors),
        ]
        if finding.contract_id:
            names.append(posting(Field.CONTRACT, text(finding.contract_id)))
        if not finding.closed:
            names.append(posting(Field.STANDING, code(STANDS)))
        self._postings.add(transaction, tuple(names), (position,))
        if closes is not None:
            put_closed_by(transaction, closes, position)
            self._postings.move(transaction, Field.STANDING, STANDS, CLOSED, closes, position)

    def move(self, transaction: Transaction, position: int, moved: Iterable[Moved]) -> None:
        """Take the transfers that an entry, itself taken already, put in another state."""
        for each in moved:
            earlier = [index for index in each.halves if index < position]
            if earlier:
                self._settle(transaction)
            for index in earlier:
                self._postings.move(transaction, Field.STATE, each.old, each.new, index, position)

    def flush(self, transaction: Transaction) -> None:
        """Put what was collected; before a commit."""
        self._settle(transaction)
        self._postings.flush(transaction)

    def _settle(self, transaction: Transaction) -> None:
        for names, indexes in self._coming.items():
            self._postings.add(transaction, names, indexes)
        for state, indexes in self._in_state.items():
            self._postings.add(transaction, (posting(Field.STATE, code(state)),), indexes)
        self._coming.clear()
        self._in_state.clear()

    def _remember(self, transaction: Transaction, alike: _Alike, author: str) -> tuple[bytes, ...]:
        kind, key_id, encoded = alike
        terms = pb.Terms.FromString(encoded)
        for unposted in _UNPOSTED:
            terms.ClearField(unposted)
        # Of many ways to be alike few differ in what they are posted by.
        posted = kind, key_id, terms.SerializeToString(deterministic=True)
        names = self._known.get(posted)
        if names is None:
            contract = terms.contract_id
            number = _TRANSFERS[kind]
            names = tuple(self._names_of(transaction, number, key_id, terms, [contract]))
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
            self._of_contract.clear()
        self._known[alike] = self._known[posted] = names
        self._of_contract[author, terms.contract_id] += (alike, posted)
        return names

    def _statement(
        self, transaction: Transaction, position: int, body: pb.Body, key_id: bytes
    ) -> None:
        record = body.WhichOneof("record") or ""
        statement: Any = getattr(body, record)
        # What it names: its terms, where it has such, or itself.
        said: Any = named_by(statement)
        if record in _STATEMENTS:
            exporting = said.exporter.institution == body.author
            place = said.recipient_place if exporting else said.exporter_place
            key = contract_key(body.author, said.contract_id)
            Stated(said.mechanism, place).put(transaction, key)
            for alike in self._of_contract.pop((body.author, said.contract_id), ()):
                self._known.pop(alike, None)
        contracts = [each for each in named_contracts(said) if each]
        names = self._names_of(transaction, KIND_NUMBERS[record], key_id, said, contracts)
        self._postings.add(transaction, tuple(names), (position,))

    def _names_of(
        self,
        transaction: Transaction,
        kind: int,
        key_id: bytes,
        said: Any,
        contracts: Sequence[str],
    ) -> list[bytes]:
        """The postings of what an institution said with a key, of these contracts."""
        names = [posting(Field.KIND, code(kind))]
        key = self._history.find(key_id)
        if key is None:
            # A log that takes what nobody was admitted to sign is not replayed.
            return names
        names += [
            posting(Field.INSTITUTION, text(key.subject)),
            posting(Field.PLACE, code(key.place)),
            posting(Field.SECTOR, code(key.sector)),
            *_names(Field.CONTRACT, map(text, contracts)),
        ]
        if hasattr(said, "exporter"):
            own = pb.Party(origin=self._history.origin, institution=key.subject)
            names += _parties(said, key.place, exporting=said.exporter == own)
        for field, attribute in _CODES.items():
            names += _names(field, map(code, getattr(said, attribute, ())))
        keys = (contract_key(key.subject, contract) for contract in contracts)
        stated = {Stated.of(transaction, contract) for contract in keys} - {None}
        names += _names(Field.MECHANISM, {code(each.mechanism) for each in stated if each})
        names += _names(Field.OTHER_PLACE, {code(each.place) for each in stated if each})
        return names

    def _registered(self, institutions: Iterable[str]) -> Iterator[AdmittedKey]:
        if len(self._history.entries) != self._key_entries:
            self._key_entries = len(self._history.entries)
            self._newest.clear()
        for institution in institutions:
            if institution not in self._newest:
                self._newest[institution] = list(registered(self._history, [institution]))
            yield from self._newest[institution]


_CODES: Final = {
    Field.CATEGORY: "categories",
    Field.SENSITIVE: "sensitive_categories",
    Field.PURPOSE: "purposes",
}


def _parties(said: Any, place: int, *, exporting: bool) -> list[bytes]:
    other = said.recipient if exporting else said.exporter
    direction = HK_CN if (place == HONG_KONG) == exporting else CN_HK
    return [
        posting(Field.COUNTERPARTY, text(other.institution)),
        posting(Field.DIRECTION, code(direction)),
    ]


def _names(field: Field, values: Iterable[bytes]) -> list[bytes]:
    return [posting(field, value) for value in values]


def _places_of(keys: Iterable[AdmittedKey]) -> tuple[set[bytes], set[bytes]]:
    keys = list(keys)
    return {code(key.place) for key in keys}, {code(key.sector) for key in keys}


def asked_by(regulator: str) -> bytes:
    """What a regulator's queries on record are posted under as place and sector: only its own."""
    return code(NOBODYS) + text(regulator)


def registered(history: KeyHistory, institutions: Iterable[str]) -> Iterator[AdmittedKey]:
    """The newest key admitted for each of these institutions, of those that have any."""
    for institution in institutions:
        admitted = [key for _, key in history.of_subject(pb.ROLE_INSTITUTION, institution)]
        if admitted:
            yield max(admitted, key=lambda key: key.admitted_at)

"""What outlives an erased body: what every rule reads, and nothing that could be linked to data."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from builders import MAINLAND, START
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from ledger.law_world import CONTRACT_ID, LawWorld
from ledger.world import Node

from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import BY_INSTITUTIONS, KIND_OF_RECORD, encode_message
from ledgerd_client.core.errors import ChainError, FieldError, LedgerError
from ledgerd_client.core.header import Header
from ledgerd_client.core.record import Admitted, make_record_id, read_facts
from ledgerd_client.core.remains import (
    ERASED_FIELDS,
    facts_of_remains,
    remains_of,
)

# Text and bytes that stay, and why no one is harmed: they name institutions, contracts and entries,
# or are compared with each other. A new field of the format has to be put here or into
# ERASED_FIELDS.
KEPT = {
    "Body": {"origin", "author", "record_id"},
    "Party": {"origin", "institution"},
    # Of notice_digest is left that there was one.
    "Terms": {"nonce", "contract_id", "notice_digest"},
    "Transfer": {"terms"},
    "Ack": {"terms"},
    "Cancel": {"terms"},
    "Correction": {"terms", "corrects"},
    "Contract": {"terms"},
    "ContractSide": {"group_id", "hgr_ref", "authorisation_ref"},
    # Filings of one number are one act (K4).
    "Filing": {"terms", "filing_no"},
    "Supplement": {"terms"},
    "Termination": {"terms"},
    "Disposal": {"terms"},
    # Terms of a contract stay byte for byte.
    "ContractTerms": {"nonce", "contract_id", "document_digest", "third_parties", "list_ref"},
    "TerminationTerms": {"nonce", "contract_id"},
    "DisposalTerms": {"nonce", "contract_id", "certificate_digest", "refs"},
    "Pipia": {"contract_id"},
    "Suspend": {"contract_id"},
    "Resume": {"contract_id"},
    "Onward": {"contract_id", "matter", "ref", "third_party"},
    "Incident": {"matter", "contract_ids"},
    "Notice": set[str](),
    "GovAccess": {"contract_id", "matter"},
    "ConsentChange": {"contract_id", "matter"},
}

TEXT, SECRET = "a free text", b"\x5e" * 32


def samples(law: LawWorld) -> dict[str, Admitted]:
    """A record of each kind that institutions write, with all that is to be erased in it."""
    terms = law.terms(commitment=SECRET, notice_digest=SECRET, notice_version=TEXT)
    corrects = make_record_id(START, os.urandom(10))
    ended = law.termination(20260803)
    ended.reason = TEXT
    filing = pb.Filing(
        terms=law.contract_terms(), authority=1, filed_on=20260803, result=1, filing_no="No. 7",
        document_digests=[SECRET],
    )  # fmt: skip
    amended = pb.Supplement(terms=law.contract_terms(version=1), reason=TEXT)
    gone = pb.Disposal(terms=pb.Body.FromString(law.disposal(1, 1).body).disposal.terms)
    gone.reason = TEXT
    named = {"contract_id": CONTRACT_ID}
    pipia = pb.Pipia(
        **named, report_digest=SECRET, completed_on=20260803, conclusion=1, keep_until=20290803
    )
    change = pb.ConsentChange(
        **named, matter=os.urandom(16), change=1, subjects=1, from_date=20260803
    )
    access = pb.GovAccess(
        **named, matter=os.urandom(16), requester=1, territory=810000, received_at=law.clock()
    )
    return {
        "transfer": law.transfer(terms),
        "ack": law.ack(terms, reason=TEXT),
        "cancel": law.by_exporter(cancel=pb.Cancel(terms=terms.terms, reason=TEXT)),
        "correction": law.by_exporter(
            correction=pb.Correction(terms=terms.terms, corrects=corrects, reason=TEXT)
        ),
        "contract": law.contract(pb.ContractSide(group_id="G", hgr_ref="H")),
        "filing": law.by_exporter(filing=filing),
        "supplement": law.by_exporter(supplement=amended),
        "termination": law.by_exporter(termination=ended),
        "disposal": law.by_recipient(disposal=gone),
        "pipia": law.by_exporter(pipia=pipia),
        "suspend": law.by_exporter(
            suspend=pb.Suspend(**named, at=law.clock(), cause=1, reason=TEXT)
        ),
        "resume": law.by_exporter(resume=pb.Resume(**named, at=law.clock(), reason=TEXT)),
        "onward": law.by_recipient(onward=law.onward(agreement_digest=SECRET)),
        "incident": law.by_recipient(incident=law.incident(contract_ids=[CONTRACT_ID])),
        "gov_access": law.by_recipient(gov_access=access),
        "consent_change": law.by_exporter(consent_change=change),
    }


RECORDS = sorted(name for name, kind in KIND_OF_RECORD.items() if kind in BY_INSTITUTIONS)


@pytest.fixture(scope="module")
def law() -> LawWorld:
    return LawWorld()


@pytest.fixture(params=RECORDS)
def record(request: pytest.FixtureRequest, law: LawWorld) -> Admitted:
    return samples(law)[request.param]


def placed(law: LawWorld, item: Admitted) -> Header:
    node: Node = law.mainland if MAINLAND in read_facts(item.body)[0] else law.hong_kong
    return node.header(node.place(item))


class TestWhatRemains:
    def test_has_no_salt(self, record: Admitted) -> None:
        assert not pb.Body.FromString(remains_of(record.body)).salt

    def test_has_no_free_text_and_no_digest_that_links_it(self, record: Admitted) -> None:
        remains = remains_of(record.body)
        assert TEXT.encode() not in remains
        assert SECRET not in remains

    def test_says_that_there_was_a_notice(self, law: LawWorld) -> None:
        body = pb.Body.FromString(remains_of(samples(law)["transfer"].body))
        assert pb.Terms.FromString(body.transfer.terms).notice_digest == bytes(32)

    def test_says_that_there_was_none(self, law: LawWorld) -> None:
        body = pb.Body.FromString(remains_of(law.transfer(law.terms(notice_digest=b"")).body))
        assert not pb.Terms.FromString(body.transfer.terms).notice_digest

    def test_of_remains_is_the_same_again(self, record: Admitted) -> None:
        remains = remains_of(record.body)
        assert remains_of(remains) == remains

    def test_has_the_facts_of_the_body(self, law: LawWorld, record: Admitted) -> None:
        header = placed(law, record)
        assert facts_of_remains(header, remains_of(record.body)) == read_facts(record.body)[1]

    def test_has_the_terms_of_a_contract_byte_for_byte(self, law: LawWorld) -> None:
        remains = pb.Body.FromString(remains_of(law.contract().body))
        assert remains.contract.terms == law.contract_terms()

    @pytest.mark.parametrize("outcome", [2, 3, 4])
    def test_of_any_outcome_has_its_facts(self, law: LawWorld, outcome: pb.Outcome) -> None:
        changes = {"received_commitment": SECRET, "outcome": outcome}
        ack = law.ack(law.terms(), **changes)
        facts = facts_of_remains(placed(law, ack), remains_of(ack.body))
        assert facts == read_facts(ack.body)[1]

    def test_of_remote_viewing_has_its_facts(self, law: LawWorld) -> None:
        item = law.transfer(law.terms(commitment=b"", transmission=codes.REMOTE_VIEW))
        facts = facts_of_remains(placed(law, item), remains_of(item.body))
        assert facts == read_facts(item.body)[1]


def fields_of(descriptor: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """Every text and bytes field that a body of an institution can hold, terms included."""
    if descriptor.name in seen:
        return
    seen.add(descriptor.name)
    for field in descriptor.fields:
        if field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
            yield field
        elif field.message_type is not None and field.name not in _BY_OTHERS:
            yield from fields_of(field.message_type, seen)


_BY_OTHERS = {name for name, kind in KIND_OF_RECORD.items() if kind not in BY_INSTITUTIONS}
_TERMS = (pb.Terms, pb.ContractTerms, pb.TerminationTerms, pb.DisposalTerms)
FIELDS = [
    field
    for seen in [set[str]()]
    for message in (pb.Body, *_TERMS)
    for field in fields_of(message.DESCRIPTOR, seen)
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.full_name)
def test_every_field_of_text_or_bytes_is_kept_or_erased(field: FieldDescriptor) -> None:
    name = field.containing_type.name
    kept = field.name in KEPT.get(name, set())
    assert kept != (field.name in ERASED_FIELDS.get(name, ()))


class TestRemainsOfAnotherEntry:
    @pytest.fixture
    def header(self, law: LawWorld) -> Header:
        return placed(law, law.transfer())

    @pytest.fixture
    def remains(self, law: LawWorld, header: Header) -> pb.Body:
        with law.mainland.store.snapshot() as snapshot:
            body = snapshot.get(Table.BODIES, header.index.to_bytes(8, "big"))
        return pb.Body.FromString(remains_of(body or b""))

    def test_are_refused(self, law: LawWorld, header: Header) -> None:
        with pytest.raises(ChainError):
            facts_of_remains(header, remains_of(law.transfer().body))

    def test_with_a_salt_are_refused(self, header: Header, remains: pb.Body) -> None:
        remains.salt = bytes(16)
        with pytest.raises(ChainError):
            facts_of_remains(header, encode_message(remains))

    def test_with_a_field_out_of_range_are_refused(self, header: Header, remains: pb.Body) -> None:
        remains.occurred_at = 2**63
        with pytest.raises(FieldError):
            facts_of_remains(header, encode_message(remains))

    @pytest.mark.parametrize("data", [b"", b"\xff", bytes(40_000), b"\xa2\x01\x00"])
    def test_that_are_nothing_of_the_kind_are_refused(self, header: Header, data: bytes) -> None:
        with pytest.raises(LedgerError):
            facts_of_remains(header, data)

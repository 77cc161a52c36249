"""Erasure: what the authority orders, when it may be, and that nothing else of the ledger changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from builders import HONG_KONG, MAINLAND, new_key
from ledger.law_world import LawWorld, at
from ledger.world import Node

from ledgerd.ledger.batch import AppendResult, Outcome
from ledgerd.ledger.call import Call
from ledgerd.ledger.committer import Committer
from ledgerd.ledger.erasing import why_erased
from ledgerd.ledger.verifying import AuditError
from ledgerd.projections.erased import ErasedBody, erase, erasure_of, find_erased
from ledgerd.store.base import Transaction
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    ChainError,
    ForbiddenError,
    LedgerError,
    NotFoundError,
    NotReadyError,
    SignatureError,
    StoreError,
    TooLargeError,
)
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.record import Admitted
from ledgerd_client.core.remains import order_digest, remains_of

# The contract of `old` ends on 2026-09-01: three years on is the last day of its records.
KEPT = at("2029-09-01", "23:59:59.999999")
LATER = KEPT + 1


def order(law: LawWorld, *indexes: int, **changes: Any) -> bytes:
    fields = {
        "origin": MAINLAND,
        "order_id": os.urandom(16),
        "institution": law.exporter.id,
        "indexes": indexes,
        "reason": "kept long enough",
        "ordered_at": law.clock(),
    }
    return encode_message(pb.ErasureOrder(**{**fields, **changes}))


def sign(law: LawWorld, order: bytes, key: SigningKey | None = None) -> bytes:
    return (key or law.mainland.log.authority).sign(order_digest(MAINLAND, order))


def submit(law: LawWorld, order: bytes, signature: bytes | None = None) -> int:
    """Have the order carried out as the node does; return the index of the ERASURE."""
    signature = sign(law, order) if signature is None else signature
    erasure = law.mainland.reader.erasure(order, signature)
    return erasure if isinstance(erasure, int) else place(law, erasure)


def place(law: LawWorld, erasure: pb.Erasure) -> int:
    node = law.mainland
    return node.place(node.by_node(erasure=erasure))


def refusal(law: LawWorld, *indexes: int, **changes: Any) -> LedgerError:
    """Why the machine refuses an order that is signed; nothing of it may be kept."""
    before = tables(law.mainland)
    with pytest.raises(LedgerError) as caught:
        submit(law, order(law, *indexes, **changes))
    assert tables(law.mainland) == before
    return caught.value


def tables(node: Node) -> dict[Table, list[tuple[bytes, bytes]]]:
    with node.store.snapshot() as snapshot:
        return {table: list(snapshot.scan(table)) for table in Table}


@pytest.fixture
def old(law: LawWorld) -> int:
    """A transfer that was acknowledged, under a contract that ended; its last day of keeping."""
    law.mainland.append(law.contract(expires_on=20260901), law.filing(20260803), law.pipia())
    law.hong_kong.place(law.counterpart(expires_on=20260901))
    terms = law.terms(notice_version="the notice of spring")
    index = law.mainland.place(law.transfer(terms))
    law.hong_kong.place(law.ack(terms))
    law.anchor()
    law.clock.now = LATER
    return index


class TestAnErasedBody:
    def test_is_gone(self, law: LawWorld, old: int) -> None:
        submit(law, order(law, old))
        with pytest.raises(NotFoundError) as caught:
            law.mainland.reader.entry(old)
        assert caught.value.reason == "ERASED"

    def test_is_in_no_table_but_as_remains(self, law: LawWorld, old: int) -> None:
        body = law.mainland.reader.entry(old)[1]
        salt = pb.Body.FromString(body).salt
        submit(law, order(law, old))
        values = [value for rows in tables(law.mainland).values() for _, value in rows]
        for secret in (salt, b"the notice of spring"):
            assert secret in body
            assert not any(secret in value for value in values)

    def test_has_remains(self, law: LawWorld, old: int) -> None:
        body = law.mainland.reader.entry(old)[1]
        erasure = submit(law, order(law, old))
        with law.mainland.store.snapshot() as snapshot:
            assert find_erased(snapshot, old) == ErasedBody(erasure, remains_of(body))

    def test_says_when_and_why(self, law: LawWorld, old: int) -> None:
        erasure = submit(law, order(law, old))
        with law.mainland.store.snapshot() as snapshot:
            why = why_erased(snapshot, old)
        assert why is not None
        assert (why.index, why.at, why.reason) == (erasure, law.clock(), "kept long enough")

    def test_whose_erasure_is_not_here_is_no_answer(self) -> None:
        store = MemoryStore(instance=bytes(16))
        with store.write() as transaction:
            erase(transaction, 3, ErasedBody(7, b""))
        with store.snapshot() as snapshot, pytest.raises(StoreError):
            why_erased(snapshot, 3)

    def test_has_its_header_and_a_receipt_that_verifies(self, law: LawWorld, old: int) -> None:
        kept = law.mainland.reader.receipt(old)
        submit(law, order(law, old))
        for receipt in (kept, law.mainland.reader.receipt(old)):
            assert verify_receipt(receipt, law.mainland.history()).header.index == old

    def test_gets_its_receipt_when_it_is_sent_again(self, law: LawWorld, old: int) -> None:
        law.clock.now = at("2026-08-05")
        item = law.transfer()
        index = law.mainland.place(item)
        law.hong_kong.place(law.ack(pb.Body.FromString(item.body).transfer))
        law.anchor()
        law.clock.now = LATER
        submit(law, order(law, index))
        (again,) = law.mainland.append(item)
        assert isinstance(again, Receipt)

    def test_changes_no_other_table(self, law: LawWorld, old: int) -> None:
        before = tables(law.mainland)
        submit(law, order(law, old))
        after = tables(law.mainland)
        grown = {Table.META, Table.HEADERS, Table.TILES, Table.RECORDS, Table.AUTHORS, Table.INDEX}
        for table in set(Table) - grown - {Table.BODIES, Table.ERASED}:
            assert after[table] == before[table], table

    def test_passes_an_audit(self, law: LawWorld, old: int) -> None:
        submit(law, order(law, old))
        assert law.mainland.audit().entries == law.mainland.size

    def test_leaves_its_contract_to_be_judged_as_before(self, law: LawWorld, old: int) -> None:
        contract = 3
        submit(law, order(law, contract, old))
        law.mainland.place(law.supplement(expires_on=20260901, planned_scale=1))
        law.tick(law.mainland)
        assert "K22.planned" in rules_of_log(law.mainland)

    def test_of_an_ack_leaves_its_correction_to_be_judged(self, law: LawWorld, old: int) -> None:
        submit(law, order(law, old))
        terms = law.terms(subjects=5, subjects_first_this_year=5)
        correction = pb.Correction(terms=_again(law, old, terms), corrects=_record_id(law, old))
        law.mainland.place(law.by_exporter(correction=correction))
        assert "C3.corrects_nothing" not in rules_of_log(law.mainland)


def _again(law: LawWorld, old: int, transfer: pb.Transfer) -> bytes:
    """Terms of the transfer of an erased entry, stated anew."""
    kept = pb.Terms.FromString(pb.Body.FromString(_remains(law, old)).transfer.terms)
    terms = pb.Terms.FromString(transfer.terms)
    terms.nonce = kept.nonce
    return encode_message(terms)


def _record_id(law: LawWorld, old: int) -> bytes:
    return pb.Body.FromString(_remains(law, old)).record_id


def rules_of_log(node: Node) -> set[str]:
    with node.store.snapshot() as snapshot:
        bodies = [pb.Body.FromString(value) for _, value in snapshot.scan(Table.BODIES)]
    return {body.finding.rule for body in bodies if body.HasField("finding")}


class TestAnOrder:
    def test_erases_several(self, law: LawWorld, old: int) -> None:
        erasure = submit(law, order(law, 3, old))
        with law.mainland.store.snapshot() as snapshot:
            assert [erasure_of(snapshot, index) for index in (3, old)] == [erasure, erasure]

    def test_carried_out_twice_is_one_erasure(self, law: LawWorld, old: int) -> None:
        ordered = order(law, old)
        assert submit(law, ordered) == submit(law, ordered)

    def test_that_the_authority_did_not_sign_is_refused(self, law: LawWorld, old: int) -> None:
        ordered = order(law, old)
        with pytest.raises(SignatureError) as caught:
            submit(law, ordered, sign(law, ordered, new_key()))
        assert caught.value.reason == "NOT_ORDERED"

    def test_of_the_other_sides_authority_is_refused(self, law: LawWorld, old: int) -> None:
        ordered = order(law, old)
        with pytest.raises(SignatureError):
            submit(law, ordered, sign(law, ordered, law.hong_kong.log.authority))

    def test_for_the_other_log_is_refused(self, law: LawWorld, old: int) -> None:
        assert isinstance(refusal(law, old, origin=HONG_KONG), SignatureError)

    def test_of_no_entry_is_refused(self, law: LawWorld, old: int) -> None:
        assert isinstance(refusal(law, old, 10**6), NotFoundError)

    def test_that_was_signed_on_the_last_day_of_keeping_is_refused(
        self, law: LawWorld, old: int
    ) -> None:
        assert refusal(law, old, ordered_at=KEPT).reason == "RETENTION"

    def test_that_was_signed_the_day_after_is_carried_out(self, law: LawWorld, old: int) -> None:
        law.clock.now = at("2030-01-01")
        erasure = submit(law, order(law, old, ordered_at=LATER))
        with law.mainland.store.snapshot() as snapshot:
            assert erasure_of(snapshot, old) == erasure

    def test_on_the_last_day_of_keeping_is_refused(self, law: LawWorld, old: int) -> None:
        law.clock.now = KEPT
        error = refusal(law, old)
        assert (type(error), error.reason) == (NotReadyError, "RETENTION")

    def test_under_a_contract_without_an_end_is_refused(self, law: LawWorld) -> None:
        law.agree()
        index = law.mainland.place(law.pipia())
        law.clock.now = at("2050-01-01")
        assert refusal(law, index).reason == "RETENTION"

    def test_of_a_transfer_that_waits_for_its_other_half_is_refused(self, law: LawWorld) -> None:
        index = law.mainland.place(law.transfer())
        law.clock.now = at("2050-01-01")
        assert refusal(law, index).reason == "OPEN_TRANSFER"

    def test_of_a_key_event_is_refused(self, law: LawWorld, old: int) -> None:
        error = refusal(law, 2)
        assert (type(error), error.reason) == (ForbiddenError, "NOT_ERASABLE")

    def test_of_a_finding_is_refused(self, law: LawWorld, old: int) -> None:
        law.tick(law.mainland)
        index = next(
            index
            for index in range(law.mainland.size)
            if law.mainland.body(index).HasField("finding")
        )
        assert refusal(law, index).reason == "NOT_ERASABLE"

    def test_of_anothers_record_is_refused_as_such_though_it_is_kept_too(
        self, law: LawWorld
    ) -> None:
        law.agree()
        index = law.mainland.place(law.pipia())
        assert refusal(law, index, institution="uscc.OTHER").reason == "NOT_ERASABLE"

    def test_that_is_too_early_says_until_when_the_record_is_kept(
        self, law: LawWorld, old: int
    ) -> None:
        law.clock.now = KEPT
        assert "kept until 2029-09-01" in refusal(law, old).message

    def test_of_anothers_record_is_refused(self, law: LawWorld, old: int) -> None:
        error = refusal(law, old, institution="uscc.OTHER")
        assert (type(error), error.reason) == (ForbiddenError, "NOT_ERASABLE")

    def test_of_what_is_erased_is_refused(self, law: LawWorld, old: int) -> None:
        submit(law, order(law, old))
        assert refusal(law, old).reason == "ERASED"

    def test_that_does_not_fit_one_entry_is_refused(self, law: LawWorld) -> None:
        parties = [f"hkbr.{n:08}" for n in range(600)]
        indexes = [
            law.mainland.place(law.supplement(n, third_parties=parties)) for n in (1, 2, 3, 4)
        ]
        law.clock.now = at("2050-01-01")
        error = refusal(law, *indexes)
        assert isinstance(error, TooLargeError)
        assert "order fewer" in error.action

    def test_of_a_body_whose_remains_no_entry_can_hold_is_refused(self, law: LawWorld) -> None:
        parties = [f"hkbr.{n:08}" for n in range(2020)]
        index = law.mainland.place(law.supplement(1, third_parties=parties))
        law.clock.now = at("2050-01-01")
        error = refusal(law, index)
        assert (type(error), error.reason) == (ForbiddenError, "NOT_ERASABLE")
        assert "too large for an entry" in error.message
        assert law.mainland.reader.erasable(index, law.clock()).reason == "NOT_ERASABLE"


class TestInOneCommit:
    """With a record that reopens the transfer: each could be applied alone."""

    def outcomes(self, law: LawWorld, *calls: Sequence[Admitted]) -> list[Outcome]:
        node = law.mainland
        committer = Committer(node.store, lambda: node.new_writer(node.store), reserve_bytes=0)
        committer.start()
        results = committer.commit([Call.of(items) for items in calls]).results
        assert not any(isinstance(result, LedgerError) for result in results), results
        return [o for r in results if isinstance(r, AppendResult) for o in r.outcomes]

    def made(self, law: LawWorld, old: int) -> tuple[Admitted, Admitted]:
        """The correction of a transfer, and its erasure."""
        ordered = order(law, old)
        erasure = law.mainland.reader.erasure(ordered, sign(law, ordered))
        terms = law.terms(subjects=5, subjects_first_this_year=5)
        body = law.mainland.body(old)
        given = pb.Terms.FromString(terms.terms)
        given.nonce = pb.Terms.FromString(body.transfer.terms).nonce
        correction = pb.Correction(terms=encode_message(given), corrects=body.record_id)
        return law.by_exporter(correction=correction), law.mainland.by_node(erasure=erasure)

    @pytest.mark.parametrize("together", [True, False], ids=["one call", "two calls"])
    def test_the_record_is_stored_and_the_erasure_after_it_refused(
        self, law: LawWorld, old: int, together: bool
    ) -> None:
        correction, erasure = self.made(law, old)
        calls = [[correction, erasure]] if together else [[correction], [erasure]]
        stored, refused = self.outcomes(law, *calls)
        assert isinstance(stored, int)
        assert isinstance(refused, NotReadyError)
        assert refused.reason == "OPEN_TRANSFER"

    def test_the_erasure_is_carried_out_and_the_record_after_it_stored(
        self, law: LawWorld, old: int
    ) -> None:
        correction, erasure = self.made(law, old)
        done, stored = self.outcomes(law, [erasure], [correction])
        assert isinstance(done, int)
        assert isinstance(stored, int)

    def test_of_two_erasures_of_one_body_the_first_is_carried_out(
        self, law: LawWorld, old: int
    ) -> None:
        _, first = self.made(law, old)
        _, second = self.made(law, old)
        done, refused = self.outcomes(law, [first, second])
        assert isinstance(done, int)
        assert isinstance(refused, NotReadyError)
        assert refused.reason == "ERASED"

    def test_the_log_passes_the_audit(self, law: LawWorld, old: int) -> None:
        self.outcomes(law, list(self.made(law, old)))
        assert law.mainland.audit().entries == law.mainland.size


class TestAnErasure:
    """What a node that is not honest could write: no machine applies it."""

    def made(self, law: LawWorld, old: int) -> pb.Erasure:
        ordered = order(law, 3, old)
        erasure = law.mainland.reader.erasure(ordered, sign(law, ordered))
        assert isinstance(erasure, pb.Erasure)
        return erasure

    def refused(self, law: LawWorld, erasure: pb.Erasure) -> None:
        with pytest.raises(ChainError):
            place(law, erasure)

    def test_of_less_than_is_ordered_is_refused(self, law: LawWorld, old: int) -> None:
        erasure = self.made(law, old)
        del erasure.remains[0]
        self.refused(law, erasure)

    def test_of_other_remains_is_refused(self, law: LawWorld, old: int) -> None:
        erasure = self.made(law, old)
        body = pb.Body.FromString(erasure.remains[1].body)
        terms = pb.Terms.FromString(body.transfer.terms)
        terms.subjects += 1
        body.transfer.terms = encode_message(terms)
        erasure.remains[1].body = encode_message(body)
        self.refused(law, erasure)


class TestAnAudit:
    """Finds what no ERASURE accounts for."""

    def refused(self, law: LawWorld, edit: Callable[[Transaction], object]) -> str:
        store, original = MemoryStore(instance=bytes(16)), law.mainland.store
        assert isinstance(original, MemoryStore)
        store._tables = original._tables
        with store.write() as transaction:
            edit(transaction)
        with pytest.raises(AuditError) as caught:
            law.mainland.auditor(store).run()
        return caught.value.message

    def test_a_body_that_is_just_gone(self, law: LawWorld, old: int) -> None:
        message = self.refused(law, lambda store: store.delete(Table.BODIES, u64(old)))
        assert message == f"entry {old} is missing"

    def test_a_body_that_no_erasure_names(self, law: LawWorld, old: int) -> None:
        remains = remains_of(law.mainland.reader.entry(old)[1])
        erasure = submit(law, order(law, 3))
        message = self.refused(law, lambda store: erase(store, old, ErasedBody(erasure, remains)))
        assert f"the body of entry {old} is gone" in message

    def test_a_body_whose_erasure_is_still_to_come(self, law: LawWorld, old: int) -> None:
        remains = remains_of(law.mainland.reader.entry(old)[1])
        erased = ErasedBody(law.mainland.size, remains)
        message = self.refused(law, lambda store: erase(store, old, erased))
        assert f"the body of entry {old} is gone" in message

    def test_other_remains_than_the_erasure_says(self, law: LawWorld, old: int) -> None:
        erasure = submit(law, order(law, old))
        other = pb.Body.FromString(_remains(law, old))
        other.occurred_at -= 1
        erased = ErasedBody(erasure, encode_message(other))
        message = self.refused(law, lambda store: erase(store, old, erased))
        assert message.startswith(f"entry {erasure}: entry {old} has other remains")

    @pytest.mark.parametrize("mask", [1, 128])
    def test_any_byte_of_what_remains(self, law: LawWorld, old: int, mask: int) -> None:
        submit(law, order(law, old))
        with law.mainland.store.snapshot() as snapshot:
            value = snapshot.get(Table.ERASED, u64(old)) or b""
        for place in range(len(value)):
            changed = value[:place] + bytes([value[place] ^ mask]) + value[place + 1 :]
            self.refused(law, lambda store, it=changed: store.put(Table.ERASED, u64(old), it))

    def test_a_body_that_is_still_there(self, law: LawWorld, old: int) -> None:
        body = law.mainland.reader.entry(old)[1]
        submit(law, order(law, old))
        message = self.refused(law, lambda store: store.put(Table.BODIES, u64(old), body))
        assert "bodies" in message


def _remains(law: LawWorld, index: int) -> bytes:
    with law.mainland.store.snapshot() as snapshot:
        erased = find_erased(snapshot, index)
    assert erased is not None
    return erased.remains

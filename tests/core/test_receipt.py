"""Receipts: what one proves, to whom, and that no other bytes prove it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace

import pytest
from builders import (
    EXPORTER,
    HONG_KONG,
    MAINLAND,
    Border,
    Log,
    new_border,
    new_key,
    node_of,
)
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle, ranges
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import (
    ForbiddenError,
    LedgerError,
    MalformedError,
    ProofError,
    SignatureError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.header import Halves, Header, Kind
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Signer
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.receipt import (
    Receipt,
    VerifiedReceipt,
    check_body,
    receipts_of,
    verify_receipt,
)

TRANSFER, SIZE = 2, 7


@pytest.fixture(scope="module")
def border() -> Border:
    """The mainland's log: GENESIS, KEY, the TRANSFER at 2, and four entries of the node."""
    border = new_border()
    border.mainland.record(border.exporter, transfer=border.transfer())
    for number in range(3, SIZE):
        border.mainland.by_node(rule_set=pb.RuleSet(version=str(number), digest=bytes(32)))
    return border


@pytest.fixture(scope="module")
def receipt(border: Border) -> Receipt:
    return border.mainland.receipt(TRANSFER)


@pytest.fixture(scope="module")
def cosigned(border: Border) -> Receipt:
    return border.mainland.receipt(TRANSFER, cosigner=border.hong_kong)


def verified(
    border: Border, receipt: Receipt, *, require_cosignature: bool = False, strict: bool = True
) -> VerifiedReceipt:
    return verify_receipt(
        receipt,
        border.mainland.history(),
        border.hong_kong.history(),
        require_cosignature=require_cosignature,
        strict=strict,
    )


def cancelled(log: Log, key: SigningKey, *, key_index: int = 1, **changes: int) -> Header:
    """A CANCEL by an institution's key, for the end of the log."""
    halves = Halves(bytes(32), bytes(32), 0, HONG_KONG)
    return log.header(Kind.CANCEL, b"body", key, key_index=key_index, halves=halves, **changes)


def in_the_last_place(log: Log, header: Header) -> Receipt:
    """A receipt for a header that the node took and should not have, from a copy of the log."""
    copy = replace(log, entries=log.entries[: header.index])
    copy.append(header, b"")
    return copy.receipt(header.index)


class TestAReceipt:
    @pytest.mark.parametrize("size", range(TRANSFER + 1, SIZE + 1))
    def test_verifies_at_every_size_that_holds_its_entry(self, border: Border, size: int) -> None:
        receipt = border.mainland.receipt(TRANSFER, size)
        assert verified(border, receipt).checkpoint.size == size

    def test_tells_the_institution_that_signed(self, border: Border, receipt: Receipt) -> None:
        assert verified(border, receipt).institution == EXPORTER

    @pytest.mark.parametrize("index", [0, 1, 3])
    def test_by_authority_or_node_tells_no_institution(self, border: Border, index: int) -> None:
        assert verified(border, border.mainland.receipt(index)).institution is None

    def test_tells_header_and_index(self, border: Border, receipt: Receipt) -> None:
        header = Header.parse(border.mainland.entries[TRANSFER][0])
        assert (verified(border, receipt).header, receipt.index) == (header, TRANSFER)

    def test_of_the_only_entry_needs_no_proof(self, border: Border) -> None:
        receipt = border.mainland.receipt(0, 1)
        assert (receipt.proof, verified(border, receipt).header.kind) == ((), Kind.GENESIS)


class TestCosignature:
    def test_dates_the_checkpoint(self, border: Border, cosigned: Receipt) -> None:
        assert verified(border, cosigned).cosigned_at == border.mainland.now // 1_000_000

    def test_that_is_not_there_dates_nothing(self, border: Border, receipt: Receipt) -> None:
        assert verified(border, receipt).cosigned_at is None

    def test_may_be_required(self, border: Border, cosigned: Receipt) -> None:
        assert verified(border, cosigned, require_cosignature=True).cosigned_at is not None

    def test_that_is_required_and_not_there_is_missed(
        self, border: Border, receipt: Receipt
    ) -> None:
        with pytest.raises(TrustError) as refused:
            verified(border, receipt, require_cosignature=True)
        assert refused.value.reason == "NOT_COSIGNED"

    def test_by_the_logs_own_node_is_none(self, border: Border) -> None:
        receipt = border.mainland.receipt(TRANSFER, cosigner=border.mainland)
        with pytest.raises(TrustError):
            verified(border, receipt)

    def test_by_the_logs_own_node_is_none_even_to_who_takes_it_for_the_peer(
        self, border: Border
    ) -> None:
        receipt = border.mainland.receipt(TRANSFER, cosigner=border.mainland)
        own = border.mainland.history()
        with pytest.raises(TrustError):
            verify_receipt(receipt, own, own)

    def test_by_a_log_that_genesis_does_not_name_is_none(self, border: Border) -> None:
        stranger = Log("gba.example/macao")
        stranger.by_authority(genesis=stranger.genesis(border.mainland))
        receipt = border.mainland.receipt(TRANSFER, cosigner=stranger)
        with pytest.raises(TrustError):
            verify_receipt(receipt, border.mainland.history(), stranger.history())

    def test_by_a_stranger_under_the_peers_name_is_refused(self, border: Border) -> None:
        receipt = border.mainland.receipt(TRANSFER, cosigner=Log(HONG_KONG))
        with pytest.raises(TrustError):
            verified(border, receipt)

    def test_of_another_size_is_refused(self, border: Border, cosigned: Receipt) -> None:
        own = border.mainland.checkpoint(SIZE - 1)
        pasted = own + cosigned.checkpoint.splitlines(keepends=True)[-1]
        receipt = replace(border.mainland.receipt(TRANSFER, SIZE - 1), checkpoint=pasted)
        with pytest.raises(SignatureError):
            verified(border, receipt)

    def test_without_the_peers_history_is_an_unknown_line(
        self, border: Border, cosigned: Receipt
    ) -> None:
        with pytest.raises(TrustError):
            verify_receipt(cosigned, border.mainland.history())


class TestUnknownLines:
    def test_are_refused_in_a_file(self, border: Border) -> None:
        receipt = border.mainland.receipt(TRANSFER, cosigner=Log("gba.example/macao"))
        with pytest.raises(TrustError):
            verified(border, receipt)

    def test_are_skipped_in_a_note_from_the_network(self, border: Border) -> None:
        receipt = border.mainland.receipt(TRANSFER, cosigner=Log("gba.example/macao"))
        assert verified(border, receipt, strict=False).cosigned_at is None

    def test_are_skipped_in_a_checkpoint_from_the_network(self, border: Border) -> None:
        note = border.mainland.checkpoint(cosigner=Log("gba.example/macao"))
        opened = open_log_checkpoint(note, border.mainland.history(), border.hong_kong.history())
        assert opened.checkpoint.size == SIZE


class TestWhatProvesNothing:
    def test_a_proof_for_another_index(self, border: Border, receipt: Receipt) -> None:
        other = replace(receipt, proof=border.mainland.receipt(3).proof)
        with pytest.raises(ProofError):
            verified(border, other)

    def test_a_proof_one_hash_short(self, border: Border, receipt: Receipt) -> None:
        with pytest.raises(ProofError):
            verified(border, replace(receipt, proof=receipt.proof[:-1]))

    def test_a_proof_one_hash_long(self, border: Border, receipt: Receipt) -> None:
        with pytest.raises(ProofError):
            verified(border, replace(receipt, proof=(*receipt.proof, bytes(32))))

    def test_a_checkpoint_too_small_for_the_index(self, border: Border, receipt: Receipt) -> None:
        small = replace(receipt, checkpoint=border.mainland.checkpoint(TRANSFER))
        with pytest.raises(ProofError):
            verified(border, small)

    def test_a_checkpoint_of_another_size(self, border: Border, receipt: Receipt) -> None:
        other = replace(receipt, checkpoint=border.mainland.checkpoint(SIZE - 1))
        with pytest.raises(ProofError):
            verified(border, other)

    def test_a_checkpoint_of_the_other_log(self, border: Border, receipt: Receipt) -> None:
        other = replace(receipt, checkpoint=border.hong_kong.checkpoint())
        with pytest.raises(TrustError):
            verified(border, other)

    def test_a_checkpoint_by_another_key(self, border: Border, receipt: Receipt) -> None:
        forged = replace(border.mainland, log_key=new_key())
        with pytest.raises(TrustError):
            verified(border, replace(receipt, checkpoint=forged.checkpoint()))

    def test_a_checkpoint_that_the_log_signed_under_another_name(
        self, border: Border, receipt: Receipt
    ) -> None:
        leaves = border.mainland.leaves
        other = Checkpoint(HONG_KONG, SIZE, merkle.root(node_of(leaves), SIZE))
        note = sign_checkpoint(other, Signer(HONG_KONG, ED25519, border.mainland.log_key))
        with pytest.raises(TrustError):
            verified(border, replace(receipt, checkpoint=note))

    def test_another_header(self, border: Border, receipt: Receipt) -> None:
        with pytest.raises(ProofError):
            verified(border, replace(receipt, header=border.mainland.entries[3][0]))

    def test_a_header_with_another_index(self, border: Border, receipt: Receipt) -> None:
        moved = replace(Header.parse(receipt.header), index=3)
        with pytest.raises(ProofError):
            verified(border, replace(receipt, header=moved.encode()))

    def test_a_signature_for_the_other_log(self, border: Border) -> None:
        # The node took, at its index 7, what was signed for the other log.
        log = border.mainland
        signed = cancelled(replace(log, origin=HONG_KONG), border.exporter.key)
        with pytest.raises(SignatureError):
            verified(border, in_the_last_place(log, signed))

    def test_a_signature_that_fails(self, border: Border) -> None:
        log = border.mainland
        forged = log.header(Kind.NODE, b"body", log.entry_key, signature=bytes(64))
        with pytest.raises(SignatureError):
            verified(border, in_the_last_place(log, forged))

    @pytest.mark.parametrize("kind", [Kind.NODE, Kind.KEY, Kind.LOSS])
    def test_an_institutions_signature_on_what_is_not_its_to_say(
        self, border: Border, kind: Kind
    ) -> None:
        forged = border.mainland.header(kind, b"body", border.exporter.key, key_index=1)
        with pytest.raises(ForbiddenError):
            verified(border, in_the_last_place(border.mainland, forged))

    def test_a_signature_by_a_key_that_was_never_admitted(self, border: Border) -> None:
        forged = cancelled(border.mainland, new_key())
        with pytest.raises(ForbiddenError):
            verified(border, in_the_last_place(border.mainland, forged))

    def test_a_signature_by_a_key_admitted_elsewhere(self, border: Border) -> None:
        forged = cancelled(border.mainland, border.recipient.key)
        with pytest.raises(ForbiddenError):
            verified(border, in_the_last_place(border.mainland, forged))

    def test_a_signature_under_another_key_index(self, border: Border) -> None:
        forged = cancelled(border.mainland, border.exporter.key, key_index=0)
        with pytest.raises(ForbiddenError):
            verified(border, in_the_last_place(border.mainland, forged))

    def test_a_history_that_ends_before_the_key_was_admitted(
        self, border: Border, receipt: Receipt
    ) -> None:
        early = replace(border.mainland, entries=border.mainland.entries[:1])
        with pytest.raises(ForbiddenError):
            verify_receipt(receipt, early.history())


class TestRevocation:
    """The key is revoked at 7."""

    @pytest.fixture
    def revoked(self, border: Border) -> Border:
        log = replace(border.mainland, entries=list(border.mainland.entries))
        log.by_authority(key_event=log.revocation(border.exporter))
        return replace(border, mainland=log)

    def test_leaves_what_was_signed_before_it(self, revoked: Border) -> None:
        assert verified(revoked, revoked.mainland.receipt(TRANSFER)).institution == EXPORTER

    def test_voids_what_is_signed_after_it(self, revoked: Border) -> None:
        log = revoked.mainland
        late = cancelled(log, revoked.exporter.key)
        with pytest.raises(ForbiddenError) as refused:
            verified(revoked, in_the_last_place(log, late))
        assert refused.value.reason == "KEY_REVOKED"

    def test_voids_what_is_signed_in_its_place(self, revoked: Border) -> None:
        log = revoked.mainland
        at = cancelled(log, revoked.exporter.key, index=SIZE)
        with pytest.raises(ForbiddenError) as refused:
            verified(revoked, in_the_last_place(log, at))
        assert refused.value.reason == "KEY_REVOKED"

    def test_leaves_the_entry_just_before_it(self, revoked: Border) -> None:
        log = revoked.mainland
        before = cancelled(log, revoked.exporter.key, index=SIZE - 1)
        assert verified(revoked, in_the_last_place(log, before)).institution == EXPORTER


class TestBody:
    def test_that_was_recorded_is_taken(self, border: Border, receipt: Receipt) -> None:
        check_body(receipt, border.mainland.entries[TRANSFER][1])

    def test_another_is_refused(self, border: Border, receipt: Receipt) -> None:
        with pytest.raises(VerificationError) as refused:
            check_body(receipt, border.mainland.entries[TRANSFER][1] + b"\0")
        assert refused.value.reason == "BODY_MISMATCH"


class TestReceiptsOfACall:
    def test_are_cut_from_its_range_proof(self, border: Border) -> None:
        log = border.mainland
        first, end, leaves = 2, 6, log.leaves
        proof = ranges.range_proof(node_of(leaves), first, end, SIZE)
        proofs = ranges.cut_inclusion(leaves[first:end], first, SIZE, proof)
        headers = [header for header, _ in log.entries[first:end]]
        cut = receipts_of(headers, proofs, checkpoint := log.checkpoint())
        asked = [replace(log.receipt(at), checkpoint=checkpoint) for at in range(first, end)]
        assert cut == asked


def by_hand(receipt: Receipt) -> bytes:
    """C2SP tlog-proof, as docs/format.md restates it."""
    lines = [
        "c2sp.org/tlog-proof@v1",
        f"extra {b64encode(receipt.header).decode()}",
        f"index {TRANSFER}",
        *(b64encode(node).decode() for node in receipt.proof),
        "",
    ]
    return "".join(line + "\n" for line in lines).encode() + receipt.checkpoint


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "a note": lambda file: file.partition(b"\n\n")[2],
    "no note": lambda file: file.partition(b"\n\n")[0] + b"\n\n",
    "no empty line": lambda file: file.replace(b"\n\n", b"\n", 1),
    "two empty lines": lambda file: file.replace(b"\n\n", b"\n\n\n", 1),
    "another version": lambda file: file.replace(b"@v1", b"@v2"),
    "a byte order mark": lambda file: b"\xef\xbb\xbf" + file,
    "an empty line at the start": lambda file: b"\n" + file,
    "carriage returns": lambda file: file.replace(b"\n", b"\r\n"),
    "no header": lambda file: b"\n".join(file.split(b"\n")[:1] + file.split(b"\n")[2:]),
    "no index": lambda file: file.replace(b"index 2\n", b""),
    "an empty header": lambda file: file.replace(file.split(b"\n")[1], b"extra "),
    "index before the header": lambda file: b"\n".join(
        [file.split(b"\n")[at] for at in (0, 2, 1)] + file.split(b"\n")[3:]
    ),
    "the header twice": lambda file: file.replace(b"index", file.split(b"\n")[1] + b"\nindex"),
    "the index twice": lambda file: file.replace(b"index 2\n", b"index 2\nindex 2\n"),
    "another index": lambda file: file.replace(b"index 2", b"index 3"),
    "an index with a leading zero": lambda file: file.replace(b"index 2", b"index 02"),
    "a negative index": lambda file: file.replace(b"index 2", b"index -2"),
    "an index of 2^64 more": lambda file: file.replace(b"index 2", b"index 18446744073709551618"),
    "an index in other digits": lambda file: file.replace(b"index 2", "index \uff12".encode()),
    "two spaces": lambda file: file.replace(b"index ", b"index  "),
    "a hash of 31 bytes": lambda file: file.replace(b"index 2\n", b"index 2\n" + b"A" * 40 + b"AA==\n"),
    "a hash of 33 bytes": lambda file: file.replace(b"index 2\n", b"index 2\n" + b"A" * 44 + b"\n"),
    "an empty hash": lambda file: file.replace(b"index 2\n", b"index 2\n\n"),
    "a hash with a space": lambda file: file.replace(b"index 2\n", b"index 2\n "),
"no word before the header": lambda file: file.replace(b"extra ", b""),
    "no word before the index": lambda file: file.replace(b"index ", b""),
    "another word before the header": lambda file: file.replace(b"extra ", b"index "),
    "another word before the index": lambda file: file.replace(b"index ", b"extra "),
    "no newline at the end": lambda file: file[:-1],
    "an empty line at the end": lambda file: file + b"\n",
    "a signature that is not base64": lambda file: file[:-2] + b"*\n",
}  # fmt: skip


class TestFile:
    def test_is_a_tlog_proof_with_the_header_in_extra(self, receipt: Receipt) -> None:
        assert receipt.format() == by_hand(receipt)

    def test_is_read(self, receipt: Receipt) -> None:
        assert Receipt.parse(by_hand(receipt)) == receipt

    @pytest.mark.parametrize("what", SPOILED)
    def test_in_another_spelling_is_refused(self, cosigned: Receipt, what: str) -> None:
        with pytest.raises(MalformedError):
            Receipt.parse(SPOILED[what](cosigned.format()))

    def test_may_have_64_hashes(self, receipt: Receipt) -> None:
        long = replace(receipt, proof=(bytes(32),) * 64)
        assert Receipt.parse(long.format()) == long

    def test_may_not_have_65_hashes(self, receipt: Receipt) -> None:
        with pytest.raises(MalformedError):
            Receipt.parse(replace(receipt, proof=(bytes(32),) * 65).format())

    def test_with_a_header_that_is_none_is_refused(self, receipt: Receipt) -> None:
        header = b64encode(receipt.header)
        spoiled = b64encode(receipt.header[:-1])
        with pytest.raises(MalformedError):
            Receipt.parse(receipt.format().replace(header, spoiled))

    @given(st.integers(0, SIZE - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=64))
    def test_what_is_written_is_read(
        self, border: Border, receipt: Receipt, index: int, proof: list[bytes]
    ) -> None:
        other = Receipt(border.mainland.entries[index][0], tuple(proof), receipt.checkpoint)
        assert Receipt.parse(other.format()) == other

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            Receipt.parse(data)

    @given(st.data())
    def test_what_is_read_of_changed_bytes_is_written_the_same(
        self, cosigned: Receipt, data: st.DataObject
    ) -> None:
        original = cosigned.format()
        place = data.draw(st.integers(0, len(original) - 1))
        inserted = data.draw(st.text("\n A=+/0\u2014", max_size=4)).encode()
        changed = original[:place] + inserted + original[place + 1 :]
        try:
            receipt = Receipt.parse(changed)
        except LedgerError:
            return
        assert receipt.format() == changed

    def test_does_not_survive_a_changed_bit(self, border: Border, cosigned: Receipt) -> None:
        ours, theirs = border.mainland.history(), border.hong_kong.history()
        file = cosigned.format()
        survived = []
        for bit in range(len(file) * 8):
            changed = bytearray(file)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                verify_receipt(Receipt.parse(bytes(changed)), ours, theirs)
            except LedgerError:
                continue
            survived.append(bit)
        assert survived == []

    @pytest.mark.parametrize("inserted", [b"\n", b" ", b"A", b"=", b"0", b"\r", b"\0"])
    def test_does_not_survive_an_added_byte(
        self, border: Border, cosigned: Receipt, inserted: bytes
    ) -> None:
        ours, theirs = border.mainland.history(), border.hong_kong.history()
        file = cosigned.format()
        survived = []
        for at in range(len(file) + 1):
            try:
                verify_receipt(Receipt.parse(file[:at] + inserted + file[at:]), ours, theirs)
            except LedgerError:
                continue
            survived.append(at)
        assert survived == []

    def test_does_not_survive_a_missing_byte(self, border: Border, cosigned: Receipt) -> None:
        ours, theirs = border.mainland.history(), border.hong_kong.history()
        file = cosigned.format()
        survived = []
        for at in range(len(file)):
            try:
                verify_receipt(Receipt.parse(file[:at] + file[at + 1 :]), ours, theirs)
            except LedgerError:
                continue
            survived.append(at)
        assert survived == []

    def test_of_the_other_log_is_refused(self, border: Border, receipt: Receipt) -> None:
        with pytest.raises(TrustError):
            verify_receipt(receipt, border.hong_kong.history(), border.mainland.history())

    def test_names_its_own_log(self, receipt: Receipt) -> None:
        assert receipt.checkpoint.startswith(MAINLAND.encode() + b"\n")

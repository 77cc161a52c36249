"""Evidence: what proves a contradiction, what does not, and the one spelling of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from builders import HONG_KONG, Border, Log, new_border, new_key, node_of

from ledgerd_client.core import merkle
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import (
    InputError,
    MalformedError,
    ProofError,
    SignatureError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.evidence import Evidence, fork_evidence
from ledgerd_client.core.note import ED25519, Signer


def grown(log: Log, border: Border, size: int) -> Log:
    while len(log.entries) < size:
        log.record(border.recipient, ack=border.ack(border.transfer()))
    return log


@pytest.fixture
def border() -> Border:
    return new_border()


@pytest.fixture
def honest(border: Border) -> Log:
    return grown(border.hong_kong, border, 11)


@pytest.fixture
def forked(border: Border, honest: Log) -> Log:
    """The same log and keys, another history after entry 4."""
    return grown(replace(honest, entries=honest.entries[:5]), border, 11)


def of_two_sizes(honest: Log, forked: Log, smaller: int = 7, larger: int = 11) -> Evidence:
    """The fork's smaller checkpoint against the honest larger one."""
    leaves = honest.leaves
    return fork_evidence(
        forked.checkpoint(smaller),
        honest.checkpoint(larger),
        root=merkle.root(node_of(leaves), smaller),
        proof=merkle.consistency_proof(node_of(leaves), smaller, larger),
    )


class TestOneSize:
    def test_two_trees_of_one_size_are_a_contradiction(self, honest: Log, forked: Log) -> None:
        evidence = fork_evidence(honest.checkpoint(), forked.checkpoint())
        one, other = evidence.verify(honest.history())
        assert (one.size, other.size, one.root != other.root) == (11, 11, True)

    def test_one_tree_is_none(self, honest: Log) -> None:
        with pytest.raises(VerificationError):
            fork_evidence(honest.checkpoint(), honest.checkpoint()).verify(honest.history())

    def test_cosignatures_on_one_tree_are_none(self, border: Border, honest: Log) -> None:
        cosigned = honest.checkpoint(cosigner=border.mainland)
        with pytest.raises(VerificationError):
            fork_evidence(honest.checkpoint(), cosigned).verify(honest.history())

    def test_the_order_does_not_matter(self, honest: Log, forked: Log) -> None:
        one, other = honest.checkpoint(), forked.checkpoint()
        assert fork_evidence(one, other) == fork_evidence(other, one)

    def test_a_proof_that_nothing_asks_for_is_malformed(self, honest: Log, forked: Log) -> None:
        evidence = fork_evidence(honest.checkpoint(), forked.checkpoint(), root=bytes(32))
        with pytest.raises(MalformedError):
            evidence.verify(honest.history())


class TestTwoSizes:
    @pytest.mark.parametrize("smaller", [6, 7, 8, 10])
    def test_another_root_than_the_larger_tree_had_is_a_contradiction(
        self, honest: Log, forked: Log, smaller: int
    ) -> None:
        one, other = of_two_sizes(honest, forked, smaller).verify(honest.history())
        assert (one.size, other.size) == (smaller, 11)

    @pytest.mark.parametrize("smaller", [1, 3, 4, 5])
    def test_before_the_fork_there_is_none(self, honest: Log, forked: Log, smaller: int) -> None:
        with pytest.raises(VerificationError, match="agree"):
            of_two_sizes(honest, forked, smaller).verify(honest.history())

    def test_an_empty_tree_with_another_root_is_a_contradiction(self, honest: Log) -> None:
        signer = Signer(honest.origin, ED25519, honest.log_key)
        empty = sign_checkpoint(Checkpoint(honest.origin, 0, bytes(32)), signer)
        evidence = fork_evidence(empty, honest.checkpoint(), root=merkle.EMPTY_ROOT)
        assert evidence.verify(honest.history())[0].size == 0

    def test_an_empty_tree_contradicts_nothing(self, honest: Log) -> None:
        empty = replace(honest, entries=[]).checkpoint()
        evidence = fork_evidence(empty, honest.checkpoint(), root=merkle.EMPTY_ROOT)
        with pytest.raises(VerificationError, match="agree"):
            evidence.verify(honest.history())

    def test_without_a_proof_it_is_none(self, honest: Log, forked: Log) -> None:
        evidence = replace(of_two_sizes(honest, forked), proof=())
        with pytest.raises(ProofError):
            evidence.verify(honest.history())

    def test_without_a_root_it_is_none(self, honest: Log, forked: Log) -> None:
        evidence = replace(of_two_sizes(honest, forked), root=b"")
        with pytest.raises(ProofError):
            evidence.verify(honest.history())

    def test_a_root_made_up_is_none(self, honest: Log, forked: Log) -> None:
        evidence = replace(of_two_sizes(honest, forked), root=bytes(32))
        with pytest.raises(ProofError):
            evidence.verify(honest.history())


class TestWhoIsAccused:
    def test_another_key_accuses_nobody(self, honest: Log, forked: Log) -> None:
        stranger = replace(forked, log_key=new_key())
        with pytest.raises(TrustError):
            fork_evidence(honest.checkpoint(), stranger.checkpoint()).verify(honest.history())

    def test_another_log_is_not_this_one(self, border: Border, honest: Log, forked: Log) -> None:
        with pytest.raises(TrustError):
            fork_evidence(honest.checkpoint(), forked.checkpoint()).verify(
                border.mainland.history()
            )

    def test_a_signature_that_fails_accuses_nobody(self, honest: Log, forked: Log) -> None:
        broken = forked.checkpoint(7).replace(
            HONG_KONG.encode() + b"\n7\n", HONG_KONG.encode() + b"\n8\n"
        )
        with pytest.raises(SignatureError):
            fork_evidence(broken, honest.checkpoint()).verify(honest.history())


class TestFile:
    def test_bundle_of_one_size_is_read_as_written(self, honest: Log, forked: Log) -> None:
        evidence = fork_evidence(honest.checkpoint(), forked.checkpoint())
        assert Evidence.parse(evidence.format()) == evidence

    def test_bundle_of_two_sizes_is_read_as_written(self, honest: Log, forked: Log) -> None:
        evidence = of_two_sizes(honest, forked)
        assert Evidence.parse(evidence.format()) == evidence

    def test_it_holds_both_notes_whole(self, honest: Log, forked: Log) -> None:
        bundle = of_two_sizes(honest, forked).format()
        assert forked.checkpoint(7) in bundle
        assert honest.checkpoint() in bundle

    def test_it_reads(self, honest: Log, forked: Log) -> None:
        note, other = sorted((honest.checkpoint(), forked.checkpoint()))
        evidence = fork_evidence(honest.checkpoint(), forked.checkpoint())
        head = b"ledgerd-evidence/v1\n"
        lines = b"note %d\n%bnote %d\n%b" % (len(note), note, len(other), other)
        assert evidence.format() == head + lines

    MISSPELT: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data[:0],
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b"\n" + data,
        lambda data: data.replace(b"/v1", b"/v2"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"root ", b"ROOT "),
        lambda data: data.replace(b"root ", b"root  "),
        lambda data: data.replace(b"root ", b"hash "),
        lambda data: data.replace(b"hash ", b"hash \n hash "),
        lambda data: data.replace(b"hash ", b"hash \xff"),
        lambda data: data.replace(b"\nnote ", b"\nnote 0"),
        lambda data: data.replace(b"\nnote ", b"\nnote +"),
        lambda data: data.replace(b"\nnote ", b"\nnote 99999999999999999999"),
        lambda data: data.partition(b"\nnote ")[0] + b"\n",
        lambda data: data.replace("—".encode(), b"-"),
    )

    @pytest.mark.parametrize("change", range(len(MISSPELT)))
    def test_any_other_spelling_is_malformed(self, honest: Log, forked: Log, change: int) -> None:
        bundle = of_two_sizes(honest, forked).format()
        with pytest.raises(MalformedError):
            Evidence.parse(self.MISSPELT[change](bundle))

    def test_the_larger_note_first_is_malformed(self, honest: Log, forked: Log) -> None:
        evidence = of_two_sizes(honest, forked)
        turned = replace(evidence, smaller=evidence.larger, larger=evidence.smaller)
        with pytest.raises(MalformedError):
            Evidence.parse(turned.format())

    def test_no_byte_can_be_changed(self, honest: Log, forked: Log) -> None:
        bundle, history = of_two_sizes(honest, forked).format(), honest.history()
        survivors = []
        for place in range(len(bundle)):
            changed = bytearray(bundle)
            changed[place] ^= 1
            try:
                Evidence.parse(bytes(changed)).verify(history)
            except (InputError, VerificationError):
                continue
            survivors.append(place)
        assert survivors == []

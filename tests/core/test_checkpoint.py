"""Checkpoints and cosignatures: published vectors, the one spelling, and who is believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.checkpoint import (
    Checkpoint,
    OpenedCheckpoint,
    add_signatures,
    cosign,
    open_checkpoint,
    sign_checkpoint,
)
from ledgerd_client.core.encoding import parse_base64
from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    MalformedError,
    ProofError,
    SignatureError,
    TooLargeError,
    TrustError,
)
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.merkle import EMPTY_ROOT, verify_consistency
from ledgerd_client.core.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    Signature,
    Signer,
    parse_note,
    parse_vkey,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text())
PARSE = VECTORS["checkpoint_parse"]
COSIGNATURES = VECTORS["cosignatures_v1_ed25519"]["cases"]
WITNESS = VECTORS["tlog_witness_add_checkpoint_sequence"]

ORIGIN = "mainland.example/ledger"
ROOT = bytes(range(32))
ROOT_BASE64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CHECKPOINT = Checkpoint(ORIGIN, 70_000, ROOT)
TEXT = f"{ORIGIN}\n70000\n{ROOT_BASE64}\n"
SECOND = 1_700_000_000


def log_signer(origin: str = ORIGIN) -> Signer:
    return Signer(origin, ED25519, SigningKey(os.urandom(32)))


def cosigner(name: str = "hongkong.example/ledger") -> Signer:
    return Signer(name, COSIGNATURE_V1, SigningKey(os.urandom(32)))


def cosigned_by(log: Signer, *witnesses: Signer, second: int = SECOND) -> bytes:
    lines = [cosign(CHECKPOINT, witness, second) for witness in witnesses]
    return add_signatures(sign_checkpoint(CHECKPOINT, log), lines)


class TestText:
    def test_is_origin_size_and_root(self) -> None:
        assert CHECKPOINT.format() == TEXT

    def test_is_read_as_it_was_written(self) -> None:
        assert Checkpoint.parse(TEXT) == CHECKPOINT

    def test_empty_tree_has_size_0(self) -> None:
        text = f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
        assert Checkpoint.parse(text) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)

    @pytest.mark.parametrize("text", PARSE["reject"])
    def test_published_bad_text_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedError):
            Checkpoint.parse(text)

    # The publisher's parser takes a root of any length and extension lines. A root of ours is
    # SHA-256, and no monitor can audit an extension line, so both of its good texts are refused:
    # the first for 7 bytes of root, the second for 38 bytes of root and an extension line.
    @pytest.mark.parametrize("case", PARSE["accept"], ids=["short root", "extension line"])
    def test_published_good_text_is_refused_by_our_stricter_rule(
        self, case: dict[str, Any]
    ) -> None:
        with pytest.raises(MalformedError):
            Checkpoint.parse(case["text"])

    def test_no_other_published_text_is_called_good(self) -> None:
        assert [case["size"] for case in PARSE["accept"]] == [123, 9944]

    REFUSED = {  # noqa: RUF012 - a table, read only
        "nothing": "",
        "no last newline": TEXT[:-1],
        "an extension line": f"{TEXT}extension\n",
        "an extension line without its newline": f"{TEXT}extension",
        "an empty line": f"{TEXT}\n",
        "an empty first line": f"\n{TEXT}",
        "carriage returns": TEXT.replace("\n", "\r\n"),
        "no origin": TEXT.replace(ORIGIN, ""),
        "space in the origin": TEXT.replace(ORIGIN, "mainland example"),
        "no-break space in the origin": TEXT.replace(ORIGIN, "mainland\u00a0example"),
        "line separator in the origin": TEXT.replace(ORIGIN, "mainland\u2028example"),
        "plus in the origin": TEXT.replace(ORIGIN, "mainland+example"),
        "control in the origin": TEXT.replace(ORIGIN, "mainland\x7fexample"),
        "second control in the origin": TEXT.replace(ORIGIN, "mainland\x85example"),
        "surrogate in the origin": TEXT.replace(ORIGIN, "mainland\ud800example"),
        "origin beyond ASCII": TEXT.replace(ORIGIN, "\u03b1\u03b1"),
        "origin of 201 bytes": TEXT.replace(ORIGIN, "a" * 201),
        "no size": TEXT.replace("70000", ""),
        "leading zero": TEXT.replace("70000", "070000"),
        "double zero": TEXT.replace("70000", "00"),
        "plus sign": TEXT.replace("70000", "+70000"),
        "minus sign": TEXT.replace("70000", "-70000"),
        "minus zero": TEXT.replace("70000", "-0"),
        "space before the size": TEXT.replace("70000", " 70000"),
        "underscore": TEXT.replace("70000", "70_000"),
        "hexadecimal": TEXT.replace("70000", "0x70"),
        "other digits": TEXT.replace("70000", "\u0667\u0660"),
        "2^63": TEXT.replace("70000", str(2**63)),
        "2^64": TEXT.replace("70000", str(2**64)),
        "no root": TEXT.replace(ROOT_BASE64, ""),
        "root of 31 bytes": TEXT.replace(ROOT_BASE64, ROOT_BASE64[:-4] + "HQ=="),
        "root of 33 bytes": TEXT.replace(ROOT_BASE64, ROOT_BASE64[:-4] + "Hh8g"),
        "root without padding": TEXT.replace("=", ""),
        "root with stray bits": TEXT.replace("Hh8=", "Hh9="),
        "root in another alphabet": TEXT.replace(ROOT_BASE64, "_" * 43 + "="),
        "root in hexadecimal": TEXT.replace(ROOT_BASE64, ROOT.hex()),
    }

    @pytest.mark.parametrize("what", REFUSED)
    def test_another_spelling_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            Checkpoint.parse(self.REFUSED[what])

    @pytest.mark.parametrize("origin", ["a" * 200, "a", "log.example/1-2_3~4"])
    def test_origin_of_up_to_200_bytes_is_read(self, origin: str) -> None:
        assert Checkpoint.parse(TEXT.replace(ORIGIN, origin)).origin == origin

    def test_largest_size_is_read(self) -> None:
        assert Checkpoint.parse(TEXT.replace("70000", str(2**63 - 1))).size == 2**63 - 1

    @pytest.mark.parametrize(
        ("origin", "size", "root"),
        [("", 1, ROOT), ("a b", 1, ROOT), (ORIGIN, -1, ROOT), (ORIGIN, 2**63, ROOT)]
        + [(ORIGIN, 1, root) for root in (b"", ROOT[:-1], ROOT + b"\x00")],
    )
    def test_what_can_not_be_written_can_not_be_made(
        self, origin: str, size: int, root: bytes
    ) -> None:
        with pytest.raises(MalformedError):
            Checkpoint(origin, size, root)


class TestPublishedCosignatures:
    # These notes carry no log signature of a type that we know, so no checkpoint can be opened
    # from them; test_note.py opens them as notes. Here the witness's line is cut out and put on a
    # note of a log of ours that says the same, for the signed text is the same.
    @pytest.mark.parametrize("case", COSIGNATURES, ids=lambda case: case["what"])
    def test_is_believed_for_its_time(self, case: dict[str, Any]) -> None:
        key = parse_vkey(case["cosigner_vkey_type_0x04"])
        published = parse_note(case["note"].encode())
        log = log_signer("rome2026h1.example.org")
        note = add_signatures(
            sign_checkpoint(Checkpoint.parse(published.text), log), published.signatures[-1:]
        )
        opened = open_checkpoint(note, log=[log.verifier], cosigners=[key], strict=True)
        assert opened.cosigned == {key: case["timestamp"]}

    @pytest.mark.parametrize("case", COSIGNATURES, ids=lambda case: case["what"])
    def test_does_not_stand_in_for_the_logs_signature(self, case: dict[str, Any]) -> None:
        key = parse_vkey(case["cosigner_vkey_type_0x04"])
        log = log_signer("rome2026h1.example.org").verifier
        with pytest.raises(TrustError):
            open_checkpoint(case["note"].encode(), log=[log], cosigners=[key])


def witness_request(number: int) -> tuple[int, list[bytes], bytes]:
    """Old size, proof and note of a published add-checkpoint request, counted from 1."""
    head, _, note = WITNESS["requests"][number - 1]["request_body"].partition("\n\n")
    first, *proof = head.split("\n")
    return int(first.removeprefix("old ")), [parse_base64(line) for line in proof], note.encode()


class TestPublishedWitnessRequests:
    """What a witness decides with these parts alone; its state is somebody else's test."""

    LOG = parse_vkey(WITNESS["log_vkey"])

    def opened(self, number: int) -> Checkpoint:
        _, _, note = witness_request(number)
        return open_checkpoint(note, log=[self.LOG], strict=True).checkpoint

    # Request of the checkpoint that each old size refers to.
    ROOT_OF = {1: 1, 3: 6}  # noqa: RUF012 - a table, read only

    def verify(self, number: int) -> None:
        old_size, proof, _ = witness_request(number)
        new = self.opened(number)
        old_root = self.opened(self.ROOT_OF[old_size]).root if old_size else EMPTY_ROOT
        verify_consistency(old_size, old_root, new.size, new.root, proof)

    # 7 and 9 come with an old size that the witness has left behind; their proofs are good.
    @pytest.mark.parametrize("number", [1, 6, 7, 8, 9])
    def test_good_proof_under_a_good_signature_is_believed(self, number: int) -> None:
        self.verify(number)

    @pytest.mark.parametrize("number", [4, 5])
    def test_bad_proof_under_a_good_signature_is_refused(self, number: int) -> None:
        assert WITNESS["requests"][number - 1]["expect_status_current_spec"] == 422
        with pytest.raises(ProofError):
            self.verify(number)

    def test_signature_whose_base64_is_not_canonical_is_malformed(self) -> None:
        with pytest.raises(MalformedError):
            self.opened(2)

    def test_unknown_origin_is_not_trusted(self) -> None:
        with pytest.raises(TrustError):
            self.opened(3)

    def test_the_last_one_is_what_the_sequence_ends_with(self) -> None:
        final = parse_base64(WITNESS["final_root_b64"])
        assert self.opened(8) == Checkpoint(self.LOG.name, WITNESS["final_size"], final)


class TestSigning:
    def test_signed_checkpoint_opens(self) -> None:
        log = log_signer()
        note = sign_checkpoint(CHECKPOINT, log)
        opened = open_checkpoint(note, log=[log.verifier], strict=True)
        assert opened == OpenedCheckpoint(CHECKPOINT, note, (log.verifier,), {})

    def test_log_key_signs_the_text_itself(self) -> None:
        key = SigningKey(os.urandom(32))
        note = sign_checkpoint(CHECKPOINT, Signer(ORIGIN, ED25519, key))
        assert parse_note(note).signatures[0].signature == key.sign(TEXT.encode())

    def test_both_keys_sign_at_a_rotation(self) -> None:
        old, new = log_signer(), log_signer()
        note = sign_checkpoint(CHECKPOINT, old, new)
        opened = open_checkpoint(note, log=[new.verifier, old.verifier], strict=True)
        assert set(opened.signed) == {old.verifier, new.verifier}

    @pytest.mark.parametrize("wrong", [log_signer("other.example"), cosigner(ORIGIN)])
    def test_only_a_log_key_of_the_origin_may_sign(self, wrong: Signer) -> None:
        with pytest.raises(FieldError):
            sign_checkpoint(CHECKPOINT, wrong)

    def test_nobody_signs_for_no_key(self) -> None:
        with pytest.raises(MalformedError):
            sign_checkpoint(CHECKPOINT)


class TestCosigning:
    def test_cosignature_is_over_time_and_text(self) -> None:
        key = SigningKey(os.urandom(32))
        line = cosign(CHECKPOINT, Signer("hongkong.example", COSIGNATURE_V1, key), SECOND)
        message = f"cosignature/v1\ntime {SECOND}\n{TEXT}".encode()
        assert line.signature == SECOND.to_bytes(8, "big") + key.sign(message)

    def test_base64_holds_76_bytes(self) -> None:
        line = cosign(CHECKPOINT, cosigner(), SECOND)
        assert len(parse_base64(line.format().split()[2])) == 76

    def test_time_is_told_by_cosigner(self) -> None:
        log, first, second = log_signer(), cosigner(), cosigner("mirror.example")
        note = add_signatures(cosigned_by(log, first), [cosign(CHECKPOINT, second, SECOND + 1)])
        opened = open_checkpoint(
            note, log=[log.verifier], cosigners=[first.verifier, second.verifier], strict=True
        )
        assert opened.cosigned == {first.verifier: SECOND, second.verifier: SECOND + 1}

    def test_log_key_makes_no_cosignature(self) -> None:
        with pytest.raises(FieldError):
            cosign(CHECKPOINT, log_signer(), SECOND)

    @pytest.mark.parametrize("second", [-1, 2**63])
    def test_time_out_of_range_is_refused(self, second: int) -> None:
        with pytest.raises(FieldError):
            cosign(CHECKPOINT, cosigner(), second)

    def test_time_written_little_endian_fails(self) -> None:
        log, witness = log_signer(), cosigner()
        line = cosign(CHECKPOINT, witness, SECOND)
        swapped = Signature(line.name, line.key_id, line.signature[7::-1] + line.signature[8:])
        note = add_signatures(sign_checkpoint(CHECKPOINT, log), [swapped])
        with pytest.raises(SignatureError):
            open_checkpoint(note, log=[log.verifier], cosigners=[witness.verifier])

    def test_time_signed_little_endian_fails(self) -> None:
        # As litewitness once did: the right time in the message, the bytes of the line swapped.
        log, key = log_signer(), SigningKey(os.urandom(32))
        witness = Signer("hongkong.example", COSIGNATURE_V1, key).verifier
        message = f"cosignature/v1\ntime {SECOND}\n{TEXT}".encode()
        line = Signature(
            witness.name, witness.key_id, SECOND.to_bytes(8, "little") + key.sign(message)
        )
        note = add_signatures(sign_checkpoint(CHECKPOINT, log), [line])
        with pytest.raises(SignatureError):
            open_checkpoint(note, log=[log.verifier], cosigners=[witness])

    def test_cosignature_on_another_checkpoint_fails(self) -> None:
        log, witness = log_signer(), cosigner()
        other = Checkpoint(ORIGIN, CHECKPOINT.size + 1, ROOT)
        note = add_signatures(sign_checkpoint(CHECKPOINT, log), [cosign(other, witness, SECOND)])
        with pytest.raises(SignatureError):
            open_checkpoint(note, log=[log.verifier], cosigners=[witness.verifier])


class TestAddingSignatures:
    def test_lines_follow_those_that_are_there(self) -> None:
        log, witness = log_signer(), cosigner()
        line = cosign(CHECKPOINT, witness, SECOND)
        note = sign_checkpoint(CHECKPOINT, log)
        assert add_signatures(note, [line]) == note + line.format().encode()

    def test_nothing_added_changes_nothing(self) -> None:
        note = sign_checkpoint(CHECKPOINT, log_signer())
        assert add_signatures(note, []) == note

    def test_a_line_that_is_there_is_not_added_again(self) -> None:
        note = cosigned_by(log_signer(), cosigner())
        assert add_signatures(note, parse_note(note).signatures) == note

    def test_a_new_line_takes_the_place_of_the_keys_old_one(self) -> None:
        log, witness = log_signer(), cosigner()
        old, new = (cosigned_by(log, witness, second=second) for second in (5, 9))
        assert add_signatures(old, parse_note(new).signatures) == new

    def test_more_lines_than_a_note_may_have_are_refused(self) -> None:
        lines = [Signature(f"witness.example/{i}", b"1234", b"s") for i in range(100)]
        with pytest.raises(TooLargeError):
            add_signatures(sign_checkpoint(CHECKPOINT, log_signer()), lines)

    def test_what_is_no_note_is_refused(self) -> None:
        with pytest.raises(MalformedError):
            add_signatures(TEXT.encode(), [])


class TestOpening:
    def test_unknown_lines_are_skipped(self) -> None:
        log = log_signer()
        opened = open_checkpoint(cosigned_by(log, cosigner()), log=[log.verifier])
        assert opened.cosigned == {}

    def test_unknown_lines_are_refused_when_strict(self) -> None:
        log = log_signer()
        with pytest.raises(TrustError):
            open_checkpoint(cosigned_by(log, cosigner()), log=[log.verifier], strict=True)

    def test_cosignatures_are_not_demanded(self) -> None:
        log = log_signer()
        opened = open_checkpoint(
            sign_checkpoint(CHECKPOINT, log),
            log=[log.verifier],
            cosigners=[cosigner().verifier],
            strict=True,
        )
        assert opened.cosigned == {}

    def test_note_is_kept_whole(self) -> None:
        log = log_signer()
        note = cosigned_by(log, cosigner(), cosigner("stranger.example"))
        assert open_checkpoint(note, log=[log.verifier]).note == note

    def test_one_good_log_key_is_enough(self) -> None:
        old, new = log_signer(), log_signer()
        note = sign_checkpoint(CHECKPOINT, old)
        opened = open_checkpoint(note, log=[new.verifier, old.verifier])
        assert opened.signed == (old.verifier,)

    def test_known_log_key_that_fails_sinks_a_good_one(self) -> None:
        good, bad = log_signer(), log_signer()
        lie = bad.sign(Checkpoint(ORIGIN, 1, ROOT).format())
        note = add_signatures(sign_checkpoint(CHECKPOINT, good), [lie])
        with pytest.raises(SignatureError):
            open_checkpoint(note, log=[good.verifier, bad.verifier])

    def test_cosigner_alone_is_not_believed(self) -> None:
        log, witness = log_signer(), cosigner()
        note = Note(TEXT, (cosign(CHECKPOINT, witness, SECOND),)).format()
        with pytest.raises(TrustError):
            open_checkpoint(note, log=[log.verifier], cosigners=[witness.verifier])

    def test_key_of_another_origin_is_not_believed(self) -> None:
        log, other = log_signer(), log_signer("other.example")
        note = Note(TEXT, (other.sign(TEXT),)).format()
        with pytest.raises(TrustError):
            open_checkpoint(note, log=[log.verifier, other.verifier])

    def test_cosigner_key_does_not_pass_for_a_log_key(self) -> None:
        # A node's cosigner key goes by its origin, as its log key does.
        witness = cosigner(ORIGIN)
        note = Note(TEXT, (cosign(CHECKPOINT, witness, SECOND),)).format()
        with pytest.raises(TrustError):
            open_checkpoint(note, log=[witness.verifier], cosigners=[witness.verifier])

    def test_log_key_does_not_pass_for_a_cosigner_key(self) -> None:
        log = log_signer()
        note = sign_checkpoint(CHECKPOINT, log)
        opened = open_checkpoint(note, log=[log.verifier], cosigners=[log.verifier])
        assert opened.cosigned == {}

    def test_log_without_keys_is_not_believed(self) -> None:
        with pytest.raises(TrustError):
            open_checkpoint(sign_checkpoint(CHECKPOINT, log_signer()), log=[])

    def test_second_line_by_one_key_is_refused_when_strict(self) -> None:
        log = log_signer()
        note = Note(TEXT, (log.sign(TEXT), log.sign(TEXT))).format()
        with pytest.raises(MalformedError):
            open_checkpoint(note, log=[log.verifier], strict=True)

    def test_good_signature_on_another_text_is_malformed(self) -> None:
        log = log_signer()
        text = f"{TEXT}extension\n"
        with pytest.raises(MalformedError):
            open_checkpoint(Note(text, (log.sign(text),)).format(), log=[log.verifier])


origins = st.from_regex(r"[!-*,-~]{1,50}", fullmatch=True)
checkpoints = st.builds(
    Checkpoint, origins, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32)
)


class TestWhateverAStrangerSends:
    @given(checkpoints)
    def test_checkpoint_is_read_as_it_was_written(self, checkpoint: Checkpoint) -> None:
        assert Checkpoint.parse(checkpoint.format()) == checkpoint

    @given(
        st.one_of(
            st.text(),
            st.text(st.sampled_from("01a=+/ \n\ud800")),
            st.builds("{}\n{}\n{}\n".format, origins, st.integers(), st.just(ROOT_BASE64)),
        )
    )
    def test_text_has_one_spelling_or_is_malformed(self, text: str) -> None:
        try:
            checkpoint = Checkpoint.parse(text)
        except MalformedError:
            return
        assert checkpoint.format() == text

    @given(st.binary(max_size=300))
    def test_arbitrary_bytes_raise_only_our_errors(self, data: bytes) -> None:
        for note in (data, data + b"\n\n\xe2\x80\x94 x MTIzNHM=\n"):
            with pytest.raises((InputError, TrustError)):
                open_checkpoint(note, log=[])

    def test_no_bit_of_a_note_can_be_flipped(self) -> None:
        log, witness = log_signer(), cosigner()
        note = cosigned_by(log, witness)
        for bit in range(8 * len(note)):
            at, shift = divmod(bit, 8)
            changed = note[:at] + bytes([note[at] ^ 1 << shift]) + note[at + 1 :]
            with pytest.raises(LedgerError):
                open_checkpoint(
                    changed, log=[log.verifier], cosigners=[witness.verifier], strict=True
                )

    def test_no_bit_of_the_logs_part_can_be_flipped_where_unknown_lines_are_skipped(self) -> None:
        log = log_signer()
        note = sign_checkpoint(CHECKPOINT, log)
        for bit in range(8 * len(note)):
            at, shift = divmod(bit, 8)
            changed = note[:at] + bytes([note[at] ^ 1 << shift]) + note[at + 1 :]
            with pytest.raises(LedgerError):
                open_checkpoint(changed, log=[log.verifier])

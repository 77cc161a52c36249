"""Signed notes and verifier keys: published vectors, the one spelling, and who is believed."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import (
    FieldError,
    InputError,
    LedgerError,
    MalformedError,
    SignatureError,
    TooLargeError,
    TrustError,
)
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    Signature,
    Signer,
    Verifier,
    open_note,
    parse_note,
    parse_signature_lines,
    parse_vkey,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text())
NOTES = VECTORS["signed_notes"]
COSIGNATURES = VECTORS["cosignatures_v1_ed25519"]["cases"]
WITNESS_KEYS = VECTORS["policy_file"]["witness_ed25519_test_keys"]
GOOD_VKEY = NOTES["cases"][1]["vkey"]

TEXT = "log.example\nsome text\n"
# In bytes: more is no note, to be read or written.
LARGEST = 65_536


def signer(name: str = "log.example", algorithm: int = ED25519) -> Signer:
    return Signer(name, algorithm, SigningKey(os.urandom(32)))


def note_by(*signatures: Signature, text: str = TEXT) -> Note:
    return Note(text, signatures)


def published_signer(skey: str) -> Signer:
    """Read Go's private form, PRIVATE+KEY+<name>+<key id>+<base64 of type and seed>."""
    _, _, name, _, encoded = skey.split("+", 4)
    typed = b64decode(encoded)
    return Signer(name, typed[0], SigningKey(typed[1:]))


PUBLISHED_KEYS = [
    (NOTES["cases"][1]["skey_public_test_key"], GOOD_VKEY),
    *((key["skey_public_test_key"], key["vkey_type_0x01"]) for key in WITNESS_KEYS),
]


class TestPublishedNotes:
    @pytest.mark.parametrize("case", NOTES["cases"], ids=lambda case: case["vkey"])
    def test_is_read_and_believed(self, case: dict[str, str]) -> None:
        key = parse_vkey(case["vkey"])
        assert open_note(parse_note(case["note"].encode()), [key]) == {key: None}

    @pytest.mark.parametrize("case", NOTES["cases"], ids=lambda case: case["vkey"])
    def test_is_written_as_it_was_read(self, case: dict[str, str]) -> None:
        assert parse_note(case["note"].encode()).format() == case["note"].encode()

    def test_is_signed_byte_for_byte_by_the_published_key(self) -> None:
        note = parse_note(NOTES["cases"][1]["note"].encode())
        author = published_signer(NOTES["cases"][1]["skey_public_test_key"])
        assert author.sign(note.text) == note.signatures[0]

    def test_second_signature_is_byte_for_byte_that_of_the_zero_seed(self) -> None:
        note = parse_note(NOTES["cases"][2]["note"].encode())
        author = Signer("EnochRoot", ED25519, SigningKey(bytes(32)))
        assert author.sign(note.text) == note.signatures[1]

    @pytest.mark.parametrize("case", COSIGNATURES, ids=lambda case: case["what"])
    def test_cosignature_is_believed_for_its_time(self, case: dict[str, Any]) -> None:
        key = parse_vkey(case["cosigner_vkey_type_0x04"])
        opened = open_note(parse_note(case["note"].encode()), [key])
        assert opened == {key: case["timestamp"]}

    @pytest.mark.parametrize("case", COSIGNATURES, ids=lambda case: case["what"])
    def test_cosignature_whose_time_is_little_endian_fails(self, case: dict[str, Any]) -> None:
        key = parse_vkey(case["cosigner_vkey_type_0x04"])
        note = parse_note(case["note"].encode())
        data = note.signatures[-1].signature
        swapped = Signature(key.name, key.key_id, data[:8][::-1] + data[8:])
        with pytest.raises(SignatureError):
            open_note(note_by(swapped, text=note.text), [key])


class TestPublishedKeys:
    VKEYS = (
        *(case["vkey"] for case in NOTES["cases"]),
        *(case["cosigner_vkey_type_0x04"] for case in COSIGNATURES),
        *(key["vkey_type_0x01"] for key in WITNESS_KEYS),
        VECTORS["tlog_witness_add_checkpoint_sequence"]["log_vkey"],
    )

    @pytest.mark.parametrize("vkey", VKEYS)
    def test_is_written_as_it_was_read(self, vkey: str) -> None:
        assert parse_vkey(vkey).vkey == vkey

    @pytest.mark.parametrize(("skey", "vkey"), PUBLISHED_KEYS)
    def test_is_that_of_its_private_half(self, skey: str, vkey: str) -> None:
        assert published_signer(skey).verifier == parse_vkey(vkey)

    @pytest.mark.parametrize("why", ["wrong_key_length", "unknown_algorithm"])
    def test_bad_one_is_refused(self, why: str) -> None:
        with pytest.raises(MalformedError):
            parse_vkey(NOTES["reject_vkeys"][why])

    def test_every_proper_substring_is_refused(self) -> None:
        for start in range(len(GOOD_VKEY)):
            for end in range(start, len(GOOD_VKEY) + 1):
                if end - start < len(GOOD_VKEY):
                    with pytest.raises(MalformedError):
                        parse_vkey(GOOD_VKEY[start:end])

    def test_every_increment_of_a_character_is_refused(self) -> None:
        for i, character in enumerate(GOOD_VKEY):
            with pytest.raises(MalformedError):
                parse_vkey(GOOD_VKEY[:i] + chr(ord(character) + 1) + GOOD_VKEY[i + 1 :])


class TestVerifierKeys:
    @pytest.mark.parametrize("algorithm", [ED25519, COSIGNATURE_V1])
    def test_key_is_read_as_it_was_written(self, algorithm: int) -> None:
        key = signer("log.example/\u03b1", algorithm).verifier
        assert parse_vkey(key.vkey) == key

    def test_one_key_has_another_id_as_cosigner(self) -> None:
        key = SigningKey(os.urandom(32))
        log = Signer("log.example", ED25519, key).verifier
        assert log.key_id != Signer("log.example", COSIGNATURE_V1, key).verifier.key_id

    def test_upper_case_key_id_is_refused(self) -> None:
        name, key_id, encoded = GOOD_VKEY.split("+", 2)
        with pytest.raises(MalformedError):
            parse_vkey(f"{name}+{key_id.upper()}+{encoded}")

    @pytest.mark.parametrize("algorithm", [0, 2, 3, 5, 6, 255])
    def test_other_types_are_refused(self, algorithm: int) -> None:
        with pytest.raises(MalformedError):
            signer(algorithm=algorithm)

    @pytest.mark.parametrize(
        "public",
        [
            b"",
            bytes(31),
            bytes(33),
            bytes(32),  # of order 4
            b"\x01" + bytes(31),  # the neutral element
            b"\xff" * 32,  # no point
        ],
    )
    def test_public_key_that_is_no_key_is_refused(self, public: bytes) -> None:
        with pytest.raises(MalformedError):
            Verifier("log.example", ED25519, public)

    @pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2028", "\x00", "\ud800"])
    def test_name_that_no_note_can_carry_is_refused(self, name: str) -> None:
        with pytest.raises(MalformedError):
            signer(name)

    def test_secret_is_not_printed(self) -> None:
        key = SigningKey(os.urandom(32))
        assert key.seed.hex() not in repr(Signer("log.example", ED25519, key))


class TestParsing:
    LINE = Signature("log.example", b"1234", b"signature").format()

    def test_text_ends_at_the_last_empty_line(self) -> None:
        assert parse_note(f"a\n\nb\n\n{self.LINE}".encode()).text == "a\n\nb\n"

    def test_text_may_end_in_empty_lines(self) -> None:
        assert parse_note(f"a\n\n\n\n{self.LINE}".encode()).text == "a\n\n\n"

    def test_text_may_be_one_newline(self) -> None:
        assert parse_note(f"\n\n{self.LINE}".encode()).text == "\n"

    REFUSED = {  # noqa: RUF012 - a table, read only
        "nothing": "",
        "no signatures": "a\n\n",
        "no empty line": f"a\n{LINE}",
        "no text": f"\n{LINE}",
        "signatures alone": LINE,
        "line cut short": f"a\n\n{LINE[:-1]}",
        "line after the signatures": f"a\n\n{LINE}b\n",
        "carriage return": f"a\r\n\n{LINE}",
        "control character": f"a\x07\n\n{LINE}",
        "hyphen for the dash": f"a\n\n{LINE}".replace("\u2014", "-"),
        "en dash for the dash": f"a\n\n{LINE}".replace("\u2014", "\u2013"),
        "dash alone": "a\n\n\u2014\n",
        "name alone": "a\n\n\u2014 log.example\n",
        "empty name": f"a\n\n{LINE}".replace("log.example", ""),
        "plus in the name": f"a\n\n{LINE}".replace("log.example", "log+example"),
        "white space in the name": f"a\n\n{LINE}".replace("log.example", "log\u3000example"),
        "two spaces": f"a\n\n{LINE}".replace("log.example ", "log.example  "),
        "space at the end": f"a\n\n{LINE[:-1]} \n",
        "base64 without padding": "a\n\n\u2014 x MTIzNHM\n",
        "base64 with stray bits": "a\n\n\u2014 x MTIzNHN=\n",
        "base64 of another alphabet": "a\n\n\u2014 x MTIz-_8=\n",
        "key id alone": "a\n\n\u2014 x MTIzNA==\n",
        "key id cut short": "a\n\n\u2014 x MTIz\n",
    }

    @pytest.mark.parametrize("what", REFUSED)
    def test_another_spelling_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            parse_note(self.REFUSED[what].encode())

    @pytest.mark.parametrize(
        "data", [b"\xff", b"\xed\xa0\x80", b"\xc0\x8a"], ids=["byte", "surrogate", "overlong"]
    )
    def test_bytes_that_are_not_utf_8_are_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            parse_note(data + f"\n\n{self.LINE}".encode())

    def test_a_hundred_signatures_are_read(self) -> None:
        assert len(parse_note(f"a\n\n{self.LINE * 100}".encode()).signatures) == 100

    def test_more_are_refused(self) -> None:
        with pytest.raises(TooLargeError):
            parse_note(f"a\n\n{self.LINE * 101}".encode())

    def test_64_kib_are_read(self) -> None:
        text = "a" * (LARGEST - len(f"\n\n{self.LINE}".encode()))
        assert parse_note(f"{text}\n\n{self.LINE}".encode()).text == text + "\n"

    def test_a_byte_more_is_refused(self) -> None:
        text = "a" * (LARGEST + 1 - len(f"\n\n{self.LINE}".encode()))
        with pytest.raises(TooLargeError):
            parse_note(f"{text}\n\n{self.LINE}".encode())

    def test_sixteen_signatures_of_the_largest_assigned_type_fit(self) -> None:
        # C2SP signed-note: a MUST. ML-DSA-44 with its time has 2,428 bytes.
        line = Signature("witness.example/" + "w" * 200, b"1234", bytes(2428)).format()
        assert len(parse_note(f"{TEXT}\n{line * 16}".encode()).signatures) == 16


class TestSignatureLines:
    def test_lines_are_read_as_they_were_written(self) -> None:
        lines = signer().sign(TEXT), signer("other.example").sign(TEXT)
        assert parse_signature_lines("".join(line.format() for line in lines)) == lines

    @pytest.mark.parametrize("text", ["", "\n", "\u2014 x MTIzNHM=", "\n\u2014 x MTIzNHM=\n"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedError):
            parse_signature_lines(text)

    def test_too_many_are_refused(self) -> None:
        with pytest.raises(TooLargeError):
            parse_signature_lines("\u2014 x MTIzNHM=\n" * 101)

    def test_too_long_a_text_is_refused(self) -> None:
        with pytest.raises(TooLargeError):
            parse_signature_lines(f"\u2014 x {'MTIz' * (LARGEST // 4)}\n")


class TestValues:
    """What can't be written can't be made either."""

    LINE = Signature("x", b"1234", b"s")

    @pytest.mark.parametrize("text", ["", "a", "a\r\n", "a\x00\n", "\ud800\n"])
    def test_text_that_no_note_can_carry_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedError):
            note_by(self.LINE, text=text)

    def test_note_without_signatures_is_refused(self) -> None:
        with pytest.raises(MalformedError):
            note_by()

    def test_note_with_too_many_is_refused(self) -> None:
        with pytest.raises(TooLargeError):
            note_by(*[self.LINE] * 101)

    def test_note_too_large_to_be_read_is_not_written(self) -> None:
        with pytest.raises(TooLargeError):
            note_by(self.LINE, text="a" * LARGEST + "\n").format()

    @pytest.mark.parametrize(
        ("name", "key_id", "signature"),
        [("a b", b"1234", b"s"), ("x", b"123", b"s"), ("x", b"12345", b"s"), ("x", b"1234", b"")],
    )
    def test_line_that_no_note_can_carry_is_refused(
        self, name: str, key_id: bytes, signature: bytes
    ) -> None:
        with pytest.raises(MalformedError):
            Signature(name, key_id, signature)


class TestOpening:
    def test_tells_each_known_key_that_signed(self) -> None:
        log, other, absent = signer(), signer("other.example"), signer("absent.example")
        note = note_by(log.sign(TEXT), other.sign(TEXT))
        opened = open_note(note, [log.verifier, other.verifier, absent.verifier])
        assert opened == {log.verifier: None, other.verifier: None}

    def test_tells_the_second_at_which_a_cosigner_signed(self) -> None:
        log, cosigner = signer(), signer("peer.example", COSIGNATURE_V1)
        note = note_by(log.sign(TEXT), cosigner.sign(TEXT, 1_700_000_000))
        opened = open_note(note, [log.verifier, cosigner.verifier])
        assert opened[cosigner.verifier] == 1_700_000_000

    def test_unknown_keys_are_skipped(self) -> None:
        log, stranger = signer(), signer("stranger.example")
        note = note_by(stranger.sign(TEXT), log.sign(TEXT))
        assert open_note(note, [log.verifier]) == {log.verifier: None}

    def test_another_key_of_a_known_name_is_skipped(self) -> None:
        log, namesake = signer(), signer()
        note = note_by(namesake.sign(TEXT), log.sign(TEXT))
        assert open_note(note, [log.verifier]) == {log.verifier: None}

    def test_another_name_with_a_known_key_id_is_skipped(self) -> None:
        log = signer()
        real = log.sign(TEXT)
        note = note_by(Signature("stranger.example", real.key_id, real.signature), real)
        assert open_note(note, [log.verifier]) == {log.verifier: None}

    def test_unknown_key_is_refused_when_strict(self) -> None:
        log, stranger = signer(), signer("stranger.example")
        with pytest.raises(TrustError):
            open_note(note_by(log.sign(TEXT), stranger.sign(TEXT)), [log.verifier], strict=True)

    def test_known_keys_are_enough_when_strict(self) -> None:
        log = signer()
        note = note_by(log.sign(TEXT))
        assert open_note(note, [log.verifier], strict=True) == {log.verifier: None}

    @pytest.mark.parametrize("verifiers", [[], [signer().verifier]], ids=["none", "others"])
    def test_note_signed_by_no_known_key_is_refused(self, verifiers: list[Verifier]) -> None:
        with pytest.raises(TrustError):
            open_note(note_by(signer().sign(TEXT)), verifiers)

    @pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
    def test_known_key_that_fails_sinks_the_whole_note(self, order: int) -> None:
        log, other = signer(), signer("other.example")
        lines = [log.sign(TEXT), other.sign("another text\n")][::order]
        with pytest.raises(SignatureError):
            open_note(note_by(*lines), [log.verifier, other.verifier])

    @pytest.mark.parametrize("length", [1, 8, 63, 65, 71, 73])
    @pytest.mark.parametrize("algorithm", [ED25519, COSIGNATURE_V1])
    def test_signature_of_another_length_fails(self, algorithm: int, length: int) -> None:
        key = signer(algorithm=algorithm).verifier
        line = Signature(key.name, key.key_id, bytes(length))
        with pytest.raises(SignatureError):
            open_note(note_by(line), [key])

    def test_log_signature_is_no_cosignature(self) -> None:
        key = SigningKey(os.urandom(32))
        cosigner = Signer("log.example", COSIGNATURE_V1, key).verifier
        plain = Signer("log.example", ED25519, key).sign(TEXT)
        line = Signature(cosigner.name, cosigner.key_id, bytes(8) + plain.signature)
        with pytest.raises(SignatureError):
            open_note(note_by(line), [cosigner])

    def test_two_keys_of_one_name_and_id_are_refused(self) -> None:
        # Two small seeds whose keys happen to meet in the 4 bytes; found by counting.
        first, second = (
            Signer("log.example/a", ED25519, SigningKey(seed.to_bytes(32, "big")))
            for seed in (33034, 41105)
        )
        with pytest.raises(TrustError):
            open_note(note_by(first.sign(TEXT)), [first.verifier, second.verifier])

    def test_a_key_given_twice_is_one_key(self) -> None:
        log = signer()
        opened = open_note(note_by(log.sign(TEXT)), [log.verifier, log.verifier])
        assert opened == {log.verifier: None}


class TestTwoLinesOfOneKey:
    """C2SP signed-note does not forbid them, and has each verified."""

    def test_the_key_counts_once(self) -> None:
        log = signer()
        opened = open_note(note_by(log.sign(TEXT), log.sign(TEXT)), [log.verifier])
        assert opened == {log.verifier: None}

    @pytest.mark.parametrize("seconds", [(5, 9), (9, 5)])
    def test_a_cosigner_counts_at_its_latest_time(self, seconds: tuple[int, int]) -> None:
        cosigner = signer(algorithm=COSIGNATURE_V1)
        note = note_by(*[cosigner.sign(TEXT, second) for second in seconds])
        assert open_note(note, [cosigner.verifier]) == {cosigner.verifier: 9}

    def test_the_second_must_verify_too(self) -> None:
        log = signer()
        with pytest.raises(SignatureError):
            open_note(note_by(log.sign(TEXT), log.sign("another text\n")), [log.verifier])

    def test_the_second_is_refused_when_strict(self) -> None:
        log = signer()
        note = note_by(log.sign(TEXT), log.sign(TEXT))
        with pytest.raises(MalformedError):
            open_note(note, [log.verifier], strict=True)


class TestSigning:
    @pytest.mark.parametrize("timestamp", [0, 1, 1_700_000_000, 2**63 - 1])
    def test_time_of_a_cosignature_is_told_as_it_was_stated(self, timestamp: int) -> None:
        cosigner = signer(algorithm=COSIGNATURE_V1)
        note = note_by(cosigner.sign(TEXT, timestamp))
        assert open_note(note, [cosigner.verifier]) == {cosigner.verifier: timestamp}

    @pytest.mark.parametrize("timestamp", [-1, 2**63, 2**64])
    def test_time_out_of_range_is_refused(self, timestamp: int) -> None:
        with pytest.raises(FieldError):
            signer(algorithm=COSIGNATURE_V1).sign(TEXT, timestamp)

    def test_cosignature_without_a_time_is_refused(self) -> None:
        with pytest.raises(FieldError):
            signer(algorithm=COSIGNATURE_V1).sign(TEXT)

    def test_plain_signature_with_a_time_is_refused(self) -> None:
        with pytest.raises(FieldError):
            signer().sign(TEXT, 5)

    def test_time_beyond_63_bits_fails_however_well_signed(self) -> None:
        key = SigningKey(os.urandom(32))
        cosigner = Signer("log.example", COSIGNATURE_V1, key).verifier
        stamp = 2**63
        signed = key.sign(f"cosignature/v1\ntime {stamp}\n{TEXT}".encode())
        line = Signature(cosigner.name, cosigner.key_id, stamp.to_bytes(8, "big") + signed)
        with pytest.raises(SignatureError):
            open_note(note_by(line), [cosigner])

    def test_cosignature_is_over_the_message_of_the_specification(self) -> None:
        key = SigningKey(os.urandom(32))
        line = Signer("log.example", COSIGNATURE_V1, key).sign(TEXT, 1679315147)
        message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
        assert line.signature == (1679315147).to_bytes(8, "big") + key.sign(message)


characters = st.characters(exclude_categories=["Cs"])
names = st.text(characters, min_size=1, max_size=20).filter(
    lambda text: not any(c.isspace() or c == "+" or c < " " for c in text)
)
texts = st.text(characters.filter(lambda c: c >= " " or c == "\n")).map(lambda text: text + "\n")
lines = st.builds(
    Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)
notes = st.builds(Note, texts, st.lists(lines, min_size=1, max_size=5).map(tuple))


class TestWhateverAStrangerSends:
    @given(notes)
    def test_note_is_read_as_it_was_written(self, note: Note) -> None:
        assert parse_note(note.format()) == note

    @given(st.one_of(st.binary(), notes.map(lambda note: note.format()[1:])))
    def test_note_has_one_spelling_or_is_malformed(self, data: bytes) -> None:
        try:
            note = parse_note(data)
        except InputError:
            return
        assert note.format() == data

    @given(st.text(st.sampled_from("\u2014 x+=MTIzNHM\n\ud800")))
    def test_lines_have_one_spelling_or_are_malformed(self, text: str) -> None:
        try:
            read = parse_signature_lines(text)
        except InputError:
            return
        assert "".join(line.format() for line in read) == text

    @given(st.one_of(st.text(), st.text(st.sampled_from("a+0=\ud800\n"))), st.binary(max_size=40))
    def test_key_is_refused_without_another_error(self, text: str, key: bytes) -> None:
        for vkey in (text, f"{text}+00000000+{b64encode(key).decode()}"):
            with pytest.raises(MalformedError):
                parse_vkey(vkey)

    def test_no_note_survives_a_flipped_bit(self) -> None:
        known, cosigner = signer(), signer("peer.example", COSIGNATURE_V1)
        signed = note_by(known.sign(TEXT), cosigner.sign(TEXT, 1_700_000_000)).format()
        for bit in range(8 * len(signed)):
            at, shift = divmod(bit, 8)
            changed = signed[:at] + bytes([signed[at] ^ 1 << shift]) + signed[at + 1 :]
            with pytest.raises(LedgerError):
                open_note(parse_note(changed), [known.verifier, cosigner.verifier], strict=True)

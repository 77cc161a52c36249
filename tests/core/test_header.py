"""Headers: the fixed layout, its one spelling, which kinds have halves, and what is signed."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from builders import Border, new_border, new_key
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client.core.errors import LedgerError, MalformedError, SignatureError
from ledgerd_client.core.header import (
    KINDS_SHARED_WITH_PEER,
    Halves,
    Header,
    Kind,
    check_origin,
    encode_halves,
    genesis_previous,
    header_bytes,
    header_tail,
    signed_bytes,
)
from ledgerd_client.core.keys import verify

ORIGIN, OTHER = "gba.example/mainland", "gba.example/hongkong"

# Every byte by hand, from protocol section 1; fields are told apart by their digits.
PREVIOUS, DIGEST, KEY_ID = b"\x11" * 32, b"\x22" * 32, b"\x01" + b"\x33" * 32
SIGNATURE, REF, TERMS = b"\x44" * 64, b"\x55" * 32, b"\x66" * 32
HALVES = Halves(REF, TERMS, 0, OTHER)
TRANSFER = Header(3, 1_785_718_980_000_000, PREVIOUS, Kind.TRANSFER, DIGEST, 1, KEY_ID, SIGNATURE, HALVES)  # fmt: skip
NODE = replace(TRANSFER, kind=Kind.NODE, key_index=0, halves=None)
TRANSFER_BYTES = bytes.fromhex(
    "01"
    "0000000000000003"
    "0006581a1978b900" + "11" * 32 + "02" + "22" * 32 + "0000000000000001"
    "01" + "33" * 32 + "0040" + "44" * 64 + "01" + "55" * 32 + "66" * 32 + "00"
    "14" + OTHER.encode().hex()
)
NODE_BYTES = TRANSFER_BYTES[:49] + b"\x0a" + TRANSFER_BYTES[50:82] + bytes(8) + TRANSFER_BYTES[90:189] + b"\x00"  # fmt: skip

# Kind: (number, allowed outcomes; none when it has no halves). Protocol section 1.
KINDS = {
    "GENESIS": (0, []),
    "KEY": (1, []),
    "TRANSFER": (2, [0]),
    "ACK": (3, [1, 2, 3, 4]),
    "CANCEL": (4, [0]),
    "CORRECTION": (5, [0]),
    "ANCHOR": (6, []),
    "EVIDENCE": (7, []),
    "LOSS": (8, []),
    "RECORD": (9, []),
    "NODE": (10, []),
    "CONTRACT": (11, [1, 2, 3, 4, 5]),
}

REFUSED = {
    "nothing": b"",
    "one byte": b"\x01",
    "cut before has_halves": NODE_BYTES[:-1],
    "a byte left over": NODE_BYTES + b"\x00",
    "a byte left over after the halves": TRANSFER_BYTES + b"\x00",
    "halves cut short": TRANSFER_BYTES[:220],
    "halves without a length": TRANSFER_BYTES[:255],
    "version 0": b"\x00" + TRANSFER_BYTES[1:],
    "version 2": b"\x02" + TRANSFER_BYTES[1:],
    "kind 12": NODE_BYTES[:49] + b"\x0c" + NODE_BYTES[50:],
    "kind 255": NODE_BYTES[:49] + b"\xff" + NODE_BYTES[50:],
    "algorithm 0": NODE_BYTES[:90] + b"\x00" + NODE_BYTES[91:],
    "algorithm 2": NODE_BYTES[:90] + b"\x02" + NODE_BYTES[91:],
    "a signature of 63 bytes": NODE_BYTES[:123] + b"\x00\x3f" + NODE_BYTES[126:],
    "a signature of 65 bytes": NODE_BYTES[:123] + b"\x00\x41\x44" + NODE_BYTES[125:],
    "no signature": NODE_BYTES[:123] + b"\x00\x00" + NODE_BYTES[189:],
    "has_halves = 2 without halves": NODE_BYTES[:-1] + b"\x02",
    "has_halves = 2 with halves": TRANSFER_BYTES[:189] + b"\x02" + TRANSFER_BYTES[190:],
    "a counterparty shorter than it says": TRANSFER_BYTES[:-1],
    "a counterparty longer than it says": TRANSFER_BYTES[:255] + b"\x13" + TRANSFER_BYTES[256:],
    "no counterparty": TRANSFER_BYTES[:255] + b"\x00",
    "a counterparty that is not UTF-8": TRANSFER_BYTES[:-1] + b"\xff",
    "a counterparty with a newline": TRANSFER_BYTES[:-1] + b"\n",
    "a counterparty with a space": TRANSFER_BYTES[:-1] + b" ",
    "a counterparty with a plus": TRANSFER_BYTES[:-1] + b"+",
    "a counterparty of 201 bytes": TRANSFER_BYTES[:255] + b"\xc9" + b"a" * 201,
}

# What the author of TRANSFER states, each said otherwise.
STATED: list[dict[str, Any]] = [
    {"kind": Kind.CANCEL},
    {"body_digest": bytes(32)},
    {"key_id": b"\x01" + bytes(32)},
    {"halves": None},
    {"halves": HALVES._replace(ref=bytes(32))},
    {"halves": HALVES._replace(terms_digest=bytes(32))},
    {"halves": HALVES._replace(outcome=1)},
    {"halves": HALVES._replace(counterparty_origin=ORIGIN)},
]

NO_ORIGIN = {
    "nothing": "",
    "201 bytes": "a" * 201,
    "a space": "gba example",
    "a newline": "gba\nexample",
    "a newline at the end": "gba.example\n",
    "a tab": "gba\texample",
    "a NUL": "gba\0example",
    "a plus": "gba+example",
    "DEL": "gba\x7fexample",
    "a no-break space": "gba\u00a0example",
    "a zero-width space": "gba\u200bexample",
    "a letter that looks like another": "gb\u0430.example",
    "a surrogate": "gba\ud800example",
}

origins = st.from_regex(r"[!-*,-~]{1,60}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**64 - 1)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    number, outcomes = draw(st.sampled_from(list(KINDS.values())))
    halves = None
    if outcomes:
        halves = Halves(
            draw(digests), draw(digests), draw(st.sampled_from(outcomes)), draw(origins)
        )
    return Header(
        index=draw(numbers),
        recorded_at=draw(numbers),
        previous_leaf_hash=draw(digests),
        kind=Kind(number),
        body_digest=draw(digests),
        key_index=draw(numbers),
        key_id=b"\x01" + draw(digests),
        signature=draw(st.binary(min_size=64, max_size=64)),
        halves=halves,
    )


def with_outcome(kind: str, outcome: int) -> bytes:
    number, _ = KINDS[kind]
    changed = bytearray(TRANSFER_BYTES)
    changed[49], changed[254] = number, outcome
    return bytes(changed)


class TestLayout:
    def test_with_halves_is_as_the_protocol_says(self) -> None:
        assert TRANSFER.encode() == TRANSFER_BYTES

    def test_without_halves_is_as_the_protocol_says(self) -> None:
        assert NODE.encode() == NODE_BYTES

    def test_with_halves_has_256_bytes_and_the_counterparty(self) -> None:
        assert len(TRANSFER_BYTES) == 256 + len(OTHER)

    def test_without_halves_has_190_bytes(self) -> None:
        assert len(NODE_BYTES) == 190

    def test_with_halves_is_read(self) -> None:
        assert Header.parse(TRANSFER_BYTES) == TRANSFER

    def test_without_halves_is_read(self) -> None:
        assert Header.parse(NODE_BYTES) == NODE

    def test_largest_one_is_under_700_bytes(self) -> None:
        largest = HALVES._replace(counterparty_origin="a" * 200)
        assert len(replace(TRANSFER, halves=largest).encode()) < 700

    def test_is_a_place_in_the_chain_and_a_tail(self) -> None:
        tail = header_tail(Kind.TRANSFER, DIGEST, 1, KEY_ID, SIGNATURE, encode_halves(HALVES))
        assert header_bytes(3, 1_785_718_980_000_000, PREVIOUS, tail) == TRANSFER_BYTES


class TestOneSpelling:
    @pytest.mark.parametrize("what", REFUSED)
    def test_another_is_refused(self, what: str) -> None:
        with pytest.raises(MalformedError):
            Header.parse(REFUSED[what])

    @given(st.sampled_from([TRANSFER_BYTES, NODE_BYTES]), st.integers(1, 276))
    def test_no_beginning_of_one_is_a_header(self, whole: bytes, missing: int) -> None:
        with pytest.raises(MalformedError):
            Header.parse(whole[:-missing])

    @given(headers())
    def test_what_is_written_is_read(self, header: Header) -> None:
        assert Header.parse(header.encode()) == header

    @given(st.binary(max_size=400))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        with pytest.raises(LedgerError):
            Header.parse(data)

    @given(st.data())
    def test_what_is_read_of_changed_bytes_is_written_the_same(self, data: st.DataObject) -> None:
        original = data.draw(st.sampled_from([TRANSFER_BYTES, NODE_BYTES]))
        place = data.draw(st.integers(0, len(original) - 1))
        changed = original[:place] + data.draw(st.binary(max_size=4)) + original[place + 1 :]
        try:
            header = Header.parse(changed)
        except LedgerError:
            return
        assert header.encode() == changed


class TestKinds:
    def test_are_numbered_as_the_protocol_says(self) -> None:
        assert {kind.name: kind.value for kind in Kind} == {
            name: number for name, (number, _) in KINDS.items()
        }

    @pytest.mark.parametrize("kind", [kind for kind, (_, outcomes) in KINDS.items() if outcomes])
    def test_2_to_5_and_11_are_refused_without_halves(self, kind: str) -> None:
        changed = bytearray(NODE_BYTES)
        changed[49] = KINDS[kind][0]
        with pytest.raises(MalformedError):
            Header.parse(bytes(changed))

    @pytest.mark.parametrize(
        "kind", [kind for kind, (_, outcomes) in KINDS.items() if not outcomes]
    )
    def test_others_are_read_without_halves(self, kind: str) -> None:
        changed = bytearray(NODE_BYTES)
        changed[49] = KINDS[kind][0]
        assert Header.parse(bytes(changed)).halves is None

    @pytest.mark.parametrize("outcome", range(7))
    @pytest.mark.parametrize("kind", KINDS)
    def test_halves_are_read_with_the_kinds_own_outcomes_only(
        self, kind: str, outcome: int
    ) -> None:
        try:
            header = Header.parse(with_outcome(kind, outcome))
        except MalformedError:
            read = False
        else:
            read = header.halves is not None and header.halves.outcome == outcome
        assert read == (outcome in KINDS[kind][1])

    @pytest.mark.parametrize("kind", KINDS)
    def test_outcome_255_is_refused(self, kind: str) -> None:
        with pytest.raises(MalformedError):
            Header.parse(with_outcome(kind, 255))

    def test_bodies_of_0_1_6_7_8_are_shared_with_the_peer(self) -> None:
        assert {int(kind) for kind in KINDS_SHARED_WITH_PEER} == {0, 1, 6, 7, 8}


class TestOrigins:
    @pytest.mark.parametrize("origin", ["a", "a" * 200, ORIGIN, "log.example:8080/1-2_3~4", "!"])
    def test_printable_ascii_names_a_log(self, origin: str) -> None:
        check_origin(origin)

    @pytest.mark.parametrize("what", NO_ORIGIN)
    def test_nothing_else_does(self, what: str) -> None:
        with pytest.raises(MalformedError) as refused:
            check_origin(NO_ORIGIN[what])
        assert refused.value.reason == "BAD_ORIGIN"

    def test_the_first_link_is_made_of_the_origin(self) -> None:
        length = bytes([len(ORIGIN)])
        digest = sha256(b"ledgerd/genesis/v1\n" + length + ORIGIN.encode()).digest()
        assert genesis_previous(ORIGIN) == digest


class TestSignedBytes:
    def test_with_halves_are_as_the_protocol_says(self) -> None:
        by_hand = (
            b"ledgerd/entry/v1\n\x14" + ORIGIN.encode() + b"\x02" + DIGEST + KEY_ID
            + b"\x01" + REF + TERMS + b"\x00\x14" + OTHER.encode()
        )  # fmt: skip
        assert TRANSFER.signed_bytes(ORIGIN) == by_hand

    def test_without_halves_are_as_the_protocol_says(self) -> None:
        by_hand = b"ledgerd/entry/v1\n\x14" + ORIGIN.encode() + b"\x0a" + DIGEST + KEY_ID + b"\x00"
        assert NODE.signed_bytes(ORIGIN) == by_hand

    def test_of_a_header_are_those_of_its_parts(self) -> None:
        parts = signed_bytes(ORIGIN, Kind.TRANSFER, DIGEST, KEY_ID, encode_halves(HALVES))
        assert TRANSFER.signed_bytes(ORIGIN) == parts

    @given(headers(), headers(), origins, origins)
    def test_tell_two_statements_apart(
        self, one: Header, other: Header, here: str, there: str
    ) -> None:
        def says(header: Header, origin: str) -> tuple[object, ...]:
            return origin, header.kind, header.body_digest, header.key_id, header.halves

        same = says(one, here) == says(other, there)
        assert (one.signed_bytes(here) == other.signed_bytes(there)) == same

    @pytest.mark.parametrize("change", STATED, ids=str)
    def test_change_with_every_field_that_the_author_states(self, change: dict[str, Any]) -> None:
        changed = replace(TRANSFER, **change)
        assert changed.signed_bytes(ORIGIN) != TRANSFER.signed_bytes(ORIGIN)


class TestAHeaderOfOneLog:
    @pytest.fixture
    def border(self) -> Border:
        return new_border()

    def test_proves_its_entry_there(self, border: Border) -> None:
        index = border.mainland.record(border.exporter, transfer=border.transfer())
        header = Header.parse(border.mainland.entries[index][0])
        verify(border.exporter.key.public, header.signed_bytes(ORIGIN), header.signature)

    def test_proves_nothing_in_another(self, border: Border) -> None:
        index = border.mainland.record(border.exporter, transfer=border.transfer())
        header = Header.parse(border.mainland.entries[index][0])
        with pytest.raises(SignatureError):
            verify(border.exporter.key.public, header.signed_bytes(OTHER), header.signature)

    def test_survives_a_changed_bit_in_its_place_only(self, border: Border) -> None:
        key = new_key()
        raw = border.mainland.header(Kind.NODE, b"body", key).encode()
        survived = set()
        for bit in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                header = Header.parse(bytes(changed))
                verify(key.public, header.signed_bytes(ORIGIN), header.signature)
            except LedgerError:
                continue
            survived.add(bit // 8)
        # Index, time, link and key_index are the node's to say: the tree fixes them.
        assert survived == {*range(1, 49), *range(82, 90)}

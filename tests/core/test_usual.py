"""The shorter way to read a TRANSFER: it ends where the longer one does, or leads there."""

from __future__ import annotations

from typing import Any

import pytest
from builders import EXPORTER, HONG_KONG, MAINLAND, RECIPIENT, START
from hypothesis import given
from hypothesis import strategies as st
from interop import protobuf as ref
from interop.protobuf import encode_field, varint

from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.fields import MAX_COUNT, MAX_TIME
from ledgerd_client.core.record import Facts, read_any, read_facts
from ledgerd_client.core.usual import read_usual

EXPORTING = {"origin": MAINLAND, "institution": EXPORTER}
RECEIVING = {"origin": HONG_KONG, "institution": RECIPIENT}
TERMS: dict[str, Any] = {
    "exporter": ref.encode("party", EXPORTING),
    "recipient": ref.encode("party", RECEIVING),
    "nonce": bytes(range(16)),
    "contract_id": "GBA-2026-0042",
    "commitment": b"\x77" * 32,
    "subjects": 1200,
    "subjects_first_this_year": 300,
    "sensitive_subjects": 80,
    "sensitive_first_this_year": 20,
    "purposes": [2, 7],
    "categories": [1, 7],
    "legal_basis": 1,
    "consent_form": 3,
    "notice_digest": b"\x88" * 32,
    "notice_version": "3.1",
    "exemption": 1,
    "protections": [1, 3],
    "transmission": 1,
    "delete_by": 20291231,
}
BODY: dict[str, Any] = {
    "salt": bytes(range(16, 32)),
    "origin": MAINLAND,
    "author": EXPORTER,
    "record_id": bytes.fromhex("019fc52537c47596897f3d075a7a2e3f"),
    "occurred_at": START,
}


def around(terms: bytes, **changes: Any) -> bytes:
    """A body as the independent encoder makes it, with terms as they are."""
    return ref.encode(
        "body", {**BODY, "transfer": ref.encode("transfer", {"terms": terms}), **changes}
    )


def make(*, of_body: dict[str, Any] | None = None, **changes: Any) -> bytes:
    return around(ref.encode("terms", {**TERMS, **changes}), **(of_body or {}))


def read_closely(data: bytes) -> tuple[str, Facts] | None:
    try:
        return read_any(data)
    except LedgerError:
        return None


def is_read_alike(data: bytes) -> bool:
    """Whether the shorter way says what the longer one says, or nothing."""
    if read_usual(data) is None:
        return True
    return read_facts(data) == read_closely(data)


USUAL: dict[str, dict[str, Any]] = {
    "all stated": {},
    "no notice": {"notice_digest": b"", "notice_version": ""},
    "little else": {"notice_version": "", "protections": [], "delete_by": 0},
    "nobody": {name: 0 for name in TERMS if "subjects" in name or "first" in name},
    "as many as there may be": {
        "subjects": MAX_COUNT, "subjects_first_this_year": MAX_COUNT,
        "sensitive_subjects": MAX_COUNT, "sensitive_first_this_year": MAX_COUNT,
    },
    "contract in Chinese": {"contract_id": "粤港澳-2026-7"},
    "the last moment": {"of_body": {"occurred_at": MAX_TIME - 1}},
}  # fmt: skip

# Taken too, but by a closer look.
UNUSUAL: dict[str, dict[str, Any]] = {
    "remote viewing": {"commitment": b"", "transmission": 5},
    "the tag of the commitment in the contract's id": {"contract_id": "GBA* 2026"},
    "a time of the seventies": {"of_body": {"occurred_at": 2**48}},
}

_BEFORE_NOTICE = {name: TERMS[name] for name in (*list(TERMS)[:13], "notice_version", "exemption")}
_SWAPPED = {"exporter": TERMS["recipient"], "recipient": TERMS["exporter"]}
WRONG: dict[str, bytes] = {
    "more new than there are": make(subjects_first_this_year=1201),
    "more sensitive new than there are": make(sensitive_first_this_year=81),
    "more than there can be": make(subjects=MAX_COUNT + 1),
    "more sensitive than there can be": make(sensitive_subjects=MAX_COUNT + 1),
    "more sensitive new than five bytes hold": make(sensitive_first_this_year=2**36),
    "a time beyond all": make(of_body={"occurred_at": MAX_TIME}),
    "not by the exporter": make(of_body={"author": "uscc.91440300MA5WRONG01"}),
    "of another log": make(of_body={"origin": "gba.example/other"}),
    "the parties exchanged": make(**_SWAPPED),
    "no border between": make(recipient=TERMS["exporter"]),
    "no contract": make(contract_id=""),
    "a code that is unknown": make(purposes=[2, 99]),
    "a date that is none": make(delete_by=20291301),
    "no UUIDv7": make(of_body={"record_id": bytes(16)}),
    "terms that go on": around(ref.encode("terms", TERMS) + varint(200 << 3) + b"\x01"),
    "terms in another order": around(
        ref.encode("terms", {**TERMS, "notice_version": "", "protections": []})
        + encode_field(17, b"3.1")
    ),
    "the notice after its version": around(
        ref.encode("terms", _BEFORE_NOTICE)
        + encode_field(16, TERMS["notice_digest"])
        + encode_field(20, TERMS["transmission"])
    ),
    "a body that goes on": make() + varint(200 << 3) + b"\x01",
    "a length of three bytes": make().replace(b"\x92\x01", b"\x92\x01\x80", 1),
}  # fmt: skip


class TestAUsualTransfer:
    @pytest.mark.parametrize("what", USUAL)
    def test_is_read_the_shorter_way(self, what: str) -> None:
        assert read_usual(make(**USUAL[what])) is not None

    @pytest.mark.parametrize("what", USUAL)
    def test_is_read_as_the_longer_way_reads_it(self, what: str) -> None:
        data = make(**USUAL[what])
        assert read_facts(data) == read_any(data)


class TestAnUnusualTransfer:
    @pytest.mark.parametrize("what", UNUSUAL)
    def test_is_left_to_the_longer_way(self, what: str) -> None:
        assert read_usual(make(**UNUSUAL[what])) is None

    @pytest.mark.parametrize("what", UNUSUAL)
    def test_is_taken(self, what: str) -> None:
        data = make(**UNUSUAL[what])
        assert read_facts(data) == read_any(data)


class TestWhatIsWrong:
    @pytest.mark.parametrize("what", WRONG)
    def test_is_left_to_the_longer_way(self, what: str) -> None:
        assert read_usual(WRONG[what]) is None

    @pytest.mark.parametrize("what", WRONG)
    def test_is_refused(self, what: str) -> None:
        assert read_closely(WRONG[what]) is None


class TestChangedBytes:
    def test_each_byte_by_each_other_is_read_alike_both_ways(self) -> None:
        data = make()
        unlike = [
            (place, value)
            for place in range(len(data))
            for value in range(256)
            if not is_read_alike(data[:place] + bytes((value,)) + data[place + 1 :])
        ]
        assert not unlike

    def test_each_byte_left_out_or_doubled_is_read_alike_both_ways(self) -> None:
        data = make()
        changed = [data[:i] + data[i + n :] for i in range(len(data)) for n in (1, -1)]
        assert all(map(is_read_alike, changed))

    @given(st.data())
    def test_pieces_put_elsewhere_are_read_alike_both_ways(self, data: st.DataObject) -> None:
        whole = make()
        start, stop, to = (data.draw(st.integers(0, len(whole))) for _ in range(3))
        rest = whole[:start] + whole[max(start, stop) :]
        assert is_read_alike(rest[:to] + whole[start:stop] + rest[to:])

    @given(st.binary(max_size=600))
    def test_any_bytes_are_no_usual_transfer(self, data: bytes) -> None:
        assert read_usual(data) is None

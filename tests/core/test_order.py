"""An order to erase: what it says, and that the authority signed it for this log."""

from __future__ import annotations

import os
from hashlib import sha256

import pytest
from builders import MAINLAND, START, new_key

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import FieldError, SignatureError
from ledgerd_client.core.remains import open_order, order_digest


class TestAnOrder:
    AUTHORITY = new_key()

    def order(self, **changes: object) -> bytes:
        fields = {
            "origin": MAINLAND,
            "order_id": os.urandom(16),
            "institution": "uscc.A",
            "indexes": [4, 7],
            "reason": "its retention is over",
            "ordered_at": START,
        }
        return encode_message(pb.ErasureOrder(**{**fields, **changes}))  # type: ignore[arg-type]

    def open(self, order: bytes, signature: bytes | None = None) -> pb.ErasureOrder:
        if signature is None:
            signature = self.AUTHORITY.sign(order_digest(MAINLAND, order))
        return open_order(order, signature, origin=MAINLAND, authority=self.AUTHORITY.public)

    def test_that_the_authority_signed_is_read(self) -> None:
        assert list(self.open(self.order()).indexes) == [4, 7]

    def test_that_it_did_not_sign_is_refused(self) -> None:
        order = self.order()
        signature = new_key().sign(order_digest(MAINLAND, order))
        with pytest.raises(SignatureError) as caught:
            self.open(order, signature)
        assert caught.value.reason == "NOT_ORDERED"

    def test_for_another_log_is_refused(self) -> None:
        with pytest.raises(SignatureError):
            self.open(self.order(origin="gba.example/other"))

    def test_is_signed_with_a_tag_and_the_origin(self) -> None:
        order = self.order()
        name = MAINLAND.encode()
        expected = b"ledgerd/erasure/v1\n" + bytes([len(name)]) + name + sha256(order).digest()
        assert order_digest(MAINLAND, order) == expected

    @pytest.mark.parametrize(
        "changes",
        [
            {"indexes": []},
            {"indexes": [7, 4]},
            {"indexes": [4, 4]},
            {"indexes": range(65)},
            {"reason": ""},
            {"order_id": b""},
            {"institution": ""},
            {"ordered_at": 0},
        ],
    )
    def test_that_does_not_say_what_and_why_is_refused(self, changes: dict[str, object]) -> None:
        with pytest.raises(FieldError):
            self.open(self.order(**changes))

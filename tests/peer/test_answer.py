"""An answer as docs/formats-operators.md has it, by vectors/carried.json; see test_courier.py too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledgerd.peer.answer import Answer
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import SignatureError

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "carried.json").read_text())
ORIGIN, TO, SIZE = VECTOR["origin"], VECTOR["to"], VECTOR["size"]
QUESTION, ROOT, PUBLIC, SIGNATURE = (
    bytes.fromhex(VECTOR[name]) for name in ("question", "root", "public_key", "signature")
)
NOTE, SEEN = VECTOR["cosigned"].encode(), VECTOR["seen"].encode()


class Pen:
    """Stands for a key: remembers what it was to sign."""

    public, key_id = PUBLIC, b""

    def sign(self, message: bytes) -> bytes:
        self.message = message
        return SIGNATURE


class TestAnAnswer:
    def test_verifies(self) -> None:
        Answer(QUESTION, SIZE, ROOT, NOTE, SEEN, SIGNATURE).verify(PUBLIC, ORIGIN, TO)

    def test_is_signed_over_these_bytes(self) -> None:
        pen, head = Pen(), Checkpoint(ORIGIN, SIZE, ROOT)
        Answer.make(pen, TO, question=QUESTION, head=head, cosigned=NOTE, seen=SEEN)
        assert pen.message.hex() == VECTOR["signed"]

    @pytest.mark.parametrize(("origin", "to"), [(TO, ORIGIN), (ORIGIN, ORIGIN), (ORIGIN, "x")])
    def test_is_of_one_log_to_another(self, origin: str, to: str) -> None:
        with pytest.raises(SignatureError):
            Answer(QUESTION, SIZE, ROOT, NOTE, SEEN, SIGNATURE).verify(PUBLIC, origin, to)

    def test_is_read_as_it_was_written(self) -> None:
        answer = Answer(QUESTION, SIZE, ROOT, NOTE, SEEN, SIGNATURE)
        assert Answer.parse(answer.format()) == answer

"""
C2SP tlog-proof: our receipt file is one, with the header in `extra`.

The published cases carry no header of ours, and checkpoints that are no signed notes, so each good
one is refused by our stricter rules; the table says by which. Their shapes, with a header and a
checkpoint of ours put in, are read.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import Log, new_border

from ledgerd_client.core.errors import MalformedError
from ledgerd_client.core.header import Header
from ledgerd_client.core.receipt import Receipt

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text())
GOOD, BAD = (VECTORS["tlog_proof_format"][name] for name in ("marshal", "reject"))

# Index of the published case: what our stricter rules refuse it for.
STRICTER = {
    5: "no extra line: the header is mandatory; and its checkpoint is no signed note",
    10: "extra is no header, whose index would be 10; and its checkpoint is no signed note",
    0: "no extra line: the header is mandatory; and its checkpoint is no signed note",
}


@pytest.fixture(scope="module")
def log() -> Log:
    return new_border().mainland


def ours(log: Log, case: dict[str, Any]) -> bytes:
    """The published text, with a header of ours in `extra` and a checkpoint of ours."""
    header = b64encode(header_at(log, case["index"])).decode()
    lines = [line for line in case["text"].split("\n") if not line.startswith("extra ")]
    lines.insert(1, f"extra {header}")
    text = "\n".join(lines).removesuffix(case["checkpoint"])
    return text.encode() + log.checkpoint(1)


def header_at(log: Log, index: int) -> bytes:
    return replace(Header.parse(log.entries[0][0]), index=index).encode()


class TestPublishedProofs:
    @pytest.mark.parametrize("case", GOOD, ids=lambda case: case["index"])
    def test_a_good_one_is_read_with_a_header_and_a_checkpoint_of_ours(
        self, log: Log, case: dict[str, Any]
    ) -> None:
        receipt = Receipt.parse(ours(log, case))
        assert (receipt.index, [node.hex() for node in receipt.proof]) == (
            case["index"],
            case["hashes_hex"],
        )

    @pytest.mark.parametrize("case", GOOD, ids=lambda case: case["index"])
    def test_a_good_one_is_written_as_it_is_published(self, log: Log, case: dict[str, Any]) -> None:
        proof = tuple(map(bytes.fromhex, case["hashes_hex"]))
        receipt = Receipt(header_at(log, case["index"]), proof, log.checkpoint(1))
        assert receipt.format() == ours(log, case)

    @pytest.mark.parametrize("case", GOOD, ids=lambda case: case["index"])
    def test_a_good_one_is_refused_as_it_stands_by_our_stricter_rules(
        self, case: dict[str, Any]
    ) -> None:
        with pytest.raises(MalformedError):
            Receipt.parse(case["text"].encode())

    def test_each_good_one_has_its_reason_above(self) -> None:
        assert [case["index"] for case in GOOD] == list(STRICTER)

    @pytest.mark.parametrize("text", BAD)
    def test_a_bad_one_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedError):
            Receipt.parse(text.encode())

    @pytest.mark.parametrize("text", BAD)
    def test_a_bad_one_is_refused_with_a_header_and_a_checkpoint_of_ours(
        self, log: Log, text: str
    ) -> None:
        # Their faults are in the first line, extra, index and hashes, and those stay.
        checkpoint = log.checkpoint(1)
        spoiled = text.removesuffix("checkpoint\n").encode() + checkpoint
        if "extra" not in text:
            extra = b"\nextra " + b64encode(header_at(log, 0))
            spoiled = spoiled.replace(b"\n", extra + b"\n", 1)
        with pytest.raises(MalformedError):
            Receipt.parse(spoiled)

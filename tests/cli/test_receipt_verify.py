"""Verifying receipts offline: the published vectors, every damage, every missing piece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.tool import Ran, Tool

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "format.json").read_text()
)
MAINLAND, HONG_KONG = VECTORS["logs"]
RECEIPTS = VECTORS["receipts"]
COSIGNED = next(receipt for receipt in RECEIPTS if receipt["cosigned"] and receipt["index"] == 3)
REFUSED = VECTORS["refuse"]["receipts"]


def named(receipt: dict[str, Any]) -> str:
    cosigned = "cosigned" if receipt["cosigned"] else "not cosigned"
    return f"{receipt['origin']} {receipt['index']} of {receipt['size']} {cosigned}"


@pytest.fixture
def verifier(tool: Tool) -> Tool:
    """A directory with the trust file and both key histories."""
    tool.path("trust.txt").write_text(VECTORS["trust"]["file"])
    tool.path("keys").mkdir()
    for name, log in (("mainland", MAINLAND), ("hongkong", HONG_KONG)):
        tool.path(f"keys/{name}.keys").write_text(log["key_history"])
    return tool


def verify(tool: Tool, receipt: str | bytes, *args: object) -> Ran:
    data = receipt.encode() if isinstance(receipt, str) else receipt
    tool.path("a.tlog-proof").write_bytes(data)
    command = ("receipt", "verify", "a.tlog-proof", "--trust", "trust.txt", "--json", *args)
    return tool(*command, *(() if "--keys" in args else ("--keys", "keys")))


class TestGoodReceipts:
    @pytest.mark.parametrize("receipt", RECEIPTS, ids=named)
    def test_every_receipt_of_the_vectors_verifies(
        self, verifier: Tool, receipt: dict[str, Any]
    ) -> None:
        proven = verify(verifier, receipt["file"]).data
        found = (proven["origin"], proven["index"], proven["size"])
        assert found == (receipt["origin"], receipt["index"], receipt["size"])

    def test_it_says_whose_record_was_recorded_when(self, verifier: Tool) -> None:
        proven = verify(verifier, COSIGNED["file"]).data
        entry = MAINLAND["entries"][3]
        said = (proven["institution"], proven["body_digest"])
        assert said == (entry["body_fields"]["author"], entry["body_digest"])

    @pytest.mark.parametrize("receipt", RECEIPTS, ids=named)
    def test_the_first_line_says_what_is_verified(
        self, verifier: Tool, receipt: dict[str, Any]
    ) -> None:
        verifier.path("a.tlog-proof").write_text(receipt["file"])
        options = ("--trust", "trust.txt", "--keys", "keys")
        first = verifier.ok("receipt", "verify", "a.tlog-proof", *options).out.splitlines()[0]
        place = f"entry {receipt['index']} of {receipt['origin']}"
        cosigned = "cosigned" if receipt["cosigned"] else "not cosigned"
        assert first.split(maxsplit=1)[0] == "verified"
        assert f"{place}, in its checkpoint of {receipt['size']} entries, {cosigned} by" in first

    def test_times_are_utc(self, verifier: Tool) -> None:
        genesis = next(receipt for receipt in RECEIPTS if receipt["index"] == 0)
        # date -u -d @1785718800
        assert MAINLAND["entries"][0]["recorded_at"] == 1_785_718_800_000_000
        assert verify(verifier, genesis["file"]).data["recorded_at"] == "2026-08-03T01:00:00Z"

    def test_it_says_when_the_other_side_cosigned(self, verifier: Tool) -> None:
        proven = verify(verifier, COSIGNED["file"], "--require-cosignature").data
        assert proven["cosigned_at"] is not None

    def test_files_do_for_a_directory(self, verifier: Tool) -> None:
        files = ("--keys", "keys/mainland.keys", "--keys", "keys/hongkong.keys")
        assert verify(verifier, COSIGNED["file"], *files).code == 0

    def test_the_installed_program_exits_0(self, verifier: Tool) -> None:
        verifier.path("a.tlog-proof").write_text(COSIGNED["file"])
        options = ("--trust", "trust.txt", "--keys", "keys")
        assert verifier.program("receipt", "verify", "a.tlog-proof", *options).code == 0


class TestBadReceipts:
    @pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: str(refused["reason"]))
    def test_every_bad_receipt_of_the_vectors_is_refused(
        self, verifier: Tool, refused: dict[str, Any]
    ) -> None:
        ran = verify(verifier, refused["value"])
        assert ran.code in {1, 2}
        assert ran.out == ""

    def test_no_flipped_bit_survives(self, verifier: Tool) -> None:
        whole = COSIGNED["file"].encode()
        codes = set()
        for place in range(len(whole)):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << place % 8
            codes.add(verify(verifier, bytes(flipped)).code)
        assert codes == {1, 2}

    def test_no_cut_survives(self, verifier: Tool) -> None:
        whole = COSIGNED["file"].encode()
        assert {verify(verifier, whole[:end]).code for end in range(0, len(whole), 7)} <= {1, 2}

    def test_a_proof_that_fails_exits_1_without_a_traceback(self, verifier: Tool) -> None:
        bad = next(refused for refused in REFUSED if refused["layer"] != "syntax")
        verifier.path("a.tlog-proof").write_text(bad["value"])
        options = ("--trust", "trust.txt", "--keys", "keys")
        ran = verifier.program("receipt", "verify", "a.tlog-proof", *options)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)

    def test_a_receipt_that_is_not_cosigned_does_not_do_where_it_must_be(
        self, verifier: Tool
    ) -> None:
        """
        Nor is it proof of tampering: exit code 3.
        """
        receipt = next(receipt for receipt in RECEIPTS if not receipt["cosigned"])
        ran = verify(verifier, receipt["file"], "--require-cosignature")
        assert (ran.code, ran.out, "has not cosigned it" in ran.err) == (3, "", True)


class TestMissingPieces:
    def test_the_key_history_of_the_log_is_needed(self, verifier: Tool) -> None:
        verifier.path("keys/mainland.keys").unlink()
        assert verify(verifier, COSIGNED["file"]).code == 2

    def test_the_key_history_of_the_cosigner_is_needed(self, verifier: Tool) -> None:
        verifier.path("keys/hongkong.keys").unlink()
        assert verify(verifier, COSIGNED["file"]).code == 2

    def test_the_other_sides_key_history_is_not_needed_without_a_cosignature(
        self, verifier: Tool
    ) -> None:
        verifier.path("keys/hongkong.keys").unlink()
        receipt = next(receipt for receipt in RECEIPTS if not receipt["cosigned"])
        assert verify(verifier, receipt["file"]).code == 0

    def test_an_empty_directory_of_keys_is_bad_input(self, verifier: Tool) -> None:
        verifier.path("empty").mkdir()
        assert verify(verifier, COSIGNED["file"], "--keys", "empty").code == 2

    @pytest.mark.parametrize(
        "text", ["", "ledgerd-keys/v1", "ledgerd-keys/v1\ngba.example/mainland\n"]
    )
    def test_what_is_no_key_history_is_bad_input(self, verifier: Tool, text: str) -> None:
        verifier.path("keys/mainland.keys").write_text(text)
        assert verify(verifier, COSIGNED["file"]).code == 2

    def test_a_key_history_by_another_authority_proves_nothing(self, verifier: Tool) -> None:
        verifier.ok("authority", "init", "--dir", "impostor", "--origin", MAINLAND["origin"])
        verifier.ok("authority", "init", "--dir", "peer", "--origin", HONG_KONG["origin"])
        sides = ("impostor/trust.txt", "peer/trust.txt")
        verifier.path("trust.txt").unlink()
        verifier.ok("trust", "make", *sides, "--out", "trust.txt")
        assert verify(verifier, COSIGNED["file"]).code == 1

    def test_a_trust_file_of_other_logs_is_bad_input(self, verifier: Tool) -> None:
        verifier.ok("authority", "init", "--dir", "other", "--origin", "other.example/log")
        verifier.path("trust.txt").write_bytes(verifier.path("other/trust.txt").read_bytes())
        assert verify(verifier, COSIGNED["file"]).code == 2

    def test_a_trust_file_of_one_side_is_bad_input(self, verifier: Tool) -> None:
        whole = VECTORS["trust"]["file"]
        head, *sides = whole.split("origin ")
        (own,) = (side for side in sides if side.startswith(MAINLAND["origin"]))
        verifier.path("trust.txt").write_text(f"{head}origin {own}")
        ran = verify(verifier, COSIGNED["file"])
        assert (ran.code, "`ledgerctl trust make`" in ran.err) == (2, True)

    @pytest.mark.parametrize("refused", VECTORS["refuse"]["trust_files"], ids=lambda r: r["reason"])
    def test_a_bad_trust_file_is_bad_input(self, verifier: Tool, refused: dict[str, Any]) -> None:
        verifier.path("trust.txt").write_text(refused["value"])
        assert verify(verifier, COSIGNED["file"]).code in {1, 2}

    @pytest.mark.parametrize("name", ["trust.txt", "a.tlog-proof", "keys/mainland.keys"])
    def test_a_file_that_cannot_be_read_is_bad_input(self, verifier: Tool, name: str) -> None:
        verifier.path("a.tlog-proof").write_text(COSIGNED["file"])
        verifier.path(name).unlink()
        verifier.path(name).symlink_to("nowhere")
        options = ("--trust", "trust.txt", "--keys", "keys")
        assert verifier("receipt", "verify", "a.tlog-proof", *options).code == 2

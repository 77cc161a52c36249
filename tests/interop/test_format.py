"""docs/format.md, its vectors, and the verifier that a stranger would write from it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interop import bad_receipts, reference, scenario, verify_receipt, worked_example

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "format.md"
VERIFIER = TESTS / "interop" / "verify_receipt.py"
VECTORS = json.loads((TESTS / "vectors" / "format.json").read_text(encoding="utf-8"))
C2SP = json.loads((TESTS / "vectors" / "c2sp.json").read_text(encoding="utf-8"))

Logs = dict[str, verify_receipt.Log]


def read_logs(vectors: dict[str, Any] = VECTORS) -> Logs:
    pins = verify_receipt.read_trust(vectors["trust"]["file"])
    return {log["origin"]: verify_receipt.Log(log["key_history"], pins) for log in vectors["logs"]}


def verifies(file: str | bytes, logs: Logs, *, cosigned: bool = False) -> bool:
    try:
        text = file if isinstance(file, str) else file.decode()
        verify_receipt.verify(text, logs, None, cosigned=cosigned)
    except ValueError:
        return False
    return True


def refusals(name: str) -> list[Any]:
    return [pytest.param(case["value"], id=case["reason"]) for case in VECTORS["refuse"][name]]


@pytest.fixture(scope="module")
def logs() -> Logs:
    return read_logs()


@pytest.fixture(scope="module")
def receipt() -> str:
    return worked_example.files(VECTORS)["receipt"]


@pytest.fixture(scope="module")
def world() -> scenario.Scenario:
    return scenario.build()


class TestReference:
    @pytest.mark.parametrize(
        ("group", "prove", "named"),
        [
            ("inclusion", reference.inclusion, ("index", "size")),
            ("consistency", reference.consistency, ("size1", "size2")),
        ],
    )
    def test_it_makes_the_proofs_of_rfc_6962(
        self, group: str, prove: Callable[..., list[bytes]], named: tuple[str, str]
    ) -> None:
        leaves = [
            reference.leaf_hash(bytes.fromhex(leaf))
            for leaf in C2SP["rfc6962_reference_tree"]["leaf_inputs_hex"]
        ]
        first, size = named
        cases = C2SP["rfc6962_all_proofs_sizes_1_to_8"][group]
        made = [[item.hex() for item in prove(at[first], leaves[: at[size]])] for at in cases]
        assert made == [case["proof_hex"] for case in cases]

    def test_it_makes_the_key_ids_of_c2sp_cosigners(self) -> None:
        case = C2SP["cosignatures_v1_ed25519"]["cases"][0]
        vkey = case["cosigner_vkey_type_0x04"]
        name, _, data = vkey.split("+", 2)
        public = verify_receipt.unbase64(data)[1:]
        assert reference.vkey(name, reference.COSIGNER, public) == vkey


class TestVectors:
    @pytest.mark.parametrize("log", VECTORS["logs"], ids=lambda log: log["origin"])
    def test_each_entry_chains_to_the_one_before(self, log: dict[str, Any]) -> None:
        links = [entry["previous_leaf_hash"] for entry in log["entries"]]
        leaves = [entry["leaf_hash"] for entry in log["entries"]]
        assert links == [reference.genesis_link(log["origin"]).hex(), *leaves[:-1]]

    @pytest.mark.parametrize("log", VECTORS["logs"], ids=lambda log: log["origin"])
    def test_roots_are_over_the_headers(self, log: dict[str, Any]) -> None:
        leaves = [reference.leaf_hash(bytes.fromhex(entry["header"])) for entry in log["entries"]]
        made = [reference.root(leaves[:size]).hex() for size in range(len(leaves) + 1)]
        assert made == log["roots"]

    def test_the_fingerprint_is_of_the_trust_file(self) -> None:
        trust = VECTORS["trust"]
        assert reference.fingerprint(trust["file"]) == trust["fingerprint"]

    def test_every_kind_that_has_a_body_and_belongs_in_a_sound_log_is_there(self) -> None:
        kinds = {entry["kind"] for log in VECTORS["logs"] for entry in log["entries"]}
        assert kinds == {0, 1, 2, 3, 4, 5, 6, 7, 10}


class TestVerifierAccepts:
    @pytest.mark.parametrize(
        "case",
        VECTORS["receipts"],
        ids=lambda case: f"{case['origin']}-{case['index']}-of-{case['size']}-{case['cosigned']}",
    )
    def test_a_receipt_of_the_vectors(self, case: dict[str, Any], logs: Logs) -> None:
        assert verifies(case["file"], logs, cosigned=case["cosigned"])

    def test_a_log_made_a_moment_ago(self, world: scenario.Scenario) -> None:
        pins = verify_receipt.read_trust(world.trust())
        histories = [world.mainland.key_history(), world.hongkong.key_history()]
        fresh = {log.origin: log for log in (verify_receipt.Log(file, pins) for file in histories)}
        assert verifies(world.mainland.receipt(9, 12, world.hongkong), fresh, cosigned=True)

    def test_an_honest_entry_put_as_the_dishonest_ones_are(self, world: scenario.Scenario) -> None:
        pins = verify_receipt.read_trust(world.trust())
        log = verify_receipt.Log(world.mainland.key_history(), pins)
        forged = bad_receipts.forged(world.mainland, world.mainland.entries[6])
        assert verifies(forged, {log.origin: log})


class TestVerifierRefuses:
    def changed(self, receipt: str) -> Iterator[bytes]:
        raw = receipt.encode()
        for at in range(len(raw)):
            for bit in range(8):
                yield raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]

    def test_a_change_of_any_one_byte(self, receipt: str, logs: Logs) -> None:
        assert not [raw for raw in self.changed(receipt) if verifies(raw, logs)]

    def test_the_loss_of_any_one_byte(self, receipt: str, logs: Logs) -> None:
        raw = receipt.encode()
        shorter = (raw[:at] + raw[at + 1 :] for at in range(len(raw)))
        assert not [file for file in shorter if verifies(file, logs)]

    def test_any_one_byte_twice(self, receipt: str, logs: Logs) -> None:
        raw = receipt.encode()
        longer = (raw[: at + 1] + raw[at:] for at in range(len(raw)))
        assert not [file for file in longer if verifies(file, logs)]

    def test_a_receipt_without_the_cosignature_that_is_demanded(self, logs: Logs) -> None:
        plain = next(case["file"] for case in VECTORS["receipts"] if not case["cosigned"])
        assert not verifies(plain, logs, cosigned=True)

    def test_a_cosignature_when_the_peers_keys_are_not_given(
        self, receipt: str, logs: Logs
    ) -> None:
        origin = VECTORS["logs"][0]["origin"]
        assert not verifies(receipt, {origin: logs[origin]})

    def test_a_receipt_of_an_origin_whose_keys_are_not_given(
        self, receipt: str, logs: Logs
    ) -> None:
        origin = VECTORS["logs"][1]["origin"]
        assert not verifies(receipt, {origin: logs[origin]})

    def test_a_key_history_under_another_trust_file(self, world: scenario.Scenario) -> None:
        pins = verify_receipt.read_trust(world.trust())
        with pytest.raises(ValueError, match="not admitted for its kind"):
            verify_receipt.Log(VECTORS["logs"][0]["key_history"], pins)

    def test_a_signer_whom_a_shorter_key_history_does_not_know(self, logs: Logs) -> None:
        pins = verify_receipt.read_trust(VECTORS["trust"]["file"])
        early = verify_receipt.Log(worked_example.files(VECTORS)["mainland"], pins)
        after_rotation = VECTORS["receipts"][6]
        assert not verifies(after_rotation["file"], {**logs, early.origin: early})

    def test_a_signature_whose_r_is_of_low_order(self, world: scenario.Scenario) -> None:
        pins = verify_receipt.read_trust(world.trust())
        log = verify_receipt.Log(world.mainland.key_history(), pins)
        entry = bad_receipts.low_order(world, world.deals["single"])
        forged = bad_receipts.forged(world.mainland, entry)
        with pytest.raises(ValueError, match="unsound"):
            verify_receipt.verify(forged, {log.origin: log}, None, cosigned=False)

    @pytest.mark.parametrize("value", refusals("receipts"))
    def test_a_receipt_that_must_be_refused(self, value: str, logs: Logs) -> None:
        assert not verifies(value, logs)

    @pytest.mark.parametrize("value", refusals("headers"))
    def test_a_header_that_must_be_refused(self, value: str) -> None:
        with pytest.raises(ValueError, match=r"header|utf-8"):
            verify_receipt.read_header(bytes.fromhex(value))

    @pytest.mark.parametrize("value", refusals("key_histories"))
    def test_a_key_history_that_must_be_refused(self, value: str) -> None:
        pins = verify_receipt.read_trust(VECTORS["trust"]["file"])
        with pytest.raises(ValueError, match=r"key history|KEY entry|entry|body"):
            verify_receipt.Log(value, pins)

    @pytest.mark.parametrize("value", refusals("trust_files"))
    def test_a_trust_file_that_must_be_refused(self, value: str) -> None:
        with pytest.raises(ValueError, match=r"trust file|base64"):
            verify_receipt.read_trust(value)


class TestVerifierAsAProgram:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The files of the worked example, as the page prints them."""
        blocks = PAGE.read_text(encoding="utf-8").split("\u2020 (`")[1:]
        for part in blocks:
            name, text = part.split("`)", 1)
            (tmp_path / name).write_text(text.split("```text\n")[1].split("```")[0], "utf-8")
        return tmp_path

    def run(self, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
        known = ["receipt", "--trust", "trust", "--keys", "mainland", "--keys", "hongkong"]
        command = [sys.executable, "-W", "error", str(VERIFIER), *known, *more]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    def test_it_verifies_the_files_printed_on_the_page(self, folder: Path) -> None:
        assert self.run(folder, "--require-cosignature").returncode == 0

    def test_it_says_what_it_verified(self, folder: Path) -> None:
        said = self.run(folder).stdout
        assert "entry 3 of gba.example/mainland: TRANSFER by uscc.91440300MA5EXMPLXX" in said

    def test_it_takes_the_body_that_was_signed(self, folder: Path) -> None:
        body = bytes.fromhex(VECTORS["logs"][0]["entries"][3]["body"])
        (folder / "body").write_bytes(body)
        assert self.run(folder, "--body", "body").returncode == 0

    def test_it_refuses_another_body(self, folder: Path) -> None:
        (folder / "body").write_bytes(b"")
        assert self.run(folder, "--body", "body").returncode == 1

    def test_it_refuses_a_receipt_of_other_keys_and_says_why(self, folder: Path) -> None:
        (folder / "receipt").write_text(VECTORS["refuse"]["receipts"][-1]["value"], "utf-8")
        assert self.run(folder).stdout.startswith("does not verify: ")

    def test_a_file_that_is_not_there_is_an_error_of_usage(self, folder: Path) -> None:
        (folder / "trust").unlink()
        assert self.run(folder).returncode == 2

    def test_it_warns_of_a_key_declared_compromised(self, logs: Logs) -> None:
        case = next(case for case in VECTORS["receipts"] if case["index"] == 9)
        said = verify_receipt.verify(case["file"], logs, None, cosigned=True)
        assert "compromised since 2026-08-03T01:08:00+00:00" in said[-1]


class TestVerifierIsAPage:
    def test_it_is_short(self) -> None:
        assert len(VERIFIER.read_text(encoding="utf-8").splitlines()) <= 290

    def test_it_imports_the_standard_library_and_cryptography_alone(self) -> None:
        tree = ast.parse(VERIFIER.read_text(encoding="utf-8"))
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        others = {name.split(".")[0] for name in names} - sys.stdlib_module_names
        assert others == {"cryptography"}


class TestPage:
    def test_its_example_is_the_vectors(self) -> None:
        assert worked_example.example(VECTORS) in PAGE.read_text(encoding="utf-8")

    def test_it_is_at_most_400_lines(self) -> None:
        assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 400

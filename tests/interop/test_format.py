"""docs/format.md, its vectors, and the verifier that a stranger would write from it."""

from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from interop import bad_receipts, reference, scenario, verify_receipt, worked_example

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "format.md"
VERIFIER = TESTS / "interop" / "verify_receipt.py"
VECTORS = json.loads((TESTS / "vectors" / "format.json").read_text(encoding="utf-8"))
TRUST = VECTORS["trust"]["file"]
C2SP = json.loads((TESTS / "vectors" / "c2sp.json").read_text(encoding="utf-8"))

Logs = dict[str, SimpleNamespace]
FAILURES = (ValueError, LookupError, struct.error, InvalidSignature)

# What the verifier believes for the sake of its length, and a node and an SDK refuse. Each of these
# is signed by the authority that its user trusts, and none makes a key good that was revoked. It
# looks for no point of low order either: whoever signs by one has given the key away.
BELIEVED = frozenset(
    {
        "a body that names another author",
        "no possession",
        "possession proves something else",
        "possession is for another subject",
        "a key is admitted again",
        "a revoked key is admitted again",
        "a key is admitted for a second institution",
        "the node's key is admitted for an institution",
        "a public key of low order",
        "ROTATE of a key that was never admitted",
        "ROTATE of a revoked key",
        "ROTATE to another institution",
        "REVOKE of a key that was never admitted",
        "REVOKE of a revoked key",
    }
)


def read_logs(trust: str, *histories: str) -> Logs:
    logs = (verify_receipt.read_keys(file, trust) for file in histories)
    return {log.origin: log for log in logs}


def verifies(file: str | bytes, logs: Logs, *, cosigned: bool = False) -> bool:
    try:
        text = file if isinstance(file, str) else file.decode()
        verify_receipt.verify(text, logs, cosigned=cosigned)
    except FAILURES:
        return False
    return True


def refusals(name: str, but: frozenset[str] = frozenset()) -> list[Any]:
    cases = {case["reason"]: case["value"] for case in VECTORS["refuse"][name]}
    assert but <= cases.keys()
    return [pytest.param(cases[reason], id=reason) for reason in cases if reason not in but]


def claimed(log: scenario.Log, index: int, size: int, proof: list[bytes], root: bytes) -> str:
    """A receipt under whatever root the log pleases to sign."""
    text = f"{log.origin}\n{size}\n{reference.b64(root)}\n"
    note = f"{text}\n{reference.log_line(log.origin, log.log, text)}"
    return reference.receipt_file(log.entries[index].raw, index, proof, note)


@pytest.fixture(scope="module")
def logs() -> Logs:
    return read_logs(TRUST, *(log["key_history"] for log in VECTORS["logs"]))


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
        assert kinds == {*range(8), 9, 10, 11}


class TestVerifierAccepts:
    @pytest.mark.parametrize(
        "case",
        VECTORS["receipts"],
        ids=lambda case: f"{case['origin']}-{case['index']}-of-{case['size']}-{case['cosigned']}",
    )
    def test_a_receipt_of_the_vectors(self, case: dict[str, Any], logs: Logs) -> None:
        assert verifies(case["file"], logs, cosigned=case["cosigned"])

    def test_a_log_made_a_moment_ago(self, world: scenario.Scenario) -> None:
        histories = [world.mainland.key_history(), world.hongkong.key_history()]
        fresh = read_logs(world.trust(), *histories)
        assert verifies(world.mainland.receipt(9, 12, world.hongkong), fresh, cosigned=True)

    def test_an_honest_entry_put_as_the_dishonest_ones_are(self, world: scenario.Scenario) -> None:
        forged = bad_receipts.forged(world.mainland, world.mainland.entries[6])
        assert verifies(forged, read_logs(world.trust(), world.mainland.key_history()))


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
        with pytest.raises(ValueError, match="by a key of nobody"):
            read_logs(world.trust(), VECTORS["logs"][0]["key_history"])

    def test_a_signer_whom_a_shorter_key_history_does_not_know(self, logs: Logs) -> None:
        early = read_logs(TRUST, worked_example.files(VECTORS)["mainland"])
        after_rotation = VECTORS["receipts"][6]
        assert not verifies(after_rotation["file"], {**logs, **early})

    def test_a_revoked_key_whose_admission_is_repeated(self) -> None:
        """What the authority signs does not hold the index: anybody can repeat an old line."""
        world = scenario.build()
        log, deal, admission = world.mainland, world.deals["parts"], world.mainland.entries[5]
        at = len(log.entries)
        again = replace(admission.header, index=at)
        log.entries.append(replace(admission, header=again, raw=again.encode()))
        by = ({"terms": deal.terms}, scenario.EXPORTER, world.exporter_next)
        signed = {"key_index": at, "halves": deal.halves(world.hongkong)}
        log.append(scenario.TRANSFER, "transfer", *by, **signed)
        assert not verifies(
            log.receipt(at + 1, at + 2), read_logs(world.trust(), log.key_history())
        )

    @pytest.mark.parametrize(
        ("index", "size", "lengths"),
        [
            pytest.param(3, 3, [32, 32], id="an index outside of the tree"),
            pytest.param(1, 2, [], id="a hash too few"),
            pytest.param(0, 1, [32], id="a hash too many"),
            pytest.param(1, 2, [31], id="a hash too short"),
        ],
    )
    def test_a_proof_that_fits_no_tree_though_the_log_signed_where_it_leads(
        self, index: int, size: int, lengths: list[int], world: scenario.Scenario
    ) -> None:
        proof = [bytes(length) for length in lengths]
        root = reference.leaf_hash(world.mainland.entries[index].raw)
        for sibling in proof:
            root = reference.digest(b"\x01", sibling, root)
        file = claimed(world.mainland, index, size, proof, root)
        assert not verifies(file, read_logs(world.trust(), world.mainland.key_history()))

    @pytest.mark.parametrize(("height", "good"), [(63, True), (64, False)])
    def test_a_size_that_is_not_below_2_to_the_63(
        self, height: int, good: bool, world: scenario.Scenario
    ) -> None:
        proof = [bytes(32)] * height
        root = reference.leaf_hash(world.mainland.entries[0].raw)
        for sibling in proof:
            root = reference.digest(b"\x01", root, sibling)
        file = claimed(world.mainland, 0, 2**height - 1, proof, root)
        logs = read_logs(world.trust(), world.mainland.key_history())
        assert verifies(file, logs) == good

    @pytest.mark.parametrize("value", refusals("receipts"))
    def test_a_receipt_that_must_be_refused(self, value: str, logs: Logs) -> None:
        assert not verifies(value, logs)

    @pytest.mark.parametrize("value", refusals("headers"))
    def test_a_header_that_must_be_refused(self, value: str) -> None:
        with pytest.raises((ValueError, struct.error)):
            verify_receipt.read_header(bytes.fromhex(value))

    @pytest.mark.parametrize("value", refusals("key_histories", but=BELIEVED))
    def test_a_key_history_that_must_be_refused(self, value: str) -> None:
        with pytest.raises(FAILURES):
            read_logs(TRUST, value)


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
        assert "TRANSFER 3 of gba.example/mainland by uscc.91440300MA5EXMPLXX" in said

    def test_it_refuses_a_receipt_of_other_keys(self, folder: Path) -> None:
        (folder / "receipt").write_text(VECTORS["refuse"]["receipts"][-1]["value"], "utf-8")
        assert self.run(folder).returncode == 1

    def test_it_says_why_it_refuses(self, folder: Path) -> None:
        (folder / "receipt").write_bytes(b"\xff")
        assert self.run(folder).stderr.startswith("does not verify: ")

    def test_it_refuses_a_receipt_when_the_cosignature_demanded_is_not_there(
        self, folder: Path
    ) -> None:
        plain = next(case["file"] for case in VECTORS["receipts"] if not case["cosigned"])
        (folder / "receipt").write_text(plain, "utf-8")
        demanded, not_demanded = self.run(folder, "--require-cosignature"), self.run(folder)
        assert (demanded.returncode, not_demanded.returncode) == (1, 0)

    def test_a_file_that_is_not_there_is_an_error_of_usage(self, folder: Path) -> None:
        (folder / "trust").unlink()
        assert self.run(folder).returncode == 2


class TestVerifierIsShort:
    def test_it_has_at_most_150_lines(self) -> None:
        assert len(VERIFIER.read_text(encoding="utf-8").splitlines()) <= 150

    def test_no_line_is_longer_than_100(self) -> None:
        assert max(map(len, VERIFIER.read_text(encoding="utf-8").splitlines())) <= 100

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

    def test_it_is_at_most_580_lines(self) -> None:
        assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 580

"""`ledgerctl evidence`, as it is typed: the published vectors verify offline, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import Log
from cli.enrolled import Border
from cli.tool import Ran, Tool

from ledgerd_client._proto import service_pb2 as pb

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "format.json").read_text()
)
EVIDENCE = VECTORS["evidence"]
REFUSED = VECTORS["refuse"]["evidence"]
ORIGIN = "gba.example/mainland"


@pytest.fixture
def verifier(tool: Tool) -> Tool:
    """A directory with the trust file and both key histories."""
    tool.path("trust.txt").write_text(VECTORS["trust"]["file"])
    tool.path("keys").mkdir()
    for name, log in zip(("mainland", "hongkong"), VECTORS["logs"], strict=True):
        tool.path(f"keys/{name}.keys").write_text(log["key_history"])
    return tool


def verify(tool: Tool, evidence: str, keys: str = "keys") -> Ran:
    tool.path("an.evidence").write_text(evidence)
    files = ("--trust", "trust.txt", "--keys", keys)
    return tool("evidence", "verify", "an.evidence", *files, "--json")


class TestEvidence:
    @pytest.mark.parametrize("number", range(len(EVIDENCE)))
    def test_of_the_vectors_verifies(self, verifier: Tool, number: int) -> None:
        ran = verify(verifier, EVIDENCE[number]["file"])
        assert (ran.code, ran.data["origin"]) == (0, ORIGIN), ran.err

    @pytest.mark.parametrize("number", range(len(REFUSED)))
    def test_that_the_vectors_refuse_does_not(self, verifier: Tool, number: int) -> None:
        assert verify(verifier, REFUSED[number]["value"]).code in {1, 2}

    @pytest.mark.parametrize("claim", sorted({one["claim"] for one in EVIDENCE}))
    def test_says_what_it_proves(self, verifier: Tool, claim: str) -> None:
        (file, *_) = (one["file"] for one in EVIDENCE if one["claim"] == claim)
        proves = verify(verifier, file).data["proves"]
        assert proves.startswith(f"{ORIGIN}: ")
        assert ("entry" in proves) is (claim != "fork")

    def test_that_proves_nothing_exits_1(self, verifier: Tool) -> None:
        (twice,) = (one for one in REFUSED if one["reason"] == "one checkpoint twice")
        assert verify(verifier, twice["value"]).code == 1

    def test_that_was_changed_does_not_verify(self, verifier: Tool) -> None:
        changed = EVIDENCE[0]["file"].replace("\n19\n", "\n20\n")
        assert verify(verifier, changed).code == 1

    @pytest.mark.parametrize("content", ["", "no evidence\n", "ledgerd-entry-evidence/v1\n"])
    def test_that_is_none_is_bad_input(self, verifier: Tool, content: str) -> None:
        ran = verify(verifier, content)
        assert (ran.code, "no evidence file" in ran.err) == (2, True)

    def test_against_a_log_that_nobody_vouches_for_is_bad_input(self, verifier: Tool) -> None:
        assert verify(verifier, EVIDENCE[0]["file"], "keys/hongkong.keys").code == 2


class TestADigest:
    @pytest.mark.parametrize("digest", ["", "ab", "zz" * 32, "ab" * 33])
    def test_that_is_none_is_refused_before_anybody_is_asked(
        self, verifier: Tool, digest: str
    ) -> None:
        verifier.path("client.toml").write_text("")
        assert verifier("evidence", "acknowledge", digest, "--yes").code == 2

    def test_that_nobody_keeps_is_looked_for_before_the_question(self, border: Border) -> None:
        ran = border.tool(
            "evidence", "acknowledge", "ab" * 32, "--config", "mainland-ops/client.toml"
        )
        assert (ran.code, "NOT_FOUND" in ran.err, "cosign" in ran.err) == (3, True, False)


class TestARefusedRequest:
    @pytest.fixture
    def note(self, border: Border) -> bytes:
        note = Log("hk.example/log").checkpoint()
        refused = pb.RefusedCheckpoint(reason="BAD_PROOF", checkpoint=note)
        border.mainland.listed.refused.append(refused)
        return note

    def listed(self, border: Border, *args: str) -> Ran:
        return border.tool("evidence", "list", "--config", "mainland-ops/client.toml", *args)

    def test_is_shown_by_the_log_and_its_size(self, border: Border, note: bytes) -> None:
        size = int(note.split(b"\n")[1])
        assert f"hk.example/log, {size} entries" in self.listed(border).out

    def test_is_said_to_contradict_nothing(self, border: Border, note: bytes) -> None:
        assert "contradict nothing" in self.listed(border).err

    def test_is_whole_in_json(self, border: Border, note: bytes) -> None:
        assert self.listed(border, "--json").data["checkpoint"] == note.decode()

"""What is released, and what it rests on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(
    r"^([a-z0-9-]+)==([^ ;]+)[^\\]*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE
)


def pins(lock: Path) -> dict[str, str]:
    """Versions that a file pins by hash, by name."""
    return {name: version for name, version, _ in PIN.findall(lock.read_text())}


def build(out: Path, umask: int, **environment: str) -> dict[str, bytes]:
    script = ROOT / "deploy" / "build-release.sh"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    subprocess.run(
        ["bash", script, out], check=True, capture_output=True, cwd=out.parent, umask=umask,
        env={**os.environ, **environment, "PATH": path},
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout: there is no commit to release")
    return build(tmp_path_factory.mktemp("release") / "one", 0o022)


class TestARelease:
    def test_is_both_distributions_an_sbom_and_their_checksums(
        self, built: dict[str, bytes]
    ) -> None:
        kinds = {re.sub(r"-[0-9][0-9.]*(?=-|\.tar)", "", name) for name in built}
        assert kinds == {
            "ledgerd-py3-none-any.whl", "ledgerd.tar.gz", "ledgerd_client-py3-none-any.whl",
            "ledgerd_client.tar.gz", "ledgerd.cdx.json", "SHA256SUMS",
        }  # fmt: skip

    def test_has_the_same_bytes_wherever_and_by_whomever_it_is_made(
        self, built: dict[str, bytes], tmp_path: Path
    ) -> None:
        again = build(
            tmp_path / "two", 0o077, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7"
        )
        assert again == built

    def test_is_what_its_checksums_say(self, built: dict[str, bytes]) -> None:
        lines = [line.split("  ") for line in built["SHA256SUMS"].decode().splitlines()]
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in built.items()}
        del digests["SHA256SUMS"]
        assert {name: digest for digest, name in lines} == digests

    def test_holds_the_law_and_the_words(self, built: dict[str, bytes], tmp_path: Path) -> None:
        """Files that are no modules are forgotten first."""
        names: set[str] = set()
        for name, data in built.items():
            if name.endswith(".whl"):
                (tmp_path / name).write_bytes(data)
                names |= set(zipfile.ZipFile(tmp_path / name).namelist())
        assert names >= {"ledgerd/rules/law/2026.1.toml", "ledgerd_client/words/zh-Hant.toml"}


class TestTheSbom:
    @pytest.fixture
    def sbom(self, built: dict[str, bytes]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(built["ledgerd.cdx.json"])
        return found

    def test_is_cyclonedx_of_the_node(self, sbom: dict[str, Any]) -> None:
        assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == (
            "CycloneDX",
            "ledgerd",
        )

    def test_names_every_package_that_a_node_runs_with(self, sbom: dict[str, Any]) -> None:
        named = {each["name"]: each["version"] for each in sbom["components"]}
        assert named == pins(ROOT / "requirements" / "node.txt")

    def test_has_a_hash_of_each(self, sbom: dict[str, Any]) -> None:
        assert all(each["externalReferences"][0]["hashes"] for each in sbom["components"])


class TestRequirements:
    @pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
    def test_are_all_pinned_by_hash(self, lock: Path) -> None:
        wanted = re.findall(r"^([a-z0-9-]+)==", lock.read_text(), re.MULTILINE)
        assert wanted
        assert sorted(wanted) == sorted(name for name, _, _ in PIN.findall(lock.read_text()))


class TestTheAudit:
    """Of `make audit-deps`, by what pip-audit prints."""

    @pytest.fixture(scope="class")
    @staticmethod
    def judge() -> Callable[[str, str], tuple[int, str]]:
        spec = importlib.util.spec_from_file_location(
            "audit_deps", ROOT / "deploy" / "audit_deps.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Callable[[str, str], tuple[int, str]] = module.judge
        return found

    @pytest.mark.parametrize(
        ("dependencies", "code", "words"),
        [
            ([{"name": "a", "version": "1", "vulns": []}], 0, "no advisory about 1 packages"),
            ([{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}], 1, "a 1: PYSEC-1"),
            ([{"name": "a", "skip_reason": "not found"}], 0, "skipped: "),
            (
                [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "?"}],
                0,
                "not looked up: b",
            ),
        ],
    )
    def test_says_what_is_known(
        self, judge: Callable[[str, str], tuple[int, str]], dependencies: Any, code: int, words: str
    ) -> None:
        said = judge(json.dumps({"dependencies": dependencies}), "")
        assert (said[0], words in said[1]) == (code, True)

    def test_is_skipped_with_the_reason_where_nobody_can_be_asked(
        self, judge: Callable[[str, str], tuple[int, str]]
    ) -> None:
        code, words = judge("", "Traceback\nConnectionError: no route")
        assert (code, "no route" in words) == (0, True)

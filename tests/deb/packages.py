"""The package and the one that comes after it, built of this checkout; a Debian to put them on."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build" / "deb"
VERSION: str = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
NEWER = "{}.{}.0".format(*(int(n) + i for i, n in enumerate(VERSION.split(".")[:2])))


def package() -> Path:
    """What `make deb` has built."""
    (found,) = BUILD.glob("ledgerd_*.deb")
    return found


def begin_newer(tree: Path) -> subprocess.Popen[bytes]:
    """
    Begin to build the next version, of a copy of the checkout, into build/deb below it.

    All that is new is its number, as whoever makes a release writes it.
    """
    left = shutil.ignore_patterns(".*", "build", "tests", "__pycache__")
    shutil.copytree(PROJECT, tree, ignore=left)
    (tree / ".venv").symlink_to(PROJECT / ".venv")
    for name in ("pyproject.toml", "client/pyproject.toml"):
        path = tree / name
        path.write_text(path.read_text().replace(f'{VERSION}"', f'{NEWER}"'))
    changelog = tree / "deploy" / "debian" / "changelog"
    text = changelog.read_text()
    changelog.write_text(f"{text.replace(VERSION, NEWER, 1)}\n{text}")
    with (tree / "log").open("wb") as log:
        return subprocess.Popen(
            ["bash", tree / "deploy" / "build-deb.sh"], stdout=log, stderr=subprocess.STDOUT
        )


def clean_root(into: Path) -> str:
    """
    A Debian with what the package depends on, and nothing else, by debootstrap from apt's mirror.

    Returns why there is none; "" when there is.
    """
    if shutil.which("debootstrap") is None:
        return "debootstrap is not installed"
    depends = _run("dpkg-deb", "--field", str(package()), "Depends")
    names = {re.split(r"[ (|]", each.strip())[0] for each in depends.split(",")}
    suite = "bookworm"
    listed = _run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)").splitlines()
    mirrors = [line.split()[1] for line in listed if line.split()[0] == suite]
    if not mirrors:
        return f"apt knows no mirror of {suite}"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(sorted(names))}", suite, str(into),
         mirrors[0]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return f"debootstrap failed: {done.stdout.strip().splitlines()[-1]}"
    # What would fetch lists from mirrors that this machine has no way to.
    for timer in into.glob("etc/systemd/system/timers.target.wants/*"):
        timer.unlink()
    return ""


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

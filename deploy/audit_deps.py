"""
Are there known advisories about what a node runs with? `make audit-deps` asks pip-audit.

Exit codes: 0 none, or nobody could be asked, which is said; 1 there are some. What could not be
looked up is named: it is no clean bill.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMAND = (
    sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format", "json",
    "--progress-spinner", "off", "--requirement",
)  # fmt: skip


def judge(output: str, errors: str) -> tuple[int, str]:
    """An exit code and what to say, by what pip-audit printed."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        why = errors.strip().splitlines()[-1:] or ["it said nothing"]
        return 0, f"skipped: no advisory source can be reached ({why[0][:200]})"
    looked_up = [each for each in found if "vulns" in each]
    missing = [each["name"] for each in found if "vulns" not in each]
    if not looked_up:
        return 0, f"skipped: no advisory source knows any of the {len(missing)} packages"
    known = [
        f"{each['name']} {each['version']}: {', '.join(vuln['id'] for vuln in each['vulns'])}"
        for each in looked_up
        if each["vulns"]
    ]
    lines = known or [f"no advisory about {len(looked_up)} packages"]
    if missing:
        lines.append(f"not looked up: {', '.join(missing)}")
    return bool(known), "\n".join(lines)


def main() -> int:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        (*COMMAND, "requirements/node.txt"), capture_output=True, text=True, check=False
    )
    code, words = judge(done.stdout, done.stderr)
    sys.stdout.write(f"{words}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

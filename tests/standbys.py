"""A standby of the Mainland's node as an operator sets it up, and its promotion."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from border import LEDGERCTL, LEDGERD, PATIENCE, Border, Node, run

# What of the node's directory the standby gets: never the log key, nor the cosigner's.
GIVEN = ("entry.key", "trust.txt")


@dataclass
class Standby:
    """In a directory of its own; process: `ledgerd standby`, and after promotion the node."""

    border: Border
    node: Node

    @classmethod
    def make(cls, border: Border, home: Path, *, wait: bool) -> Standby:
        """With a certificate of its own. Both listen at one address, as if it moved with the name."""
        config, home = border.mainland.config, home.absolute()
        home.mkdir(mode=0o700)
        for name in GIVEN:
            (home / name).write_bytes((config.parent / name).read_bytes())
            (home / name).chmod(0o600)
        text = config.read_text()
        toml = home / "node.toml"
        toml.touch(mode=0o644)
        toml.write_text(f'{text}\n[standby]\nprimary = "{address(config)}"\n')
        config.write_text(f"{text}\n[standby]\nwait = {str(wait).lower()}\nwait_s = 2\n")
        made = cls(border, Node(toml, command="standby", options=()))
        made.certify("tls")
        return made

    def certify(self, name: str) -> None:
        """Have the authority issue a certificate, and put it in its place; name: of the files."""
        toml = str(self.node.config)
        asked, given = (
            str(self.node.config.with_name(name + end)) for end in (".json", ".approval")
        )
        run(LEDGERD, "rotate", "--config", toml, "--key", "tls", "--request", asked)
        run(
            LEDGERCTL, "authority", "certify-node", asked, *authority(self.border),
            "--out", given, "--yes",
        )  # fmt: skip
        run(LEDGERD, "rotate", "--config", toml, "--approval", given)

    def promote(self, *options: str) -> float:
        """
        The operator's command and the authority's; how long it took until the node is ready.

        What the authority sent is seen half-written first, as a slow copy has it.
        """
        began, home = time.monotonic(), self.node.config.parent
        asked, sent, given = (home / f"loss.{end}" for end in ("json", "sent", "approval"))
        waiting = subprocess.Popen(
            (LEDGERD, "promote", "--config", str(self.node.config), "--request", str(asked),
             "--loss", str(given), *options),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert waiting.stdout is not None
        said = _until(waiting.stdout, "read to it")
        run(
            LEDGERCTL,
            "authority",
            "loss",
            str(asked),
            *authority(self.border),
            "--out",
            str(sent),
            "--yes",
        )
        whole = sent.read_bytes()
        given.write_bytes(whole[: len(whole) // 2])
        said += _until(waiting.stdout, "is whole")
        given.write_bytes(whole)
        said += waiting.communicate(timeout=PATIENCE)[0]
        assert waiting.returncode == 0, said
        self.node.command, self.node.options = "serve", ("--throwaway",)
        self.node.start()
        return time.monotonic() - began


def _until(said: IO[str], words: str) -> str:
    """What a program says up to a line that has these words."""
    lines = ""
    while words not in lines:
        line = said.readline()
        assert line, lines
        lines += line
    return lines


def address(config: Path) -> str:
    """Where a node listens."""
    (line,) = (line for line in config.read_text().splitlines() if line.startswith("listen"))
    return line.split('"')[1]


def authority(border: Border) -> tuple[str, str]:
    return "--dir", str(border.directory / "mainland" / "authority")

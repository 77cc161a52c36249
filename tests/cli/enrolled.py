"""Two institutions, one on each side, that were enrolled by commands alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cli.node import ServedNode, save
from cli.tool import Ran, Tool

from ledgerd_client.testing import MemoryNode

EXPORTER = "uscc.12440300MB0000001U"
RECIPIENT = "hkbr.50000001"
TERMS = (
    *("--to", RECIPIENT, "--contract", "SCC-2026-001", "--subjects", "1200"),
    *("--purpose", "ReferralManagement", "--purpose", "12", "--category", "5"),
    *("--legal-basis", "CN13_1 consent", "--consent", "separate", "--transmission", "sftp"),
)


@dataclass
class Border:
    """Both nodes, and the directory in which the tool runs."""

    tool: Tool
    mainland: ServedNode
    hongkong: ServedNode

    def enrol(self, side: ServedNode, name: str, role: str, subject: str, *args: object) -> None:
        """By commands only, as docs/enrolment.md has it."""
        directory = "mainland" if side is self.mainland else "hongkong"
        asked = ("--role", role, "--id", subject, "--origin", side.authority.origin)
        self.tool.ok("enrol", "request", *asked, "--name", name, "--dir", name, *args)
        approval = f"{name}.approval"
        self.tool.ok(
            *("enrol", "approve", f"{name}/request.json", "--dir", directory),
            *("--out", approval, "--days", 1, "--yes"),
        )
        if role != "operator":
            self.tool.ok("enrol", "submit", approval, "--config", f"{directory}-ops/client.toml")
        trusted = ("--trust", "trust.txt", "--endpoint", side.endpoint)
        self.tool.ok("enrol", "install", approval, "--dir", name, *trusted)

    def exporter(self, *args: object) -> Ran:
        return self.tool(*args, "--config", "hospital/client.toml")

    def recipient(self, *args: object) -> Ran:
        return self.tool(*args, "--config", "clinic/client.toml")

    def declare(self, *args: object, ticket: str = "a.ticket") -> Ran:
        return self.exporter("declare", *TERMS, "--ticket", ticket, "--json", *args)

    def acknowledge(self, *args: object) -> Ran:
        return self.recipient("ack", "a.ticket", *args, "--json")


@contextmanager
def enrolled(tool: Tool) -> Iterator[Border]:
    """Both nodes served, and on each side an operator and an institution, all by commands."""
    nodes = MemoryNode.border()
    mainland, hongkong = (
        ServedNode(nodes[0], "mainland.example"),
        ServedNode(nodes[1], "hk.example"),
    )
    save(mainland.authority, tool.path("mainland"))
    save(hongkong.authority, tool.path("hongkong"))
    tool.ok("trust", "make", "mainland/trust.txt", "hongkong/trust.txt", "--out", "trust.txt")
    tool.path("batch.csv").write_bytes(b"customer;score\n1;700\n")
    tool.path("image.png").write_bytes(b"\x89PNG")
    with mainland.serving(), hongkong.serving():
        made = Border(tool, mainland, hongkong)
        domains = (("--domain", "mainland.example"), ("--domain", "hk.example"))
        made.enrol(mainland, "mainland-ops", "operator", "ops", *domains[0])
        made.enrol(hongkong, "hongkong-ops", "operator", "ops", *domains[1])
        place = ("--place", 440300, "--sector", 3)
        made.enrol(mainland, "hospital", "institution", EXPORTER, *domains[0], *place)
        place = ("--place", 810000, "--sector", 3)
        made.enrol(hongkong, "clinic", "institution", RECIPIENT, *domains[1], *place)
        yield made

"""A side of a border as its operator and authority set it up, by the commands of the page."""

from __future__ import annotations

import re

from deb.machine import Machine
from deploy.page import blocks

# The three commands of the page, as they stand there.
INSTALL, ASK, FOUND = blocks("Install")
EXAMPLE = "/usr/share/doc/ledgerd/examples/example.toml"
QUICK = "\n[timing]\npoll_interval_s = 0.2\nanchor_interval_s = 0.2\n"
HOSPITAL, CLINIC = "uscc.12440300MB0000001U", "hkbr.50000001"

DECLARE = f"""
cd /srv/{HOSPITAL}; echo 'what is sent' >batch.csv
ledgerctl declare batch.csv --to {CLINIC} --contract GBA-SC-2026-0117 --subjects 1 \
  --purpose DiagnosisManagement --category 'health and physiology' \
  --legal-basis 'CN13_1 consent' --ticket a.ticket
"""


def configure(machine: Machine) -> None:
    """Write the configuration after the example, which is of the mainland's side."""
    text = machine.get(EXAMPLE).decode()
    if machine.side == "hongkong":
        swapped = {"mainland": "hongkong", "hongkong": "mainland"}
        text = re.sub("mainland|hongkong", lambda name: swapped[name[0]], text)
    machine.put("/etc/ledgerd/node.toml", f"{text}{QUICK}".encode())


def found(ours: Machine, theirs: Machine) -> None:
    """Do what the page says, and what the authority does in between."""
    ours.sh(ASK)
    ours.sh(
        "ledgerctl authority genesis /var/lib/ledgerd/genesis-request.json --dir /srv/authority"
        f" --yes --peer-origin {theirs.origin} --out /var/lib/ledgerd/genesis.json"
        """ --peer-authority "$(sed -n 's/^authority //p' /srv/theirs.txt)" """
    )
    ours.sh(FOUND)


def enrol(machine: Machine, role: str, name: str, options: str) -> None:
    machine.sh(f"""
        mkdir -p /srv; cd /srv
        ledgerctl enrol request --role {role} --id {name} --origin {machine.origin} {options} \
          --dir {name}
        ledgerctl enrol approve {name}/request.json --dir authority --yes --out {name}.json
        ledgerctl enrol install {name}.json --dir {name} --trust /etc/ledgerd/trust.txt \
          --endpoint {machine.endpoint}
    """)
    if role == "institution":
        machine.sh(f"ledgerctl enrol submit /srv/{name}.json --config /srv/operator-1/client.toml")

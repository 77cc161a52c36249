"""
What other people's tools are given: a live border, what it publishes, and tampered copies of that.

Everything is made by installed programs and the SDK, as an operator and an institution would; what
is forged, with tests/interop/reference.py.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from border import LEDGERCTL, LEDGERD, Border, Node, run
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from interop import reference as ref

from ledgerd_client.sync import LedgerClient

# Beyond a tile of 256 entries, so that there are two levels and partial tiles on both.
TRANSFERS = 280
FIRST = 40
# An entry of the first tile: what is forged is forged here.
VICTIM = 20
RECIPIENT = "hkbr.50000001"
STATEMENT: dict[str, Any] = {
    "contract_id": "GBA-SC-2026-0342",
    "subjects": 2,
    "purposes": ["PaymentProcessing"],
    "categories": ["basic"],
    "legal_basis": "CN13_1 consent",
    "consent_form": "separate",
    "transmission": "sftp",
}


@dataclass(frozen=True, slots=True)
class Log:
    """A log as it is published: what a reader is told beforehand, and the key that a liar has."""

    origin: str
    vkey: str
    cosigner_vkey: str
    entries: Sequence[bytes]
    note: str
    old_note: str
    key: ref.Signer

    @property
    def size(self) -> int:
        return len(self.entries)

    @property
    def old_size(self) -> int:
        return int(self.old_note.split("\n")[1])

    @property
    def old_root(self) -> str:
        return self.old_note.split("\n")[2]

    @property
    def leaves(self) -> list[bytes]:
        return [ref.leaf_hash(entry) for entry in self.entries]

    def sign(self, leaves: Sequence[bytes]) -> str:
        text = ref.checkpoint_text(self.origin, leaves)
        return f"{text}\n{ref.log_line(self.origin, self.key, text)}"


@dataclass(frozen=True, slots=True)
class Site:
    """
    A web server with directories: honest, old (an earlier state of it), and those of TAMPERED.

    files: receipt, early-receipt (from before the rotations), bundle, evidence, entry-evidence, trust, mainland and hongkong (key histories).
    """

    web: Path
    url: str
    log: Log
    files: Path

    def at(self, name: str) -> str:
        return f"{self.url}/{name}"


@contextmanager
def served(directory: Path) -> Iterator[Site]:
    """Make all of it in an empty directory, and serve it on loopback while the block lasts."""
    web, files = directory / "web", directory / "files"
    web.mkdir()
    files.mkdir()
    border = Border(directory / "border")
    try:
        border.start()
        records(border, web, files)
        publish(border.mainland, web / "honest")
    finally:
        border.close()
    log = published_log(border, web)
    tamper(web, log)
    evidence(files, log)
    handler = partial(Quiet, directory=str(web))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Site(web, f"http://127.0.0.1:{server.server_port}", log, files)
        finally:
            server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def publish(node: Node, out: Path) -> None:
    """`ledgerd publish`, beside the node that runs."""
    run(LEDGERD, "publish", "--config", str(node.config), "--out", str(out))


def records(border: Border, web: Path, files: Path) -> None:
    """
    Transfers, the first of them published early; receipts, and a bundle by both parties.

    Before that, the keys of a node are rotated while it runs: what was signed earlier still
    verifies, since the other side's node cosigned it.
    """
    payload = files / "payload.csv"
    payload.write_bytes(b"name;score\nA;700\n")
    with (
        LedgerClient.from_file(border.client("sz-hospital")) as ledger,
        LedgerClient.from_file(border.client("hk-clinic")) as other,
    ):
        early = ledger.declare(payload, recipient=RECIPIENT, **STATEMENT)
        (files / "early-receipt").write_bytes(ledger.wait_cosigned(early).format())
        for key in ("log", "entry", "cosigner"):
            rotate(border, "mainland", key)
        for number in range(TRANSFERS):
            sent = ledger.declare(payload, recipient=RECIPIENT, **STATEMENT)
            if number == FIRST:
                ledger.wait_cosigned(sent)
                publish(border.mainland, web / "old")
        answer = other.acknowledge(sent.ticket, payload)
        (files / "receipt").write_bytes(ledger.wait_cosigned(sent).format())
        other.wait_cosigned(answer)
    steps = (
        ("sz-hospital", "create", sent.ref.hex(), "one"),
        ("hk-clinic", "add", "one", "bundle"),
    )
    for who, step, given, made in steps:
        what = str(files / given) if step == "add" else given
        client = str(border.client(who))
        run(LEDGERCTL, "bundle", step, what, "--out", str(files / made), "--config", client)
    shutil.copy(border.directory / "trust.txt", files / "trust")
    for kept in (border.client("sz-hospital").parent / "keys").glob("*.keys"):
        origin = kept.read_text().split("\n")[1]
        shutil.copy(kept, files / origin.partition(".")[0])


def rotate(border: Border, side: str, key: str) -> None:
    """What node, authority and operator do so that a running node gets another key."""
    node, directory = border.directory / side / "node", border.directory / side
    request, approval = directory / f"{key}-request.json", directory / f"{key}-approval.json"
    config = ("--config", str(node / "node.toml"))
    run(LEDGERD, "rotate", *config, "--key", key, "--request", str(request))
    signing = ("--dir", str(directory / "authority"), "--out", str(approval), "--yes")
    run(LEDGERCTL, "authority", "rotate-node", str(request), *signing)
    operator = str(border.client(f"{side}-operator"))
    run(LEDGERCTL, "enrol", "submit", str(approval), "--config", operator)


def published_log(border: Border, web: Path) -> Log:
    def key(node: Node, name: str) -> ref.Signer:
        line = node.config.with_name(name).read_text().split("\n")[1]
        seed = ref.unb64(line.removeprefix("ed25519 "))
        return ref.Signer(Ed25519PrivateKey.from_private_bytes(seed))

    note, old = ((web / name / "checkpoint").read_text() for name in ("honest", "old"))
    origin, size, *_ = note.split("\n")
    peer = note.rstrip("\n").rpartition("\n")[2].split(" ")[1]
    signer = key(border.mainland, "log.key")
    cosigner = key(border.hongkong, "cosigner.key").public
    return Log(
        origin,
        ref.vkey(origin, ref.LOG, signer.public),
        ref.vkey(peer, ref.COSIGNER, cosigner),
        entries_of(web / "honest", int(size)),
        note,
        old,
        signer,
    )


def entries_of(directory: Path, size: int) -> list[bytes]:
    """What stands in the bundles of a published log."""
    entries = []
    for first in range(0, size, 256):
        width = min(256, size - first)
        data = (directory / "tile" / "entries" / file_name(first // 256, width)).read_bytes()
        while data:
            end = 2 + int.from_bytes(data[:2], "big")
            entries.append(data[2:end])
            data = data[end:]
    return entries


def file_name(number: int, width: int) -> str:
    return f"{number:03d}" if width == 256 else f"{number:03d}.p/{width}"


# -- what is forged --------------------------------------------------------------------------------

TAMPERED = {
    "tile": "a hash in a tile is another",
    "entry": "an entry is another",
    "signature": "the log's signature is another",
    "root": "the root is another, the signatures as they were",
    "cosignature": "the cosignature is another",
    "fork": "another tree, which the log's key signed too",
}


def tamper(web: Path, log: Log) -> None:
    """Copies of what was published, each with one lie in it."""
    for name in TAMPERED:
        shutil.copytree(web / "honest", web / name)
    flip(web / "tile" / "tile" / "0" / "000", VICTIM * 32)
    before = sum(2 + len(entry) for entry in log.entries[:VICTIM])
    flip(web / "entry" / "tile" / "entries" / "000", before + 2 + 60)
    text, lines = log.note.split("\n\n")
    own, other = lines.rstrip("\n").split("\n")
    root = ref.b64(ref.digest(b"another tree"))
    notes = {
        "signature": f"{text}\n\n{altered(own)}\n{other}\n",
        "cosignature": f"{text}\n\n{own}\n{altered(other)}\n",
        "root": log.note.replace(text.split("\n")[2], root),
        "fork": log.sign(publish_tree(web / "fork", forked(log))),
    }
    for name, note in notes.items():
        (web / name / "checkpoint").write_text(note)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def altered(line: str) -> str:
    """A signature line whose signature, and nothing else, is another."""
    head, _, encoded = line.rpartition(" ")
    data = bytearray(ref.unb64(encoded))
    data[-1] ^= 1
    return f"{head} {ref.b64(bytes(data))}"


def forked(log: Log) -> list[bytes]:
    """The entries with another body_digest in one, so that the next does not chain to it."""
    entries = list(log.entries)
    entries[VICTIM] = entries[VICTIM][:50] + ref.digest(b"another body") + entries[VICTIM][82:]
    return entries


def publish_tree(directory: Path, entries: Sequence[bytes]) -> list[bytes]:
    """Write bundles and tiles, two levels, of entries; returns the leaf hashes."""
    leaves = [ref.leaf_hash(entry) for entry in entries]
    tops = [ref.root(leaves[at : at + 256]) for at in range(0, len(leaves) - 255, 256)]
    bundled = [ref.number(len(entry), 2) + entry for entry in entries]
    for level, hashes in (("entries", bundled), ("0", leaves), ("1", tops)):
        for first in range(0, len(hashes), 256):
            part = hashes[first : first + 256]
            name = file_name(first // 256, len(part))
            (directory / "tile" / level / name).write_bytes(b"".join(part))
    return leaves


def evidence(files: Path, log: Log) -> None:
    """
    What proves the fork: two checkpoints of one size, and an entry that does not chain.

    That our own tool says so too is part of it.
    """
    leaves = [ref.leaf_hash(entry) for entry in forked(log)]
    lie = log.sign(leaves)
    (files / "evidence").write_text(ref.fork_evidence_file(log.sign(log.leaves), lie))
    entries = [
        ref.evidence_entry(at, forked(log)[at], ref.inclusion(at, leaves))
        for at in (VICTIM, VICTIM + 1)
    ]
    (files / "entry-evidence").write_text(ref.entry_evidence_file("chain", entries, lie))
    known = ("--trust", str(files / "trust"), "--keys", str(files / "mainland"))
    for name in ("evidence", "entry-evidence"):
        run(LEDGERCTL, "evidence", "verify", str(files / name), *known)

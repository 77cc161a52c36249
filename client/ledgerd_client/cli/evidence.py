"""`ledgerctl evidence`: what the other side's node was caught at, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from ledgerd_client.cli.admin import acknowledge_evidence, get_evidence, list_evidence
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config
from ledgerd_client.cli.output import Json, Yes, confirm, emit, say, to_iso
from ledgerd_client.cli.receipts import need_history, read_histories
from ledgerd_client.config import Settings
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.entry_evidence import EntryEvidence, parse_evidence
from ledgerd_client.core.errors import FieldError, NotFoundError
from ledgerd_client.core.evidence import Evidence
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file, write_new

app = typer.Typer(
    no_args_is_help=True, help="Evidence against the other side's node, and what it asked in vain."
)

_DIGEST_SIZE = 32
Digest = Annotated[str, typer.Argument(help="Of the evidence, in hex: `evidence list` has it.")]

# What evidence of an entry proves, by its claim: of the entry, and perhaps an earlier one.
_PROVES: Mapping[str, str] = MappingProxyType({
    "form": "entry {0} has no header that can be read",
    "place": "entry {0} stands where no such entry may stand",
    "chain": "entry {0} does not follow from the one before",
    "time": "entry {0} is older than the one before",
    "repeat": "entry {0} has the body of entry {1} once more",
    "body": "entry {0} says of a key what cannot be",
    "key": "entry {0} is signed with a key that may not sign there",
    "signature": "entry {0} has a signature that fails",
})  # fmt: skip


@app.command("list")
def show(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """As an operator: what is kept against the other side's node, the oldest first."""
    settings = Settings.from_file(config)
    found = asyncio.run(list_evidence(settings, settings.read_trust()))
    for kept in found.evidence:
        state = "waits: nothing is cosigned until it is acknowledged" if kept.latched else "kept"
        emit(
            {"evidence": kept.digest, "at": to_iso(kept.kept_at), "size_bytes": kept.size_bytes,
             "state": state},
            as_json=as_json,
        )  # fmt: skip
    if found.refused:
        say("Requests that were refused contradict nothing: only evidence does.")
    for refused in found.refused:
        note = refused.checkpoint.decode("utf-8", "replace")
        shown = {"checkpoint": note} if as_json else {"checkpoint": _tree(refused.checkpoint)}
        emit({"refused": refused.reason, "at": to_iso(refused.at), **shown}, as_json=as_json)


@app.command()
def get(
    digest: Digest,
    out: Annotated[Path, typer.Option(help="The file to make, usually *.evidence.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """As an operator: fetch evidence as a file that anybody can verify."""
    settings = Settings.from_file(config)
    bundle = asyncio.run(get_evidence(settings, settings.read_trust(), _parse(digest)))
    write_new(out, bundle, mode=0o644)
    emit({"evidence": digest, "file": str(out)}, as_json=as_json)


@app.command()
def acknowledge(
    digest: Digest, config: Config = DEFAULT_CONFIG, yes: Yes = False, as_json: Json = False
) -> None:
    """
    As an operator: say that you have seen the evidence, and let the node cosign the peer again.

    The evidence stays. Both authorities should have a copy first: `evidence get`.
    """
    settings = Settings.from_file(config)
    wanted, trust = _parse(digest), settings.read_trust()
    listed = asyncio.run(list_evidence(settings, trust)).evidence
    if not any(kept.latched and kept.digest == wanted for kept in listed):
        raise NotFoundError(
            f"no evidence {digest} waits to be acknowledged",
            action="list the evidence, and name the one that waits",
        )
    say(f"The other side's node was caught at what evidence {digest} proves.")
    confirm("Do you let your node cosign its log again?", yes=yes)
    asyncio.run(acknowledge_evidence(settings, trust, wanted))
    emit({"evidence": digest, "state": "acknowledged"}, as_json=as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Evidence, usually *.evidence.")],
    trust: Annotated[Path, typer.Option(help="The trust file; compare its fingerprint first.")],
    keys: Annotated[
        list[Path], typer.Option(help="Key histories: files, or a directory of *.keys.")
    ],
    as_json: Json = False,
) -> None:
    """
    Verify evidence with nothing but a trust file and a key history; asks no node.

    Exit code 0: that log has signed what no honest log signs. 1: it proves nothing.
    """
    evidence = parse_evidence(read_file(file))
    note = evidence.note if isinstance(evidence, EntryEvidence) else evidence.larger
    origin = Checkpoint.parse(parse_note(note).text).origin
    trusted = Trust.parse(read_file(trust))
    histories = {history.origin: history for history in read_histories(keys, trusted)}
    proven = _proven(evidence, need_history(histories, origin))
    emit({"proves": f"{origin}: {proven}", "origin": origin}, as_json=as_json)


def _tree(note: bytes) -> str:
    checkpoint = Checkpoint.parse(parse_note(note).text)
    return f"{checkpoint.origin}, {checkpoint.size} entries"


def _proven(evidence: Evidence | EntryEvidence, history: KeyHistory) -> str:
    if isinstance(evidence, Evidence):
        smaller, larger = evidence.verify(history)
        return f"its trees of {smaller.size} and {larger.size} entries contradict each other"
    tree = evidence.verify(history)
    # The wrong one first.
    positions = [entry.position for entry in reversed(evidence.entries)]
    what = _PROVES[evidence.wrong].format(*positions)
    return f"{what}, in its tree of {tree.size} entries"


def _parse(digest: str) -> bytes:
    try:
        parsed = bytes.fromhex(digest)
    except ValueError:
        parsed = b""
    if len(parsed) != _DIGEST_SIZE:
        raise FieldError("evidence is named by its digest, 64 hex digits")
    return parsed

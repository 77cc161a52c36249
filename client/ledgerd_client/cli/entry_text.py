"""Entries and transfers as a regulator reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import typer

from ledgerd_client._shown import to_finding
from ledgerd_client.cli.findings import emit_finding
from ledgerd_client.cli.output import Term, emit, to_iso, words
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.export import plain
from ledgerd_client.regulator import FoundEntry, ProvenHalf, TransferFile


def emit_entry(entry: FoundEntry, *, as_json: bool) -> None:
    """Print an entry: what matters of it to people, all of it to programs."""
    if as_json:
        emit(plain(entry), as_json=True)
        return
    fields: dict[str, object] = {
        "index": entry.index,
        "recorded_at": to_iso(entry.header.recorded_at),
    }
    if entry.body is not None and entry.kind == "finding":
        emit_finding(
            to_finding(entry.body.finding), fields | {"closed_by": entry.closed_by}, as_json=False
        )
        return
    record = plain(entry)["record"]
    terms = record.get("terms", {})
    emit(
        fields
        | {
            "kind": Term(entry.kind),
            "author": entry.author,
            "contract_id": terms.get("contract_id") or record.get("contract_id"),
            "ref": entry.header.halves.ref if entry.header.halves else None,
            "state": Term(entry.state),
            "subjects": terms.get("subjects"),
            "erased_by": entry.erased.index if entry.erased else None,
            "erased_reason": entry.erased.reason if entry.erased else None,
            "proven": Term("yes") if entry.receipt else None,
        },
        as_json=False,
    )
    typer.echo()


# Tables of codes, by what is counted by.
_CODES: Mapping[str, str] = MappingProxyType({
    "direction": "direction", "place": "place", "counterparty_place": "contract_place",
    "sector": "sector", "category": "category", "sensitive_category": "sensitive_category",
    "purpose": "purpose", "mechanism": "mechanism", "legal_basis": "legal_basis",
    "consent_form": "consent_form", "exemption": "exemption",
})  # fmt: skip
_KINDS = {str(number): name for name, number in KIND_NUMBERS.items()}


def group_text(group: Mapping[str, Any], by: Sequence[str]) -> dict[str, object]:
    """A row of a summary for people: codes in words, and no counts of nothing."""
    keys = {name: _key_text(name, group[name]) for name in by}
    counts = {name: count for name, count in group.items() if name not in keys and count}
    return {**keys, **counts}


def _key_text(dimension: str, key: str) -> str:
    if not key:
        return words().word("none_stated")
    if dimension == "kind":
        return words().word(_KINDS.get(key, key))
    if dimension == "severity":
        return words().word(f"severity_{key}")
    if dimension == "state":
        return words().word(key)
    if dimension in _CODES and key.isdecimal():
        return words().code(_CODES[dimension], int(key))
    return key


def fields_of(file: TransferFile) -> dict[str, object]:
    """A transfer with both its records, for emit."""
    halves = [
        {
            "origin": half.origin,
            "index": half.header.index,
            "kind": Term(half.header.kind.name.lower()),
            "institution": half.institution,
            "recorded_at": to_iso(half.header.recorded_at),
            "proven": Term("yes"),
            "content": Term(_content(half)),
        }
        for half in file.halves
    ]
    return {
        "ref": file.ref,
        "state": Term(file.state),
        "halves": halves,
        "peer_size": file.peer_size,
        "peer_known_at": to_iso(file.peer_known_at) if file.peer_known_at else None,
    }


def _content(half: ProvenHalf) -> str:
    if half.withheld:
        return "withheld"
    if half.erased:
        return "erased"
    return "here" if half.body else "other_side"

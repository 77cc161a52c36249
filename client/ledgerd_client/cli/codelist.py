"""`ledgerctl codes`: what the numbers and names in options mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import typer

from ledgerd_client.cli.output import Json, emit
from ledgerd_client.core import codes

# By the options of `declare` and `enrol request`.
_TABLES: Mapping[str, Mapping[int, str]] = MappingProxyType({
    "place": codes.PLACES, "sector": codes.SECTORS, "purpose": codes.PURPOSES,
    "category": codes.CATEGORIES, "sensitive-category": codes.SENSITIVE_CATEGORIES,
    "legal-basis": codes.LEGAL_BASES, "consent": codes.CONSENT_FORMS,
    "exemption": codes.EXEMPTIONS, "protection": codes.PROTECTIONS,
    "transmission": codes.TRANSMISSIONS,
})  # fmt: skip


def list_codes(as_json: Json = False) -> None:
    """List the codes that `declare` and `enrol request` take, by number and name."""
    for option, table in _TABLES.items():
        for number, name in table.items():
            if as_json:
                emit({"option": option, "code": number, "name": name}, as_json=True)
            else:
                typer.echo(f"--{option:18} {number:>6}  {name}")

"""`ledgerctl erase`: the authority's order, the operator's submission, and whether it is due."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._values import to_micros
from ledgerd_client.authority_directory import load_authority
from ledgerd_client.cli.admin import check_erasure, submit_erasure
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config
from ledgerd_client.cli.authority import AuthorityDir, say_throwaway
from ledgerd_client.cli.keys import side_of
from ledgerd_client.cli.output import Json, Yes, confirm, emit, say
from ledgerd_client.config import Settings
from ledgerd_client.core.supervision import ORDER_ID_SIZE
from ledgerd_client.erasing import SignedOrder
from ledgerd_client.keyfile import read_file, write_new

app = typer.Typer(no_args_is_help=True, help="Erase bodies whose time of keeping is over.")


@app.command()
def order(
    institution: Annotated[str, typer.Option(help="Whose records they are.")],
    indexes: Annotated[
        list[int], typer.Option("--index", min=0, help="An entry of the log; 1 to 64 of them.")
    ],
    reason: Annotated[str, typer.Option(help="Why, for everybody who will look for them.")],
    directory: AuthorityDir,
    out: Annotated[Path, typer.Option(help="The order to make, for an operator to submit.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    As the authority: order the bodies of entries to be erased for good. Works offline.

    Their headers, receipts and proofs stay, and what rules need: docs/format.md, "Remains".
    """
    authority = load_authority(directory)
    signed = SignedOrder.make(
        authority.origin,
        authority.key_file.key,
        order_id=secrets.token_bytes(ORDER_ID_SIZE),
        institution=institution,
        indexes=indexes,
        reason=reason,
        now=to_micros("now", datetime.now(UTC)),
    )
    say_throwaway(authority)
    say(f"To be erased from {authority.origin}, of {institution}:")
    say(f"  entries      {', '.join(map(str, sorted(set(indexes))))}")
    say(f"  reason       {reason}")
    confirm("Nobody can bring these bodies back. Do you order it?", yes=yes)
    write_new(out, signed.format(), mode=0o644)
    emit({"origin": signed.origin, "institution": institution, "order": str(out)}, as_json=as_json)


@app.command()
def submit(
    order: Annotated[Path, typer.Argument(help="What the authority signed.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    As an operator: have an order carried out, and verify that it is recorded.

    Then stop the node and run `ledgerd compact`: until then the disk may still hold the bodies.
    """
    settings = Settings.from_file(config)
    trust = settings.read_trust()
    signed = SignedOrder.parse(read_file(order))
    ordered = signed.open(side_of(trust, settings.origin))
    receipt = asyncio.run(submit_erasure(settings, trust, signed))
    emit(
        {"origin": signed.origin, "index": receipt.index, "erased": list(ordered.indexes)},
        as_json=as_json,
    )


@app.command()
def check(
    index: Annotated[int, typer.Argument(min=0, help="An entry of the log.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """As an operator: see whether the body of an entry may be erased, and from when on."""
    settings = Settings.from_file(config)
    trust = settings.read_trust()
    found = asyncio.run(check_erasure(settings, trust, index))
    emit(
        {
            "index": index,
            "may_be_erased": found.allowed,
            "keep_until": found.keep_until or None,
            "reason": found.reason,
            "message": found.message,
        },
        as_json=as_json,
    )

"""`ledgerctl timeline`: which entries of both logs came first, by what is proven and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config, Mirror, ask_as_regulator, parse_hex
from ledgerd_client.cli.output import Json, Term, emit, to_iso
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.header import Header
from ledgerd_client.core.timeline import Bounds
from ledgerd_client.regulator import Entangled, RegulatorClient


def timeline(
    own: Annotated[
        list[int] | None, typer.Argument(min=0, help="Entries of this log.", metavar="[INDEX]...")
    ] = None,
    peer: Annotated[
        list[int] | None, typer.Option(min=0, help="An entry of the other side's log.")
    ] = None,
    ref: Annotated[str, typer.Option(help="A transfer: all its entries, in both logs.")] = "",
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """
    Say which of two logs' entries came first, as far as the anchors between the logs prove it.

    Both logs are replayed whole, and every anchor is held to the tree that it names. No clock is
    believed: what an entry says of its time is shown as its claim.
    """
    wanted, others = list(own or ()), list(peer or ())
    if not (wanted or others or ref):
        raise FieldError("nothing is asked", action="name entries, or a transfer by --ref")
    transfer = parse_hex(ref, 32, "ref") if ref else None

    async def ask(client: RegulatorClient) -> Entangled:
        if transfer is not None:
            for half in (await client.transfer(transfer)).halves:
                (wanted if half.origin == client.origin else others).append(half.header.index)
        return await client.entangled(wanted, others)

    found = ask_as_regulator(config, mirror, ask)
    for fields in (_ends(found), *_entries(found), *_orders(found)):
        emit(fields, as_json=as_json)
        if not as_json:
            typer.echo()


def _ends(found: Entangled) -> dict[str, object]:
    ends = found.own_end.checkpoint, found.peer_end.checkpoint
    return {"logs": [{"origin": end.origin, "size": end.size} for end in ends]}


def _entries(found: Entangled) -> Sequence[dict[str, object]]:
    ours, theirs = found.own_end.checkpoint.origin, found.peer_end.checkpoint.origin
    order = found.timeline
    own = [_entry(ours, header, order.bounds(at)) for at, header in found.own.items()]
    return own + [_entry(theirs, each, order.peer_bounds(at)) for at, each in found.peer.items()]


def _entry(origin: str, header: Header, bounds: Bounds) -> dict[str, object]:
    return {
        "origin": origin,
        "index": header.index,
        "kind": Term(header.kind.name.lower()),
        "claimed_at": to_iso(header.recorded_at),
        "other_log_had_at_least": bounds.after,
        "other_log_had_less_than": bounds.before,
    }


def _orders(found: Entangled) -> Sequence[dict[str, object]]:
    order = found.timeline.order
    return [
        {"own_index": own, "peer_index": peer, "sequence": Term(order(own, peer))}
        for own in found.own
        for peer in found.peer
    ]

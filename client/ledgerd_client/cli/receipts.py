"""`ledgerctl receipt`: fetch receipts, and verify them offline."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledgerd_client.cli.asking import (
    DEFAULT_CONFIG,
    Config,
    Mirror,
    ask,
    ask_as_regulator,
    parse_record_id,
)
from ledgerd_client.cli.keys import side_of
from ledgerd_client.cli.output import Json, emit, to_iso
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.errors import (
    FieldError,
    ForbiddenError,
    InputError,
    NotReadyError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt, verify_receipt
from ledgerd_client.core.trust import Trust
from ledgerd_client.keyfile import read_file, write_new

if TYPE_CHECKING:
    from ledgerd_client.client import LedgerClient

app = typer.Typer(no_args_is_help=True, help="Fetch receipts, and verify them offline.")


@app.command()
def get(
    record: Annotated[str, typer.Argument(help="A record id in hex, or an index in the log.")],
    out: Annotated[Path, typer.Option(help="The receipt to make, usually *.tlog-proof.")],
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="Under a checkpoint that the other side cosigned.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, help="Wait so many seconds for the cosignature.")
    ] = 0,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Fetch a receipt of one of your records, verify it and keep it as a file."""
    is_index = record.isascii() and record.isdigit() and len(record) < 20
    which = int(record) if is_index else parse_record_id(record)
    if wait and is_index:
        raise FieldError("--wait is for a record id", action="name the record, not its index")

    def fetch(client: LedgerClient) -> Awaitable[Receipt]:
        if wait and isinstance(which, bytes):
            return client.wait_cosigned(which, timeout_s=wait)
        return client.receipt(which, cosigned=cosigned)

    receipt = ask(config, fetch)
    write_new(out, receipt.format(), mode=0o644)
    emit({"index": receipt.index, "receipt": str(out)}, as_json=as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A receipt, usually *.tlog-proof.")],
    trust: Annotated[Path, typer.Option(help="The trust file; compare its fingerprint first.")],
    keys: Annotated[
        list[Path], typer.Option(help="Key histories: files, or a directory of *.keys.")
    ],
    require_cosignature: Annotated[
        bool,
        typer.Option("--require-cosignature", help="The other side's node must have cosigned it."),
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Verify a receipt with nothing but a trust file and key histories; asks no node.

    Exit code 0: the entry stands in that log, signed by whom it says. 1: it does not verify. 3: it
    does, but is not cosigned where that is required.
    """
    receipt = Receipt.parse(read_file(file))
    verified = verify_offline(receipt, trust, keys, require_cosignature=require_cosignature)
    emit(proven(verified), as_json=as_json)


def checkpoint(
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="The newest that the other side's node cosigned.")
    ] = False,
    mirror: Mirror = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print the newest checkpoint of the node on your side, verified: a C2SP signed note."""
    opened = ask_as_regulator(config, mirror, lambda client: client.checkpoint(cosigned=cosigned))
    note = opened.note.decode()
    if as_json:
        found = opened.checkpoint
        emit(
            {"origin": found.origin, "size": found.size, "root": found.root, "note": note},
            as_json=True,
        )
    else:
        typer.echo(note, nl=False)


def verify_offline(
    receipt: Receipt, trust: Path, keys: Iterable[Path], *, require_cosignature: bool = False
) -> VerifiedReceipt:
    """
    Verify a receipt under a trust file and key histories (files, or directories of them).

    Raises as verify_receipt does, but VerificationError where a key may not sign, NotReadyError for
    want of a cosignature, and InputError when the files know nothing of a log that it names.
    """
    trusted = Trust.parse(read_file(trust))
    histories = {history.origin: history for history in read_histories(keys, trusted)}
    note = parse_note(receipt.checkpoint)
    own = need_history(histories, Checkpoint.parse(note.text).origin)
    peer_origin = _peer_of(own, trusted, histories)
    is_cosigned = any(line.name == peer_origin for line in note.signatures)
    peer = need_history(histories, peer_origin) if is_cosigned else None
    try:
        verified = verify_receipt(receipt, own, peer)
    except ForbiddenError as error:
        raise VerificationError(
            error.message,
            reason=error.reason,
            action="fetch the key history anew; if it stays so, keep the receipt: it proves that"
            " the log took what it may not take",
        ) from None
    if require_cosignature and verified.cosigned_at is None:
        raise NotReadyError(
            f"it verifies in the log, but {peer_origin} has not cosigned it",
            reason="NOT_COSIGNED",
            action="fetch it again: `ledgerctl receipt get --cosigned`",
        )
    return verified


def proven(verified: VerifiedReceipt) -> dict[str, object]:
    """What a receipt proves, for emit."""
    header, halves = verified.header, verified.header.halves
    checkpoint, cosigned_at = verified.checkpoint, verified.cosigned_at
    by = "cosigned" if cosigned_at is not None else "not cosigned"
    return {
        "verified": f"entry {header.index} of {checkpoint.origin}, in its checkpoint of"
        f" {checkpoint.size} entries, {by} by the other side's node",
        "origin": checkpoint.origin,
        "index": header.index,
        "kind": header.kind.name.lower(),
        "institution": verified.institution,
        "recorded_at": to_iso(header.recorded_at),
        "body_digest": header.body_digest,
        "ref": halves.ref if halves else None,
        "size": checkpoint.size,
        "cosigned_at": None if cosigned_at is None else to_iso(cosigned_at * 1_000_000),
    }


def read_histories(paths: Iterable[Path], trust: Trust) -> Iterator[KeyHistory]:
    """Of the origins that the trust file knows; the others are of no use here."""
    known = {side.origin.encode(): side.authority.public for side in trust.origins}
    for path in paths:
        for file in sorted(path.glob("*.keys")) if path.is_dir() else [path]:
            data = read_file(file)
            _, _, rest = data.partition(b"\n")
            origin, _, _ = rest.partition(b"\n")
            if origin in known:
                yield KeyHistory.parse(data, known[origin])


def need_history(histories: dict[str, KeyHistory], origin: str) -> KeyHistory:
    if origin not in histories:
        raise InputError(
            f"no key history of {origin} that the trust file vouches for is under --keys",
            reason="NO_KEY_HISTORY",
            action="give the trust file and the key histories of both sides of this log",
        )
    return histories[origin]


def _peer_of(history: KeyHistory, trust: Trust, histories: dict[str, KeyHistory]) -> str:
    genesis = history.need_genesis()
    pinned = side_of(trust, genesis.peer_origin).authority.public
    peer = histories.get(genesis.peer_origin)
    named = genesis.peer_authority_key
    # It may have been rotated to the one that is trusted.
    if named != pinned and not (peer and peer.names_authority(named)):
        raise TrustError(f"{history.origin} names another authority of {genesis.peer_origin}")
    return genesis.peer_origin

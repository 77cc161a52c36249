"""`ledgerctl keygen`, `ledgerctl key` and `ledgerctl trust`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.cli.output import Json, emit, say
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import InputError, TrustError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import ED25519, Verifier
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.keyfile import (
    KeyFile,
    read_file,
    read_key_file,
    read_passphrase,
    read_secret,
    write_key_file,
    write_new,
)
from ledgerd_client.sealing import SealedKey

trust = typer.Typer(no_args_is_help=True, help="Trust files: what a verifier knows beforehand.")


key = typer.Typer(no_args_is_help=True, help="Key files: under a passphrase, or not.")

PassphraseFile = Annotated[
    Path | None, typer.Option(help="A file with the passphrase; else it is asked for.")
]


@key.command()
def seal(
    file: Annotated[Path, typer.Argument(help="A key file.")],
    out: Annotated[Path, typer.Option(help="The sealed key file to make.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """
    Seal a key file under a passphrase; destroy the old file when you have tried the new one.

    A node opens its own with keys.passphrase in node.toml, a tool with LEDGER_PASSPHRASE_FILE.
    """
    plain = KeyFile.parse(read_secret(file))
    if plain.throwaway:
        raise InputError("a key that was made for a trial proves nothing: it needs no sealing")
    if passphrase_file is None:
        passphrase = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True).encode()
    else:
        passphrase = read_passphrase(passphrase_file)
    write_new(out, SealedKey.seal(plain.key, passphrase).format(), mode=0o600)
    emit({"public_key": encode_base64(plain.key.public), "sealed": str(out)}, as_json=as_json)


@key.command()
def unseal(
    file: Annotated[Path, typer.Argument(help="A sealed key file.")],
    out: Annotated[Path, typer.Option(help="The key file to make.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Take the passphrase off a key file again: whoever has the file then has the key."""
    opened = read_key_file(file, passphrase_file)
    write_key_file(out, opened)
    emit({"public_key": encode_base64(opened.key.public), "key": str(out)}, as_json=as_json)


def keygen(
    out: Annotated[Path, typer.Option(help="The key file to make; it is never written over.")],
    name: Annotated[str, typer.Option(help="Also print the key as a C2SP verifier key.")] = "",
    as_json: Json = False,
) -> None:
    """Make an Ed25519 signing key."""
    key = SigningKey(secrets.token_bytes(32))
    vkey = Verifier(name, ED25519, key.public).vkey if name else ""
    write_key_file(out, KeyFile(key))
    public = encode_base64(key.public)
    emit({"public_key": public, "key_id": key.key_id, "vkey": vkey}, as_json=as_json)


@trust.command()
def make(
    sides: Annotated[list[Path], typer.Argument(help="trust.txt of each side's authority.")],
    out: Annotated[Path, typer.Option(help="The trust file to make.")],
    as_json: Json = False,
) -> None:
    """Join the trust files of both sides into the one that institutions and verifiers use."""
    known: dict[str, OriginTrust] = {}
    for path in sides:
        for side in Trust.parse(read_file(path)).origins:
            if known.setdefault(side.origin, side) != side:
                raise InputError(f"{path} says something else of {side.origin} than the one before")
    joined = Trust.of(known.values())
    write_new(out, joined.format(), mode=0o644)
    _show(joined, as_json=as_json)


@trust.command()
def show(
    file: Annotated[Path, typer.Argument(help="A trust file.")], as_json: Json = False
) -> None:
    """Print whom a trust file trusts, and its fingerprint to compare over the telephone."""
    _show(Trust.parse(read_file(file)), as_json=as_json)


def side_of(trusted: Trust, origin: str) -> OriginTrust:
    """What a trust file that was named says of a side; raises InputError if it says nothing."""
    try:
        return trusted[origin]
    except TrustError as error:
        raise InputError(
            error.message, action="give the trust file of both sides: `ledgerctl trust make`"
        ) from None


def _show(shown: Trust, *, as_json: bool) -> None:
    emit({"fingerprint": shown.fingerprint}, as_json=as_json)
    for side in shown.origins:
        authority, count = side.authority.vkey, len(side.certificates)
        fields = {"origin": side.origin, "authority": authority, "tls_authorities": count}
        emit(fields, as_json=as_json)
    say("Compare the fingerprint with the authority's, by telephone, before you use the file.")

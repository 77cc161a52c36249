"""`ledgerctl authority`, of keys and certificates once a log has begun. All of it works offline."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.authority_directory import load_authority, take_over_key
from ledgerd_client.cli.approve import CompromisedSince, parse_time
from ledgerd_client.cli.authority import (
    AuthorityDir,
    Days,
    app,
    confirm_request,
    life_of,
    say_throwaway,
    write_approval,
)
from ledgerd_client.cli.output import Json, Yes, confirm, emit, say
from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.keyfile import (
    KeyFile,
    find_passphrase,
    is_sealed,
    read_file,
    read_key_file,
    read_secret,
    write_key_file,
    write_new,
)
from ledgerd_client.loss_request import LossRequest
from ledgerd_client.node_key_request import NodeKeyRequest
from ledgerd_client.pki import Certificate, CertificateRequest
from ledgerd_client.sealing import SealedKey

Keys = Annotated[
    Path, typer.Option(help="This side's key history, as `ledgerctl trust keys` fetches it.")
]
Out = Annotated[Path, typer.Option(help="The approval to make, for an operator to submit.")]


@app.command("rotate-node")
def rotate_node(
    request: Annotated[Path, typer.Argument(help="What `ledgerd rotate --request` wrote.")],
    directory: AuthorityDir,
    out: Out,
    compromised_since: CompromisedSince = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let this side's node go over to another log, entry or cosigner key."""
    authority, data = load_authority(directory), read_file(request)
    asked = NodeKeyRequest.parse(data)
    approval = authority.rotate_node_key(
        asked, now=datetime.now(UTC), compromised_since=parse_time(compromised_since)
    )
    say_throwaway(authority)
    say(f"The node of {asked.origin} asks for another {asked.name} key:")
    say(f"  new key          {encode_base64(asked.public_key)}")
    say(f"  old key's id     {asked.previous_key_id.hex()}{' (lost)' if asked.lost else ''}")
    confirm_request(data, yes=yes)
    write_approval(approval, out, as_json=as_json)


@app.command()
def disown(
    public_key: Annotated[str, typer.Argument(help="The replaced log key, public, in base64.")],
    directory: AuthorityDir,
    keys: Keys,
    compromised_since: CompromisedSince,
    out: Out,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Say of a log key that was replaced that somebody else has it: it is evidence of nothing more.

    For ever, and for whoever reads the log to see: two histories that it did sign go unproved too.
    """
    authority = load_authority(directory)
    history = KeyHistory.parse(read_file(keys), authority.key_file.key.public)
    approval = authority.disown(
        parse_base64(public_key),
        history,
        now=datetime.now(UTC),
        compromised_since=parse_time(compromised_since),
    )
    say_throwaway(authority)
    confirm(f"Was {public_key} stolen, and does it prove nothing any more?", yes=yes)
    write_approval(approval, out, as_json=as_json)


@app.command()
def rotate(
    directory: AuthorityDir,
    keys: Keys,
    out: Annotated[Path | None, typer.Option(help="The approval to make, to be submitted.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Replace this authority's own key, in two steps, each with the log's key history.

    With --out: make authority.key.next and sign the rotation, by both keys. When it is recorded,
    again without --out and with the history that holds it: take the new key over. Then hand the new
    trust.txt to everybody; who still has the old one trusts this side through the log.
    """
    authority = load_authority(directory)
    history = KeyHistory.parse(read_file(keys), authority.key_file.key.public)
    say_throwaway(authority)
    if out is None:
        renewed = take_over_key(authority, directory, history)
        emit({"origin": renewed.origin, "authority": renewed.verifier.vkey}, as_json=as_json)
        return
    path = directory / "authority.key.next"
    if not path.exists():
        confirm("Make a new key for this authority, and sign its rotation?", yes=yes)
        key = SigningKey(secrets.token_bytes(32))
        if is_sealed(read_secret(directory / "authority.key")):
            sealed = SealedKey.seal(key, find_passphrase(path, None))
            write_new(path, sealed.format(), mode=0o600)
        else:
            write_key_file(path, KeyFile(key, authority.key_file.throwaway))
    approval = authority.rotate(read_key_file(path).key, history, now=datetime.now(UTC))
    write_approval(approval, out, as_json=as_json)


@app.command()
def loss(
    request: Annotated[Path, typer.Argument(help="What `ledgerd recover --request` wrote.")],
    directory: AuthorityDir,
    out: Annotated[Path, typer.Option(help="The approval to make, for `ledgerd recover --loss`.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Declare the end of this side's log lost: what is behind the checkpoint counts no more.

    The log goes on there with new keys. Institutions send again what was behind it.
    """
    authority, data = load_authority(directory), read_file(request)
    asked = LossRequest.parse(data)
    approval = authority.declare_loss(asked, now=datetime.now(UTC))
    say_throwaway(authority)
    say(f"The node of {asked.end.origin} has lost its store, and asks to go on:")
    say(f"  after            {asked.end.size} entries, root {encode_base64(asked.end.root)}")
    say(f"  signed by        {', '.join(asked.witnesses)} (not verified here)")
    say(f"  bodies missing   {asked.missing}")
    say(f"  new log key      {encode_base64(asked.log_key)}")
    say(f"  new cosigner key {encode_base64(asked.cosigner_key)}")
    confirm_request(data, yes=yes)
    write_approval(approval, out, as_json=as_json)


@app.command("certify-node")
def certify_node(
    request: Annotated[
        Path, typer.Argument(help="What `ledgerd rotate --key tls --request` wrote.")
    ],
    directory: AuthorityDir,
    out: Annotated[Path, typer.Option(help="The approval to make, for `ledgerd rotate`.")],
    days: Days = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Issue another certificate to this side's node; the log is not touched."""
    authority, data = load_authority(directory), read_file(request)
    asked = CertificateRequest.parse(data)
    now = datetime.now(UTC)
    approval = authority.certify_node(asked, now=now, life=life_of(authority, days, now))
    say(f"A certificate for {asked.holder.uri} at {', '.join(asked.hosts)}")
    confirm_request(data, yes=yes)
    write_approval(approval, out, as_json=as_json)


@app.command("revoke-certificate")
def revoke_certificate(
    certificate: Annotated[Path, typer.Argument(help="The certificate, PEM.")],
    directory: AuthorityDir,
    out: Out,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Revoke a certificate: calls with it are cut off and refused, on both sides of the border.

    The signing key of its holder is another matter: see `ledgerctl enrol revoke`.
    """
    authority = load_authority(directory)
    revoked = Certificate.parse(read_file(certificate))
    approval = authority.revoke_certificate(revoked, now=datetime.now(UTC))
    say_throwaway(authority)
    say(f"The certificate of {revoked.holder.uri}, SHA-256 of its key {revoked.digest.hex()}")
    confirm("Revoke it? It never comes back.", yes=yes)
    write_approval(approval, out, as_json=as_json)

"""`ledgerctl authority`: the offline tool of a side's authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.approval import Approval
from ledgerd_client.authority import CERTIFICATE_LIFE, Authority
from ledgerd_client.authority_directory import load_authority, save_authority
from ledgerd_client.cli.output import Json, Yes, confirm, emit, say
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import InputError, MalformedError
from ledgerd_client.core.note import ED25519, parse_vkey
from ledgerd_client.enrolment import GenesisRequest
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import read_file, write_new
from ledgerd_client.pki import Validity

app = typer.Typer(no_args_is_help=True, help="For the authority of a side; works offline.")

AuthorityDir = Annotated[
    Path, typer.Option("--dir", help="The authority's directory, from `ledgerctl authority init`.")
]
Days = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=398,
        help="How long the certificate is valid; else 397, or to the authority's end.",
    ),
]


@app.command()
def init(
    directory: Annotated[Path, typer.Option("--dir", help="A directory to make.")],
    origin: Annotated[str, typer.Option(help="The name of this side's log.")],
    domain: Annotated[
        str, typer.Option(help="Trust domain of certificates; else the origin up to its first /.")
    ] = "",
    days: Annotated[
        int, typer.Option(min=1, max=3653, help="How long the TLS authority is valid.")
    ] = 3650,
    as_json: Json = False,
) -> None:
    """
    Make the keys of a side's authority: keep the directory offline, and a copy of it safe.

    The other side's authority and everybody who verifies needs trust.txt out of it.
    """
    validity = Validity.starting(datetime.now(UTC), timedelta(days=days))
    authority = Authority.create(origin, domain or domain_of(origin), validity=validity)
    make_directory(directory)
    save_authority(authority, directory)
    emit(
        {
            "origin": authority.origin,
            "trust_domain": authority.domain,
            "authority": authority.verifier.vkey,
            "trust": str(directory / "trust.txt"),
        },
        as_json=as_json,
    )


@app.command()
def genesis(
    request: Annotated[Path, typer.Argument(help="What `ledgerd init --request` wrote.")],
    directory: AuthorityDir,
    peer_origin: Annotated[str, typer.Option(help="The name of the other side's log.")],
    peer_authority: Annotated[str, typer.Option(help="Verifier key of the other authority.")],
    out: Annotated[Path, typer.Option(help="The approval to make, for `ledgerd init`.")],
    days: Days = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sign the first entry of this side's log, and issue its node's certificate."""
    authority, data = load_authority(directory), read_file(request)
    asked = GenesisRequest.parse(data)
    peer = parse_vkey(peer_authority)
    if peer.algorithm != ED25519:
        raise MalformedError("an authority's key is Ed25519")
    say_throwaway(authority)
    node = asked.certificate_request
    say(f"A node asks to begin the log {asked.origin}:")
    say(f"  certificate for  {node.holder.uri} at {', '.join(node.hosts)}")
    say(f"  log key          {encode_base64(asked.log_key)}")
    say(f"  entry key        {encode_base64(asked.entry_key)}")
    say(f"  cosigner key     {encode_base64(asked.cosigner_key)}")
    say(f"  peer             {peer_origin}, authority {peer.vkey}")
    confirm_request(data, yes=yes)
    now = datetime.now(UTC)
    approval = authority.begin(
        asked,
        peer_origin=peer_origin,
        peer_authority=peer.public,
        now=now,
        life=life_of(authority, days, now),
    )
    write_approval(approval, out, as_json=as_json)


def life_of(authority: Authority, days: int | None, now: datetime) -> timedelta:
    """Of a certificate: as asked for, else as long as the TLS authority itself at most."""
    if days is not None:
        return timedelta(days=days)
    end = Validity.of(authority.tls.certificate).not_after
    left = end - Validity.starting(now, timedelta()).not_before
    # Of one that has ended, the TLS authority says so.
    return min(left, CERTIFICATE_LIFE) if left > timedelta() else CERTIFICATE_LIFE


def domain_of(origin: str) -> str:
    """The trust domain when nobody names one."""
    return origin.partition("/")[0]


def make_directory(path: Path) -> None:
    """Make a directory for its owner only, if it is not there; raises InputError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {path}: {error.strerror}") from error


def say_throwaway(authority: Authority) -> None:
    if authority.key_file.throwaway:
        say("This authority's key was made by `ledgerd dev`: what it signs proves nothing.")


def confirm_request(data: bytes, *, yes: bool) -> None:
    """Ask whether a node's request is the one that its operator has sent."""
    say(f"  fingerprint      {fingerprint(data)}")
    confirm("Did the node's operator read the same fingerprint to you, and do you sign?", yes=yes)


def write_approval(approval: Approval, out: Path, *, as_json: bool) -> None:
    """Write what was signed, and say where; raises InputError."""
    write_new(out, approval.format(), mode=0o644)
    emit({"id": approval.id, "origin": approval.origin, "approval": str(out)}, as_json=as_json)

"""`ledgerctl enrol`, the authority's part: let in, and revoke. All of it works offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._values import to_micros
from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.cli.authority import AuthorityDir, Days, make_directory, say_throwaway
from ledgerd_client.cli.output import Json, Yes, confirm, emit, say
from ledgerd_client.core import codes
from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.keys import key_id
from ledgerd_client.enrolment import EnrolmentRequest
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import read_file, write_new

CompromisedSince = Annotated[
    str, typer.Option(help="Since when the old key is in other hands, say 2026-01-31T08:00Z.")
]


def approve(
    request: Annotated[Path, typer.Argument(help="The request.json that you were sent.")],
    directory: AuthorityDir,
    out: Annotated[Path, typer.Option(help="The approval to make.")],
    days: Days = 397,
    replaces: Annotated[
        str, typer.Option(help="The public key that this one takes the place of, in base64.")
    ] = "",
    compromised_since: CompromisedSince = "",
    renewal: Annotated[
        bool, typer.Option("--renewal", help="The key is in the log: only issue a certificate.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    As the authority: let in who sent a request. Works offline.

    The applicant installs the approval, and an operator submits it to the node.
    """
    if renewal and replaces:
        raise FieldError("a renewal keeps the key: leave out --replaces")
    if compromised_since and not replaces:
        raise FieldError("--compromised-since is of the key that --replaces names")
    authority, data = Authority.load(directory), read_file(request)
    asked = EnrolmentRequest.parse(data)
    old_key = parse_base64(replaces)
    approval = authority.approve(
        asked,
        now=datetime.now(UTC),
        life=timedelta(days=days),
        replaces=old_key,
        compromised_since=parse_time(compromised_since),
        renewal=renewal,
    )
    say_throwaway(authority)
    _say_request(asked, data, approval, replaces=replaces)
    confirm("Did they read the same fingerprint to you, and do you let them in?", yes=yes)
    if approval.body:
        _keep(directory, asked.public_key, approval)
    write_new(out, approval.format(), mode=0o644)
    emit({"id": approval.id, "origin": approval.origin, "approval": str(out)}, as_json=as_json)


def revoke(
    subject: Annotated[str, typer.Option("--id", help="Whose key it is.")],
    public_key: Annotated[str, typer.Option(help="The key's public half, in base64.")],
    directory: AuthorityDir,
    out: Annotated[Path, typer.Option(help="The approval to make, for an operator to submit.")],
    compromised_since: CompromisedSince = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """As the authority: revoke a signing key for ever. Works offline."""
    authority = Authority.load(directory)
    admission = _kept(directory, parse_base64(public_key))
    if admission.id != subject:
        raise FieldError(f"that key is of {admission.id}, not of {subject}")
    revocation = authority.revoke(
        admission, now=datetime.now(UTC), compromised_since=parse_time(compromised_since)
    )
    confirm(f"Revoke the key {public_key} of {subject}? It never comes back.", yes=yes)
    write_new(out, revocation.format(), mode=0o644)
    emit({"id": subject, "origin": revocation.origin, "approval": str(out)}, as_json=as_json)


def parse_time(text: str) -> int:
    """µs since the epoch of an ISO 8601 time with a zone, 0 of nothing; raises FieldError."""
    if not text:
        return 0
    try:
        since = to_micros("compromised_since", datetime.fromisoformat(text))
    except (ValueError, FieldError):
        since = 0
    if since <= 0:
        raise FieldError(f"{text!r} is no time", action="write it as 2026-01-31T08:00Z")
    return since


def _say_request(asked: EnrolmentRequest, data: bytes, approval: Approval, replaces: str) -> None:
    lines = {
        "role": asked.role,
        "id": asked.id,
        "name": asked.name,
        "place": codes.PLACES.get(asked.place, ""),
        "sector": codes.SECTORS.get(asked.sector, ""),
        "group": asked.group,
        "log": asked.origin,
        "signing key": encode_base64(asked.public_key) if approval.body else "",
        "replaces": replaces,
        "certificate": f"until {approval.tls_certificate.validity.not_after:%Y-%m-%d}",
        "fingerprint": fingerprint(data),
    }
    say("To be let in:")
    for name, value in lines.items():
        if value:
            say(f"  {name:12} {value}")


def _keep(directory: Path, public_key: bytes, approval: Approval) -> None:
    """Keep an admission in the authority's directory: a key is admitted once."""
    path = _admission(directory, public_key)
    if path.exists():
        raise InputError(
            "you let this key in before, and the log takes it once",
            reason="KEY_KNOWN",
            action=f"use the approval at {path}, or --renewal for a new certificate",
        )
    make_directory(path.parent)
    write_new(path, approval.format(), mode=0o644)


def _kept(directory: Path, public_key: bytes) -> Approval:
    path = _admission(directory, public_key)
    if not path.exists():
        raise InputError(
            "this authority's directory holds no approval of that key",
            action=f"check the key, or put the approval that admitted it at {path}",
        )
    return Approval.parse(read_file(path))


def _admission(directory: Path, public_key: bytes) -> Path:
    return directory / "admitted" / f"{key_id(public_key).hex()}.json"

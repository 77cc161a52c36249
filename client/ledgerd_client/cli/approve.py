"""`ledgerctl enrol`, the authority's part: let in, and revoke. All of it works offline."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._values import LOCAL, codes_of, from_micros, to_micros
from ledgerd_client.approval import Approval
from ledgerd_client.authority_directory import load_authority
from ledgerd_client.cli.admissions import (
    check_first_grant,
    keep_admission,
    keep_revocation,
    kept_admission,
)
from ledgerd_client.cli.authority import (
    AuthorityDir,
    Days,
    life_of,
    say_throwaway,
    write_approval,
)
from ledgerd_client.cli.output import Json, Yes, confirm, say
from ledgerd_client.core import codes
from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.enrolment import EnrolmentRequest
from ledgerd_client.identity import REGULATOR
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import read_file

CompromisedSince = Annotated[
    str, typer.Option(help="Since when the old key is in other hands, say 2026-01-31T08:00Z.")
]


def approve(
    request: Annotated[Path, typer.Argument(help="The request.json that you were sent.")],
    directory: AuthorityDir,
    out: Annotated[Path, typer.Option(help="The approval to make.")],
    days: Days = None,
    replaces: Annotated[
        str, typer.Option(help="The public key that this one takes the place of, in base64.")
    ] = "",
    compromised_since: CompromisedSince = "",
    renewal: Annotated[
        bool, typer.Option("--renewal", help="The key is in the log: only issue a certificate.")
    ] = False,
    places: Annotated[
        list[str] | None,
        typer.Option("--place", help="A regulator reads institutions of this place; else of all."),
    ] = None,
    sectors: Annotated[
        list[str] | None,
        typer.Option("--sector", help="A regulator reads institutions of this sector; else all."),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="A regulator reads records of this kind, say transfer."),
    ] = None,
    since: Annotated[
        str, typer.Option("--from", help="From when a regulator may read; else from now on.")
    ] = "",
    until: Annotated[
        str, typer.Option(help="Until when a regulator may read, say 2027-01-01; it needs an end.")
    ] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    As the authority: let in who sent a request. Works offline.

    The applicant installs the approval, and an operator submits it to the node. What a regulator
    may read is told by --place, --sector and --kind, each as often as needed, and is published.
    """
    if renewal and replaces:
        raise FieldError("a renewal keeps the key: leave out --replaces")
    if compromised_since and not replaces:
        raise FieldError("--compromised-since is of the key that --replaces names")
    authority, data = load_authority(directory), read_file(request)
    asked, now = EnrolmentRequest.parse(data), datetime.now(UTC)
    grant = _read_grant(places or (), sectors or (), kinds or (), since, until, now)
    if (grant is not None) != (asked.role == REGULATOR and not renewal):
        raise FieldError(
            "a regulator is let in with an end to what it may read, and nobody else is",
            action="give --until for a regulator's key, and for nothing else",
        )
    old_key = parse_base64(replaces)
    if grant is not None and not replaces:
        check_first_grant(directory, asked.id, asked.public_key)
    approval = authority.approve(
        asked,
        now=now,
        life=life_of(authority, days, now),
        replaces=old_key,
        compromised_since=parse_time(compromised_since),
        renewal=renewal,
        grant=grant,
    )
    say_throwaway(authority)
    _say_request(asked, data, approval, replaces=replaces)
    confirm("Did they read the same fingerprint to you, and do you let them in?", yes=yes)
    if approval.body:
        keep_admission(directory, asked.public_key, approval)
    write_approval(approval, out, as_json=as_json)


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
    authority = load_authority(directory)
    revoked = parse_base64(public_key)
    admission = kept_admission(directory, revoked)
    if admission.id != subject:
        raise FieldError(f"that key is of {admission.id}, not of {subject}")
    revocation = authority.revoke(
        admission, now=datetime.now(UTC), compromised_since=parse_time(compromised_since)
    )
    confirm(f"Revoke the key {public_key} of {subject}? It never comes back.", yes=yes)
    write_approval(revocation, out, as_json=as_json)
    keep_revocation(directory, revoked, revocation)


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


def _read_grant(
    places: Iterable[str],
    sectors: Iterable[str],
    kinds: Iterable[str],
    since: str,
    until: str,
    now: datetime,
) -> pb.Grant | None:
    """The grant that options tell, None where they tell none; raises FieldError."""
    if not (places or sectors or kinds or since or until):
        return None
    if not until:
        raise FieldError("there is no grant without an end", action="give --until 2027-01-01, say")
    if unknown := set(kinds) - set(KIND_NUMBERS):
        raise FieldError(
            f"--kind: {min(unknown)!r} is no kind of record",
            reason="UNKNOWN_CODE",
            action=f"use one of {', '.join(KIND_NUMBERS)}",
        )
    return pb.Grant(
        places=codes_of("--place", "place", map(_number_or_name, places)),
        sectors=codes_of("--sector", "sector", map(_number_or_name, sectors)),
        kinds=sorted({KIND_NUMBERS[kind] for kind in kinds}),
        valid_from=parse_moment("--from", since) or to_micros("now", now),
        valid_until=parse_moment("--until", until),
    )


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() else text


def parse_moment(option: str, text: str) -> int:
    """µs since the epoch of a day's beginning in UTC+8, or of a time with a zone; 0 of nothing."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FieldError(
            f"{option}: {text!r} is no time", action="write 2026-01-31, or 2026-01-31T08:00Z"
        ) from None
    return to_micros(option, moment.replace(tzinfo=LOCAL) if len(text) == 10 else moment)


def _in_words(approval: Approval) -> dict[str, str]:
    """What a grant lets a regulator read; nothing of another approval."""
    if not approval.body or not approval.read_body().key_event.HasField("grant"):
        return {}
    grant = approval.read_body().key_event.grant
    names = {number: name for name, number in KIND_NUMBERS.items()}
    ends = (f"{from_micros(at).astimezone(LOCAL):%Y-%m-%d %H:%M}" for at in (
        grant.valid_from, grant.valid_until,
    ))  # fmt: skip
    return {
        "may read": ", ".join(names[kind] for kind in grant.kinds) or "records of every kind",
        "of places": ", ".join(codes.PLACES[place] for place in grant.places) or "all",
        "of sectors": ", ".join(codes.SECTORS[sector] for sector in grant.sectors) or "all",
        "for the time": " until ".join(ends) + " (UTC+8)",
    }


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
        **_in_words(approval),
        "certificate": f"until {approval.tls_certificate.validity.not_after:%Y-%m-%d}",
        "fingerprint": fingerprint(data),
    }
    say("To be let in:")
    for name, value in lines.items():
        if value:
            say(f"  {name:12} {value}")

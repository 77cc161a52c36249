"""`ledgerctl enrol`, for applicants and operators: ask, submit, install."""

from __future__ import annotations

import asyncio
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.approval import Approval
from ledgerd_client.cli import approve
from ledgerd_client.cli.admin import authority_in_force, submit_key_event
from ledgerd_client.cli.asking import DEFAULT_CONFIG, Config
from ledgerd_client.cli.authority import (
    domain_of,
    make_directory,
)
from ledgerd_client.cli.keys import side_of
from ledgerd_client.cli.output import Json, emit, say
from ledgerd_client.config import Settings
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import InputError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import EnrolmentRequest, client_settings
from ledgerd_client.identity import INSTITUTION, OPERATOR, REGULATOR, SpiffeId
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import KeyFile, read_file, read_key_file, read_secret, write_new
from ledgerd_client.pki import CertificateRequest, TlsKey

app = typer.Typer(no_args_is_help=True, help="Let institutions, regulators and operators in.")

Dir = Annotated[Path, typer.Option("--dir", help="The applicant's own directory.")]


class Role(StrEnum):
    """Who may enrol."""

    INSTITUTION = INSTITUTION
    REGULATOR = REGULATOR
    OPERATOR = OPERATOR


@app.command("request")
def make_request(
    role: Annotated[Role, typer.Option(help="What you are.")],
    subject: Annotated[
        str, typer.Option("--id", help="Your id; an institution's is uscc.…, hkbr.… or lei.…")
    ],
    origin: Annotated[str, typer.Option(help="The name of the log on your side.")],
    name: Annotated[str, typer.Option(help="Your name, as registered; it is published.")],
    directory: Dir,
    place: Annotated[int, typer.Option(help="An institution's GB/T 2260 place code.")] = 0,
    sector: Annotated[int, typer.Option(help="An institution's sector, 1 to 9.")] = 0,
    group: Annotated[
        str, typer.Option(help="The group of companies that an institution is registered in.")
    ] = "",
    domain: Annotated[
        str, typer.Option(help="Trust domain of certificates; else the origin up to its first /.")
    ] = "",
    signing_key: Annotated[
        Path | None, typer.Option(help="Keep this key; only the certificate is to be renewed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Make your keys, and the request that you send to the authority of your side.

    The directory then holds signing.key and tls.key, which never leave it, and request.json.
    """
    holder = SpiffeId(domain or domain_of(origin), role, subject)
    if signing_key:
        key_file = read_key_file(signing_key)
    else:
        key_file = KeyFile(SigningKey(secrets.token_bytes(32)))
    tls_key = TlsKey.generate()
    asked = EnrolmentRequest.make(
        origin=origin,
        name=name,
        place=place,
        sector=sector,
        group=group,
        key=key_file.key if role != OPERATOR else None,
        csr=CertificateRequest.make(tls_key, holder),
    )
    make_directory(directory)
    if role != OPERATOR:
        write_new(directory / "signing.key", key_file.format(), mode=0o600)
    write_new(directory / "tls.key", tls_key.pem, mode=0o600)
    write_new(directory / "request.json", asked.format(), mode=0o644)
    emit(
        {
            "request": str(directory / "request.json"),
            "fingerprint": fingerprint(asked.format()),
            "public_key": encode_base64(asked.public_key),
        },
        as_json=as_json,
    )
    say("Send the request to the authority, and read its fingerprint to them by telephone.")


@app.command()
def submit(
    approval: Annotated[Path, typer.Argument(help="What the authority signed.")],
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """As an operator: hand the node what the authority signed, and verify that it is recorded."""
    settings = Settings.from_file(config)
    trust = settings.read_trust()
    approved = Approval.parse(read_file(approval))
    side = side_of(trust, settings.origin)
    if approved.origin == side.origin and not approved.is_by(side.authority):
        # By the key, perhaps, that the pinned one has vouched for in the log.
        side = asyncio.run(authority_in_force(settings, trust))
    approved.verify(side)
    receipt = asyncio.run(submit_key_event(settings, trust, approved.record))
    emit({"id": approved.id, "origin": approved.origin, "index": receipt.index}, as_json=as_json)


@app.command()
def install(
    approval: Annotated[Path, typer.Argument(help="What the authority sent back.")],
    directory: Dir,
    trust: Annotated[Path, typer.Option(help="The trust file of both sides.")],
    endpoint: Annotated[str, typer.Option(help="The node of your side, host:port.")],
    as_json: Json = False,
) -> None:
    """
    As the applicant: take the certificate, and write client.toml for the SDK and this tool.

    Nothing is written unless the approval is by an authority of the trust file, for your request.
    """
    asked = EnrolmentRequest.parse(read_file(directory / "request.json"))
    approved, trusted = Approval.parse(read_file(approval)), Trust.parse(read_file(trust))
    approved.verify(side_of(trusted, asked.origin))
    certificate = approved.tls_certificate
    tls_key = TlsKey.parse(read_secret(directory / "tls.key"))
    if certificate.holder != asked.certificate_request.holder or not certificate.is_of(tls_key):
        raise InputError(f"the approval is not for the request in {directory}")
    if approved.body and approved.read_body().key_event.public_key != asked.public_key:
        raise InputError(f"the approval admits another key than the one in {directory}")
    others = [side.origin for side in trusted.origins if side.origin != asked.origin]
    settings = client_settings(asked, endpoint, others[0] if len(others) == 1 else "")
    check_endpoint(endpoint)
    write_new(directory / "tls.crt", certificate.pem, mode=0o644)
    write_new(directory / "trust.txt", trusted.format(), mode=0o644)
    write_new(directory / "client.toml", settings, mode=0o644)
    emit(
        {"settings": str(directory / "client.toml"), "trust_fingerprint": trusted.fingerprint},
        as_json=as_json,
    )
    say(f"The certificate ends on {certificate.validity.not_after:%Y-%m-%d}: ask anew before that.")


def check_endpoint(endpoint: str) -> None:
    """Raise InputError for what the SDK would not read."""
    anywhere = Path()
    Settings(
        endpoint=endpoint, origin="-", trust=anywhere, tls_certificate=anywhere, tls_key=anywhere
    )


# The authority's part, last in the help.
app.command()(approve.approve)
app.command()(approve.revoke)

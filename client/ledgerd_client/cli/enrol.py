"""`ledgerctl enrol`: how an institution, a regulator or an operator is let in."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.cli.authority import (
    AuthorityDir,
    Days,
    domain_of,
    make_directory,
    say_throwaway,
)
from ledgerd_client.cli.output import Json, Yes, confirm, emit, say
from ledgerd_client.core import codes
from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import ConflictError, InputError, NotFoundError
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import EnrolmentRequest
from ledgerd_client.identity import INSTITUTION, OPERATOR, REGULATOR, SpiffeId
from ledgerd_client.jsonfile import fingerprint
from ledgerd_client.keyfile import KeyFile, read_file, read_key_file, read_secret, write_new
from ledgerd_client.pki import CertificateRequest, TlsKey

app = typer.Typer(no_args_is_help=True, help="Be let in, let in, and revoke.")

Time = Annotated[
    int,
    typer.Option(parser=lambda text: parse_time(text), metavar="TIME", help="Say 2026-01-31T08:00Z."),
]


class Role(StrEnum):
    """Who may enrol."""

    institution = INSTITUTION
    regulator = REGULATOR
    operator = OPERATOR

"""
A side's authority: its key and TLS authority, and what it decides. It works offline.

Times are aware datetimes from the caller; salts, record ids and serial numbers are random. Needs
the extra [cli].
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.core.body import AUTHORITY, SALT_SIZE
from ledgerd_client.core.errors import FieldError, InputError
from ledgerd_client.core.header import check_origin
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.note import Verifier
from ledgerd_client.core.record import SignedRecord, make_body, sign_record
from ledgerd_client.core.trust import OriginTrust, Trust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import OPERATOR, PEER, SpiffeId
from ledgerd_client.jsonfile import format_json, parse_json
from ledgerd_client.keyfile import KeyFile, read_file, read_key_file, read_secret, write_new
from ledgerd_client.pki import Validity
from ledgerd_client.tls_authority import TlsAuthority

SETTINGS = "ledgerd-authority/v1"
CERTIFICATE_LIFE = timedelta(days=397)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

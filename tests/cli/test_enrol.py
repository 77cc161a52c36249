"""Setting up a side and letting members in: what is signed, what is refused, what is told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.cli import app
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import LedgerError, SignatureError, TrustError
from ledgerd_client.core.header import Header, Kind, genesis_previous, header_bytes, header_tail
from ledgerd_client.core.history import KeyHistory, admission_digest
from ledgerd_client.core.keys import SigningKey, key_id
from ledgerd_client.core.trust import Trust
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import SpiffeId
from ledgerd_client.keyfile import read_key_file
from ledgerd_client.pki import CertificateRequest, TlsKey, Validity

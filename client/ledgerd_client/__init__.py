"""
ledgerd's SDK: declare and acknowledge transfers of personal data, and verify what a ledger says.

    from ledgerd_client import LedgerClient        # for asyncio; ledgerd_client.sync for the rest

Beside it stand `payload` (what is committed to), `outbox` (the durable queue), `transport`,
`config`, `testing` (a node for tests) and `core` (verification alone, without any I/O).
"""

from typing import TYPE_CHECKING

from ledgerd_client._results import (
    Acknowledged,
    Cancelled,
    Declared,
    Finding,
    Half,
    NodeInfo,
    Submitted,
    TransferView,
)
from ledgerd_client._terms import Statement
from ledgerd_client.config import Settings
from ledgerd_client.core.errors import (
    BusyError,
    ChainError,
    ConflictError,
    FieldError,
    ForbiddenError,
    ForkError,
    InputError,
    LedgerError,
    MalformedError,
    NotFoundError,
    NotReadyError,
    PersonalDataError,
    ProofError,
    RefusedError,
    SignatureError,
    StoreError,
    TooLargeError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.receipt import Receipt, VerifiedReceipt, verify_receipt
from ledgerd_client.core.transfer import Ticket
from ledgerd_client.core.trust import Trust

if TYPE_CHECKING:
    from ledgerd_client.client import LedgerClient

__all__ = [
    "Acknowledged",
    "BusyError",
    "Cancelled",
    "ChainError",
    "ConflictError",
    "Declared",
    "FieldError",
    "Finding",
    "ForbiddenError",
    "ForkError",
    "Half",
    "InputError",
    "KeyHistory",
    "LedgerClient",
    "LedgerError",
    "MalformedError",
    "NodeInfo",
    "NotFoundError",
    "NotReadyError",
    "PersonalDataError",
    "ProofError",
    "Receipt",
    "RefusedError",
    "Settings",
    "SignatureError",
    "Statement",
    "StoreError",
    "Submitted",
    "Ticket",
    "TooLargeError",
    "TransferView",
    "Trust",
    "TrustError",
    "UnauthenticatedError",
    "UnavailableError",
    "VerificationError",
    "VerifiedReceipt",
    "verify_receipt",
]


def __getattr__(name: str) -> object:
    # Whoever only verifies, with `core`, loads neither gRPC nor SQLite.
    if name == "LedgerClient":
        from ledgerd_client.client import LedgerClient  # noqa: PLC0415 -- see above

        return LedgerClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""
ledgerd's SDK: declare and acknowledge transfers of personal data, and verify what a ledger says.

    from ledgerd_client import LedgerClient        # for asyncio; ledgerd_client.sync for the rest

What is recorded of contracts stands in `contracts` and `events`; `catalogue` puts codes and
findings into words. `regulator` is for those who hold a grant to read, and `reports` what they ask.
Beside it stand `payload` (what is committed to), `outbox` (the durable queue),
`transport`, `config`, `testing` (a node for tests) and `core` (verification alone, without I/O).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledgerd_client._results import (
        Acknowledged,
        Cancelled,
        ContractView,
        Declared,
        Finding,
        FindingEntry,
        Half,
        NodeInfo,
        Recorded,
        Stated,
        Submitted,
        TransferView,
    )
    from ledgerd_client._terms import Statement
    from ledgerd_client.catalogue import Catalogue
    from ledgerd_client.client import LedgerClient
    from ledgerd_client.config import Settings
    from ledgerd_client.contracts import (
        Contract,
        Disposal,
        Filing,
        OwnSide,
        Supplement,
        Termination,
    )
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
    from ledgerd_client.core.transfer import Side, Ticket
    from ledgerd_client.core.trust import Trust
    from ledgerd_client.events import (
        ConsentChange,
        Correction,
        GovAccess,
        Incident,
        Onward,
        Pipia,
        Recordable,
        Resume,
        Suspend,
    )

__all__ = [
    "Acknowledged",
    "BusyError",
    "Cancelled",
    "Catalogue",
    "ChainError",
    "ConflictError",
    "ConsentChange",
    "Contract",
    "ContractView",
    "Correction",
    "Declared",
    "Disposal",
    "FieldError",
    "Filing",
    "Finding",
    "FindingEntry",
    "ForbiddenError",
    "ForkError",
    "GovAccess",
    "Half",
    "Incident",
    "InputError",
    "KeyHistory",
    "LedgerClient",
    "LedgerError",
    "MalformedError",
    "NodeInfo",
    "NotFoundError",
    "NotReadyError",
    "Onward",
    "OwnSide",
    "PersonalDataError",
    "Pipia",
    "ProofError",
    "Receipt",
    "Recordable",
    "Recorded",
    "RefusedError",
    "Resume",
    "Settings",
    "Side",
    "SignatureError",
    "Stated",
    "Statement",
    "StoreError",
    "Submitted",
    "Supplement",
    "Suspend",
    "Termination",
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

# Where the names of `__all__` are looked for: whoever only verifies, with what `core` has, loads
# nothing of what follows, least of all gRPC and SQLite, which the client is last to need.
_HOMES = (
    "core.errors", "core.transfer", "core.trust", "core.history", "core.receipt",
    "_results", "config", "contracts", "events", "catalogue", "client",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in __all__:
        for home in _HOMES:
            found = vars(import_module(f"{__name__}.{home}"))
            if name in found:
                return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

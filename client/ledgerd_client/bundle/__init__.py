"""
Everything that is recorded of one transfer, in one file that is verified offline, years later.

Each side adds what its own log holds; whoever reads it needs nothing but the keys of the two
authorities (docs/regulators.md, "Dispute bundle").
"""

from __future__ import annotations

from ledgerd_client.bundle.gathering import gather_as_institution, gather_as_regulator
from ledgerd_client.bundle.model import Bundle, BundledDecision, BundledEntry, BundledSide
from ledgerd_client.bundle.verifying import VerifiedBundle, VerifiedSide, verify_bundle, with_state

__all__ = [
    "Bundle", "BundledDecision", "BundledEntry", "BundledSide", "VerifiedBundle", "VerifiedSide",
    "gather_as_institution", "gather_as_regulator", "verify_bundle", "with_state",
]  # fmt: skip

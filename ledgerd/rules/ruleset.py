"""
The rules' parameters as dated data, and the entry that puts them in force.

Sources: GBA Standard Contract records and acknowledgements, as regulation facts K15 (Network Data
Security Regulations art. 12: the provider supervises the recipient); the hours themselves are this
system's defaults, set by both authorities, not by law.
"""

from __future__ import annotations

from hashlib import sha256

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.body import encode_message

VERSION = "2026.1"
HOUR = 3_600_000_000


def make_rule_set(
    *,
    acknowledge_within: int = 24 * HOUR,
    correct_within: int = 72 * HOUR,
    record_within: int = 24 * HOUR,
) -> pb.RuleSet:
    """Return the rule set of these durations (µs), its digest filled in."""
    rules = pb.RuleSet(
        version=VERSION,
        acknowledge_within=acknowledge_within,
        correct_within=correct_within,
        record_within=record_within,
    )
    rules.digest = sha256(b"ledgerd/rules/v1\n" + encode_message(rules)).digest()
    return rules

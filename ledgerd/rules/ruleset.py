"""
The rules' parameters as dated data, and the entry that puts them in force.

Sources: GBA Standard Contract records and acknowledgements, as regulation facts K15 (Network Data
Security Regulations art. 12: the provider supervises the recipient); the hours themselves are this
system's defaults, set by both authorities, not by law. What laws say stands in `law`.
"""

from __future__ import annotations

from hashlib import sha256

from ledgerd.rules.law import load_law
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.body import encode_message

VERSION = "2026.1"
HOUR = 3_600_000_000


def make_rule_set(
    *,
    acknowledge_within: int = 24 * HOUR,
    correct_within: int = 72 * HOUR,
    record_within: int = 24 * HOUR,
    agree_within: int = 0,
    law: str = "",
) -> pb.RuleSet:
    """
    Return the rule set of these durations (µs) and of a version of the law, its digest filled in.

    law: empty: what records say is not judged. Raises NotReadyError NO_SUCH_LAW.
    """
    rules = pb.RuleSet(
        version=VERSION,
        acknowledge_within=acknowledge_within,
        correct_within=correct_within,
        record_within=record_within,
        agree_within=agree_within,
        law=law,
    )
    rules.digest = rule_set_digest(rules)
    return rules


def rule_set_digest(rules: pb.RuleSet) -> bytes:
    """
    The digest that a rule set should hold, by all the data that it judges by.

    Raises NotReadyError NO_SUCH_LAW.
    """
    bare = pb.RuleSet()
    bare.CopyFrom(rules)
    bare.ClearField("digest")
    if not rules.law:
        return sha256(b"ledgerd/rules/v1\n" + encode_message(bare)).digest()
    law = load_law(rules.law)
    data = encode_message(bare) + law.file_digest + codes.digest(law.codes_edition)
    return sha256(b"ledgerd/rules/v2\n" + data).digest()

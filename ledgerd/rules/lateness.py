"""Records that reached the log late. Any past is accepted; lateness is a finding (rule L1)."""

from __future__ import annotations

from ledgerd_client._proto import body_pb2 as pb

RULE = "L1.recorded_late"


def is_late(occurred_at: int, recorded_at: int, rules: pb.RuleSet) -> bool:
    """Whether a record came later than the rule set allows; times are µs."""
    return recorded_at > occurred_at + rules.record_within

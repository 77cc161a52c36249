"""
K21: how long a record is kept at least.

PIPL 56 and Network Data Security Regulations 12: three years or more; GBA Standard Contract clause
3.11: the recipient's records of its processing, three years or more, so counted from its end too.
"""

from __future__ import annotations

from ledgerd.rules.law import Parameters
from ledgerd_client.core.days import add_years, day_of


def keep_until(recorded_at: int, ends_on: int | None, parameters: Parameters) -> int | None:
    """
    The last day on which a record is kept; None: its contract has no end yet, so there is none.

    recorded_at: µs. ends_on: the last day of the contract that the record is about; of a record
    about none, the day on which it was recorded.
    """
    if ends_on is None:
        return None
    return add_years(max(day_of(recorded_at), ends_on), parameters.retention_years)

"""
Plain transfers: those like one that was judged already. They are counted, and not judged again.

Whether a transfer meets the rules depends on its contract, the contents of its terms, its day in
UTC+8 and on sums. What raised nothing once raises nothing again on the same day, as long as the
contract stands as it is and no sum passes a mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from ledgerd.ledger.entry import Entry
from ledgerd.ledger.law_counts import is_national
from ledgerd.ledger.law_sent import SentTransfers
from ledgerd.ledger.law_state import LawState
from ledgerd.ledger.law_usage import scale_of
from ledgerd.projections.contracts import Contract
from ledgerd.projections.counters import Counter, counter_key
from ledgerd.projections.usage import Usage
from ledgerd.rules.counting import near_below, quiet_below
from ledgerd.rules.law import Parameters
from ledgerd.store.base import Transaction
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.days import day_of, year_of

_MAX_PLAIN: Final = 4096
# Its rule depends on a counter at each transfer (K12).
_ART5_4_VOLUME: Final = 7


# Facts.like; whether any person is with sensitive data; whether there is a notice; the day.
Like: TypeAlias = tuple[bytes, bool, bool, int]


class Sent(NamedTuple):
    """What one transfer adds; like: equal in transfers of which rules see all else the same."""

    like: Like
    occurred_at: int
    subjects: int
    sensitive: int


def read_sent(terms: bytes, like: bytes, occurred_at: int) -> Sent:
    """Read the terms of a transfer that happened at a time (µs); like: as Facts have it."""
    said = pb.Terms.FromString(terms)
    sensitive = said.sensitive_subjects > 0
    return Sent(
        (like, sensitive, bool(said.notice_digest), day_of(occurred_at)), occurred_at,
        said.subjects_first_this_year, said.sensitive_first_this_year,
    )  # fmt: skip


@dataclass(slots=True)
class _Plain:
    """Where plain transfers are counted, and the sums below which no rule sees a difference."""

    key: bytes
    subjects_up_to: int
    # The exporter's counter, b"" when these are not counted; whether by the national reading too.
    counter: bytes
    parameters: Parameters
    national: bool
    year: int
    all_below: tuple[int, int]
    national_below: tuple[int, int]
    near_below: tuple[int, int]


class PlainTransfers:
    """What is known to be plain. forget() it whenever anything but a transfer was recorded."""

    def __init__(self, state: LawState, sent: SentTransfers) -> None:
        self._state = state
        self._sent = sent
        self._known: dict[Like, _Plain] = {}

    def forget(self) -> None:
        self._known.clear()

    def count(self, transaction: Transaction, sent: Sent, entry: Entry) -> bool:
        """Count a transfer, of that entry, if it is plain; otherwise nothing is changed."""
        plain = self._known.get(sent.like)
        if plain is None:
            return False
        usage = self._state.usage.get(transaction, plain.key)
        if usage is None or not 0 < usage.first_at <= sent.occurred_at:
            return False
        subjects = usage.subjects + sent.subjects
        if subjects > plain.subjects_up_to:
            return False
        if plain.counter and not self._count(transaction, plain, usage, sent):
            return False
        usage.subjects = subjects
        usage.transfers += 1
        self._sent.add(transaction, plain.key, usage, entry.position, entry.recorded_at)
        self._state.usage.put(plain.key, usage)
        return True

    def _count(self, transaction: Transaction, plain: _Plain, usage: Usage, sent: Sent) -> bool:
        counter = self._state.counters.get(transaction, plain.counter)
        if counter is None or counter.judged_by is not plain.parameters:
            return False
        every = counter.all[0] + sent.subjects, counter.all[1] + sent.sensitive
        national = counter.national
        if plain.national:
            national = national[0] + sent.subjects, national[1] + sent.sensitive
        known = usage.years.get(plain.year, (0, 0))
        of_contract = known[0] + sent.subjects, known[1] + sent.sensitive
        if not (
            _below(every, plain.all_below)
            and _below(national, plain.national_below)
            and _below(of_contract, plain.near_below)
        ):
            return False
        counter.all, counter.national = every, national
        usage.years[plain.year] = of_contract
        self._state.counters.put(plain.counter, counter)
        return True

    def remember(
        self,
        sent: Sent,
        key: bytes,
        contract: Contract | None,
        usage: Usage,
        counter: Counter | None,
        exporter: str,
        exemption: int,
        parameters: Parameters,
    ) -> None:
        """Take a transfer that was counted and raised nothing for an example of its like."""
        if contract is None or not contract.versions or contract.suspensions:
            return
        if exemption == _ART5_4_VOLUME:
            return
        if len(self._known) >= _MAX_PLAIN:
            self.forget()
        year = year_of(sent.occurred_at)
        counted = counter or Counter()
        self._known[sent.like] = _Plain(
            key,
            scale_of(contract.terms(), usage.subjects),
            counter_key(exporter, year) if counter is not None else b"",
            parameters,
            is_national(contract),
            year,
            quiet_below(counted.all, parameters),
            quiet_below(counted.national, parameters),
            near_below(usage.years.get(year, (0, 0)), parameters),
        )


def _below(counts: tuple[int, int], marks: tuple[int, int]) -> bool:
    return counts[0] < marks[0] and counts[1] < marks[1]

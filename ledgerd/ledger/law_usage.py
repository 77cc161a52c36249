"""A transfer as it counts, and what it does to the usage of its contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ledgerd.projections.contracts import Contract, contract_key
from ledgerd.projections.terms import Terms, scope_of
from ledgerd.projections.transfer_row import Half
from ledgerd.projections.usage import Usage
from ledgerd.rules.content import Profile
from ledgerd.rules.mechanisms import ASSESSMENT, GBA_SC
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.fields import MAX_COUNT
from ledgerd_client.core.header import Kind

_GENETIC: Final = 10


class Stated(NamedTuple):
    """A transfer as it counts: by the record at position, which happened at occurred_at (µs)."""

    position: int
    occurred_at: int
    terms: pb.Terms
    key: bytes
    scope: int
    profile: Profile


def counting_halves(halves: Sequence[Half]) -> tuple[int, int] | None:
    """(first TRANSFER, newest statement) of an exporter's halves; None when nothing counts."""
    first = newest = None
    for half in halves:
        if half.kind == Kind.CANCEL:
            return None
        if first is None and half.kind == Kind.TRANSFER:
            first = newest = half.position
        elif first is not None and half.kind == Kind.CORRECTION:
            newest = half.position
    return None if first is None or newest is None else (first, newest)


def stated_by(position: int, occurred_at: int, body: pb.Body, author: str) -> Stated:
    """The transfer that a TRANSFER or CORRECTION of author's states."""
    terms = pb.Terms.FromString(getattr(body, body.WhichOneof("record") or "").terms)
    purposes, categories = tuple(terms.purposes), tuple(terms.categories)
    sensitive, means = tuple(terms.sensitive_categories), tuple(terms.means)
    return Stated(
        position,
        occurred_at,
        terms,
        contract_key(author, terms.contract_id),
        scope_of(purposes, categories, sensitive, means, (terms.transmission,)),
        Profile(
            purposes,
            categories,
            sensitive,
            terms.legal_basis,
            terms.consent_form,
            terms.exemption,
            terms.minors_present,
            terms.sensitive_subjects > 0,
            bool(terms.notice_digest),
        ),
    )


def use(usage: Usage, contract: Contract | None, stated: Stated) -> bool:
    """Add a transfer to its contract's usage; return whether a rule may see a difference."""
    terms = stated.terms
    versions = contract.terms() if contract is not None and contract.versions else ()
    moved = usage.since < 0 and not versions
    if usage.since < 0:
        usage.since = stated.position
    if usage.subjects + terms.subjects_first_this_year > scale_of(versions, usage.subjects):
        moved = True
    usage.transfers += 1
    usage.subjects += terms.subjects_first_this_year
    scope = contract.in_force(stated.occurred_at).scope if contract and versions else 0
    return show(usage, stated, scope) or moved


def show(usage: Usage, stated: Stated, scope: int) -> bool:
    """Take up what a transfer shows of its contract, which covers that scope; whether it is new."""
    moved = usage.exceed(stated.scope & ~scope, stated.position)
    if usage.first < 0 or stated.occurred_at < usage.first_at:
        usage.first, usage.first_at = stated.position, stated.occurred_at
        moved = True
    if usage.genetic < 0 and _GENETIC in stated.profile.sensitive:
        usage.genetic = stated.position
        moved = True
    return moved


def shows(usage: Usage, stated: Stated) -> bool:
    """Whether a transfer may be the only one that shows something of its contract."""
    return (
        stated.occurred_at <= usage.first_at
        or bool(stated.scope & usage.excess)
        or _GENETIC in stated.profile.sensitive
    )


def scale_of(versions: Iterable[Terms], subjects: int) -> int:
    """Up to how many persons K22 says what it says of so many, whichever version is in force."""
    scales = map(_scale_of, versions)
    return min((scale for scale in scales if subjects <= scale), default=MAX_COUNT * MAX_COUNT)


def _scale_of(terms: Terms) -> int:
    scale = MAX_COUNT
    if terms.mechanism == GBA_SC:
        scale = terms.planned_scale
    elif terms.mechanism == ASSESSMENT and terms.side.authorised_scale:
        scale = terms.side.authorised_scale
    return scale


def lower_route(usage: Usage, year: int, needed: tuple[int, int]) -> None:
    """Keep of the route what the counters of its year still need."""
    known_year, national, every, position = usage.route
    if year == known_year:
        usage.route = year, min(national, needed[0]), min(every, needed[1]), position


def take_route(usage: Usage, year: int, needed: tuple[int, int], position: int) -> bool:
    """Keep the newest year's route where it is more than was needed so far."""
    known_year, national, every, _ = usage.route
    if not any(needed) or year < known_year:
        return False
    if year == known_year and needed[0] <= national and needed[1] <= every:
        return False
    usage.route = (year, *needed, position)
    return True

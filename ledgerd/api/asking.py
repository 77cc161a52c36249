"""A regulator's query, read: whether it makes sense, what the grant adds, and what to look up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ledgerd.ledger.answers import Asked, Part
from ledgerd.ledger.dimensions import Dimension
from ledgerd.ledger.indexer import NOT_COUNTED, asked_by
from ledgerd.ledger.search import Clause
from ledgerd.projections.postings import Field, code, text
from ledgerd.rules.reconcile import State
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core import codes
from ledgerd_client.core.errors import FieldError, ForbiddenError, NotFoundError
from ledgerd_client.core.fields import DIGEST_SIZE, check_size, check_text
from ledgerd_client.core.grant import PUBLIC
from ledgerd_client.core.header import MAX_INSTITUTION_BYTES
from ledgerd_client.core.supervision import KIND_NUMBERS
from ledgerd_client.rulebook import RULES

# Values of one field.
MAX_VALUES: Final = 100
MAX_DIMENSIONS: Final = 4
_CONTRACT_ID_BYTES: Final = 64

_KINDS: Final = {number: name for name, number in KIND_NUMBERS.items()}
_SEVERITIES: Final[Mapping[int, str]] = {number: name for name, number in body_pb2.Severity.items()}
_STATES: Final = {state.name.lower(): int(state) for state in State} | {"not_counted": NOT_COUNTED}

# Fields of numbers: where they are posted, and what they may be.
_NUMBERS: Final[Mapping[str, tuple[Field, Mapping[int, str]]]] = {
    "kinds": (Field.KIND, _KINDS),
    "directions": (Field.DIRECTION, codes.DIRECTIONS),
    "places": (Field.PLACE, codes.PLACES),
    "sectors": (Field.SECTOR, codes.SECTORS),
    "categories": (Field.CATEGORY, codes.CATEGORIES),
    "sensitive_categories": (Field.SENSITIVE, codes.SENSITIVE_CATEGORIES),
    "purposes": (Field.PURPOSE, codes.PURPOSES),
    "mechanisms": (Field.MECHANISM, codes.MECHANISMS),
    "severities": (Field.SEVERITY, _SEVERITIES),
}
# Fields of ids: where they are posted, and how long they may be, in bytes.
_TEXTS: Final = {
    "institutions": (Field.INSTITUTION, MAX_INSTITUTION_BYTES),
    "counterparties": (Field.COUNTERPARTY, MAX_INSTITUTION_BYTES),
    "contract_ids": (Field.CONTRACT, _CONTRACT_ID_BYTES),
}
_OF_FINDINGS: Final = ("rules", "severities", "standing")
_FINDINGS: Final = frozenset((KIND_NUMBERS["finding"],))
_HALVES: Final = frozenset(
    KIND_NUMBERS[kind] for kind in ("transfer", "ack", "cancel", "correction")
)

_USUAL: Final = frozenset((Part.HEADER, Part.BODY, Part.STANDING))

# What a Tail cannot take: it has no end, and tells what does not change any more.
_NOT_TAILED: Final = ("checkpoint", "end", "until", "states", "standing", "newest_first")


class Asker(NamedTuple):
    """Who asks, and what he may read."""

    regulator: str
    grant: body_pb2.Grant


def read_query(query: pb.Query, asker: Asker, *, origin: str, peer_origin: str) -> Asked:
    """
    Read a query of this log, at origin, and hold it against the grant.

    Raises FieldError for what is no query (UNKNOWN_CODE, CONTRADICTION), ForbiddenError for the
    peer's log (OTHER_SIDE) or what the grant does not cover (GRANT), NotFoundError for another log.
    """
    _check_origin(query.origin, origin, peer_origin)
    _check_contradictions(query)
    for ref in _values(query, "refs"):
        check_size("refs", ref, DIGEST_SIZE)
    return Asked(
        (*_clauses(query), *grant_clauses(asker, query)),
        tuple(dict.fromkeys(query.refs)),
        query.first,
        query.end,
        _since(query),
        query.until,
        query.newest_first,
    )


def check_tailed(query: pb.Query) -> None:
    """Refuse what no Tail can answer; raises FieldError CONTRADICTION."""
    for name in _NOT_TAILED:
        if getattr(query, name):
            raise _contradiction("tail", name)


def read_parts(parts: Sequence[int]) -> frozenset[Part]:
    """What of each entry is asked for; all but the proof where nothing is said."""
    codes.check_codes("parts", {part: part.name for part in Part}, parts)
    return frozenset(map(Part, parts)) or _USUAL


def read_dimensions(named: Sequence[int]) -> list[Dimension]:
    """What to count by; raises FieldError for too many, one that is none, or one named twice."""
    if len(named) > MAX_DIMENSIONS:
        raise FieldError(f"group_by: a summary is by at most {MAX_DIMENSIONS} dimensions")
    codes.check_codes("group_by", {each: each.name for each in Dimension}, named)
    if len(set(named)) < len(named):
        raise FieldError("group_by: a dimension is named once")
    return list(map(Dimension, named))


def grant_clauses(asker: Asker, query: pb.Query | None = None) -> Iterator[Clause]:
    """
    What a grant adds to a query, or to none: what it covers, in terms of postings.

    Raises ForbiddenError GRANT where the query names what the grant does not cover.
    """
    grant = asker.grant
    others = (code(PUBLIC), asked_by(asker.regulator))
    for name, field, granted, beside in (
        ("kinds", Field.KIND, grant.kinds, ()),
        ("places", Field.PLACE, grant.places, others),
        ("sectors", Field.SECTOR, grant.sectors, others),
    ):
        named: Sequence[int] = getattr(query, name) if query is not None else ()
        if granted and (outside := sorted(set(named) - set(granted))):
            table = _NUMBERS[name][1]
            raise ForbiddenError(
                f"{name}: the grant does not cover"
                f" {', '.join(table.get(number, str(number)) for number in outside)}",
                reason="GRANT",
                action="ask for what it covers, or the authority for another grant",
            )
        if granted:
            yield Clause(field, frozenset((*map(code, granted), *beside)))


def _check_origin(named: str, origin: str, peer_origin: str) -> None:
    if named in {"", origin}:
        return
    if named == peer_origin:
        raise ForbiddenError(
            f"records of {named} stay with its own side",
            reason="OTHER_SIDE",
            action="ask that side's regulator; GetTransfer shows the headers of its halves",
        )
    raise NotFoundError(f"{named} is neither this log nor its peer")


def _check_contradictions(query: pb.Query) -> None:
    if query.until and _since(query) >= query.until:
        raise _contradiction("from", "until")
    if query.end and query.first >= query.end:
        raise _contradiction("first", "end")
    kinds = frozenset(query.kinds)
    asked = [name for name in _OF_FINDINGS if getattr(query, name)]
    if asked and kinds and not kinds & _FINDINGS:
        raise _contradiction(asked[0], "kinds")
    if query.states and kinds and not kinds & _HALVES:
        raise _contradiction("states", "kinds")
    if query.states and asked:
        raise _contradiction("states", asked[0])


def _contradiction(one: str, other: str) -> FieldError:
    return FieldError(
        f"{one} and {other} contradict each other: nothing could match both",
        reason="CONTRADICTION",
        action="leave one of them out",
    )


def _clauses(query: pb.Query) -> Iterator[Clause]:
    for name, (field, table) in _NUMBERS.items():
        if numbers := _values(query, name):
            codes.check_codes(name, table, numbers)
            yield Clause(field, frozenset(map(code, numbers)))
    for name, (field, size) in _TEXTS.items():
        if texts := _values(query, name):
            for each in texts:
                check_text(name, each, size)
            yield Clause(field, frozenset(map(text, texts)))
    if rules := _values(query, "rules"):
        yield Clause(Field.RULE, frozenset(map(text, _rules(rules))))
    if states := _values(query, "states"):
        yield Clause(Field.STATE, frozenset(code(_state(each)) for each in states))
    if query.standing:
        codes.check_codes("standing", {1: "", 2: ""}, (query.standing,))
        yield Clause(Field.STANDING, frozenset((code(query.standing),)))


def _values(query: pb.Query, name: str) -> Sequence[Any]:
    values: Sequence[Any] = getattr(query, name)
    if len(values) > MAX_VALUES:
        raise FieldError(f"{name}: a query names at most {MAX_VALUES} of them")
    return values


def _rules(named: Iterable[str]) -> Iterator[str]:
    for name in named:
        found = [rule for rule in RULES if rule == name or rule.startswith(f"{name}.")]
        if not found:
            raise FieldError(
                f"rules: {name[:64]!r} is neither a rule nor a family of rules",
                reason="UNKNOWN_CODE",
                action="see `ledgerctl rules` for those there are",
            )
        yield from found


def _state(name: str) -> int:
    if name not in _STATES:
        raise FieldError(
            f"states: {name[:64]!r} is no state of a transfer",
            reason="UNKNOWN_CODE",
            action=f"use one of {', '.join(_STATES)}",
        )
    return _STATES[name]


def _since(query: pb.Query) -> int:
    since: int = getattr(query, "from")  # a keyword of Python's
    return since

"""K1 and K21, which refuse: what must not enter a log, and what may not yet be erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from scenarios.names import BY_LABEL, derive
from scenarios.records import DAY, ORIGINS, Deal, Event, encode, micros
from scenarios.sides import Border
from scenarios.story import Plot

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import LedgerError
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.record import Key, SignedRecord, admit, make_body, sign_record

AT = date(2026, 3, 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one row: whether it should have been refused, and whether it was, as it should."""

    name: str
    wanted: str
    came: str


def try_records(table: dict[str, Any]) -> list[Outcome]:
    """K1: each row of the table to admission, as a node's worker would take it."""
    return [Outcome(row["name"], row.get("error", ""), _try(row)) for row in table["refusal"]]


def _try(row: dict[str, Any]) -> str:
    bank = BY_LABEL["bank"]
    broken = row.get("broken", "")
    key = SigningKey(derive("nobody", 32)) if broken == "key" else bank.key
    record = _sign(_body(row, broken), key)
    if broken == "signature":
        changed = bytes([record.signature[0] ^ 1]) + record.signature[1:]
        record = record._replace(signature=changed)
    keys = {bank.key.key_id: Key(2, bank.key.public)}
    try:
        admit(record, origin=ORIGINS["mainland"], author=bank.id, keys=keys)
    except LedgerError as error:
        return type(error).__name__
    return ""


def _body(row: dict[str, Any], broken: str) -> bytes:
    bank = BY_LABEL["bank"]
    exporter = BY_LABEL["credit"] if broken == "author" else bank
    deal = Deal("GBA-SC-2026-K1", exporter, BY_LABEL["hk_bank"], AT)
    at = micros(AT)
    record: dict[str, Any]
    if "contract" in row:
        contract = pb.ContractTerms.FromString(deal.contract())
        for name, value in row["contract"].items():
            setattr(contract, name, value)
        record = {"contract": pb.Contract(terms=encode(contract), side=deal.own())}
    else:
        terms = deal.transfer("K1", at, **row.get("transfer", {}))
        if broken == "order":
            # Field 1 once more at the end: the same message, and not its one encoding.
            terms += b"\x0a\x00"
        record = {"transfer": pb.Transfer(terms=terms)}
    event = Event(at, bank, "", "transfer", pb.Transfer(), at, "K1")
    return make_body(
        origin=ORIGINS["mainland"], author=bank.id, record_id=event.record_id,
        occurred_at=at, salt=derive("salt K1", 16), **record,
    )  # fmt: skip


def _sign(body: bytes, key: SigningKey) -> SignedRecord:
    """As an SDK would that signs whatever it is given: for its form it is refused all the same."""
    try:
        return sign_record(body, key)
    except LedgerError:
        return SignedRecord(body, key.key_id, bytes(64))


def try_erasures(table: dict[str, Any], directory: Path) -> list[Outcome]:
    """K21: a record under contracts with and without an end, asked for at several times."""
    outcomes: list[Outcome] = []
    for number, row in enumerate(table["erasure"]):
        plot = Plot.of("K21", _to_erase(row))
        border = Border(directory / f"erasure-{number}")
        try:
            came = _ask(border, plot, micros(row["now"]))
        finally:
            border.close()
        outcomes.append(Outcome(row["name"], "" if row["allowed"] else "RETENTION", came))
    return outcomes


def _to_erase(row: dict[str, Any]) -> dict[str, Any]:
    """An edge whose last record is asked for: a transfer, or an incident on two contracts."""
    edge: dict[str, Any] = {"expect": []}
    if "expires_on" in row:
        edge["contract"] = {"expires_on": row["expires_on"]}
    at = datetime.combine(AT, time(10))
    if "other_expires_on" not in row:
        return {**edge, "events": [{"do": "transfer", "at": at}]}
    anew = {"do": "contract", "under": "b", "at": at, "expires_on": row["other_expires_on"]}
    later = at + timedelta(hours=1)
    incident = {"do": "incident", "also": ["b"], "at": later, "discovered_at": at}
    return {**edge, "others": ["b"], "events": [anew, incident]}


def _ask(border: Border, plot: Plot, now: int) -> str:
    border.play(sorted(plot.events, key=lambda event: event.at), lambda _: None)
    # Nobody waits for the other half of the transfer any more.
    border.advance(max(event.at for event in plot.events) + 30 * DAY)
    border.anchor_both()
    node = border.nodes["mainland"]
    (asked,) = (event for event in plot.events if event.kind in {"transfer", "incident"})
    index = node.index_of(asked)
    assert index is not None
    answer = node.reader.erasable(index, now)
    return "" if answer.allowed else answer.reason

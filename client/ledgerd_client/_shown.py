"""
What a node shows of transfers, contracts and findings, read and checked as far as it proves itself.

Pure functions; they raise as those of _replies do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._results import (
    ContractView,
    Finding,
    FindingEntry,
    Half,
    Stated,
    TransferView,
)
from ledgerd_client._values import to_date
from ledgerd_client.core.body import parse_body, parse_message
from ledgerd_client.core.errors import ChainError, LedgerError, TrustError, VerificationError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import verify
from ledgerd_client.core.transfer import check_date
from ledgerd_client.rulebook import RULES
from ledgerd_client.transport import from_refusal


def to_transfer(ref: bytes, view: pb.TransferView) -> TransferView:
    """Read a node's view of a transfer, unproven; raises for one of another transfer, too."""
    halves = tuple(_to_half(half) for half in view.halves)
    findings = _to_findings(view.findings)
    _check_refs(ref, view.ref, halves)
    return TransferView(
        ref, view.state, halves, findings, view.peer_size, view.peer_known_at, view.checkpoint
    )


def to_contract(contract_id: str, view: pb.ContractView) -> ContractView:
    """Read a node's view of a contract, unproven; raises for one of another contract, too."""
    halves = tuple(_to_half(half) for half in view.halves)
    if view.contract_id != contract_id:
        raise VerificationError("the reply is of another contract", reason="OTHER_RECORD")
    _check_refs(view.ref, view.ref, halves)
    statements = tuple(
        Stated(one.outcome, one.state, one.terms_digest, _place(one.own), _place(one.peer))
        for one in view.statements
    )
    check_date("first_transfer_on", view.first_transfer_on or 1970_01_01)
    return ContractView(
        contract_id, view.ref, view.state, halves, view.terms, statements, tuple(view.findings),
        view.subjects, to_date(view.first_transfer_on), view.peer_size, view.peer_known_at,
        view.checkpoint, view.institution,
    )  # fmt: skip


def to_finding_entry(entry: pb.FindingEntry, history: KeyHistory) -> FindingEntry:
    """Read a listed FINDING; raises unless the node signed it for this place in its log."""
    header = Header.parse(entry.header)
    if header.index != entry.index or header.kind != Kind.NODE:
        raise ChainError(f"entry {entry.index} is not the finding that it is listed as")
    verify(history.signer(header), header.signed_bytes(history.origin), header.signature)
    if sha256(entry.body).digest() != header.body_digest:
        raise VerificationError(
            f"the body of entry {entry.index} is another one", reason="BODY_MISMATCH"
        )
    finding = to_finding(parse_body(entry.body).finding)
    closed_by, closed_at = entry.closed_by or None, entry.closed_at or None
    return FindingEntry(header.index, header.recorded_at, finding, closed_by, closed_at)


def to_checked(outcome: pb.CheckOutcome) -> tuple[Finding, ...] | LedgerError:
    """The findings that a record would raise or close, or what it would be refused for."""
    if outcome.HasField("refused"):
        return from_refusal(outcome.refused.reason, outcome.refused.message)
    return tuple(
        to_finding(parse_message(body_pb2.Finding, data, "finding")) for data in outcome.findings
    )


def _check_refs(wanted: bytes, named: bytes, halves: Sequence[Half]) -> None:
    refs = {named, *(half.header.halves.ref for half in halves if half.header.halves)}
    if refs != {wanted} or any(half.header.halves is None for half in halves):
        raise VerificationError("the reply is of another transfer", reason="OTHER_RECORD")


def _place(index: int) -> int | None:
    return index - 1 if index else None


def check_half(half: Half, history: KeyHistory) -> None:
    """
    Refuse a half that the institution it is ascribed to did not sign; history is its log's.

    Place and time of its header nobody has signed: they are the node's word.
    """
    header = half.header
    key = history.institution_key(header.key_id, header.key_index, header.index)
    if key.subject != half.institution:
        raise TrustError(f"entry {half.index} is by {key.subject}, not by {half.institution}")
    verify(key.public, header.signed_bytes(history.origin), header.signature)


def _to_half(half: pb.Half) -> Half:
    header = Header.parse(half.header)
    if header.index != half.index:
        raise ChainError(f"entry {header.index} is announced as {half.index}")
    return Half(half.origin, half.index, half.institution, header)


def _to_findings(bodies: Iterable[bytes]) -> tuple[Finding, ...]:
    """One for each id: an entry that closes a finding says no more than that it is cured."""
    found: dict[bytes, Finding] = {}
    for body in bodies:
        finding = to_finding(parse_body(body).finding)
        opened = found.get(finding.finding_id)
        if opened is not None and finding.closed:
            finding = replace(opened, closed=True)
        found[finding.finding_id] = finding
    return tuple(found.values())


def to_finding(finding: body_pb2.Finding) -> Finding:
    """A finding with its numbers by name, unproven."""
    records = tuple((record.origin, record.index) for record in finding.records)
    rule = RULES.get(finding.rule)
    # A newer node may have rules that this SDK does not know: their numbers have no names here.
    names = rule.numbers if rule else tuple(map(str, range(len(finding.numbers))))
    return Finding(
        finding.finding_id, finding.rule, finding.severity, records, finding.closed, finding.ref,
        finding.institution, finding.contract_id, dict(zip(names, finding.numbers, strict=False)),
    )  # fmt: skip

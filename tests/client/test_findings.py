"""Findings as a transfer's view shows them: one for each, whatever entries it took."""

from __future__ import annotations

from typing import Any

from builders import MAINLAND, new_body

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._replies import to_transfer
from ledgerd_client._results import Finding

REF = bytes(32)
ONE, OTHER = b"1" * 32, b"2" * 32


def finding(finding_id: bytes, **fields: Any) -> bytes:
    named = [body_pb2.RecordRef(origin=MAINLAND, index=7)]
    entry = body_pb2.Finding(
        finding_id=finding_id, rule="K15.mismatch", records=named, ref=REF, **fields
    )
    return new_body(MAINLAND, "node", finding=entry)


def opened(finding_id: bytes) -> bytes:
    return finding(finding_id, severity=body_pb2.SEVERITY_HIGH)


def closed(finding_id: bytes) -> bytes:
    return finding(finding_id, closed=True)


def shown(*entries: bytes) -> list[Finding]:
    view = pb.TransferView(ref=REF, state="matched", findings=entries)
    return list(to_transfer(REF, view).findings)


def a_finding(finding_id: bytes, *, closed: bool) -> Finding:
    return Finding(finding_id, "K15.mismatch", 3, ((MAINLAND, 7),), closed)


def test_an_open_one_is_shown_as_it_was_opened() -> None:
    assert shown(opened(ONE)) == [a_finding(ONE, closed=False)]


def test_a_cured_one_is_shown_once_with_the_severity_that_it_had() -> None:
    assert shown(opened(ONE), closed(ONE)) == [a_finding(ONE, closed=True)]


def test_one_that_was_opened_again_is_open() -> None:
    assert shown(opened(ONE), closed(ONE), opened(ONE)) == [a_finding(ONE, closed=False)]


def test_each_has_a_state_of_its_own() -> None:
    assert shown(opened(ONE), opened(OTHER), closed(ONE)) == [
        a_finding(ONE, closed=True),
        a_finding(OTHER, closed=False),
    ]

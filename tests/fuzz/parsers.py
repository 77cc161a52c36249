"""
Every parser of what strangers send: how it is called, and bytes that it takes.

The bytes are those of tests/vectors, or made here by whoever writes such files.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import ledgerd_client
from ledgerd_client import core, pki
from ledgerd_client._contract import Contract
from ledgerd_client._entries import read_shown
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.approval import Approval
from ledgerd_client.authority import Authority
from ledgerd_client.bundle.model import Bundle
from ledgerd_client.core import (
    body,
    checkpoint,
    contract,
    days,
    encoding,
    entry_evidence,
    evidence,
    header,
    history,
    note,
    opening,
    receipt,
    record,
    remains,
    tiles,
    transfer,
    trust,
    usual,
)
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.enrolment import EnrolmentRequest, GenesisRequest
from ledgerd_client.identity import INSTITUTION, PEER, SpiffeId
from ledgerd_client.keyfile import KeyFile
from ledgerd_client.pki import Certificate, CertificateRequest, TlsKey, Validity
from ledgerd_client.sealing import Cost, SealedKey
from ledgerd_client.tls_authority import TlsAuthority

Samples = Sequence[bytes]

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "format.json").read_text())
MAINLAND = VECTORS["logs"][0]
AUTHORITY = bytes.fromhex(MAINLAND["keys"]["authority"])


class Parser(NamedTuple):
    """How bytes are given to it; what it takes; how a value is written again, if it is."""

    read: Callable[[bytes], Any]
    samples: Samples
    write: Callable[[Any], bytes] | None = None


def hexes(rows: Sequence[Any], name: str) -> list[bytes]:
    return [bytes.fromhex(row[name]) for row in rows]


def files(rows: Sequence[Any], name: str = "file") -> list[bytes]:
    return [row[name].encode() for row in rows]


def as_text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(data.decode("utf-8", "replace"))


ENTRIES = [entry for log in VECTORS["logs"] for entry in log["entries"]]
BODIES = hexes(ENTRIES, "body")
HEADERS = hexes(ENTRIES, "header")
CHECKPOINTS = [each for log in VECTORS["logs"] for each in log["checkpoints"][-3:]]
NOTES = [*files(CHECKPOINTS, "note"), *files(CHECKPOINTS, "cosigned_note")]
LINES = [each.split(b"\n\n", 1)[1] for each in NOTES]
TERMS = hexes(list(VECTORS["deals"].values()), "terms")
TICKETS = [
    bytes.fromhex(ticket)
    for deal in VECTORS["deals"].values()
    for ticket in deal["tickets"].values()
]
MANIFESTS = [m for m in hexes(list(VECTORS["deals"].values()), "manifest") if m]
EVIDENCE = files(VECTORS["evidence"])
FORKS = [file for file in EVIDENCE if file.startswith(b"ledgerd-evidence/")]
HISTORIES = files(VECTORS["logs"], "key_history")
HISTORY = history.KeyHistory.parse(HISTORIES[0], AUTHORITY)
VKEYS = [key.encode() for key in MAINLAND["vkeys"].values()]
VERIFIERS = [note.parse_vkey(key.decode()) for key in VKEYS]
STATED = {each["what"]: [bytes.fromhex(each["bytes"])] for each in VECTORS["contract"]["terms"]}
ORDER = pb.ErasureOrder(
    origin="a/log",
    order_id=bytes(16),
    institution="uscc.A",
    indexes=[3],
    reason="old",
    ordered_at=1,
).SerializeToString()


def parse_text_note(data: bytes) -> dict[note.Verifier, int | None]:
    return note.open_note(note.parse_note(data), VERIFIERS)


def parse_signed(data: bytes) -> record.Facts:
    signed = record.SignedRecord(data, bytes(33), bytes(64))
    return record.read_record(signed, origin=MAINLAND["origin"], author="uscc.91440300MA5EXMPLXX")


def parse_shown(data: bytes) -> Any:
    """Of an entry whose header names these bytes."""
    named = replace(header.Header.parse(HEADERS[0]), body_digest=sha256(data).digest())
    return read_shown(data, named)


def parse_stated(data: bytes) -> Any:
    """Of a body that was read, and is of a contract."""
    read, name = body.read_body(data)
    return contract.parse_statement(read) if name in {"contract", "termination"} else None


CORE = {
    "body.parse_body": Parser(body.parse_body, BODIES, pb.Body.SerializeToString),
    "body.parse_message": Parser(partial(body.parse_message, pb.Body, what="body"), BODIES),
    "body.read_body": Parser(body.read_body, BODIES),
    "checkpoint.Checkpoint.parse": Parser(
        as_text(checkpoint.Checkpoint.parse), files(CHECKPOINTS, "text"), lambda c: c.format().encode()
    ),
    "checkpoint.open_checkpoint": Parser(partial(checkpoint.open_checkpoint, log=VERIFIERS), NOTES),
    "contract.parse_contract_terms": Parser(
        contract.parse_contract_terms, STATED["contract"], pb.ContractTerms.SerializeToString
    ),
    "contract.parse_disposal_terms": Parser(
        contract.parse_disposal_terms, STATED["disposal"], pb.DisposalTerms.SerializeToString
    ),
    "contract.parse_statement": Parser(parse_stated, BODIES),
    "contract.parse_termination_terms": Parser(
        contract.parse_termination_terms, STATED["termination"], pb.TerminationTerms.SerializeToString
    ),
    "days.from_date": Parser(
        lambda data: days.from_date(int.from_bytes(data[:8], "big")), [(20260305).to_bytes(4, "big")]
    ),
    "encoding.parse_base64": Parser(
        as_text(encoding.parse_base64), [b"AAEC/w==", b"Zm9v"], lambda v: encoding.encode_base64(v).encode()
    ),
    "encoding.parse_decimal": Parser(
        as_text(encoding.parse_decimal), [b"0", b"18446744073709551615"], lambda v: str(v).encode()
    ),
    "entry_evidence.EntryEvidence.parse": Parser(
        entry_evidence.EntryEvidence.parse, EVIDENCE, entry_evidence.EntryEvidence.format
    ),
    "entry_evidence.parse_evidence": Parser(
        entry_evidence.parse_evidence, EVIDENCE, lambda found: found.format()
    ),
    "evidence.Evidence.parse": Parser(evidence.Evidence.parse, FORKS, evidence.Evidence.format),
    "evidence.open_accountable": Parser(partial(evidence.open_accountable, history=HISTORY), NOTES),
    "header.Header.parse": Parser(header.Header.parse, HEADERS, header.Header.encode),
    "history.KeyHistory.parse": Parser(
        partial(history.KeyHistory.parse, authority=AUTHORITY), HISTORIES[:1], history.KeyHistory.format
    ),
    "note.open_note": Parser(parse_text_note, NOTES),
    "note.parse_note": Parser(note.parse_note, NOTES, note.Note.format),
    "note.parse_signature_lines": Parser(as_text(note.parse_signature_lines), LINES),
    "note.parse_vkey": Parser(as_text(note.parse_vkey), VKEYS),
    "opening.open_log_checkpoint": Parser(partial(opening.open_log_checkpoint, history=HISTORY), NOTES),
    "receipt.Receipt.parse": Parser(
        receipt.Receipt.parse, files(VECTORS["receipts"][::5]), receipt.Receipt.format
    ),
    "record.read_any": Parser(record.read_any, BODIES),
    "record.read_facts": Parser(record.read_facts, BODIES),
    "record.read_record": Parser(parse_signed, BODIES),
    "remains.open_order": Parser(
        lambda data: remains.open_order(data[64:], data[:64], origin="a/log", authority=AUTHORITY),
        [bytes(64) + ORDER],
    ),
    "tiles.Tile.parse": Parser(
        as_text(tiles.Tile.parse),
        [b"tile/0/000", b"tile/1/x001/234.p/5", b"tile/entries/000"],
        lambda tile: tile.path.encode(),
    ),
    "transfer.Ticket.parse": Parser(transfer.Ticket.parse, TICKETS, transfer.Ticket.encode),
    "transfer.parse_manifest": Parser(
        transfer.parse_manifest, MANIFESTS, pb.Manifest.SerializeToString
    ),
    "transfer.parse_terms": Parser(transfer.parse_terms, TERMS, pb.Terms.SerializeToString),
    "transfer.read_terms": Parser(transfer.read_terms, TERMS),
    "trust.Trust.parse": Parser(
        trust.Trust.parse, [VECTORS["trust"]["file"].encode()], trust.Trust.format
    ),
    "usual.read_usual": Parser(usual.read_usual, BODIES),
}  # fmt: skip


@cache
def made() -> dict[str, Any]:
    """Files of the tools, written as they write them."""
    now = datetime.now(UTC)
    authority = Authority.create(
        "a.invalid/log", "a.invalid", validity=Validity.starting(now, timedelta(days=9))
    )
    tls, key = TlsKey.generate(), SigningKey(os.urandom(32))
    csr = CertificateRequest.make(tls, SpiffeId("a.invalid", INSTITUTION, "uscc.A"))
    asked = EnrolmentRequest.make(
        origin="a.invalid/log", name="A", csr=csr, key=key, place=440300, sector=1
    )
    node = CertificateRequest.make(tls, SpiffeId("a.invalid", PEER, "a"), ("localhost",))
    keys = {name: SigningKey(os.urandom(32)) for name in ("log", "entry", "cosigner")}
    begun = GenesisRequest.make(origin="a.invalid/log", csr=node, **keys)
    approval = authority.approve(asked, now=now, life=timedelta(days=1))
    return {
        "authority": authority.tls.pem + authority.tls.key.pem,
        "approval": approval.format(), "request": asked.format(), "genesis": begun.format(),
        "csr": csr.pem, "tls": tls.pem, "certificate": approval.tls_certificate.pem,
        "certificate_der": ssl.PEM_cert_to_DER_cert(approval.tls_certificate.pem.decode()),
        "key": KeyFile(key).format(), "sealed": SealedKey.seal(key, b"x", Cost(1, 8192)).format(),
    }  # fmt: skip


def sdk() -> dict[str, Parser]:
    """Of files that people hand each other. Their JSON and PEM may be spelled in many ways."""
    return {
        "_contract.Contract.parse": Parser(Contract.parse, STATED["contract"]),
        "_entries.read_shown": Parser(parse_shown, BODIES),
        "approval.Approval.parse": Parser(Approval.parse, [made()["approval"]]),
        "bundle.model.Bundle.parse": Parser(Bundle.parse, files(VECTORS["bundles"])),
        "enrolment.EnrolmentRequest.parse": Parser(EnrolmentRequest.parse, [made()["request"]]),
        "enrolment.GenesisRequest.parse": Parser(GenesisRequest.parse, [made()["genesis"]]),
        "identity.SpiffeId.parse": Parser(
            as_text(SpiffeId.parse), [b"spiffe://a.invalid/peer/a"], lambda name: name.uri.encode()
        ),
        "keyfile.KeyFile.parse": Parser(KeyFile.parse, [made()["key"]], KeyFile.format),
        "pki.Certificate.parse": Parser(Certificate.parse, [made()["certificate"]]),
        "pki.CertificateRequest.parse": Parser(CertificateRequest.parse, [made()["csr"]]),
        "pki.read_end": Parser(pki.read_end, [made()["certificate"], made()["certificate_der"]]),
        "pki.TlsKey.parse": Parser(TlsKey.parse, [made()["tls"]]),
        "tls_authority.TlsAuthority.parse": Parser(
            lambda data: TlsAuthority.parse(data, data), [made()["authority"]]
        ),
        "sealing.SealedKey.parse": Parser(SealedKey.parse, [made()["sealed"]], SealedKey.format),
        **others(),
    }


def others() -> dict[str, Parser]:
    """Such files of whose kind no test has one at hand: they begin with one of another kind."""
    from ledgerd_client.erasing import SignedOrder
    from ledgerd_client.loss_request import LossRequest
    from ledgerd_client.node_key_request import NodeKeyRequest
    from ledgerd_client.reports.model import Report

    samples = [made()["request"], made()["genesis"], made()["approval"]]
    read = {
        "erasing.SignedOrder.parse": SignedOrder.parse,
        "loss_request.LossRequest.parse": LossRequest.parse,
        "node_key_request.NodeKeyRequest.parse": NodeKeyRequest.parse,
        "reports.model.Report.parse": Report.parse,
    }
    return {name: Parser(each, samples) for name, each in read.items()}


# -- which there are --------------------------------------------------------------------------

READS = re.compile("(parse|read|open|from)(_|$)")


def takes(read: Callable[..., Any], *kinds: str) -> bool:
    """Whether an argument is annotated as one of these."""
    return any(each.annotation in kinds for each in inspect.signature(read).parameters.values())


def of_core() -> set[str]:
    """Public functions and methods of the core that read, by their names."""
    return {
        name
        for module in modules(core)
        for name, each in members(module, core)
        if READS.match(name.rpartition(".")[2])
    }


def of_sdk() -> set[str]:
    """
    Public `parse` methods of the SDK's classes, and functions that read bytes.

    Its command line apart, which has them of whoever types.
    """
    return {
        name
        for module in modules(ledgerd_client)
        if not module.__name__.startswith(("ledgerd_client.core", "ledgerd_client.cli"))
        for name, each in members(module, ledgerd_client)
        if name.endswith(".parse")
        or (takes(each, "bytes") and READS.match(name.rpartition(".")[2]))
    } - {
        # What others inherit and call, and what has the institution's own files.
        "jsonfile.JsonFile.parse", "jsonfile.parse_json", "_channel.open_channel",
    }  # fmt: skip


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "._proto" not in found.name and not found.name.endswith(".__main__"):
            yield importlib.import_module(found.name)


def members(module: ModuleType, package: ModuleType) -> Iterator[tuple[str, Any]]:
    place = module.__name__.removeprefix(f"{package.__name__}.")
    for name, each in vars(module).items():
        if name.startswith("_") or getattr(each, "__module__", "") != module.__name__:
            continue
        if inspect.isfunction(each):
            yield f"{place}.{name}", each
        elif inspect.isclass(each):
            for method, found in inspect.getmembers(each, inspect.ismethod):
                yield f"{place}.{name}.{method}", found

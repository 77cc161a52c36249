"""
Our implementation against vectors/format.json.

The file is made by tests/interop/reference.py, an implementation of docs/format.md that shares no
code with ours: two whole logs, everything that the page defines, and what must be refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from builders import node_of
from google.protobuf.message import Message

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle, ranges
from ledgerd_client.core.admission import admission_digest
from ledgerd_client.core.body import encode_message, kind_of, parse_body, parse_message
from ledgerd_client.core.chain import Replay, check_signatures
from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.contract import (
    contract_ref,
    parse_contract_terms,
    parse_disposal_terms,
    parse_termination_terms,
)
from ledgerd_client.core.errors import LedgerError, MalformedError
from ledgerd_client.core.header import Halves, Header, Kind, genesis_previous
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import key_id, verify
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Verifier
from ledgerd_client.core.opening import open_log_checkpoint
from ledgerd_client.core.receipt import Receipt, verify_receipt
from ledgerd_client.core.record import read_facts
from ledgerd_client.core.transfer import (
    Side,
    Ticket,
    commit_payload,
    parse_manifest,
    parse_terms,
    ref_of,
    transfer_ref,
)
from ledgerd_client.core.trust import Trust

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "format.json").read_text())
LOGS, DEALS, REFUSE = VECTORS["logs"], VECTORS["deals"], VECTORS["refuse"]
TRUST = Trust.parse(VECTORS["trust"]["file"].encode())

ENCODED: dict[str, type[Message]] = {
    "loss": pb.Loss, "finding": pb.Finding, "rule_set": pb.RuleSet,
    "contract_side": pb.ContractSide, "resume": pb.Resume, "onward": pb.Onward,
    "incident": pb.Incident, "consent_change": pb.ConsentChange,
}  # fmt: skip
STATEMENTS: dict[str, Callable[[bytes], Message]] = {
    "contract": parse_contract_terms, "supplement": parse_contract_terms,
    "termination": parse_termination_terms, "disposal": parse_disposal_terms,
}  # fmt: skip

unhex = bytes.fromhex

each_log = pytest.mark.parametrize("log", LOGS, ids=lambda log: log["origin"])
each_entry = pytest.mark.parametrize(
    ("log", "entry"),
    [
        pytest.param(log, entry, id=f"{log['origin']} {entry['index']}")
        for log in LOGS
        for entry in log["entries"]
    ],
)
each_deal = pytest.mark.parametrize("deal", DEALS.values(), ids=DEALS)
each_ticket = pytest.mark.parametrize(
    ("deal", "ticket"),
    [
        pytest.param(deal, unhex(ticket), id=f"{name}, {how}")
        for name, deal in DEALS.items()
        for how, ticket in deal["tickets"].items()
    ],
)
each_receipt = pytest.mark.parametrize(
    "receipt",
    VECTORS["receipts"],
    ids=lambda one: f"{one['origin']} {one['index']} of {one['size']}, {one['cosigned']}",
)


def each_refused(name: str, **wanted: str) -> pytest.MarkDecorator:
    cases = [case for case in REFUSE[name] if wanted.items() <= case.items()]
    values = [pytest.param(case["value"], id=case["reason"]) for case in cases]
    return pytest.mark.parametrize("value", values)


def history_of(log: dict[str, Any]) -> KeyHistory:
    return KeyHistory.parse(log["key_history"].encode(), TRUST.authority(log["origin"]))


def histories(origin: str) -> tuple[KeyHistory, KeyHistory]:
    """Of the log named, and of its peer."""
    ours, theirs = sorted(LOGS, key=lambda log: log["origin"] != origin)
    return history_of(ours), history_of(theirs)


def leaves_of(log: dict[str, Any]) -> list[bytes]:
    return [unhex(entry["leaf_hash"]) for entry in log["entries"]]


def hashes(listed: list[str]) -> list[bytes]:
    return [unhex(one) for one in listed]


def as_json(message: Message) -> dict[str, Any]:
    """A message as the vectors write one: what is not at its default, bytes in hex."""
    return {descriptor.name: _json_value(value) for descriptor, value in message.ListFields()}


def _json_value(value: Any) -> Any:
    if isinstance(value, Message):
        return as_json(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str | int):
        return value
    return [encode_message(one).hex() if isinstance(one, Message) else one for one in value]


def without_defaults(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


class TestTrustFile:
    def test_is_written_as_it_was_read(self) -> None:
        assert TRUST.format() == VECTORS["trust"]["file"].encode()

    def test_has_the_fingerprint(self) -> None:
        assert TRUST.fingerprint == VECTORS["trust"]["fingerprint"]

    @each_log
    def test_pins_the_authority(self, log: dict[str, Any]) -> None:
        assert TRUST.authority(log["origin"]).hex() == log["keys"]["authority"]

    @each_log
    def test_pins_the_certificate(self, log: dict[str, Any]) -> None:
        [certificate] = TRUST[log["origin"]].certificates
        assert certificate.hex() == VECTORS["trust"]["ca"][log["origin"]]

    @each_refused("trust_files")
    def test_that_breaks_a_rule_is_refused(self, value: str) -> None:
        with pytest.raises(MalformedError):
            Trust.parse(value.encode())


class TestEntries:
    @each_entry
    def test_header_is_read(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        halves = entry["halves"] and Halves(
            unhex(entry["halves"]["ref"]),
            unhex(entry["halves"]["terms_digest"]),
            entry["halves"]["outcome"],
            entry["halves"]["counterparty_origin"],
        )
        assert Header.parse(unhex(entry["header"])) == Header(
            index=entry["index"],
            recorded_at=entry["recorded_at"],
            previous_leaf_hash=unhex(entry["previous_leaf_hash"]),
            kind=Kind(entry["kind"]),
            body_digest=unhex(entry["body_digest"]),
            key_index=entry["key_index"],
            key_id=unhex(entry["key_id"]),
            signature=unhex(entry["signature"]),
            halves=halves,
        )

    @each_entry
    def test_header_is_written(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        assert Header.parse(unhex(entry["header"])).encode().hex() == entry["header"]

    @each_entry
    def test_leaf_hash(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        assert merkle.leaf_hash(unhex(entry["header"])).hex() == entry["leaf_hash"]

    @each_entry
    def test_signed_bytes(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        signed = Header.parse(unhex(entry["header"])).signed_bytes(log["origin"])
        assert signed.hex() == entry["signed_bytes"]

    @each_entry
    def test_signature_verifies(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        verify(*(unhex(entry[part]) for part in ("signer_key", "signed_bytes", "signature")))

    @each_entry
    def test_key_id_is_the_signers(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        assert key_id(unhex(entry["signer_key"])).hex() == entry["key_id"]

    @each_entry
    def test_signer_is_in_the_key_history(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        public = history_of(log).signer(Header.parse(unhex(entry["header"])))
        assert public.hex() == entry["signer_key"]

    @each_entry
    def test_body_is_read(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        said = as_json(parse_body(unhex(entry["body"])))
        record = said.pop(entry["record"])
        if grant := record.get("grant"):
            # The vectors' encoder takes a message within a record encoded.
            record["grant"] = [encode_message(pb.Grant(**grant)).hex()]
        assert (said, record) == (entry["body_fields"], without_defaults(entry["record_fields"]))

    @each_entry
    def test_body_is_written(self, log: dict[str, Any], entry: dict[str, Any]) -> None:
        assert encode_message(parse_body(unhex(entry["body"]))).hex() == entry["body"]

    @each_entry
    def test_body_is_of_the_headers_kind_and_digest(
        self, log: dict[str, Any], entry: dict[str, Any]
    ) -> None:
        body = unhex(entry["body"])
        digest = sha256(body).hexdigest()
        assert (kind_of(parse_body(body)), digest) == (entry["kind"], entry["body_digest"])

    @each_refused("headers")
    def test_header_that_breaks_a_rule_is_refused(self, value: str) -> None:
        with pytest.raises(MalformedError):
            Header.parse(unhex(value))

    @each_refused("bodies")
    def test_body_that_breaks_a_rule_is_refused(self, value: str) -> None:
        with pytest.raises(LedgerError):
            parse_body(unhex(value))

    @pytest.mark.parametrize("name", VECTORS["encodings"])
    def test_message_that_no_entry_carries_is_encoded(self, name: str) -> None:
        case = VECTORS["encodings"][name]
        message = ENCODED[name].FromString(unhex(case["bytes"]))
        assert (as_json(message), encode_message(message).hex()) == (case["fields"], case["bytes"])


class TestContract:
    @pytest.mark.parametrize("case", VECTORS["contract"]["terms"], ids=lambda case: case["what"])
    def test_terms_are_read(self, case: dict[str, Any]) -> None:
        terms = STATEMENTS[case["what"]](unhex(case["bytes"]))
        assert as_json(terms) == without_defaults(case["fields"])

    @pytest.mark.parametrize("case", VECTORS["contract"]["terms"], ids=lambda case: case["what"])
    def test_terms_are_written(self, case: dict[str, Any]) -> None:
        terms = STATEMENTS[case["what"]](unhex(case["bytes"]))
        assert encode_message(terms).hex() == case["bytes"]

    def test_ref(self) -> None:
        fields = VECTORS["contract"]["terms"][0]["fields"]
        exporter = Side(**fields["exporter"])
        ref = contract_ref(exporter, unhex(fields["nonce"]))
        assert ref.hex() == VECTORS["contract"]["ref"]

    @each_entry
    def test_headers_have_its_ref_and_the_digest_of_what_was_stated(
        self, log: dict[str, Any], entry: dict[str, Any]
    ) -> None:
        if entry["kind"] != Kind.CONTRACT:
            return
        _, facts = read_facts(unhex(entry["body"]))
        assert facts.ref.hex() == VECTORS["contract"]["ref"]
        assert facts.halves == Header.parse(unhex(entry["header"])).halves


class TestLog:
    def replay(self, log: dict[str, Any]) -> Replay:
        history = KeyHistory(log["origin"], TRUST.authority(log["origin"]))
        return Replay.start(history, lambda _digest, _index: True)

    @each_log
    def test_begins_with_the_link_made_of_its_origin(self, log: dict[str, Any]) -> None:
        link = genesis_previous(log["origin"])
        assert link.hex() == log["entries"][0]["previous_leaf_hash"]

    @each_log
    def test_is_replayed_to_each_of_its_roots(self, log: dict[str, Any]) -> None:
        replay = self.replay(log)
        roots = [replay.tree.root().hex()]
        for entry in log["entries"]:
            replay.step(unhex(entry["header"]), unhex(entry["body"]))
            roots.append(replay.tree.root().hex())
        assert roots == log["roots"]

    @each_log
    def test_has_signatures_that_all_verify(self, log: dict[str, Any]) -> None:
        replay = self.replay(log)
        check_signatures(
            replay.step(unhex(entry["header"]), unhex(entry["body"]))[1] for entry in log["entries"]
        )

    @each_log
    def test_inclusion_proofs_are_ours(self, log: dict[str, Any]) -> None:
        node, cases = node_of(leaves_of(log)), log["proofs"]["inclusion"]
        made = [merkle.inclusion_proof(node, case["index"], case["size"]) for case in cases]
        assert made == [hashes(case["proof"]) for case in cases]

    @each_log
    def test_consistency_proofs_are_ours(self, log: dict[str, Any]) -> None:
        node, cases = node_of(leaves_of(log)), log["proofs"]["consistency"]
        made = [merkle.consistency_proof(node, case["old"], case["new"]) for case in cases]
        assert made == [hashes(case["proof"]) for case in cases]

    @each_log
    def test_range_proofs_are_ours(self, log: dict[str, Any]) -> None:
        node, cases = node_of(leaves_of(log)), log["proofs"]["range"]
        made = [
            ranges.range_proof(node, case["first"], case["end"], case["size"]) for case in cases
        ]
        assert made == [hashes(case["proof"]) for case in cases]

    @each_log
    def test_range_proofs_verify(self, log: dict[str, Any]) -> None:
        leaves = leaves_of(log)
        for case in log["proofs"]["range"]:
            first, end, size = case["first"], case["end"], case["size"]
            root = unhex(log["roots"][size])
            ranges.verify_range(leaves[first:end], first, size, hashes(case["proof"]), root)


class TestCheckpoints:
    @each_log
    def test_texts_are_ours(self, log: dict[str, Any]) -> None:
        made = [
            Checkpoint(log["origin"], size, unhex(root)).format()
            for size, root in enumerate(log["roots"])
        ]
        assert made[1:] == [case["text"] for case in log["checkpoints"]]

    @each_log
    def test_are_signed_by_the_log(self, log: dict[str, Any]) -> None:
        opened = [
            open_log_checkpoint(case["note"].encode(), history_of(log), strict=True)
            for case in log["checkpoints"]
        ]
        assert [one.checkpoint.size for one in opened] == list(range(1, len(log["roots"])))

    @each_log
    def test_are_cosigned_by_the_peer(self, log: dict[str, Any]) -> None:
        ours, theirs = histories(log["origin"])
        opened = [
            open_log_checkpoint(case["cosigned_note"].encode(), ours, theirs, strict=True)
            for case in log["checkpoints"]
        ]
        assert [list(one.cosigned.values()) for one in opened] == [
            [case["cosigned_at"]] for case in log["checkpoints"]
        ]

    @each_log
    def test_verifier_keys_are_ours(self, log: dict[str, Any]) -> None:
        named = {
            "log": (log["origin"], ED25519),
            "cosigner": (log["origin"], COSIGNATURE_V1),
            "authority": (log["origin"] + "/authority", ED25519),
        }
        made = {
            key: Verifier(name, algorithm, unhex(log["keys"][key])).vkey
            for key, (name, algorithm) in named.items()
        }
        assert made == log["vkeys"]


class TestKeyHistory:
    @each_log
    def test_is_written_as_it_was_read(self, log: dict[str, Any]) -> None:
        assert history_of(log).format() == log["key_history"].encode()

    @each_log
    def test_has_the_keys_of_genesis(self, log: dict[str, Any]) -> None:
        history = history_of(log)
        verifiers = [*history.log_keys(1), *history.cosigner_keys()]
        assert [one.vkey for one in verifiers] == [log["vkeys"]["log"], log["vkeys"]["cosigner"]]

    @pytest.mark.parametrize("case", VECTORS["admissions"])
    def test_admission_digest_is_ours(self, case: dict[str, Any]) -> None:
        public = unhex(case["public_key"])
        digest = admission_digest(case["origin"], case["subject"], case["role"], public)
        assert digest.hex() == case["digest"]

    @pytest.mark.parametrize("case", VECTORS["admissions"])
    def test_possession_verifies(self, case: dict[str, Any]) -> None:
        verify(*(unhex(case[part]) for part in ("public_key", "digest", "possession")))

    @each_refused("key_histories")
    def test_that_breaks_a_rule_is_refused(self, value: str) -> None:
        with pytest.raises(LedgerError):
            KeyHistory.parse(value.encode(), TRUST.authority(LOGS[0]["origin"]))


class TestDeals:
    @each_deal
    def test_terms_are_read(self, deal: dict[str, Any]) -> None:
        terms = parse_message(pb.Terms, unhex(deal["terms"]), "terms")
        assert as_json(terms) == without_defaults(deal["fields"])

    @each_deal
    def test_ref_is_ours(self, deal: dict[str, Any]) -> None:
        assert ref_of(pb.Terms.FromString(unhex(deal["terms"]))).hex() == deal["ref"]

    @each_deal
    def test_ref_is_made_of_the_exporter_and_the_nonce(self, deal: dict[str, Any]) -> None:
        exporter = deal["fields"]["exporter"]
        nonce = unhex(deal["fields"]["nonce"])
        made = transfer_ref(Side(exporter["origin"], exporter["institution"]), nonce)
        assert made.hex() == deal["ref"]

    @each_deal
    def test_halves_of_its_entry_are_of_these_terms(self, deal: dict[str, Any]) -> None:
        halves = LOGS[0]["entries"][deal["index"]]["halves"]
        digest = sha256(unhex(deal["terms"])).hexdigest()
        assert (halves["ref"], halves["terms_digest"]) == (deal["ref"], digest)

    @each_deal
    def test_commitment_is_ours(self, deal: dict[str, Any]) -> None:
        content = unhex(deal["manifest"] or deal["payload"])
        digest, parts = sha256(content).digest(), bool(deal["manifest"])
        made = commit_payload(unhex(deal["salt"]), digest, parts=parts) if deal["salt"] else b""
        assert made.hex() == deal["commitment"]

    @pytest.mark.parametrize("name", ["parts", "parts, corrected"])
    def test_manifest_is_read(self, name: str) -> None:
        deal = DEALS[name]
        parts = [as_json(part) for part in parse_manifest(unhex(deal["manifest"])).parts]
        expected = [
            {field: part[field] for field in ("name", "size", "digest")} for part in deal["parts"]
        ]
        assert parts == expected

    @each_ticket
    def test_ticket_is_read_and_written(self, deal: dict[str, Any], ticket: bytes) -> None:
        message = parse_message(pb.Ticket, ticket, "ticket")
        fields = {
            descriptor.name: getattr(message, descriptor.name)
            for descriptor in pb.Ticket.DESCRIPTOR.fields
        }
        assert Ticket(**fields).encode() == ticket
        assert Ticket.parse(ticket) == Ticket(**fields)

    @each_ticket
    def test_ticket_opens_the_deal(self, deal: dict[str, Any], ticket: bytes) -> None:
        said = pb.Ticket.FromString(ticket)
        assert (said.terms.hex(), said.salt.hex(), said.manifest.hex()) == (
            deal["terms"],
            deal["salt"],
            deal["manifest"],
        )

    @each_deal
    def test_terms_are_taken(self, deal: dict[str, Any]) -> None:
        assert parse_terms(unhex(deal["terms"])) == pb.Terms.FromString(unhex(deal["terms"]))

    @each_refused("terms")
    def test_terms_that_break_a_rule_are_refused(self, value: str) -> None:
        with pytest.raises(LedgerError):
            parse_terms(unhex(value))

    @each_refused("manifests")
    def test_manifest_that_breaks_a_rule_is_refused(self, value: str) -> None:
        with pytest.raises(LedgerError):
            parse_manifest(unhex(value))


def verify_file(origin: str, file: str) -> Any:
    return verify_receipt(Receipt.parse(file.encode()), *histories(origin))


class TestReceipts:
    @each_receipt
    def test_is_written_as_it_was_read(self, receipt: dict[str, Any]) -> None:
        assert Receipt.parse(receipt["file"].encode()).format() == receipt["file"].encode()

    @each_receipt
    def test_verifies(self, receipt: dict[str, Any]) -> None:
        verified = verify_file(receipt["origin"], receipt["file"])
        assert (
            verified.header.index,
            verified.checkpoint.size,
            verified.cosigned_at is not None,
        ) == (
            receipt["index"],
            receipt["size"],
            receipt["cosigned"],
        )

    @each_receipt
    def test_names_the_institution_if_one_signed(self, receipt: dict[str, Any]) -> None:
        [log] = [log for log in LOGS if log["origin"] == receipt["origin"]]
        author = log["entries"][receipt["index"]]["body_fields"]["author"]
        institution = verify_file(receipt["origin"], receipt["file"]).institution
        assert institution == (author if "." in author else None)

    @each_refused("receipts", layer="syntax")
    def test_that_is_no_receipt_file_is_refused_by_the_reader(self, value: str) -> None:
        with pytest.raises(MalformedError):
            Receipt.parse(value.encode())

    @pytest.mark.parametrize("origin", [log["origin"] for log in LOGS])
    @each_refused("receipts", layer="verify")
    def test_that_proves_nothing_is_refused(self, value: str, origin: str) -> None:
        with pytest.raises(LedgerError):
            verify_file(origin, value)


class TestEveryParser:
    """Whatever is refused is refused by an error of ours, whichever parser it is shown to."""

    PARSERS: tuple[Callable[[bytes], object], ...] = (
        Header.parse,
        parse_body,
        parse_terms,
        parse_manifest,
        Ticket.parse,
        Receipt.parse,
        Trust.parse,
        lambda data: KeyHistory.parse(data, bytes(32)),
    )

    @pytest.mark.parametrize("name", REFUSE)
    def test_raises_nothing_else(self, name: str) -> None:
        leaked = []
        for case in REFUSE[name]:
            text = name not in {"headers", "bodies", "terms", "manifests"}
            data = case["value"].encode() if text else unhex(case["value"])
            for parse in self.PARSERS:
                try:
                    parse(data)
                except LedgerError:
                    continue
                except Exception as error:  # noqa: BLE001 - what leaks is what is looked for
                    leaked.append((case["reason"], error))
        assert leaked == []

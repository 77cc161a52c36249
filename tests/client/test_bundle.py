"""A dispute bundle: verified with two keys and no network, and nothing in it can be exchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from random import randrange
from typing import Any

import pytest
from builders import Border, Institution, Log, new_border, new_key

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.bundle import (
    Bundle,
    BundledEntry,
    BundledSide,
    verify_bundle,
    with_state,
)
from ledgerd_client.bundle.gathering import _peer_keys
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.encoding import encode_base64, parse_base64
from ledgerd_client.core.errors import (
    FieldError,
    LedgerError,
    MalformedError,
    NotReadyError,
    VerificationError,
)
from ledgerd_client.core.header import Header
from ledgerd_client.core.note import ED25519, Verifier
from ledgerd_client.core.receipt import Receipt
from ledgerd_client.core.transfer import ref_of
from ledgerd_client.core.trust import OriginTrust, Trust


class Case:
    """A border with a transfer that both sides stated, and a finding about it on one."""

    def __init__(self, outcome: int = pb.OUTCOME_ACCEPTED) -> None:
        self.border: Border = new_border()
        self.mainland, self.hong_kong = self.border.mainland, self.border.hong_kong
        terms = self.border.terms()
        self.ref = ref_of(terms)
        transfer = pb.Transfer(terms=encode_message(terms))
        rules = pb.RuleSet(version="1", digest=bytes(32))
        self.rule_sets = {
            log.origin: log.by_node(rule_set=rules) for log in (self.mainland, self.hong_kong)
        }
        self.halves = {
            self.mainland.origin: self.mainland.record(self.border.exporter, transfer=transfer),
            self.hong_kong.origin: self.hong_kong.record(
                self.border.recipient, ack=self.border.ack(transfer, outcome=outcome)
            ),
        }
        self.finding = self.mainland.by_node(finding=self.found(self.ref))

    def found(self, ref: bytes) -> pb.Finding:
        return pb.Finding(
            finding_id=bytes(32), rule="K15.refused", severity=pb.SEVERITY_HIGH, ref=ref,
            rule_set=self.rule_sets[self.mainland.origin],
        )  # fmt: skip

    def entry(self, log: Log, index: int, *, bodies: bool = True) -> BundledEntry:
        cosigner = self.hong_kong if log is self.mainland else self.mainland
        body = log.entries[index][1] if bodies else b""
        return BundledEntry(log.receipt(index, cosigner=cosigner), body)

    def keys(self, log: Log) -> list[int]:
        return [Header.parse(header).index for header, _ in log.key_entries]

    def side(self, log: Log, *, bodies: bool = True) -> BundledSide:
        other = self.hong_kong if log is self.mainland else self.mainland
        findings = [self.finding] if log is self.mainland else []
        return BundledSide(
            log.origin,
            tuple(self.entry(log, index) for index in self.keys(log)),
            _peer_keys(other.history()),
            (self.entry(log, self.rule_sets[log.origin]),),
            (self.entry(log, self.halves[log.origin], bodies=bodies),),
            tuple(self.entry(log, index) for index in findings),
        )

    @property
    def trust(self) -> Trust:
        return Trust.of(
            OriginTrust(
                log.origin, Verifier(f"{log.origin}/authority", ED25519, log.authority.public),
                (b"der",),
            )
            for log in (self.mainland, self.hong_kong)
        )  # fmt: skip

    def bundle(self, *logs: Log, bodies: bool = True) -> Bundle:
        first, *others = logs or (self.mainland, self.hong_kong)
        bundle = Bundle(self.ref, "", (self.side(first, bodies=bodies),))
        for log in others:
            bundle = bundle.with_side(self.side(log, bodies=bodies))
        return with_state(bundle, self.trust)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.fixture(scope="module")
def other() -> Case:
    """Another border with logs of the same names, whose authorities are others."""
    return Case()


class TestABundle:
    def test_of_both_sides_verifies(self, case: Case) -> None:
        verified = verify_bundle(case.bundle(), case.trust)
        assert (verified.state, len(verified.sides)) == ("matched", 2)

    def test_of_both_sides_in_either_order_is_the_same(self, case: Case) -> None:
        forth = case.bundle(case.mainland, case.hong_kong)
        assert forth == case.bundle(case.hong_kong, case.mainland)

    def test_of_one_side_says_that_it_is_one_sided(self, case: Case) -> None:
        verified = verify_bundle(case.bundle(case.mainland), case.trust)
        assert verified.state == "one_sided"

    def test_without_bodies_verifies(self, case: Case) -> None:
        verified = verify_bundle(case.bundle(bodies=False), case.trust)
        assert (verified.state, verified.sides[0].halves[0].body) == ("matched", None)

    def test_shows_what_was_found(self, case: Case) -> None:
        verified = verify_bundle(case.bundle(), case.trust)
        rules = [found.finding.rule for side in verified.sides for found in side.findings]
        assert rules == ["K15.refused"]

    def test_of_what_was_refused_says_so(self) -> None:
        case = Case(pb.OUTCOME_REJECTED)
        assert verify_bundle(case.bundle(), case.trust).state == "refused"

    def test_reads_as_it_was_written(self, case: Case) -> None:
        data = case.bundle().format()
        assert Bundle.parse(data).format() == data

    def test_a_side_added_again_takes_the_place_of_the_first(self, case: Case) -> None:
        bundle = case.bundle()
        again = bundle.with_side(case.side(case.mainland, bodies=False))
        assert [side.origin for side in again.sides] == [side.origin for side in bundle.sides]
        assert not again.sides[1].halves[0].body

    def test_has_no_third_side(self, case: Case) -> None:
        stranger = replace(case.side(case.mainland), origin="gba.example/other")
        with pytest.raises(FieldError):
            case.bundle().with_side(stranger)

    def test_after_a_key_was_rotated_verifies(self) -> None:
        case = Case()
        border, new = case.border, new_key()
        case.mainland.by_authority(
            key_event=case.mainland.rotation(border.exporter, new, name="anew")
        )
        later = Institution(case.mainland.origin, border.exporter.id, new, case.finding + 1)
        cancel = pb.Cancel(terms=pb.Body.FromString(
            case.mainland.entries[case.halves[case.mainland.origin]][1]
        ).transfer.terms)  # fmt: skip
        index = case.mainland.record(later, cancel=cancel)
        side = case.side(case.mainland)
        side = replace(side, halves=(*side.halves, case.entry(case.mainland, index)))
        bundle = Bundle(case.ref, "", (side,)).with_side(case.side(case.hong_kong))
        assert verify_bundle(with_state(bundle, case.trust), case.trust).state == "matched"

    def test_without_cosignatures_is_verified_only_if_that_is_allowed(self, case: Case) -> None:
        log = case.mainland
        side = case.side(log)
        bare = BundledEntry(log.receipt(case.halves[log.origin]), side.halves[0].body)
        bundle = with_state(Bundle(case.ref, "", (replace(side, halves=(bare,)),)), case.trust)
        assert verify_bundle(bundle, case.trust, uncosigned=True).state == "one_sided"
        with pytest.raises(NotReadyError) as caught:
            verify_bundle(bundle, case.trust)
        assert caught.value.reason == "NOT_COSIGNED"

    @pytest.mark.parametrize("part", ["findings", "rule_sets", "keys"])
    def test_no_other_entry_of_a_side_does_without_a_cosignature(
        self, case: Case, part: str
    ) -> None:
        log = case.mainland
        side = case.side(log)
        bare = tuple(
            BundledEntry(log.receipt(entry.receipt.index), entry.body)
            for entry in getattr(side, part)
        )
        side = replace(side, **{part: bare})
        bundle = with_state(Bundle(case.ref, "", (side,)), case.trust)
        assert verify_bundle(bundle, case.trust, uncosigned=True).state == "one_sided"
        with pytest.raises(NotReadyError) as caught:
            verify_bundle(bundle, case.trust)
        assert caught.value.reason == "NOT_COSIGNED"

    def test_says_which_terms_it_holds(self, case: Case) -> None:
        verified = verify_bundle(case.bundle(bodies=False), case.trust)
        body = pb.Body.FromString(case.entry(case.mainland, case.halves[case.mainland.origin]).body)
        assert verified.declared(body.transfer.terms) is not None
        assert verified.declared(b"") is None


Swap = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]


def _set(*path: str | int) -> Swap:
    """Put in a part of another bundle."""

    def swap(bundle: dict[str, Any], another: dict[str, Any], _: dict[str, Any]) -> None:
        *way, last = path
        target, source = bundle, another
        for step in way:
            target, source = target[step], source[step]  # type: ignore[index]
        target[last] = source[last]  # type: ignore[index]

    return swap


def _within(part: str, other: str, what: str) -> Swap:
    """Put one entry's receipt or body in the place of another's, within one side."""

    def swap(bundle: dict[str, Any], _: dict[str, Any], __: dict[str, Any]) -> None:
        side = bundle["sides"][1]
        side[part][0][what] = side[other][0][what]

    return swap


def _of_the_other_side(*path: str) -> Swap:
    def swap(bundle: dict[str, Any], _: dict[str, Any], __: dict[str, Any]) -> None:
        here, there = bundle["sides"]
        for step in path[:-1]:
            here, there = here[step], there[step]
        here[path[-1]] = there[path[-1]]

    return swap


def _another_transfer(bundle: dict[str, Any], _: dict[str, Any], later: dict[str, Any]) -> None:
    bundle["sides"][1]["halves"] = later["sides"][1]["halves"]


def _line(number: int) -> Swap:
    """Change one line of a half's receipt: 1 header, 2 index, 3 and on its proof."""

    def swap(bundle: dict[str, Any], _: dict[str, Any], __: dict[str, Any]) -> None:
        entry = bundle["sides"][1]["halves"][0]
        lines = entry["receipt"].split("\n")
        other = bundle["sides"][1]["findings"][0]["receipt"].split("\n")
        lines[number] = other[number]
        entry["receipt"] = "\n".join(lines)

    return swap


def _salted(bundle: dict[str, Any], _: dict[str, Any], __: dict[str, Any]) -> None:
    """Of a body that says the same, and is not the one that was signed."""
    entry = bundle["sides"][1]["halves"][0]
    body = pb.Body.FromString(parse_base64(entry["body"]))
    body.salt = bytes(16)
    entry["body"] = encode_base64(encode_message(body))


def _moved(**changes: Any) -> Swap:
    """Change what an authority does not sign of a key event, in the header and the index line."""

    def swap(bundle: dict[str, Any], _: dict[str, Any], __: dict[str, Any]) -> None:
        entry = bundle["sides"][1]["keys"][1]
        receipt = Receipt.parse(entry["receipt"].encode())
        header = replace(Header.parse(receipt.header), **changes)
        entry["receipt"] = replace(receipt, header=header.encode()).format().decode()

    return swap


SWAPS: dict[str, Swap] = {
    "the ref": lambda bundle, *_: bundle.update(ref="00" * 32),
    "the state": lambda bundle, *_: bundle.update(state="refused"),
    "a side": _set("sides", 1),
    "the keys": _set("sides", 1, "keys"),
    "the keys, for the other side's": _of_the_other_side("keys"),
    "a key event": _set("sides", 1, "keys", 1),
    "the time of a key event": _moved(recorded_at=1),
    "the place of a key event": _moved(index=2),
    "the chain of a key event": _moved(previous_leaf_hash=bytes(32)),
    "no GENESIS": lambda bundle, *_: bundle["sides"][1]["keys"].pop(0),
    "no key of whose half it is": lambda bundle, *_: bundle["sides"][1]["keys"].pop(1),
    "the other side's keys": _set("sides", 1, "peer_keys"),
    "the other side's keys, for one's own": _of_the_other_side("peer_keys"),
    "no key of the other side": lambda bundle, *_: bundle["sides"][1].update(peer_keys=[]),
    "the halves": _set("sides", 1, "halves"),
    "the halves, for those of another transfer": _another_transfer,
    "the halves, for the other side's": _of_the_other_side("halves"),
    "a half's proof": _line(3),
    "a half's body": _within("halves", "findings", "body"),
    "a half's body, for one that says the same": _salted,
    "a half's receipt": _within("halves", "findings", "receipt"),
    "a finding": _set("sides", 1, "findings"),
    "a finding's body": _within("findings", "halves", "body"),
    "a finding for a half": _within("findings", "halves", "receipt"),
    "the rule set": _set("sides", 1, "rule_sets"),
    "the rule set's body": _within("rule_sets", "findings", "body"),
    "no rule set": lambda bundle, *_: bundle["sides"][1].update(rule_sets=[]),
    "no half": lambda bundle, *_: bundle["sides"][1].update(halves=[]),
    "a half twice": lambda bundle, *_: bundle["sides"][1]["halves"].append(
        bundle["sides"][1]["halves"][0]
    ),
}


class TestAnythingExchanged:
    """Each part in turn, for one that is as good elsewhere."""

    @pytest.mark.parametrize("part", SWAPS)
    def test_does_not_verify(self, case: Case, other: Case, part: str) -> None:
        bundle = json.loads(case.bundle().format())
        SWAPS[part](bundle, json.loads(other.bundle().format()), json.loads(self.later(case)))
        data = (json.dumps(bundle, indent=1, ensure_ascii=False) + "\n").encode()
        with pytest.raises(VerificationError):
            verify_bundle(Bundle.parse(data), case.trust)

    def later(self, case: Case) -> bytes:
        """Of another transfer on the same border."""
        terms = case.border.terms()
        index = case.mainland.record(
            case.border.exporter, transfer=pb.Transfer(terms=encode_message(terms))
        )
        side = replace(
            case.side(case.mainland), halves=(case.entry(case.mainland, index),), findings=()
        )
        bundle = Bundle(ref_of(terms), "", (side,))
        return bundle.with_side(case.side(case.hong_kong)).format()

    def test_nor_one_side_as_that_of_another_transfer(self, case: Case) -> None:
        bundle = replace(case.bundle(case.hong_kong), ref=bytes(32))
        with pytest.raises(VerificationError):
            verify_bundle(bundle, case.trust)

    def test_nor_under_other_authorities(self, case: Case, other: Case) -> None:
        with pytest.raises(VerificationError):
            verify_bundle(case.bundle(), other.trust)


class TestAFile:
    @pytest.mark.parametrize(
        "data",
        [
            b"", b"{}", b"[]", b"\xff", b'{"format":"ledgerd-bundle/v1"}', b"[" * 100_000,
            b'{"ref":1,"sides":[]}', b'{"ref":"00","sides":[{"origin":1}]}',
        ],
    )  # fmt: skip
    def test_that_is_no_bundle_is_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedError):
            Bundle.parse(data)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda text: text.replace(" ", "", 1),
            lambda text: text.replace('"state"', '"more": 1,\n "state"'),
            lambda text: text + "\n",
            lambda text: text.replace("ledgerd-bundle/v1", "ledgerd-bundle/v2"),
        ],
        ids=["a blank less", "a field more", "a line more", "another version"],
    )
    def test_that_is_spelled_otherwise_is_refused(
        self, case: Case, edit: Callable[[str], str]
    ) -> None:
        with pytest.raises(MalformedError):
            Bundle.parse(edit(case.bundle().format().decode()).encode())

    def test_of_which_any_bit_is_changed_proves_nothing(self, case: Case) -> None:
        data = case.bundle().format()
        for _ in range(1000):
            place, bit = randrange(len(data)), 1 << randrange(8)
            changed = bytearray(data)
            changed[place] ^= bit
            with pytest.raises(LedgerError):
                verify_bundle(Bundle.parse(bytes(changed)), case.trust)


@pytest.fixture(scope="module")
def rotated() -> Case:
    """Keys of both nodes and an authority are others, and a tail is given up; newest ones pinned."""
    case = Case()
    for role in (pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER, pb.ROLE_AUTHORITY):
        case.mainland.rotate(role)
    case.mainland.lose()
    case.hong_kong.rotate(pb.ROLE_COSIGNER)
    case.hong_kong.rotate(pb.ROLE_LOG)
    case.finding = case.mainland.by_node(finding=case.found(case.ref))
    return case


class TestKeysThatWereRotated:
    def test_are_followed(self, rotated: Case) -> None:
        assert verify_bundle(rotated.bundle(), rotated.trust).state == "matched"

    @pytest.mark.parametrize("number", range(7))
    def test_are_all_needed_on_the_side_that_cosigned(self, rotated: Case, number: int) -> None:
        """GENESIS, what the authority's new key signed, and what came after it."""
        bundle = rotated.bundle()
        here, there = bundle.sides
        keys = here.peer_keys[:number] + here.peer_keys[number + 1 :]
        with pytest.raises(VerificationError):
            verify_bundle(
                replace(bundle, sides=(replace(here, peer_keys=keys), there)), rotated.trust
            )

    @pytest.mark.parametrize("at", [0, -1])
    def test_are_each_signed(self, rotated: Case, at: int) -> None:
        bundle = rotated.bundle()
        here, there = bundle.sides
        *keys, last = here.peer_keys
        signature = bytearray(last.signature)
        signature[at] ^= 1
        changed = replace(here, peer_keys=(*keys, replace(last, signature=bytes(signature))))
        with pytest.raises(VerificationError):
            verify_bundle(replace(bundle, sides=(changed, there)), rotated.trust)

"""Evidence of a wrong entry: what is wrong with one, that nothing is with an honest one, its file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import Border, Institution, Log, new_body, new_border, new_key, node_of

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.entry_evidence import (
    EntryEvidence,
    find_wrong,
    parse_evidence,
)
from ledgerd_client.core.errors import (
    InputError,
    MalformedError,
    ProofError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.evidence import fork_evidence
from ledgerd_client.core.header import Header
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.wrong_entries import CLAIMS, Entry


class World:
    """A log that may come to hold anything, and what an honest part of it says of its keys."""

    def __init__(self) -> None:
        self.border: Border = new_border()
        self.log: Log = self.border.hong_kong
        self.author: Institution = self.border.recipient
        self.record()
        self.record()
        self.history: KeyHistory = self.log.history()

    def record(self, author: Institution | None = None) -> int:
        author = author or self.author
        transfer = self.border.transfer(recipient=author.party)
        return self.log.record(author, ack=self.border.ack(transfer))

    def change(self, place: int = -1, /, **changes: Any) -> int:
        """Change the newest entry's header, or another's, as it stands."""
        place = range(len(self.log.entries))[place]
        raw, body = self.log.entries[place]
        self.log.entries[place] = (replace(Header.parse(raw), **changes).encode(), body)
        return place

    def entry(self, position: int) -> Entry:
        leaves = self.log.leaves
        proof = merkle.inclusion_proof(node_of(leaves), position, len(leaves))
        header, body = self.log.entries[position]
        return Entry(position, header, tuple(proof), body if header[49] in {0, 1, 8} else b"")

    def evidence(self, wrong: str, *positions: int) -> EntryEvidence:
        return EntryEvidence(wrong, tuple(map(self.entry, positions)), self.log.checkpoint())

    def proves(self, wrong: str, *positions: int) -> bool:
        try:
            self.evidence(wrong, *positions).verify(self.history)
        except (VerificationError, InputError):
            return False
        return True


@pytest.fixture
def world() -> World:
    return World()


# -- what is wrong: each makes a wrong entry, and returns the positions that show it ---------------


def cut_short(world: World) -> tuple[int, ...]:
    raw, body = world.log.entries[-1]
    world.log.entries[-1] = (raw[:-1], body)
    return (len(world.log.entries) - 1,)


def at_another_place(world: World) -> tuple[int, ...]:
    return (world.change(-1, index=99),)


def genesis_again(world: World) -> tuple[int, ...]:
    log = world.log
    return (log.by_authority(genesis=log.genesis(world.border.mainland)),)


def not_from_the_one_before(world: World) -> tuple[int, ...]:
    last = world.change(previous_leaf_hash=bytes(32))
    return last - 1, last


def a_beginning_of_its_own(world: World) -> tuple[int, ...]:
    return (world.change(0, previous_leaf_hash=bytes(32)),)


def time_going_back(world: World) -> tuple[int, ...]:
    last = world.change(recorded_at=1)
    return last - 1, last


def a_body_twice(world: World) -> tuple[int, ...]:
    _, body = world.log.entries[2]
    return 2, world.log.add(body, world.author.key, world.author.admitted_at)


def signed_by_nobody(world: World) -> tuple[int, ...]:
    return 1, world.change(signature=bytes(64))


def signed_for_another_ref(world: World) -> tuple[int, ...]:
    halves = Header.parse(world.log.entries[-1][0]).halves
    assert halves is not None
    return 1, world.change(halves=halves._replace(ref=os.urandom(32)))


def the_nodes_own_signed_by_nobody(world: World) -> tuple[int, ...]:
    world.log.by_node(evidence=pb.Evidence(accused_origin="a.example/b", bundle_digest=bytes(32)))
    return 0, world.change(signature=bytes(64))


def a_key_from_its_own_place_on(world: World) -> tuple[int, ...]:
    return (world.change(key_index=len(world.log.entries) - 1),)


def a_key_by_another_entry(world: World) -> tuple[int, ...]:
    return 2, world.change(key_index=2)


def a_key_that_this_entry_does_not_admit(world: World) -> tuple[int, ...]:
    return 1, world.record(replace(world.author, key=new_key()))


def an_institutions_key_for_the_node(world: World) -> tuple[int, ...]:
    evidence = pb.Evidence(accused_origin="a.example/b", bundle_digest=bytes(32))
    body = new_body(world.log.origin, "node", evidence=evidence)
    return 1, world.log.add(body, world.author.key, world.author.admitted_at)


def the_nodes_key_for_an_institution(world: World) -> tuple[int, ...]:
    return 0, world.record(replace(world.author, key=world.log.entry_key, admitted_at=0))


def a_key_after_its_revocation(world: World) -> tuple[int, ...]:
    ended = world.log.by_authority(key_event=world.log.revocation(world.author))
    return ended, world.record()


def a_key_after_its_rotation(world: World) -> tuple[int, ...]:
    event = world.log.rotation(world.author, new_key())
    ended = world.log.by_authority(key_event=event)
    return ended, world.record()


def a_key_admitted_without_possession(world: World) -> tuple[int, ...]:
    event = world.log.admission("hkbr.11111111", new_key(), place=810000, possession=bytes(64))
    return (world.log.by_authority(key_event=event),)


def a_key_of_low_order(world: World) -> tuple[int, ...]:
    event = world.log.admission("hkbr.11111111", new_key(), place=810000, public_key=bytes(32))
    return (world.log.by_authority(key_event=event),)


def a_key_admitted_again(world: World) -> tuple[int, ...]:
    world.log.by_authority(key_event=world.log.revocation(world.author))
    again = world.log.admission(world.author.id, world.author.key, place=810000)
    return 1, world.log.by_authority(key_event=again)


def the_logs_key_admitted(world: World) -> tuple[int, ...]:
    event = world.log.admission("hkbr.11111111", world.log.log_key, place=810000)
    return 0, world.log.by_authority(key_event=event)


def a_key_revoked_twice(world: World) -> tuple[int, ...]:
    one = world.log.by_authority(key_event=world.log.revocation(world.author))
    return one, world.log.by_authority(key_event=world.log.revocation(world.author))


def a_body_of_another_log(world: World) -> tuple[int, ...]:
    event = world.log.admission("hkbr.11111111", new_key(), place=810000)
    body = new_body("a.example/b", AUTHORITY, world.log.now, key_event=event)
    return (world.log.add(body, world.log.authority),)


def a_loss_of_another_size(world: World) -> tuple[int, ...]:
    loss = pb.Loss(
        size=2, root=bytes(32), log_key=new_key().public, cosigner_key=new_key().public,
        log_possession=bytes(64), cosigner_possession=bytes(64),
    )  # fmt: skip
    return (world.log.by_authority(loss=loss),)


Wrong = Callable[[World], tuple[int, ...]]
WRONG: list[tuple[str, Wrong]] = [
    ("form", cut_short),
    ("place", at_another_place), ("place", genesis_again),
    ("chain", not_from_the_one_before), ("chain", a_beginning_of_its_own),
    ("time", time_going_back),
    ("repeat", a_body_twice),
    ("signature", signed_by_nobody), ("signature", signed_for_another_ref),
    ("signature", the_nodes_own_signed_by_nobody),
    ("key", a_key_from_its_own_place_on), ("key", a_key_by_another_entry),
    ("key", a_key_that_this_entry_does_not_admit), ("key", an_institutions_key_for_the_node),
    ("key", the_nodes_key_for_an_institution), ("key", a_key_after_its_revocation),
    ("key", a_key_after_its_rotation),
    ("body", a_key_admitted_without_possession), ("body", a_key_of_low_order),
    ("body", a_key_admitted_again), ("body", the_logs_key_admitted),
    ("body", a_key_revoked_twice), ("body", a_body_of_another_log),
    ("body", a_loss_of_another_size),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "make"), WRONG)
class TestAWrongEntry:
    def test_is_proved(self, world: World, wrong: str, make: Wrong) -> None:
        positions = make(world)
        tree = world.evidence(wrong, *positions).verify(world.history)
        assert (tree.origin, tree.size) == (world.log.origin, len(world.log.entries))

    def test_is_proved_when_more_has_followed(self, world: World, wrong: str, make: Wrong) -> None:
        positions = make(world)
        for _ in range(4):
            world.log.by_node(tick=pb.Tick())
        assert world.proves(wrong, *positions)

    def test_is_found(self, world: World, wrong: str, make: Wrong) -> None:
        *earlier, last = make(world)
        others = [world.entry(position) for position in earlier]
        note = world.log.checkpoint()
        found = find_wrong(world.history, note, others, world.entry(last))
        assert found is not None

    def test_is_read_from_a_file_as_written(self, world: World, wrong: str, make: Wrong) -> None:
        evidence = world.evidence(wrong, *make(world))
        assert parse_evidence(evidence.format()) == evidence


# -- what is not wrong -----------------------------------------------------------------------------


@pytest.fixture
def honest(world: World) -> World:
    """With every kind of key event, and entries by keys before and after them."""
    log, author = world.log, world.author
    key = new_key()
    admitted_at = log.by_authority(key_event=log.rotation(author, key))
    after = Institution(log.origin, author.id, key, admitted_at)
    world.record(after)
    log.by_authority(key_event=log.revocation(after))
    other = log.admit("hkbr.11111111", place=810000)
    world.record(other)
    stolen = log.log_key
    for role in (pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER, pb.ROLE_AUTHORITY):
        log.rotate(role)
        log.by_node(tick=pb.Tick())
    log.by_authority(key_event=log.disowning(stolen))
    log.lose()
    world.history = log.history()
    return world


class TestAnHonestEntry:
    def test_is_accused_by_no_claim(self, honest: World) -> None:
        size = len(honest.log.entries)
        pairs = [(one, other) for one in range(size) for other in range(one + 1, size)]
        places = [*((one,) for one in range(size)), *pairs]
        assert not [
            (wrong, where) for where in places for wrong in CLAIMS if honest.proves(wrong, *where)
        ]

    def test_is_not_found_to_be_wrong(self, honest: World) -> None:
        last = len(honest.log.entries) - 1
        others = map(honest.entry, range(last))
        note = honest.log.checkpoint()
        assert find_wrong(honest.history, note, others, honest.entry(last)) is None

    def test_of_a_later_version_is_not_understood(self, world: World) -> None:
        raw, body = world.log.entries[-1]
        world.log.entries[-1] = (b"\x02" + raw[1:], body)
        assert not world.proves("form", len(world.log.entries) - 1)

    def test_whose_body_says_more_than_we_know_is_not_understood(self, world: World) -> None:
        event = world.log.admission("hkbr.11111111", new_key(), place=810000)
        event.role = 99
        body = new_body(world.log.origin, AUTHORITY, world.log.now)
        later = pb.Body.FromString(body)
        later.key_event.CopyFrom(event)
        raw = later.SerializeToString(deterministic=True)
        place = world.log.append(world.log.header(1, raw, world.log.authority), raw)
        assert not world.proves("body", place)


class TestAClaim:
    """True of an entry, and yet no evidence."""

    @pytest.fixture
    def evidence(self, world: World) -> EntryEvidence:
        return world.evidence("chain", *not_from_the_one_before(world))

    def test_of_an_entry_outside_of_the_tree(self, world: World, evidence: EntryEvidence) -> None:
        honest = World().log
        note = replace(honest, log_key=world.log.log_key, origin=world.log.origin).checkpoint()
        with pytest.raises(ProofError):
            replace(evidence, note=note).verify(world.history)

    def test_of_an_entry_at_another_position(self, world: World, evidence: EntryEvidence) -> None:
        first, last = evidence.entries
        moved = (replace(first, position=last.position), last)
        with pytest.raises(VerificationError):
            replace(evidence, entries=moved).verify(world.history)

    def test_under_another_key(self, world: World, evidence: EntryEvidence) -> None:
        note = replace(world.log, log_key=new_key()).checkpoint()
        with pytest.raises(TrustError):
            replace(evidence, note=note).verify(world.history)

    def test_of_another_log(self, world: World, evidence: EntryEvidence) -> None:
        with pytest.raises(TrustError):
            evidence.verify(world.border.mainland.history())

    def test_with_a_body_that_the_header_does_not_name(self, world: World) -> None:
        evidence = world.evidence("body", *a_key_of_low_order(world))
        other = replace(evidence.entry, body=world.log.entries[1][1])
        with pytest.raises(VerificationError):
            replace(evidence, entries=(other,)).verify(world.history)


class TestFile:
    @pytest.fixture
    def bundle(self, world: World) -> bytes:
        return world.evidence("key", *a_key_after_its_revocation(world)).format()

    def test_reads(self, world: World) -> None:
        (place,) = a_beginning_of_its_own(world)
        world.log.entries[1:] = []
        evidence = world.evidence("chain", place)
        base64 = evidence.format().decode().split("\n")[2].split(" ")[2]
        note = world.log.checkpoint()
        body = evidence.format().decode().split("\n")[3]
        assert evidence.format() == (
            f"ledgerd-entry-evidence/v1\nwrong chain\nentry 0 {base64}\n{body}\n"
            f"note {len(note)}\n".encode()
            + note
        )

    MISSPELT: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data[:0],
        lambda data: data[:26],
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data.replace(b"/v1", b"/v2"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"wrong key", b"wrong"),
        lambda data: data.replace(b"wrong key", b"wrong  key"),
        lambda data: data.replace(b"wrong key", b"wrong guess"),
        lambda data: data.replace(b"wrong key\n", b""),
        lambda data: data.replace(b"\nentry ", b"\nentry 0"),
        lambda data: data.replace(b"\nentry ", b"\nENTRY "),
        lambda data: data.replace(b"\nhash ", b"\nhash\n"),
        lambda data: data.replace(b"\nbody ", b"\nbody \xff"),
        lambda data: data.replace(b"\nbody ", b"\nbody \nbody "),
        lambda data: data.replace(b"\nnote ", b"\nnote 0"),
        lambda data: data.partition(b"\nnote ")[0] + b"\n",
        lambda data: data.partition(b"\nentry ")[0] + b"\n" + data[data.index(b"note ") :],
    )

    @pytest.mark.parametrize("change", range(len(MISSPELT)))
    def test_has_one_spelling(self, bundle: bytes, change: int) -> None:
        with pytest.raises(MalformedError):
            EntryEvidence.parse(self.MISSPELT[change](bundle))

    def test_of_three_entries_is_malformed(self, world: World) -> None:
        with pytest.raises(MalformedError):
            EntryEvidence.parse(world.evidence("chain", 1, 2, 3).format())

    def test_of_entries_out_of_order_is_malformed(self, world: World) -> None:
        with pytest.raises(MalformedError):
            EntryEvidence.parse(world.evidence("chain", 3, 2).format())

    def test_no_byte_of_it_can_be_changed(self, world: World, bundle: bytes) -> None:
        survivors = []
        for place in range(len(bundle)):
            changed = bytearray(bundle)
            changed[place] ^= 1
            try:
                EntryEvidence.parse(bytes(changed)).verify(world.history)
            except (InputError, VerificationError):
                continue
            survivors.append(place)
        assert survivors == []

    def test_the_other_form_is_told_apart(self, world: World) -> None:
        note = world.log.checkpoint()
        fork = fork_evidence(note, world.log.checkpoint(2), root=bytes(32))
        assert parse_evidence(fork.format()) == fork

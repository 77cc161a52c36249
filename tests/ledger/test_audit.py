"""
The audit against whoever may write to the store, and against the node itself with all its keys.

One ledger of every kind of entry is built; then each test changes one thing in a copy of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from builders import new_body, new_key
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.law_world import RULES as LAW
from ledger.law_world import LawWorld
from ledger.world import RULES, OtherStore, World

from ledgerd.ledger.audit import Report
from ledgerd.ledger.entry import Entry
from ledgerd.ledger.head import Head
from ledgerd.ledger.machine import Machine
from ledgerd.ledger.peer_log import NoPeerLog
from ledgerd.ledger.tree import TileWriter
from ledgerd.ledger.verifying import AuditError
from ledgerd.rules.ruleset import make_rule_set
from ledgerd.store.base import Transaction
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import INSTANCE_KEY, Table
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.body import NODE
from ledgerd_client.core.checkpoint import Checkpoint, add_signatures, cosign, sign_checkpoint
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import NotReadyError, UnavailableError
from ledgerd_client.core.header import (
    Halves,
    Header,
    Kind,
    encode_halves,
    genesis_previous,
    header_bytes,
    header_tail,
    signed_bytes,
)
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.note import COSIGNATURE_V1, ED25519, Signer
from ledgerd_client.core.record import Admitted, read_facts

REBUILT = [
    Table.TILES, Table.RECORDS, Table.AUTHORS, Table.KEYS,
    Table.TRANSFERS, Table.HALVES, Table.ORDINALS, Table.AGREEMENTS, Table.DEADLINES,
    Table.FINDINGS,
    Table.CONTRACTS, Table.USAGE, Table.COUNTERS, Table.OBLIGATIONS, Table.MATTERS, Table.TIMERS,
    Table.SENT,
    Table.FINDINGS_OF, Table.STANDING, Table.CLOSINGS, Table.OPENED,
    Table.INDEX, Table.LEFT, Table.ANCHORS,
]  # fmt: skip


def build() -> World:
    """A world whose Mainland ledger has something of everything, a second between commits."""
    world = LawWorld(rules=RULES)
    mainland, hong_kong = world.mainland, world.hong_kong
    terms = [world.terms() for _ in range(6)]
    tick = 1 / 3600
    world.clock.advance(tick)
    mainland.append(*(world.transfer(each) for each in terms[:5]), world.transfer(at=1))
    world.clock.advance(tick)
    hong_kong.append(
        world.ack(terms[0]),
        world.ack(terms[1], outcome=pb.OUTCOME_REJECTED),
        world.ack(terms[2], outcome=pb.OUTCOME_PARTIAL),
        world.ack(terms[5]),
    )
    world.anchor(mainland)
    world.clock.advance(tick)
    mainland.place(world.cancel(terms[4]))
    second = mainland.enrol("uscc.SECOND", new_key())
    world.clock.advance(tick)
    mainland.append(
        *(mainland.by(second, transfer=world.terms(exporter=second.party)) for _ in range(3))
    )
    world.clock.advance(tick)
    mainland.place(mainland.by_authority(key_event=mainland.log.revocation(second)))
    world.clock.advance(25)
    world.anchor(mainland)
    hong_kong.append(world.ack(terms[1]), world.ack(terms[3]))
    world.clock.advance(tick)
    judge_contents(world)
    world.clock.advance(tick)
    mainland.place(mainland.by_node(rule_set=make_rule_set(record_within=1)))
    world.clock.advance(tick)
    world.anchor(mainland)
    world.clock.advance(tick)
    mainland.append(world.transfer(), world.transfer(at=world.clock() - 2))
    return world


def judge_contents(world: LawWorld) -> None:
    """Put a law in force, and record something of everything that it looks at."""
    mainland = world.mainland
    mainland.place(mainland.by_node(rule_set=LAW))
    terms = world.terms(purposes=[3])
    transfer = world.transfer(terms)
    world.clock.advance(1)
    mainland.append(transfer, world.contract())
    world.clock.advance(1)
    corrected = pb.Terms.FromString(terms.terms)
    corrected.delete_by = 0
    mainland.append(
        world.by_exporter(
            correction=pb.Correction(
                terms=corrected.SerializeToString(deterministic=True),
                corrects=pb.Body.FromString(transfer.body).record_id,
            )
        ),
        world.pipia(),
        world.by_exporter(incident=world.incident()),
    )
    world.clock.advance(1)
    returned = pb.Terms.FromString(world.terms(delete_by=20260805).terms)
    returned.exporter.CopyFrom(world.recipient.party)
    returned.recipient.CopyFrom(world.exporter.party)
    sent_back = pb.Transfer(terms=returned.SerializeToString(deterministic=True))
    ack = pb.Ack(
        terms=sent_back.terms,
        outcome=pb.OUTCOME_ACCEPTED,
        received_at=world.clock(),
        received_subjects=1200,
        received_commitment=returned.commitment,
    )
    mainland.place(world.by_exporter(ack=ack))
    world.clock.advance(48)
    world.tick(mainland)


@cache
def honest() -> World:
    """Nobody may write to it."""
    return build()


def copy() -> MemoryStore:
    store, original = MemoryStore(instance=bytes(16)), honest().mainland.store
    assert isinstance(original, MemoryStore)
    store._tables = original._tables
    return store


def audited(store: MemoryStore) -> Report:
    return honest().mainland.auditor(store).run()


def refused(edit: Callable[[Transaction], object]) -> str:
    """What the audit says of a copy after an edit."""
    store = copy()
    with store.write() as transaction:
        edit(transaction)
    with pytest.raises(AuditError) as caught:
        audited(store)
    return caught.value.message


def size() -> int:
    return honest().mainland.size


def rows(table: Table) -> list[tuple[bytes, bytes]]:
    with copy().snapshot() as snapshot:
        return [row for row in snapshot.scan(table) if row[0] != INSTANCE_KEY]


def index_of(wanted: Callable[[pb.Body], bool]) -> int:
    """The first entry whose body is as wanted."""
    return next(i for i in range(size()) if wanted(honest().mainland.body(i)))


def flipped(data: bytes, place: int, mask: int = 1) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


class TestHonest:
    def test_an_honest_ledger_passes(self) -> None:
        assert honest().mainland.audit().entries == size()

    def test_it_has_something_of_everything(self) -> None:
        """So that nothing below is tried on an empty table; of erasure and loss, see there."""
        assert all(rows(table) for table in set(Table) - {Table.ERASED, Table.LOST, Table.RETURNED})
        assert size() >= 30

    def test_the_report_counts_and_names_the_root(self) -> None:
        node = honest().mainland
        report = node.audit()
        assert (report.findings, report.root) == (len(node.findings()), node.reader.root(0))

    def test_the_other_side_passes_too(self) -> None:
        honest().hong_kong.audit()

    def test_in_either_store(self, stored_world: World) -> None:
        stored_world.mainland.append(stored_world.transfer(at=1))
        stored_world.anchor()
        assert stored_world.mainland.audit().findings == 1

    def test_progress_is_told_to_the_end(self) -> None:
        seen: list[tuple[int, int]] = []
        auditor = honest().mainland.auditor(copy())
        auditor._progress = lambda done, total: seen.append((done, total))
        auditor.run()
        assert seen == [(size(), size())]

    def test_a_ledger_of_several_pages_passes(self, world: World) -> None:
        """A finding's cause may stand on the page before."""
        node = world.mainland
        node.append(*(node.by_node(rule_set=make_rule_set()) for _ in range(996)))
        node.append(world.transfer(at=1), world.transfer(at=1))
        assert (node.audit().entries, node.audit().findings) == (1003, 2)


# The header's fields, by where they begin (docs/format.md, "Header").
FIELDS = {
    "version": 0,
    "index": 1 + 7,
    "recorded_at": 9 + 7,
    "previous_leaf_hash": 17,
    "kind": 49,
    "body_digest": 50,
    "key_index": 82 + 7,
    "key_id": 90 + 1,
    "signature": 125,
    "has_halves": 189,
    "ref": 190,
    "terms_digest": 222,
}


class TestEntries:
    """Somebody changes what is stored of an entry, and has no key."""

    @pytest.mark.parametrize("field", [f for f in FIELDS if f not in {"recorded_at", "signature"}])
    def test_a_changed_header_is_named(self, field: str) -> None:
        key, header = rows(Table.HEADERS)[5]
        changed = flipped(header, FIELDS[field])
        message = refused(lambda t: t.put(Table.HEADERS, key, changed))
        assert message.startswith("entry 5")

    @pytest.mark.parametrize("field", ["recorded_at", "signature"])
    def test_what_the_header_alone_does_not_show_breaks_the_chain_behind_it(
        self, field: str
    ) -> None:
        key, header = rows(Table.HEADERS)[5]
        changed = flipped(header, FIELDS[field])
        message = refused(lambda t: t.put(Table.HEADERS, key, changed))
        assert message == "entry 6: entry 6 does not follow from the one before"

    def test_the_last_entrys_time_is_in_the_head(self) -> None:
        key, header = rows(Table.HEADERS)[-1]
        changed = flipped(header, FIELDS["recorded_at"] - 6)
        message = refused(lambda t: t.put(Table.HEADERS, key, changed))
        assert message == f"entry {size() - 2} calls for finding L1.recorded_late, which is missing"

    @pytest.mark.parametrize("index", [0, 1, 2, 5, -1])
    def test_a_changed_body_is_named(self, index: int) -> None:
        key, body = rows(Table.BODIES)[index]
        message = refused(lambda t: t.put(Table.BODIES, key, flipped(body, len(body) // 2)))
        assert message.startswith(f"entry {index % size()}")

    @pytest.mark.parametrize("table", [Table.HEADERS, Table.BODIES])
    @pytest.mark.parametrize("index", [0, 5, -1])
    def test_a_missing_row_is_named(self, table: Table, index: int) -> None:
        key, _ = rows(table)[index]
        message = refused(lambda t: t.delete(table, key))
        assert message == f"entry {index % size()} is missing"

    @pytest.mark.parametrize("table", [Table.HEADERS, Table.BODIES])
    def test_a_row_beyond_the_end_is_found(self, table: Table) -> None:
        _, value = rows(table)[-1]
        message = refused(lambda t: t.put(table, u64(size()), value))
        assert message.startswith(f"table {table}")

    def test_two_entries_exchanged_are_named(self) -> None:
        def exchange(transaction: Transaction) -> None:
            for table in (Table.HEADERS, Table.BODIES):
                (first, a), (second, b) = rows(table)[4:6]
                transaction.put_many(table, [(first, b), (second, a)])

        assert refused(exchange).startswith("entry 4")

    def test_a_body_stored_again_under_another_header_is_named(self) -> None:
        body = rows(Table.BODIES)[4][1]
        message = refused(lambda t: t.put(Table.BODIES, u64(5), body))
        assert message.startswith("entry 5")

    def test_the_last_entry_dropped_with_its_rows(self) -> None:
        """The head still says how many there were."""
        assert refused(drop_last) == f"entry {size() - 1} is missing"

    def test_and_the_head_put_back(self) -> None:
        """The signed checkpoint can't be."""

        def drop(transaction: Transaction) -> None:
            head = Head.load(transaction)
            last = Header.parse(rows(Table.HEADERS)[-2][1])
            drop_last(transaction)
            leaf = merkle.leaf_hash(last.encode())
            Head(head.size - 1, last.recorded_at, leaf, head.checkpoint).put(transaction)

        refused(drop)


def drop_last(transaction: Transaction) -> None:
    key = u64(size() - 1)
    for table in (Table.HEADERS, Table.BODIES):
        transaction.delete(table, key)
    for table in (Table.RECORDS, Table.AUTHORS, Table.FINDINGS, Table.KEYS):
        for row, value in rows(table):
            if key in (row[-8:], value[:8]):
                transaction.delete(table, row)


class TestTables:
    """Somebody changes what was made from the entries."""

    @pytest.mark.parametrize("table", REBUILT)
    def test_a_row_too_few_is_named(self, table: Table) -> None:
        for key, _ in rows(table):
            message = refused(lambda t, key=key: t.delete(table, key))  # type: ignore[misc]
            assert message == f"table {table}: row {key.hex()} is missing"

    @pytest.mark.parametrize("table", REBUILT)
    @pytest.mark.parametrize("key", [b"\0", b"\xff" * 40], ids=["first", "last"])
    def test_a_row_too_many_is_named(self, table: Table, key: bytes) -> None:
        message = refused(lambda t: t.put(table, key, b""))
        assert message == f"table {table}: row {key.hex()} should not be there"

    @pytest.mark.parametrize("table", REBUILT)
    def test_a_value_that_grew_is_named(self, table: Table) -> None:
        for key, value in rows(table):
            message = refused(lambda t, key=key, value=value: t.put(table, key, value + b"\0"))  # type: ignore[misc]
            assert (
                message == f"table {table}: row {key.hex()} has another value than the log gives it"
            )

    @pytest.mark.parametrize("table", [t for t in REBUILT if any(v for _, v in rows(t))])
    def test_a_changed_byte_is_named(self, table: Table) -> None:
        key, value = rows(table)[0]
        message = refused(lambda t: t.put(table, key, flipped(value, len(value) // 2)))
        assert message == f"table {table}: row {key.hex()} has another value than the log gives it"

    def test_the_state_of_a_transfer(self) -> None:
        """The first byte after its ref: from mismatched to matched, say."""
        key, value = rows(Table.TRANSFERS)[0]
        assert "table transfers" in refused(
            lambda t: t.put(Table.TRANSFERS, key, flipped(value, 32))
        )

    def test_a_deadline_put_off(self) -> None:
        key, _ = rows(Table.DEADLINES)[0]

        def put_off(transaction: Transaction) -> None:
            transaction.delete(Table.DEADLINES, key)
            transaction.put(Table.DEADLINES, flipped(key, 6), b"")

        assert "table deadlines" in refused(put_off)


class TestMeta:
    def test_without_a_head_there_is_no_ledger(self) -> None:
        refused(lambda t: t.delete(Table.META, b"head"))

    @pytest.mark.parametrize("cut", [1, 20, 48])
    def test_a_head_cut_short(self, cut: int) -> None:
        value = dict(rows(Table.META))[b"head"]
        assert "head" in refused(lambda t: t.put(Table.META, b"head", value[:-cut]))

    @pytest.mark.parametrize("place", [7, 15, 20])
    def test_a_changed_head(self, place: int) -> None:
        value = dict(rows(Table.META))[b"head"]
        message = refused(lambda t: t.put(Table.META, b"head", flipped(value, place)))
        assert "head" in message or "missing" in message

    def test_a_head_of_the_log_before_the_last_entries(self) -> None:
        def shorten(transaction: Transaction) -> None:
            Head.load(transaction)._replace(size=size() - 2).put(transaction)

        assert refused(shorten) == "the stored head is not the newest entry's"

    def test_every_row_of_it_is_tried_here(self) -> None:
        tried = {b"head", b"checkpoint", b"rule_set", b"anchor", b"tick", b"away"}
        assert {key for key, _ in rows(Table.META)} == tried

    @pytest.mark.parametrize("name", [b"rule_set", b"anchor", b"tick", b"away"])
    def test_a_changed_or_missing_state_is_named(self, name: bytes) -> None:
        value = dict(rows(Table.META))[name]
        expected = f"{name.decode()} is not what the log says"
        assert refused(lambda t: t.put(Table.META, name, flipped(value, 7))) == expected
        assert refused(lambda t: t.delete(Table.META, name)) == expected

    def checkpoint(self, note: bytes) -> str:
        message = refused(lambda t: t.put(Table.META, b"checkpoint", note))
        assert message.startswith("the stored checkpoint")
        return message

    def test_an_older_checkpoint_of_this_log(self) -> None:
        world = World()
        older = world.mainland.reader.head().checkpoint
        world.mainland.place(world.transfer())
        with world.mainland.store.write() as transaction:
            transaction.put(Table.META, b"checkpoint", older)
        with pytest.raises(AuditError, match="not of this tree"):
            world.mainland.audit()

    @pytest.mark.parametrize("of", [(0, b""), (1, b""), (0, b"\1")], ids=["no", "size", "root"])
    def test_a_checkpoint_of_another_tree_by_the_logs_own_key(self, of: tuple[int, bytes]) -> None:
        node, (more, mask) = honest().mainland, of
        root = node.reader.root(0)
        root = flipped(root, 0) if mask else root
        note = sign_checkpoint(Checkpoint(node.log.origin, size() + more, root), node.log_key)
        if not more and not mask:
            # Ed25519 has one signature per message: it is the stored one.
            assert note == node.reader.head().checkpoint
            return
        assert self.checkpoint(note) == "the stored checkpoint is not of this tree"

    def test_a_checkpoint_by_another_key(self) -> None:
        node = honest().mainland
        other = Signer(node.log.origin, ED25519, new_key())
        self.checkpoint(
            sign_checkpoint(Checkpoint(node.log.origin, size(), node.reader.root(0)), other)
        )

    def test_a_checkpoint_that_somebody_else_signed_too(self) -> None:
        note = honest().mainland.reader.head().checkpoint
        other = Signer("nobody.example", ED25519, new_key())
        text = note.decode().split("\n\n")[0] + "\n"
        self.checkpoint(add_signatures(note, [other.sign(text)]))

    def test_a_checkpoint_of_another_log(self) -> None:
        self.checkpoint(honest().hong_kong.reader.head().checkpoint)


class TestAnchors:
    """What a node says of its peer is compared with what the peer signed and it replayed."""

    def found(self, change: Callable[[World], Checkpoint], *, cosigned: bool = True) -> str:
        world = World()
        node = world.mainland
        checkpoint = change(world)
        note = sign_checkpoint(checkpoint, Signer(node.peer.origin, ED25519, node.peer.log_key))
        if cosigned:
            cosigner = Signer(node.log.origin, COSIGNATURE_V1, node.log.cosigner_key)
            note = add_signatures(note, [cosign(checkpoint, cosigner, 1)])
        return self.said_of(world, note)

    def said_of(self, world: World, note: bytes) -> str:
        node = world.mainland
        anchor = pb.Anchor(peer_origin=node.peer.origin, checkpoint=note, fetched_at=1)
        node.place(node.by_node(anchor=anchor))
        with pytest.raises(AuditError) as caught:
            node.audit()
        return caught.value.message

    def true(self, world: World) -> Checkpoint:
        return Checkpoint(world.hong_kong.log.origin, 2, world.hong_kong.reader.root(2))

    def test_another_tree(self) -> None:
        message = self.found(lambda world: replace(self.true(world), root=bytes(32)))
        assert message == "entry 3: the checkpoint is not of the peer's log as it was replayed"

    def test_without_our_cosignature(self) -> None:
        message = self.found(self.true, cosigned=False)
        assert message == "entry 3: this node did not cosign the checkpoint that it anchors"

    def test_by_another_key_than_the_peers(self) -> None:
        world = World()
        signer = Signer(world.hong_kong.log.origin, ED25519, new_key())
        assert self.said_of(world, sign_checkpoint(self.true(world), signer)).startswith("entry 3")

    def test_a_replica_that_is_gone_condemns_nobody(self) -> None:
        world = World()
        world.anchor(world.mainland)
        world.mainland.peer_log = NoPeerLog()
        with pytest.raises(NotReadyError, match="the peer's log is not here"):
            world.mainland.audit()

    def test_a_replica_that_is_behind_condemns_nobody(self) -> None:
        class Behind(OtherStore):
            def root(self, size: int) -> bytes:
                raise UnavailableError("the replay has reached 1 entry")

        world = World()
        world.anchor(world.mainland)
        world.mainland.peer_log = behind = Behind()
        behind.node = world.hong_kong
        with pytest.raises(NotReadyError, match="not as far as the anchors"):
            world.mainland.audit()

    def test_without_anchors_no_replica_is_needed(self) -> None:
        world = World()
        world.mainland.peer_log = NoPeerLog()
        assert world.mainland.audit().entries == world.mainland.size


def every_value() -> list[tuple[Table, bytes, bytes]]:
    """Every value that has a byte to change, but for the store's own name."""
    return [(table, key, value) for table in Table for key, value in rows(table) if value]


class TestAnyByte:
    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_no_byte_of_any_value_can_be_changed(self, data: st.DataObject) -> None:
        table, key, value = data.draw(st.sampled_from(every_value()))
        place = data.draw(st.integers(0, len(value) - 1))
        changed = flipped(value, place, data.draw(st.integers(1, 255)))
        refused(lambda t: t.put(table, key, changed))

    def test_every_table_is_tried(self) -> None:
        empty = {
            Table.AUTHORS,
            Table.KEYS,
            Table.DEADLINES,
            Table.TIMERS,
            Table.ERASED,
            Table.LOST,
            Table.RETURNED,
        }
        assert {table for table, _, _ in every_value()} == set(Table) - empty


# -- the node itself ------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What of an entry does not depend on its place."""

    recorded_at: int
    tail: bytes
    body: bytes

    @property
    def finding(self) -> pb.Finding | None:
        body = pb.Body.FromString(self.body)
        return body.finding if body.HasField("finding") else None


def parts() -> list[Part]:
    headers, bodies = rows(Table.HEADERS), rows(Table.BODIES)
    return [
        Part(Header.parse(header).recorded_at, header[49:], body)
        for (_, header), (_, body) in zip(headers, bodies, strict=True)
    ]


def forged(entries: Sequence[Part]) -> MemoryStore:
    """
    A store that holds these entries, whole in every other respect.

    Chain, tree, tables and checkpoint are what a node makes that has its own keys and applies no
    rule but what it likes.
    """
    node = honest().mainland
    origin = node.log.origin
    store = MemoryStore(instance=bytes(16))
    machine = Machine(
        KeyHistory(origin, node.log.authority.public),
        node.peer_log,
        lambda transaction, position: transaction.get(Table.BODIES, u64(position)) or b"",
        lambda transaction, position: transaction.get(Table.HEADERS, u64(position)) or b"",
    )
    tree, leaves, previous = TileWriter(0, {}), [], genesis_previous(origin)
    with store.write() as transaction:
        for index, part in enumerate(entries):
            header = header_bytes(index, part.recorded_at, previous, part.tail)
            transaction.put(Table.HEADERS, u64(index), header)
            transaction.put(Table.BODIES, u64(index), part.body)
            facts, digest = read_facts(part.body)[1], sha256(part.body).digest()
            entry = Entry(index, part.recorded_at, facts, digest, header, part.body)
            machine.apply(transaction, entry)
            previous = merkle.leaf_hash(header)
            leaves.append(previous)
        machine.flush(transaction)
        tree.append(transaction, leaves)
        root = merkle.root(tree.nodes(transaction), len(leaves))
        note = sign_checkpoint(Checkpoint(origin, len(leaves), root), node.log_key)
        Head(len(leaves), entries[-1].recorded_at, previous, note).put(transaction)
    return store


def found_out(entries: Sequence[Part]) -> str:
    with pytest.raises(AuditError) as caught:
        audited(forged(entries))
    return caught.value.message


def part_of(item: Admitted, recorded_at: int) -> Part:
    return Part(recorded_at, item.tail, item.body)


def placed(item: Admitted, before: int) -> list[Part]:
    """The honest entries, and one more at a place, recorded when its neighbour was."""
    entries = parts()
    return [*entries[:before], part_of(item, entries[before].recorded_at), *entries[before:]]


def added(item: Admitted) -> list[Part]:
    """The honest entries, and one more at the end."""
    return [*parts(), part_of(item, parts()[-1].recorded_at)]


def finding_at(number: int) -> int:
    return [index for index, part in enumerate(parts()) if part.finding is not None][number]


CONTRADICTS_BODY = f"entry {size()}: the header does not say what the body says"
FINDINGS = range(len(honest().mainland.findings()))


class TestNode:
    """Nothing but the rules and the signatures of others stands against a node with its keys."""

    def test_what_is_forged_faithfully_passes(self) -> None:
        """Or the tests below would show nothing."""
        assert audited(forged(parts())).entries == size()

    @pytest.mark.parametrize("number", FINDINGS)
    def test_a_finding_left_out_is_missed_and_its_cause_named(self, number: int) -> None:
        entries, index = parts(), finding_at(number)
        message = found_out([*entries[:index], *entries[index + 1 :]])
        finding = entries[index].finding
        assert finding is not None
        assert finding.rule in message or f"entry {index}: finding" in message

    def test_the_last_finding_left_out_too(self) -> None:
        entries = parts()
        assert entries[-1].finding is not None
        cause = size() - 2
        expected = f"entry {cause} calls for finding L1.recorded_late, which is missing"
        assert found_out(entries[:-1]) == expected

    @pytest.mark.parametrize("number", FINDINGS)
    def test_a_finding_held_back_is_missed_where_it_was_due(self, number: int) -> None:
        entries, index = parts(), finding_at(number)
        if index == len(entries) - 1:
            return
        later = replace(entries[index], recorded_at=entries[-1].recorded_at)
        found_out([*entries[:index], *entries[index + 1 :], later])

    @pytest.mark.parametrize("number", FINDINGS)
    def test_a_finding_said_twice_is_one_too_many(self, number: int) -> None:
        entries, index = parts(), finding_at(number)
        item = honest().mainland.by_node(finding=entries[index].finding)
        again = part_of(item, entries[index].recorded_at)
        message = found_out([*entries[: index + 1], again, *entries[index + 1 :]])
        assert message.startswith(f"entry {index + 1}: finding ")

    @pytest.mark.parametrize("place", [2, 5, 10])
    def test_a_finding_that_nothing_calls_for_is_named(self, place: int) -> None:
        """Properly signed, against whom the node likes."""
        node = honest().mainland
        accusation = pb.Finding(
            finding_id=os.urandom(32),
            rule="K15.unacknowledged",
            severity=pb.SEVERITY_HIGH,
            records=[pb.RecordRef(origin=node.log.origin, index=2)],
            rule_set=1,
        )
        message = found_out(placed(node.by_node(finding=accusation), place))
        assert message.startswith(f"entry {place}: finding K15.unacknowledged")

    @pytest.mark.parametrize(
        "change",
        [
            {"severity": pb.SEVERITY_INFORMATION},
            {"rule": "K15.other"},
            {"rule_set": 0},
            {"closed": True},
            {"ref": bytes(32)},
            {"finding_id": bytes(32)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_finding_that_says_something_else_is_named(self, change: dict[str, object]) -> None:
        entries, index = parts(), finding_at(1)
        finding = pb.Finding()
        finding.CopyFrom(entries[index].finding or finding)
        for name, value in change.items():
            setattr(finding, name, value)
        item = honest().mainland.by_node(finding=finding)
        entries[index] = part_of(item, entries[index].recorded_at)
        assert found_out(entries).startswith(f"entry {index}: finding ")

    def test_a_record_put_in_again_is_named(self) -> None:
        """Under its own valid signature, as somebody recorded it."""
        entries = parts()
        again = replace(entries[3], recorded_at=entries[5].recorded_at)
        message = found_out([*entries[:5], again, *entries[5:]])
        assert message == "entry 5: the record is in the log already"

    def test_a_time_turned_back_is_named(self) -> None:
        entries = parts()
        entries[-1] = replace(entries[-1], recorded_at=entries[-1].recorded_at - 1)
        last = len(entries) - 1
        assert found_out(entries).startswith((f"entry {last}: ", f"entry {last - 1} calls"))

    def test_an_entry_before_its_time(self) -> None:
        entries = parts()
        entries[3] = replace(entries[3], recorded_at=entries[3].recorded_at + 1)
        assert found_out(entries).startswith("entry 4: ")

    def test_a_time_put_forward_calls_for_what_it_makes_late(self) -> None:
        entries = parts()
        shift = 48 * 3_600_000_000
        later = [replace(part, recorded_at=part.recorded_at + shift) for part in entries[3:]]
        assert "L1.recorded_late" in found_out([*entries[:3], *later])

    def test_an_institution_without_its_admission_is_unknown(self) -> None:
        entries = parts()
        assert found_out([*entries[:2], *entries[3:]]).startswith("entry 2")

    def test_a_record_moved_behind_the_revocation_of_its_key(self) -> None:
        entries = parts()
        revocation = index_of(lambda body: body.key_event.action == pb.KEY_ACTION_REVOKE)
        moved = replace(entries.pop(revocation - 1), recorded_at=entries[-1].recorded_at)
        message = found_out([*entries[:revocation], moved, *entries[revocation:]])
        assert message.startswith(f"entry {revocation}: ")
        assert "revoked" in message

    def test_a_record_that_the_node_signs_for_an_institution(self) -> None:
        world = honest()
        body = world.exporter.body(world.clock(), transfer=world.terms())
        item = signed_by(world, body, world.mainland.log.entry_key, 0)
        expected = f"entry {size()}: entry {size()} is signed by a key that was not admitted"
        assert found_out(added(item)) == expected

    def test_a_record_that_one_institution_signs_for_another(self) -> None:
        """Both admitted; and the node looks away."""
        world = World()
        node = world.mainland
        second = node.enrol("uscc.SECOND")
        body = world.exporter.body(world.clock(), transfer=world.terms())
        node.place(signed_by(world, body, second.key, second.admitted_at))
        with pytest.raises(AuditError, match=r"entry 4: signed by a key of uscc\.SECOND"):
            node.audit()

    def test_a_signature_that_fails(self) -> None:
        item = honest().transfer()
        header = Header.parse(header_bytes(0, 0, bytes(32), item.tail))
        # What stands before the tail is of fixed size.
        before = len(header.encode()) - len(item.tail)
        forged = replace(header, signature=bytes(64)).encode()[before:]
        message = found_out(added(item._replace(tail=forged)))
        assert message == f"entry {size()}: signature does not verify"

    @pytest.mark.parametrize("field", ["ref", "terms_digest", "counterparty_origin"])
    def test_a_header_that_says_another_thing_than_its_body(self, field: str) -> None:
        """Signed so by the institution itself."""
        world = honest()
        body = world.exporter.body(world.clock(), transfer=world.terms())
        value: Any = "gba.example/other" if field == "counterparty_origin" else bytes(32)
        facts = read_facts(body)[1]._replace(**{field: value})
        item = signed_by(world, body, world.exporter.key, 2, halves=facts.halves)
        assert found_out(added(item)) == CONTRADICTS_BODY

    def test_a_header_of_another_kind_than_its_body(self) -> None:
        world = honest()
        body = new_body(world.mainland.log.origin, NODE, world.clock(), rule_set=make_rule_set())
        item = signed_by(world, body, world.mainland.log.entry_key, 0, kind=Kind.EVIDENCE)
        assert found_out(added(item)) == CONTRADICTS_BODY

    def test_a_body_for_another_log(self) -> None:
        world = honest()
        body = new_body("gba.example/other", NODE, world.clock(), rule_set=make_rule_set())
        item = signed_by(world, body, world.mainland.log.entry_key, 0)
        assert found_out(added(item)) == CONTRADICTS_BODY

    def test_another_authority_than_the_trusted_one(self) -> None:
        node = honest().mainland
        auditor = node.auditor(copy(), authority=new_key().public)
        with pytest.raises(AuditError, match="not trusted"):
            auditor.run()


def signed_by(
    world: World,
    body: bytes,
    key: SigningKey,
    key_index: int,
    *,
    halves: Halves | None = None,
    kind: Kind | None = None,
) -> Admitted:
    """A record under any key, whose header says of its body what it likes."""
    facts = read_facts(body)[1]
    if kind is not None:
        facts = facts._replace(kind=kind)
    if halves is not None:
        facts = facts._replace(
            ref=halves.ref,
            terms_digest=halves.terms_digest,
            counterparty_origin=halves.counterparty_origin,
        )
    digest, origin = sha256(body).digest(), world.mainland.log.origin
    ends = encode_halves(facts.halves)
    message = signed_bytes(origin, facts.kind, digest, key.key_id, ends)
    tail = header_tail(facts.kind, digest, key_index, key.key_id, key.sign(message), ends)
    return Admitted(facts, body, digest, key.key_id, key_index, tail)

"""Answers from the log: each provable, each from one snapshot."""

from __future__ import annotations

import os

import pytest
from ledger.world import World

from ledgerd.ledger.reader import SHARED_PAGE_HEADERS, Reader
from ledgerd.ledger.views import MAX_FINDINGS
from ledgerd.rules.reconcile import State
from ledgerd.rules.ruleset import make_rule_set
from ledgerd.store.memory import MemoryStore
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.encoding import u64
from ledgerd_client.core.errors import (
    FieldError,
    NotFoundError,
    NotReadyError,
    ProofError,
    StoreError,
)
from ledgerd_client.core.header import KINDS_SHARED_WITH_PEER, Header
from ledgerd_client.core.receipt import check_body, verify_receipt


@pytest.fixture
def world(stored_world: World) -> World:
    return stored_world


@pytest.fixture
def reader(world: World) -> Reader:
    return world.mainland.reader


class TestReceipts:
    def test_every_entry_has_one_at_every_size(self, world: World, reader: Reader) -> None:
        notes = [reader.head().checkpoint]
        for _ in range(20):
            world.mainland.place(world.transfer())
            notes.append(reader.head().checkpoint)
        for size, note in enumerate(notes, 3):
            for index in range(size):
                receipt = reader.receipt(index, note)
                verified = verify_receipt(receipt, world.mainland.history())
                assert (verified.header.index, verified.checkpoint.size) == (index, size)

    @pytest.mark.parametrize("size", [255, 256, 257, 512, 513])
    def test_also_where_tiles_end(self, world: World, reader: Reader, size: int) -> None:
        node = world.mainland
        node.append(*(node.by_node(rule_set=make_rule_set()) for _ in range(size - node.size)))
        for index in {0, 1, 254, 255, 256, 257, size - 2, size - 1} & set(range(size)):
            verify_receipt(reader.receipt(index), node.history())

    def test_without_a_checkpoint_it_is_under_the_newest(
        self, world: World, reader: Reader
    ) -> None:
        world.mainland.place(world.transfer())
        assert reader.receipt(0).checkpoint == reader.head().checkpoint

    def test_the_body_beside_it_is_the_entrys(self, world: World, reader: Reader) -> None:
        index = world.mainland.place(world.transfer())
        check_body(reader.receipt(index), reader.entry(index)[1])

    def test_an_entry_that_a_checkpoint_does_not_cover_is_not_ready(
        self, world: World, reader: Reader
    ) -> None:
        older = reader.head().checkpoint
        world.mainland.place(world.transfer())
        with pytest.raises(NotReadyError) as caught:
            reader.receipt(3, older)
        assert caught.value.reason == "NOT_COSIGNED_YET"

    @pytest.mark.parametrize("index", [3, 4, 2**64 - 1])
    def test_an_entry_that_is_not_there_is_not_found(self, reader: Reader, index: int) -> None:
        with pytest.raises(NotFoundError):
            reader.receipt(index)

    def test_a_store_without_a_ledger_is_an_error(self) -> None:
        with pytest.raises(StoreError):
            Reader(MemoryStore(instance=bytes(16))).head()


class TestFind:
    def test_a_record_is_found_by_its_author_and_id(self, world: World, reader: Reader) -> None:
        item = world.transfer()
        index = world.mainland.place(item)
        assert reader.find(world.exporter.id, item.facts.record_id) == index

    def test_by_another_author_it_is_not(self, world: World, reader: Reader) -> None:
        item = world.transfer()
        world.mainland.place(item)
        with pytest.raises(NotFoundError):
            reader.find(world.exporter.id + "X", item.facts.record_id)

    def test_an_id_that_nobody_used_is_not_found(self, world: World, reader: Reader) -> None:
        with pytest.raises(NotFoundError):
            reader.find(world.exporter.id, os.urandom(16))

    def test_a_refused_record_is_not_found(self, world: World, reader: Reader) -> None:
        item = world.transfer()._replace(key_id=b"\1" + bytes(32))
        world.mainland.append(item)
        with pytest.raises(NotFoundError):
            reader.find(world.exporter.id, item.facts.record_id)


class TestPage:
    """Entries 3 to 8 of the log: the exporter's at 3, 5 and 7, another's at 4, 6 and 8."""

    @pytest.fixture
    def world(self, stored_world: World) -> World:
        node = stored_world.mainland
        other = node.enrol(stored_world.exporter.id + "X")
        # Its admission is entry 3: the pages below begin at 4.
        for _ in range(3):
            stored_world.clock.advance(1)
            node.place(stored_world.transfer())
            node.place(node.by(other, transfer=stored_world.terms(exporter=other.party)))
        return stored_world

    def indexes(self, reader: Reader, start: int, **of: object) -> tuple[list[int], int | None]:
        page = reader.page(start, **of)  # type: ignore[arg-type]  # the arguments of the test
        return [Header.parse(header).index for header, _ in page.entries], page.next

    @pytest.mark.parametrize(
        ("start", "count", "found", "following"),
        [
            (0, 100, list(range(10)), None),
            (0, 10, list(range(10)), None),
            (0, 9, list(range(9)), 9),
            (0, 1, [0], 1),
            (9, 1, [9], None),
            (8, 1, [8], 9),
            (10, 5, [], None),
            (2**63, 5, [], None),
        ],
    )
    def test_entries_in_log_order(
        self, reader: Reader, start: int, count: int, found: list[int], following: int | None
    ) -> None:
        assert self.indexes(reader, start, count=count) == (found, following)

    @pytest.mark.parametrize(
        ("start", "count", "found", "following"),
        [
            (0, 100, [4, 6, 8], None),
            (0, 3, [4, 6, 8], None),
            (0, 2, [4, 6], 8),
            (4, 1, [4], 6),
            (5, 1, [6], 8),
            (8, 1, [8], None),
            (9, 1, [], None),
        ],
    )
    def test_entries_by_an_author(
        self,
        world: World,
        reader: Reader,
        start: int,
        count: int,
        found: list[int],
        following: int | None,
    ) -> None:
        page = self.indexes(reader, start, count=count, author=world.exporter.id)
        assert page == (found, following)

    @pytest.mark.parametrize("author", ["authority", "node", "nobody"])
    def test_an_authors_pages_hold_nobody_elses_entries(self, reader: Reader, author: str) -> None:
        expected = {"authority": [0, 2, 3], "node": [1], "nobody": []}
        assert self.indexes(reader, 0, author=author) == (expected[author], None)

    def test_following_next_comes_by_every_entry_once(self, world: World, reader: Reader) -> None:
        start: int | None = 0
        seen = []
        while start is not None:
            found, start = self.indexes(reader, start, count=2, author=world.exporter.id)
            seen += found
        assert seen == [4, 6, 8]

    @pytest.mark.parametrize(("offset", "found"), [(-1, [4, 5]), (0, [4, 5]), (1, [4, 5, 6, 7])])
    def test_until_is_a_time_that_is_not_reached(
        self, world: World, reader: Reader, offset: int, found: list[int]
    ) -> None:
        until = world.mainland.header(6).recorded_at + offset
        assert self.indexes(reader, 4, until=until) == (found, None)

    def test_until_ends_an_authors_pages_too(self, world: World, reader: Reader) -> None:
        until = world.mainland.header(6).recorded_at
        assert self.indexes(reader, 0, until=until, author=world.exporter.id) == ([4], None)

    @pytest.mark.parametrize(("index", "offset", "first"), [
        (0, -1, 0), (0, 0, 0), (3, 1, 4), (4, 0, 4), (5, 0, 4), (5, 1, 6), (9, 0, 8), (9, 1, 10),
    ])  # fmt: skip
    def test_first_at_is_the_first_entry_of_a_time_or_later(
        self, world: World, reader: Reader, index: int, offset: int, first: int
    ) -> None:
        assert reader.first_at(world.mainland.header(index).recorded_at + offset) == first

    def test_a_page_carries_the_checkpoint_that_it_was_read_under(self, reader: Reader) -> None:
        assert reader.page(0).checkpoint == reader.head().checkpoint


class TestEntries:
    def test_header_and_body_belong_together(self, world: World, reader: Reader) -> None:
        item = world.transfer()
        index = world.mainland.place(item)
        header, body = reader.entry(index)
        assert (Header.parse(header).body_digest, body) == (item.body_digest, item.body)

    def test_what_is_not_there_is_not_found(self, reader: Reader) -> None:
        with pytest.raises(NotFoundError):
            reader.entry(3)

    @pytest.mark.parametrize(
        ("start", "count", "until", "found"),
        [(0, 9, 9, [0, 1, 2]), (1, 1, 9, [1]), (0, 9, 2, [0, 1]), (2, 9, 2, []), (3, 9, 9, [])],
    )
    def test_headers_are_counted_and_bounded(
        self, reader: Reader, start: int, count: int, until: int, found: list[int]
    ) -> None:
        headers = [Header.parse(raw).index for raw in reader.headers(start, count, until)]
        assert headers == found

    def test_a_reader_leaves_no_snapshot_open(self, reader: Reader) -> None:
        for _ in range(200):
            with pytest.raises(NotFoundError):
                reader.entry(99)
            reader.page(0)
        assert reader.head().size == 3


class TestSharedPage:
    """What the peer sees: headers, and bodies of the kinds that it may read."""

    def test_only_shared_kinds_come_with_their_body(self, world: World, reader: Reader) -> None:
        node = world.mainland
        node.append(world.transfer(at=1), node.anchor(1), node.by_node(rule_set=make_rule_set()))
        page = reader.shared_page(0, node.size)
        kinds = [Header.parse(header).kind for header in page.headers]
        shared = [index for index, kind in enumerate(kinds) if kind in KINDS_SHARED_WITH_PEER]
        assert [index for index, _ in page.bodies] == shared == [0, 2, 4]

    def test_it_ends_at_a_size(self, reader: Reader) -> None:
        assert len(reader.shared_page(1, 2).headers) == 1

    def test_beyond_it_there_is_nothing(self, reader: Reader) -> None:
        assert reader.shared_page(3, 2).headers == []

    def test_it_holds_so_many_headers_and_no_more(self, world: World, reader: Reader) -> None:
        node = world.mainland
        node.append(*(node.by_node(rule_set=make_rule_set()) for _ in range(SHARED_PAGE_HEADERS)))
        assert len(reader.shared_page(0, node.size).headers) == SHARED_PAGE_HEADERS


class TestTreeProofs:
    @pytest.fixture
    def roots(self, world: World, reader: Reader) -> list[bytes]:
        """The root at each size from 3 on."""
        roots = [reader.root(0)]
        for _ in range(9):
            world.mainland.place(world.transfer())
            roots.append(reader.root(0))
        return roots

    def test_an_earlier_root_is_the_one_of_then(self, reader: Reader, roots: list[bytes]) -> None:
        assert [reader.root(size) for size in range(3, 13)] == roots

    def test_every_earlier_tree_is_consistent_with_every_later(
        self, reader: Reader, roots: list[bytes]
    ) -> None:
        for old in range(3, 13):
            for new in range(old, 13):
                size, proof = reader.consistency_proof(old, new)
                merkle.verify_consistency(old, roots[old - 3], size, roots[new - 3], proof)

    def test_size_0_means_the_newest(self, reader: Reader, roots: list[bytes]) -> None:
        assert (reader.inclusion_proof(0)[0], reader.consistency_proof(3)[0]) == (12, 12)

    def test_an_entry_is_included_in_every_tree_that_covers_it(
        self, world: World, reader: Reader, roots: list[bytes]
    ) -> None:
        for size in range(3, 13):
            for index in range(size):
                leaf = merkle.leaf_hash(reader.entry(index)[0])
                _, proof = reader.inclusion_proof(index, size)
                merkle.verify_inclusion(leaf, index, size, proof, roots[size - 3])

    def test_in_a_tree_that_does_not_cover_it_it_is_not(
        self, reader: Reader, roots: list[bytes]
    ) -> None:
        with pytest.raises(ProofError):
            reader.inclusion_proof(5, 5)

    def test_a_tree_is_no_prefix_of_a_smaller_one(self, reader: Reader, roots: list[bytes]) -> None:
        with pytest.raises(ProofError):
            reader.consistency_proof(5, 4)

    def test_beyond_the_newest_there_is_no_tree(self, reader: Reader) -> None:
        for ask in (reader.root, reader.consistency_proof):
            with pytest.raises((FieldError, ProofError)):
                ask(4)
        with pytest.raises(FieldError):
            reader.inclusion_proof(0, 4)


class TestTransfer:
    def test_a_ref_that_nobody_named_is_not_found(self, reader: Reader) -> None:
        with pytest.raises(NotFoundError):
            reader.transfer(bytes(32))

    def test_one_half(self, world: World, reader: Reader) -> None:
        item = world.transfer()
        world.mainland.place(item)
        answer = reader.transfer(item.facts.ref)
        assert (answer.state, [half.position for half in answer.halves]) == (State.OPEN, [3])
        assert (answer.peer_size, answer.peer_known_at) == (0, 0)

    def test_both_halves(self, world: World, reader: Reader) -> None:
        terms = world.terms()
        item = world.transfer(terms)
        world.mainland.place(item)
        world.hong_kong.place(world.ack(terms))
        world.anchor()
        answer = reader.transfer(item.facts.ref)
        assert (answer.state, [half.own for half in answer.halves]) == (
            State.MATCHED,
            [True, False],
        )
        assert [half.institution for half in answer.halves] == [
            world.exporter.id,
            world.recipient.id,
        ]
        assert (answer.peer_size, answer.peer_known_at) == (4, world.clock())

    def test_only_the_findings_on_it(self, world: World, reader: Reader) -> None:
        late, other = world.transfer(at=1), world.transfer(at=1)
        world.mainland.append(late, other)
        ((_, body),) = reader.transfer(late.facts.ref).findings
        assert pb.Body.FromString(body).finding.records[0].index == 3

    def test_the_newest_findings_only(self, world: World, reader: Reader) -> None:
        item = world.transfer()
        node = world.mainland
        node.place(item)
        for number in range(MAX_FINDINGS + 1):
            finding = pb.Finding(finding_id=u64(number) * 4, ref=item.facts.ref)
            node.place(node.by_node(finding=finding))
        found = reader.transfer(item.facts.ref).findings
        shown = [pb.Body.FromString(body).finding for _, body in found]
        assert [f.finding_id for f in shown] == [u64(n) * 4 for n in range(1, MAX_FINDINGS + 1)]

    def test_the_next_deadline_is_none_while_nothing_is_awaited(self, reader: Reader) -> None:
        assert reader.next_deadline() is None

"""Rows of transfers by the order in which they became known: each is found by its ref."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from builders import ALIKE
from ledger.world import World

from ledgerd.projections.ordinals import EPOCH, Ordinals
from ledgerd.projections.row_keys import contract_row
from ledgerd.projections.transfer_row import Half, Transfer
from ledgerd.projections.transfers import Transfers, find_row, get_transfer, row_of_half
from ledgerd.store.base import Transaction
from ledgerd.store.memory import MemoryStore
from ledgerd.store.tables import Table
from ledgerd_client.core.transfer import parse_terms, ref_of


def half(position: int) -> Half:
    return Half(True, 2, position, 0, bytes(32), 0, "an exporter", "a recipient")


def store() -> MemoryStore:
    return MemoryStore(instance=bytes(16))


def take(into: MemoryStore, refs: Sequence[bytes]) -> None:
    """Give each a half more, in one commit, by a writer that has just started."""
    transfers = Transfers()
    with into.write() as transaction:
        transfers.load(transaction)
        for position, ref in enumerate(refs):
            transfers.at = position
            transfer = transfers.get(transaction, ref)
            transfer.halves.append(half(position))
            transfers.put(ref, transfer, 0)
        transfers.flush(transaction)


def positions(of: MemoryStore, ref: bytes) -> list[int]:
    with of.snapshot() as snapshot:
        transfer = get_transfer(snapshot, ref)
    return [] if transfer is None else transfer.own_halves()


class TestRows:
    def test_refs_of_one_prefix_are_two_transfers(self) -> None:
        """The peer's log may have any for a ref."""
        into = store()
        take(into, ALIKE)
        take(into, ALIKE[::-1])
        assert [positions(into, ref) for ref in ALIKE] == [[0, 1], [1, 0]]

    def test_one_that_is_not_there_is_not_the_one_of_the_same_prefix(self) -> None:
        into = store()
        take(into, ALIKE[:1])
        assert positions(into, ALIKE[1]) == []

    def test_a_row_stays_where_it_was_made(self) -> None:
        into = store()
        take(into, [*ALIKE, b"3" * 32])
        take(into, [b"4" * 32, ALIKE[0]])
        with into.snapshot() as snapshot:
            rows = list(snapshot.scan(Table.TRANSFERS))
        assert [value[:32] for _, value in rows] == [*ALIKE, b"3" * 32, b"4" * 32]
        assert positions(into, ALIKE[0]) == [0, 1]

    def test_two_halves_in_one_commit_are_one_transfer(self) -> None:
        into = store()
        take(into, [ALIKE[0], ALIKE[0]])
        assert positions(into, ALIKE[0]) == [0, 1]

    def test_a_contract_is_found_by_its_key(self) -> None:
        into = store()
        key = contract_row(ALIKE[0])
        take(into, [ALIKE[0], key])
        take(into, [key])
        assert (positions(into, ALIKE[0]), positions(into, key)) == ([0], [1, 0])

    def test_every_own_half_is_found_by_its_index(self) -> None:
        into = store()
        take(into, [ALIKE[0], ALIKE[1], ALIKE[0]])
        with into.snapshot() as snapshot:
            rows = [row_of_half(snapshot, index) for index in range(4)]
            whole = [find_row(snapshot, ref) for ref in ALIKE]
        assert rows == [whole[0], whole[1], whole[0], None]

    def test_an_entry_that_only_moves_a_transfer_is_no_half_of_it(self) -> None:
        """An anchor, at which it is judged."""
        into, transfers = store(), Transfers()
        take(into, ALIKE[:1])
        with into.write() as transaction:
            transfers.load(transaction)
            transfers.at = 1
            transfers.put(ALIKE[0], transfers.get(transaction, ALIKE[0]), 0)
            transfers.flush(transaction)
            assert row_of_half(transaction, 1) is None

    def test_nothing_is_put_of_what_was_only_read(self) -> None:
        into, transfers = store(), Transfers()
        with into.write() as transaction:
            transfers.read(transaction, ALIKE)
            assert transfers.get(transaction, ALIKE[0]) == Transfer()
            transfers.flush(transaction)
            assert transaction.count(Table.TRANSFERS) == 0


class TestAnyOrder:
    """Of reads, halves, flushes within an entry, and commits of which some fail."""

    @pytest.mark.parametrize("seed", range(4))
    def test_the_rows_are_those_of_a_dict(self, seed: int) -> None:
        chosen, into = random.Random(seed), store()
        refs = [*ALIKE, *(chosen.randbytes(32) for _ in range(200))]
        # Others, so that an epoch becomes full on the way.
        with into.write() as transaction:
            before = Ordinals()
            for _ in range(EPOCH - 100):
                before.add(chosen.randbytes(32))
            before.flush(transaction)
        wanted: dict[bytes, list[int]] = {}
        at, transfers = 0, Transfers()
        for commit in range(30):
            if commit % 5 == 0:
                with into.snapshot() as snapshot:
                    transfers = Transfers()
                    transfers.load(snapshot)
            coming = chosen.choices(refs, k=30)
            if commit % 5 == 4:
                with suppress(_FailedError), into.write() as transaction:
                    apply(transaction, transfers, coming, at, chosen)
                    raise _FailedError
                continue
            with into.write() as transaction:
                apply(transaction, transfers, coming, at, chosen)
            for position, ref in enumerate(coming, at):
                wanted.setdefault(ref, []).append(position)
            at += len(coming)
        assert {ref: positions(into, ref) for ref in refs if positions(into, ref)} == wanted
        with into.snapshot() as snapshot:
            rows = [value[:32] for _, value in snapshot.scan(Table.TRANSFERS)]
            halves = [row_of_half(snapshot, index) for index in range(at)]
            whole = {index: find_row(snapshot, ref) for ref in wanted for index in wanted[ref]}
        assert rows == list(wanted)
        assert halves == [whole[index] for index in range(at)]


class _FailedError(Exception):
    """Raised to abort a commit."""


def apply(
    transaction: Transaction,
    transfers: Transfers,
    coming: Sequence[bytes],
    at: int,
    chosen: random.Random,
) -> None:
    """Give each a half more; some of them read at once, and flushed here and there."""
    transfers.read(transaction, coming[: chosen.choice((0, 15, 30))])
    for position, ref in enumerate(coming, at):
        transfers.at = position
        transfer = transfers.get(transaction, ref)
        transfer.halves.append(half(position))
        transfers.put(ref, transfer, 0)
        if chosen.random() < 0.1:
            transfers.flush(transaction)
    transfers.flush(transaction)


class TestAFullEpoch:
    """The first transfers of a log that has grown since."""

    def test_an_ack_finds_its_transfer_and_audit_finds_all_as_it_is(self) -> None:
        world = World()
        declared = [world.terms() for _ in range(EPOCH + 20)]
        for start in range(0, len(declared), 2_000):
            world.mainland.append(*map(world.transfer, declared[start : start + 2_000]))
        looked_at = [declared[at] for at in (0, EPOCH - 1, EPOCH, EPOCH + 19)]
        world.hong_kong.append(*map(world.ack, looked_at))
        world.anchor()
        # Once more, by a writer that takes up what is stored.
        world.mainland.writer.load()
        world.mainland.append(*map(world.cancel, declared[1:2]))
        states = [
            world.mainland.reader.transfer(ref_of(parse_terms(terms.terms))).state.name
            for terms in [*looked_at, *declared[1:3]]
        ]
        assert states == ["MATCHED"] * 4 + ["CANCELLED", "OPEN"]
        world.mainland.audit()
        world.hong_kong.audit()

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from builders import HONG_KONG_PLACE, SHENZHEN, Institution
from ledger.law_world import CONTRACT_ID, EXPORTER, RECIPIENT, LawWorld, at
from ledger.world import Node, World, make_record_id

from ledgerd.ledger import summary
from ledgerd.ledger.dimensions import Dimension
from ledgerd.ledger.search import Clause, Search
from ledgerd.ledger.summary import Group, Summary
from ledgerd.projections.postings import Field, code
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._proto import service_pb2
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.errors import FieldError
from ledgerd_client.core.supervision import KIND_NUMBERS

TRANSFERS = Clause(Field.KIND, frozenset((code(KIND_NUMBERS["transfer"]),)))
ACKS = Clause(Field.KIND, frozenset((code(KIND_NUMBERS["ack"]),)))


def summed(
    node: Node,
    *dimensions: Dimension,
    size: int | None = None,
    clause: Clause | None = TRANSFERS,
    grant: tuple[Clause, ...] = (),
) -> list[Group]:
    summary = start(node, *dimensions, size=size, clause=clause, grant=grant)
    for _ in stretches(node, summary):
        pass
    return summary.groups()


def start(
    node: Node,
    *dimensions: Dimension,
    size: int | None = None,
    clause: Clause | None = TRANSFERS,
    grant: tuple[Clause, ...] = (),
) -> Summary:
    size = size or node.size
    clauses = grant if clause is None else (clause, *grant)
    search = Search(clauses, (), 0, size, size, newest_first=False)
    return Summary(search, dimensions, grant)


def stretches(node: Node, summary: Summary) -> Iterator[int]:
    """Count it all; gives where each stretch ends."""
    at = None
    while True:
        with node.store.snapshot() as snapshot:
            at = summary.take(snapshot, at)
        if at is None:
            return
        yield at


def total(node: Node, size: int | None = None, clause: Clause | None = TRANSFERS) -> Group:
    return summed(node, size=size, clause=clause)[0]


def changed(terms: pb.Transfer, **changes: Any) -> pb.Transfer:
    stated = pb.Terms.FromString(terms.terms)
    for field, value in changes.items():
        setattr(stated, field, value)
    return pb.Transfer(terms=stated.SerializeToString(deterministic=True))


class TestDimensions:
    def test_they_have_the_numbers_of_the_service(self) -> None:
        service = {
            name.removeprefix("DIMENSION_"): number
            for name, number in service_pb2.Dimension.items()
            if number
        }
        assert {each.name: each.value for each in Dimension} == service

    @pytest.mark.parametrize(
        ("dimension", "keys"),
        [
            (Dimension.INSTITUTION, [EXPORTER]), (Dimension.COUNTERPARTY, [RECIPIENT]),
            (Dimension.CONTRACT, [CONTRACT_ID]), (Dimension.KIND, ["18"]),
            (Dimension.DIRECTION, ["1"]), (Dimension.PLACE, [str(SHENZHEN)]),
            (Dimension.COUNTERPARTY_PLACE, ["810000"]), (Dimension.SECTOR, ["1"]),
            (Dimension.CATEGORY, ["1", "7"]), (Dimension.SENSITIVE_CATEGORY, ["5"]),
            (Dimension.PURPOSE, ["2", "7"]), (Dimension.MECHANISM, ["1"]),
            (Dimension.LEGAL_BASIS, ["1"]), (Dimension.CONSENT_FORM, ["3"]),
            (Dimension.EXEMPTION, ["1"]), (Dimension.RULE, [""]), (Dimension.SEVERITY, [""]),
            (Dimension.STATE, ["open"]), (Dimension.DAY, ["20260803"]),
            (Dimension.MONTH, ["202608"]), (Dimension.YEAR, ["2026"]),
        ],
    )  # fmt: skip
    def test_keys_of_a_transfer(self, law: LawWorld, dimension: Dimension, keys: list[str]) -> None:
        law.mainland.append(
            law.contract(sensitive_categories=[5]),
            law.transfer(law.terms(sensitive_categories=[5])),
        )
        assert [group.keys for group in summed(law.mainland, dimension)] == [(k,) for k in keys]

    def test_of_several_dimensions_every_pair_that_occurs(self, law: LawWorld) -> None:
        law.mainland.append(
            law.transfer(law.terms(purposes=[2], categories=[1])),
            law.transfer(law.terms(purposes=[7], categories=[1, 7])),
        )
        groups = summed(law.mainland, Dimension.PURPOSE, Dimension.CATEGORY)
        assert [group.keys for group in groups] == [("2", "1"), ("7", "1"), ("7", "7")]

    def test_a_finding_counts_under_whom_it_concerns(self, law: LawWorld) -> None:
        law.mainland.place(law.transfer(at=1))
        findings = Clause(Field.KIND, frozenset((code(KIND_NUMBERS["finding"]),)))
        groups = summed(law.mainland, Dimension.INSTITUTION, Dimension.RULE, clause=findings)
        assert (EXPORTER, "L1.recorded_late") in [group.keys for group in groups]

    def test_days_are_of_utc_8(self, law: LawWorld) -> None:
        """23:30 UTC of 31 August is 1 September."""
        law.clock.now = at("2026-09-01", "07:30:00.000000")
        law.mainland.place(law.transfer())
        days = summed(law.mainland, Dimension.DAY, Dimension.MONTH)
        assert [group.keys for group in days] == [("20260901", "202609")]

    def test_more_groups_than_are_kept_are_refused(
        self, law: LawWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(summary, "MAX_GROUPS", 2)
        law.mainland.place(law.transfer(law.terms(purposes=[1, 2, 3])))
        with pytest.raises(FieldError) as caught:
            summed(law.mainland, Dimension.PURPOSE)
        assert caught.value.reason == "TOO_MANY_GROUPS"


class TestFigures:
    def test_sums_of_a_few(self, world: World) -> None:
        world.mainland.append(
            world.transfer(world.terms(subjects=10, subjects_first_this_year=4)),
            world.transfer(
                world.terms(
                    subjects=30, subjects_first_this_year=5, sensitive_subjects=7,
                    sensitive_first_this_year=2, minors_present=True,
                )
            ),
        )  # fmt: skip
        assert total(world.mainland) == Group((), 2, 2, 40, 9, 7, 2, 30, 1)

    def test_several_purposes_count_under_each(self, world: World) -> None:
        world.mainland.place(world.transfer(world.terms(purposes=[2, 7], subjects=500)))
        groups = summed(world.mainland, Dimension.PURPOSE)
        assert [(group.keys, group.transfers, group.subjects) for group in groups] == [
            (("2",), 1, 500), (("7",), 1, 500),
        ]  # fmt: skip

    def test_other_entries_are_no_transfers(self, world: World) -> None:
        assert total(world.mainland, clause=None)[:3] == ((), 3, 0)


class TestOnce:
    """A transfer counts once, by what its author has stated last."""

    def test_corrected_with_its_newest_figures(self, world: World) -> None:
        node, terms = world.mainland, world.terms(subjects=1200)
        node.place(world.transfer(terms))
        before = node.size
        node.place(world.correction(node, changed(terms, subjects=700)))
        node.place(world.correction(node, changed(terms, subjects=800)))
        figures = [total(node, size)[1:4] for size in (before, before + 1, node.size)]
        assert figures == [(1, 1, 1200), (1, 1, 700), (1, 1, 800)]

    def test_cancelled_not_at_all(self, world: World) -> None:
        node, terms = world.mainland, world.terms()
        node.place(world.transfer(terms))
        before = node.size
        node.place(world.cancel(terms))
        assert [total(node, size)[1:3] for size in (before, node.size)] == [(1, 1), (1, 0)]

    def test_cancelled_after_it_was_matched_on_both_sides(self, world: World) -> None:
        """The data is there: its recipient has said so, and it stays matched."""
        terms = world.terms(subjects=1200)
        world.mainland.place(world.transfer(terms))
        world.hong_kong.place(world.ack(terms))
        world.clock.advance(1)
        world.anchor()
        world.mainland.place(world.cancel(terms))
        world.anchor()
        figures = total(world.mainland)[2:4], total(world.hong_kong, clause=ACKS)[2:4]
        assert figures == ((1, 1200), (1, 1200))

    def test_cancelled_by_the_peer_not_at_all(self, world: World) -> None:
        """As of when that was known."""
        node, terms = world.hong_kong, world.terms()
        world.mainland.append(world.transfer(terms), world.cancel(terms))
        world.clock.advance(1)
        node.place(world.ack(terms))
        before = node.size
        world.anchor(node)
        figures = [total(node, size, clause=ACKS)[1:3] for size in (before, node.size)]
        assert figures == [(1, 1), (1, 0)]

    def test_sent_twice_once(self, world: World) -> None:
        terms = world.terms()
        world.mainland.append(world.transfer(terms), world.transfer(terms))
        assert total(world.mainland)[1:3] == (2, 1)

    def test_acknowledged_at_the_recipients_side(self, world: World) -> None:
        world.hong_kong.place(world.ack(world.terms(subjects=500)))
        assert total(world.hong_kong, clause=ACKS)[1:4] == (1, 1, 500)

    def test_rejected_not_at_all(self, world: World) -> None:
        world.hong_kong.place(world.ack(world.terms(), outcome=pb.OUTCOME_REJECTED))
        assert total(world.hong_kong, clause=ACKS)[1:3] == (1, 0)

    def test_in_part_and_then_whole_once(self, world: World) -> None:
        terms = world.terms()
        world.hong_kong.place(world.ack(terms, outcome=pb.OUTCOME_PARTIAL))
        world.hong_kong.place(world.ack(terms))
        assert total(world.hong_kong, clause=ACKS)[1:3] == (2, 1)

    def test_rejected_and_then_accepted_once(self, world: World) -> None:
        terms = world.terms()
        world.hong_kong.place(world.ack(terms, outcome=pb.OUTCOME_REJECTED))
        world.hong_kong.place(world.ack(terms))
        assert total(world.hong_kong, clause=ACKS)[1:3] == (2, 1)


class TestAStranger:
    """An institution that states halves of what was sent to another."""

    @pytest.fixture
    def stranger(self, world: World) -> Institution:
        return world.hong_kong.enrol("hkbr.STRANGER", place=HONG_KONG_PLACE)

    def acknowledged(self, world: World, stranger: Institution) -> pb.Transfer:
        """The stranger's ACK of 900 comes before the recipient's of 1,200."""
        terms = world.terms(subjects=1200)
        world.mainland.place(world.transfer(terms))
        stated = pb.Terms.FromString(terms.terms)
        stated.recipient.institution, stated.subjects = stranger.id, 900
        ack = world._border.ack(pb.Transfer(terms=encode_message(stated)))
        world.hong_kong.append(world.hong_kong.by(stranger, ack=ack), world.ack(terms))
        return pb.Transfer(terms=ack.terms)

    def by_institution(self, world: World) -> dict[str, tuple[int, ...]]:
        groups = summed(world.hong_kong, Dimension.INSTITUTION, clause=None)
        return {group.keys[0]: group[2:4] for group in groups if group.transfers}

    def test_takes_no_place_of_the_recipients(self, world: World, stranger: Institution) -> None:
        self.acknowledged(world, stranger)
        world.anchor()
        assert self.by_institution(world) == {world.recipient.id: (1, 1200)}

    def test_is_counted_beside_it_while_nobody_knows_whose_it_is(
        self, world: World, stranger: Institution
    ) -> None:
        self.acknowledged(world, stranger)
        assert self.by_institution(world) == {
            world.recipient.id: (1, 1200), stranger.id: (1, 900),
        }  # fmt: skip

    def test_corrects_nothing_but_its_own(self, world: World, stranger: Institution) -> None:
        node, terms = world.hong_kong, self.acknowledged(world, stranger)
        corrects = make_record_id(world.clock(), bytes(10))
        correction = pb.Correction(terms=changed(terms, subjects=950).terms, corrects=corrects)
        node.place(node.by(stranger, correction=correction))
        assert self.by_institution(world)[world.recipient.id] == (1, 1200)


class TestAGrant:
    def test_shows_no_figures_of_a_correction_that_it_does_not_cover(self, world: World) -> None:
        node, terms = world.mainland, world.terms(subjects=1200)
        node.place(world.transfer(terms))
        node.place(world.correction(node, changed(terms, subjects=777)))
        assert summed(node, clause=None, grant=(TRANSFERS,))[0].subjects == 1200


class TestStretches:
    """One call counts a few entries, so that none takes long."""

    @pytest.mark.parametrize(
        ("bound", "number"), [("_STRETCH", 2), ("_STRETCH_KEYS", 4)], ids=["entries", "keys"]
    )
    def test_end_after_so_many(
        self, world: World, monkeypatch: pytest.MonkeyPatch, bound: str, number: int
    ) -> None:
        monkeypatch.setattr(summary, bound, number)
        node = world.mainland
        first = node.size
        node.append(*(world.transfer(world.terms(purposes=[2, 7])) for _ in range(5)))
        counted = start(node, Dimension.PURPOSE)
        assert list(stretches(node, counted)) == [first + 2, first + 4, first + 5]
        assert [group.entries for group in counted.groups()] == [5, 5]

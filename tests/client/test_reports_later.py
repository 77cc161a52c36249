"""Reports of what comes days later, of what was really erased, and at the edge of a real grant."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("ledgerd") is None:
    pytest.skip("the SDK is tested alone", allow_module_level=True)

from builders import SHENZHEN, Institution, new_key
from client.counter import Counter
from ledger.law_world import CONTRACT_ID, EXPORTER, RECIPIENT, LawWorld, at
from ledger.world import Node

from ledgerd.ledger import search
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.bundle import Bundle, verify_bundle, with_state
from ledgerd_client.bundle.gathering import gather_as_regulator
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.remains import order_digest
from ledgerd_client.core.transfer import ref_of
from ledgerd_client.regulator import Query, RegulatorClient
from ledgerd_client.reports import make
from ledgerd_client.reports.model import Report

GUANGZHOU = 440100


@pytest.fixture
def law() -> LawWorld:
    return LawWorld()


@pytest.fixture
def mainland(law: LawWorld, tmp_path: Path) -> Counter:
    return Counter(law, law.mainland, tmp_path)


@pytest.fixture
def hong_kong(law: LawWorld, tmp_path: Path) -> Counter:
    return Counter(law, law.hong_kong, tmp_path)


async def report(client: RegulatorClient, name: str, **parameters: tuple[str, ...]) -> Report:
    return await make(name, client, parameters, await client.checkpoint())


async def rows(
    client: RegulatorClient, name: str, *columns: str, table: int = 0, **parameters: tuple[str, ...]
) -> list[tuple[Any, ...]]:
    made = (await report(client, name, **parameters)).tables[table]
    places = [[column.name for column in made.columns].index(column) for column in columns]
    return [tuple(row[place] for place in places) for row in made.rows]


def ref(terms: pb.Transfer) -> bytes:
    return ref_of(pb.Terms.FromString(terms.terms))


def corrected(law: LawWorld, index: int, terms: pb.Transfer, **changes: Any) -> None:
    """Have the exporter state other terms of a transfer."""
    stated = pb.Terms.FromString(terms.terms)
    for name, value in changes.items():
        setattr(stated, name, value)
    corrects = law.mainland.body(index).record_id
    correction = pb.Correction(terms=encode_message(stated), corrects=corrects)
    law.mainland.place(law.by_exporter(correction=correction))


class TestFilings:
    """Report 4."""

    async def test_that_is_overdue_is_found_when_its_day_has_passed(
        self, law: LawWorld, mainland: Counter
    ) -> None:
        law.mainland.append(law.contract(), law.pipia())
        async with mainland.client() as client:
            before = await rows(client, "filing", "rule")
            law.tick(law.mainland, at("2026-08-25"))
            found = await rows(client, "filing", "rule", "contract_id", "place", "age_days")
        assert (before, found) == ([], [("K4.overdue", CONTRACT_ID, SHENZHEN, 0)])

    async def test_that_comes_later_cures_it_and_is_late(
        self, law: LawWorld, mainland: Counter
    ) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.tick(law.mainland, at("2026-08-25"))
        filing = law.mainland.place(law.filing(20260825))
        async with mainland.client() as client:
            stands = await rows(client, "filing", "rule")
            every = dict(await rows(client, "filing", "rule", "closed_by", all=("yes",)))
        assert stands == [("K4.filed_late",)]
        assert every["K4.overdue"] > filing

    async def test_of_one_party_alone_is_found_weeks_later(
        self, law: LawWorld, mainland: Counter
    ) -> None:
        law.mainland.append(law.contract(), law.filing(20260803), law.pipia())
        law.clock.now = at("2026-09-20")
        law.anchor(law.mainland)
        async with mainland.client() as client:
            found = await rows(client, "filing", "rule", "contract_id")
        assert set(found) == {("C1.one_sided", CONTRACT_ID)}


class TestUnanswered:
    """Report 5."""

    async def test_is_of_a_place(self, law: LawWorld, mainland: Counter) -> None:
        """That of the institution on this side, as it is registered."""
        terms = law.terms()
        law.mainland.place(law.transfer(terms))
        async with mainland.client() as client:
            here = await rows(client, "unanswered", "ref", place=(str(SHENZHEN),))
            named = await rows(client, "unanswered", "ref", place=("Shenzhen",))
            elsewhere = await rows(client, "unanswered", "ref", place=(str(GUANGZHOU),))
        assert (here, named, elsewhere) == ([(ref(terms).hex(),)], [(ref(terms).hex(),)], [])

    async def test_is_so_from_the_deadline_on_and_until_it_is_answered(
        self, law: LawWorld, mainland: Counter
    ) -> None:
        law.agree()
        terms = law.terms()
        law.mainland.place(law.transfer(terms))
        states = []
        async with mainland.client() as client:
            for day in ("2026-08-03", "2026-08-09", "2026-08-20"):
                law.clock.now = max(law.clock(), at(day))
                if day == "2026-08-20":
                    law.hong_kong.place(law.ack(terms))
                law.anchor(law.mainland)
                states.append(await rows(client, "unanswered", "state", "halves_proven"))
        assert states == [[("open", 1)], [("unacknowledged", 1)], []]


class TestShortPages:
    """A page by states or findings may be short, or empty, and more follow."""

    @pytest.mark.parametrize("name", ["unanswered", "filing"])
    async def test_make_the_same_report(
        self, law: LawWorld, mainland: Counter, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        law.mainland.append(law.contract(), law.pipia())
        law.mainland.append(*(law.transfer() for _ in range(5)))
        law.tick(law.mainland, at("2026-08-25"))
        async with mainland.client() as client:
            checkpoint = await client.checkpoint()
            whole = await make(name, client, {}, checkpoint)
            monkeypatch.setattr(search, "MOST_PASSED", 2)
            assert (await make(name, client, {}, checkpoint)).to_json() == whole.to_json()
        assert whole.tables[0].rows

    async def test_newest_first_find_the_same(
        self, law: LawWorld, mainland: Counter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        places = [law.mainland.place(law.transfer()) for _ in range(5)]
        law.mainland.append(*(law.mainland.by_node(tick=pb.Tick()) for _ in range(5)))
        monkeypatch.setattr(search, "MOST_PASSED", 2)
        query = Query(states=("open",), newest_first=True)
        async with mainland.client() as client:
            found = [entry.index async for entry in client.entries(query, proof=True)]
        assert found == places[::-1]


class TestSensitiveData:
    """Report 8."""

    async def test_is_what_was_stated_last_days_later(
        self, law: LawWorld, mainland: Counter
    ) -> None:
        law.agree()
        fields = {
            "sensitive_categories": [5], "sensitive_subjects": 300,
            "sensitive_first_this_year": 300, "legal_basis": 1, "consent_form": 3,
        }  # fmt: skip
        terms = law.terms(**fields)
        index = law.mainland.place(law.transfer(terms))
        columns = ("institution", "transfers", "sensitive_subjects")
        async with mainland.client() as client:
            at_first = await client.checkpoint()
            law.clock.now = at("2026-08-12")
            corrected(law, index, terms, sensitive_subjects=200, sensitive_first_this_year=200)
            now = await rows(client, "sensitive", *columns)
            then = (await make("sensitive", client, {}, at_first)).tables[0]
            law.clock.now = at("2026-08-19")
            law.mainland.place(law.cancel(terms))
            cancelled = await rows(client, "sensitive", *columns)
        names = [column.name for column in then.columns]
        assert now == [(EXPORTER, 1, 200)]
        assert then.rows[0][names.index("sensitive_subjects")] == 300
        assert cancelled == []


class TestDisposal:
    """Report 10, on the recipient's side."""

    async def test_is_overdue_once_its_day_has_passed_and_until_it_is_stated(
        self, law: LawWorld, hong_kong: Counter
    ) -> None:
        law.agree()
        terms = law.terms(delete_by=20260820)
        law.hong_kong.place(law.ack(terms))
        found = []
        async with hong_kong.client() as client:
            for day in ("2026-08-20", "2026-08-28"):
                law.tick(law.hong_kong, at(day))
                found.append(await rows(client, "disposal", "rule", "institution", "place"))
            law.hong_kong.place(law.disposal(1, 1200))
            found.append(await rows(client, "disposal", "rule"))
            every = await rows(client, "disposal", "rule", all=("yes",))
        assert found[0] == []
        assert found[1] == [("K16.overdue", RECIPIENT, 810000)]
        assert ("K16.overdue",) not in found[2]
        assert ("K16.overdue",) in every


class TestAGrantOfOnePlace:
    """Of a transfer whose halves were signed here and there: its exporter has moved."""

    @pytest.fixture
    def both(self, law: LawWorld) -> pb.Transfer:
        terms = law.terms()
        law.mainland.place(law.transfer(terms))
        node, old, key = law.mainland, law.exporter, new_key()
        event = node.log.rotation(old, key, place=GUANGZHOU)
        admitted = node.place(node.by_authority(key_event=event))
        law.exporter = Institution(old.origin, old.id, key, admitted)
        node.place(law.cancel(terms))
        return terms

    async def test_shows_the_other_half_as_outside_without_its_content(
        self, mainland: Counter, both: pb.Transfer
    ) -> None:
        async with mainland.client("of.guangzhou", places=[GUANGZHOU]) as client:
            file = await client.transfer(ref(both))
        shown = [(half.withheld, half.body is None) for half in file.halves]
        assert shown == [(True, True), (False, False)]

    async def test_has_a_proof_of_each(self, mainland: Counter, both: pb.Transfer) -> None:
        async with mainland.client("of.guangzhou", places=[GUANGZHOU]) as client:
            file = await client.transfer(ref(both))
        assert [half.receipt.index for half in file.halves] == [
            half.header.index for half in file.halves
        ]

    async def test_makes_a_bundle_of_both_without_that_body(
        self, mainland: Counter, both: pb.Transfer
    ) -> None:
        async with mainland.client("of.guangzhou", places=[GUANGZHOU]) as client:
            side = await gather_as_regulator(client, ref(both), bodies=True)
        bundle = with_state(Bundle(ref(both), "", (side,)), mainland.trust)
        (verified,) = verify_bundle(bundle, mainland.trust).sides
        assert [half.body is None for half in verified.halves] == [True, False]


class TestAfterAnErasure:
    @pytest.fixture
    def erased(self, law: LawWorld) -> pb.Transfer:
        """A matched transfer whose TRANSFER was erased, long after."""
        law.mainland.append(law.contract(expires_on=20260901), law.filing(20260803), law.pipia())
        law.hong_kong.place(law.counterpart(expires_on=20260901))
        terms = law.terms()
        index = law.mainland.place(law.transfer(terms))
        law.hong_kong.place(law.ack(terms))
        law.anchor()
        law.clock.now = at("2029-09-02")
        erase(law, law.mainland, index)
        return terms

    @pytest.mark.parametrize("bodies", [True, False])
    async def test_a_bundle_of_both_sides_verifies_without_the_body(
        self, mainland: Counter, hong_kong: Counter, erased: pb.Transfer, bodies: bool
    ) -> None:
        bundle, trust = None, mainland.trust
        for counter in (mainland, hong_kong):
            async with counter.client() as client:
                side = await gather_as_regulator(client, ref(erased), bodies=bodies)
            bundle = bundle.with_side(side) if bundle else Bundle(ref(erased), "", (side,))
        assert bundle is not None
        verified = verify_bundle(Bundle.parse(with_state(bundle, trust).format()), trust)
        present = {
            side.origin: [half.body is not None for half in side.halves] for side in verified.sides
        }
        assert verified.state == "matched"
        assert present == {
            mainland.node.log.origin: [False], hong_kong.node.log.origin: [bodies],
        }  # fmt: skip

    async def test_a_transfer_is_shown_with_why_its_body_is_gone(
        self, mainland: Counter, erased: pb.Transfer
    ) -> None:
        async with mainland.client() as client:
            own = (await client.transfer(ref(erased))).halves[0]
        assert own.erased is not None
        assert own.erased.reason == "kept long enough"

    async def test_reports_count_it_as_before(self, mainland: Counter, erased: pb.Transfer) -> None:
        async with mainland.client() as client:
            made = await report(client, "volumes")
        assert made.tables[0].rows[0][:4] == (EXPORTER, 2026, 1, 1200)


def erase(law: LawWorld, node: Node, index: int) -> None:
    order = encode_message(
        pb.ErasureOrder(
            origin=node.log.origin,
            order_id=bytes(16),
            institution=law.exporter.id,
            indexes=[index],
            reason="kept long enough",
            ordered_at=law.clock(),
        )
    )
    signature = node.log.authority.sign(order_digest(node.log.origin, order))
    erasure = node.reader.erasure(order, signature)
    assert isinstance(erasure, pb.Erasure)
    node.place(node.by_node(erasure=erasure))

"""What a regulator sees by its grant, and no more: who, where, of what kind, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api.office import Office, grant
from builders import Institution, new_key
from grants import EntryFacts, facts_of_entry, visible
from hypothesis import given
from hypothesis import strategies as st
from ledger.law_world import LawWorld
from ledger.world import Node, World

from ledgerd.api.asking import Asker, grant_clauses
from ledgerd.ledger.indexer import asked_by
from ledgerd.ledger.search import covers
from ledgerd.projections.postings import Field, Postings, code, posting
from ledgerd.rules.ruleset import HOUR
from ledgerd.store.memory import MemoryStore
from ledgerd_client._proto import body_pb2
from ledgerd_client.core.errors import ForbiddenError, NotFoundError
from ledgerd_client.core.grant import NOBODYS, PUBLIC
from ledgerd_client.core.supervision import KIND_NUMBERS as KINDS

SHENZHEN, GUANGZHOU = 440300, 440100
BANK, HOSPITAL = 1, 3
ALL = [KINDS["transfer"], KINDS["finding"], KINDS["query_log"], KINDS["key_event"]]


class Clinic:
    """A second institution: a hospital in Guangzhou, which sends under no contract."""

    def __init__(self, world: LawWorld) -> None:
        self.node = world.mainland
        self.who = self.node.enrol("uscc.12440100MB0000001U", place=GUANGZHOU, sector=HOSPITAL)
        exporter, world.exporter = world.exporter, self.who
        world._border.exporter = self.who
        self.sent = self.node.place(world.transfer(world.terms(contract_id="NONE")))
        world._border.exporter = world.exporter = exporter


@pytest.fixture(scope="module")
def law() -> LawWorld:
    """A bank in Shenzhen and a hospital in Guangzhou, and what is found of either."""
    world = LawWorld()
    world.agree()
    world.mainland.place(world.transfer(world.terms(delete_by=0)))
    Clinic(world)
    for regulator in ("bank.office", "city.office"):
        asked = body_pb2.Asked(method="x", digest=bytes(32), times=1)
        query_log = body_pb2.QueryLog(regulator=regulator, since=1, asked=[asked])
        world.mainland.place(world.mainland.by_node(query_log=query_log))
    return world


@pytest.fixture(scope="module")
def office(law: LawWorld) -> Iterator[Office]:
    office = Office(law.mainland, law.hong_kong)
    office.admit("whole")
    office.admit("bank.office", sectors=[BANK])
    office.admit("city.office", places=[GUANGZHOU])
    office.admit("both.office", places=[GUANGZHOU, SHENZHEN], sectors=[BANK, HOSPITAL])
    office.admit("nowhere", places=[GUANGZHOU], sectors=[BANK])
    office.admit("of.findings", kinds=[KINDS["finding"]])
    yield office
    office.close()


def authors(node: Node, found: list[int]) -> set[str]:
    """The institutions whose records are among entries, or whom findings among them concern."""
    bodies = [node.body(index) for index in found]
    named = {body.finding.institution or body.author for body in bodies}
    return {name for name in named if name.startswith("uscc.")}


class TestARegulator:
    async def test_of_banks_sees_banks_and_no_hospital(self, office: Office, law: LawWorld) -> None:
        found = await office.indexes("bank.office")
        assert authors(law.mainland, found) == {law.exporter.id}

    async def test_of_a_city_sees_its_city(self, office: Office, law: LawWorld) -> None:
        found = await office.indexes("city.office")
        assert authors(law.mainland, found) == {"uscc.12440100MB0000001U"}

    async def test_of_several_places_and_sectors_sees_all_of_them(
        self, office: Office, law: LawWorld
    ) -> None:
        assert len(authors(law.mainland, await office.indexes("both.office"))) == 2

    async def test_sees_what_is_in_all_of_its_lists(self, office: Office, law: LawWorld) -> None:
        assert authors(law.mainland, await office.indexes("nowhere")) == set()

    async def test_of_findings_sees_findings_alone(self, office: Office, law: LawWorld) -> None:
        found = await office.indexes("of.findings")
        assert {law.mainland.body(i).WhichOneof("record") for i in found} == {"finding"}

    async def test_sees_the_keys_of_everybody(self, office: Office) -> None:
        kinds = [KINDS["key_event"]]
        assert await office.indexes("nowhere", kinds=kinds) == await office.indexes(
            "whole", kinds=kinds
        )

    async def test_sees_what_it_asked_itself_and_no_other(
        self, office: Office, law: LawWorld
    ) -> None:
        found = await office.indexes("bank.office", kinds=[KINDS["query_log"]])
        assert [law.mainland.body(i).query_log.regulator for i in found] == ["bank.office"]

    async def test_of_everything_sees_what_all_of_them_asked(self, office: Office) -> None:
        assert len(await office.indexes("whole", kinds=[KINDS["query_log"]])) == 2

    async def test_of_everything_sees_every_entry(self, office: Office) -> None:
        assert await office.indexes("whole") == list(range(office.node.size))


class TestAnInstitution:
    async def test_that_moved_is_of_the_place_that_each_key_was_admitted_with(self) -> None:
        world = World()
        before = world.mainland.place(world.transfer())
        key, node = new_key(), world.mainland
        event = node.log.rotation(world.exporter, key, place=GUANGZHOU)
        index = node.place(node.by_authority(key_event=event))
        moved = Institution(node.log.origin, world.exporter.id, key, index)
        after = node.place(node.by(moved, transfer=world.terms()))
        office = Office(node, world.hong_kong)
        office.admit("old", places=[SHENZHEN])
        office.admit("new", places=[GUANGZHOU])
        kinds = [KINDS["transfer"]]
        assert [await office.indexes(who, kinds=kinds) for who in ("old", "new")] == [
            [before], [after],
        ]  # fmt: skip

    async def test_is_concerned_by_the_findings_on_its_transfers(self, law: LawWorld) -> None:
        office = Office(law.mainland, law.hong_kong)
        office.admit("city", places=[GUANGZHOU])
        found = await office.indexes("city", kinds=[KINDS["finding"]])
        assert authors(law.mainland, found) == {"uscc.12440100MB0000001U"}


class TestAQueryThatNames:
    @pytest.mark.parametrize(
        ("regulator", "query"),
        [
            ("bank.office", {"sectors": [HOSPITAL]}),
            ("bank.office", {"sectors": [BANK, HOSPITAL]}),
            ("city.office", {"places": [SHENZHEN]}),
            ("of.findings", {"kinds": [KINDS["transfer"]]}),
            ("both.office", {"places": [810000]}),
        ],
    )
    async def test_what_the_grant_does_not_cover_is_forbidden(
        self, office: Office, regulator: str, query: dict[str, Any]
    ) -> None:
        with pytest.raises(ForbiddenError) as caught:
            await office.entries(regulator, **query)
        assert caught.value.reason == "GRANT"

    async def test_a_part_of_the_grant_gets_that_part(self, office: Office, law: LawWorld) -> None:
        found = await office.indexes("both.office", places=[GUANGZHOU])
        assert authors(law.mainland, found) == {"uscc.12440100MB0000001U"}

    async def test_another_institution_finds_nothing_of_it(
        self, office: Office, law: LawWorld
    ) -> None:
        assert await office.indexes("city.office", institutions=[law.exporter.id]) == []


class TestATransfer:
    async def test_that_is_not_covered_is_not_found_word_for_word(
        self, office: Office, law: LawWorld
    ) -> None:
        index = law.mainland.place(law.transfer(law.terms()))
        ref = law.mainland.header(index).halves.ref  # type: ignore[union-attr]
        said = []
        for asked in (ref, bytes(32)):
            with pytest.raises(NotFoundError) as caught:
                await office.transfer(asked, "city.office")
            said.append((caught.value.message.replace(asked.hex(), "REF"), caught.value.reason))
        assert said[0] == said[1]

    async def test_that_is_covered_is_shown(self, office: Office, law: LawWorld) -> None:
        index = law.mainland.place(law.transfer(law.terms()))
        ref = law.mainland.header(index).halves.ref  # type: ignore[union-attr]
        assert (await office.transfer(ref, "bank.office")).halves[0].body

    async def test_of_kinds_that_are_not_covered_is_not_found(
        self, office: Office, law: LawWorld
    ) -> None:
        index = law.mainland.place(law.transfer(law.terms()))
        ref = law.mainland.header(index).halves.ref  # type: ignore[union-attr]
        with pytest.raises(NotFoundError):
            await office.transfer(ref, "of.findings")

    async def test_of_which_one_half_is_covered_is_shown_without_the_others_body(
        self, office: Office, law: LawWorld
    ) -> None:
        terms = law.terms()
        index = law.mainland.place(law.transfer(terms))
        law.mainland.place(law.mainland.by(law.exporter, cancel=body_pb2.Cancel(terms=terms.terms)))
        ref = law.mainland.header(index).halves.ref  # type: ignore[union-attr]
        office.admit("of.cancels", kinds=[KINDS["cancel"]])
        shown = (await office.transfer(ref, "of.cancels")).halves
        assert [(bool(half.header), bool(half.body), half.withheld) for half in shown] == [
            (True, False, True), (True, True, False),
        ]  # fmt: skip


class TestAContract:
    async def test_that_is_not_covered_is_not_found(self, office: Office) -> None:
        with pytest.raises(NotFoundError):
            await office.contracts("GBA-2026-0042", "city.office")

    async def test_that_is_covered_is_shown(self, office: Office) -> None:
        assert len(await office.contracts("GBA-2026-0042", "bank.office")) == 1


class TestFollowing:
    async def test_gives_every_header_and_withholds_what_is_not_covered(
        self, office: Office
    ) -> None:
        size = office.node.size
        entries = [entry async for reply in office.follow("bank.office") for entry in reply.entries]
        shown = await office.indexes("bank.office", end=size, page={"page_size": 500})
        assert len(entries) == size
        assert [i for i, entry in enumerate(entries) if entry.body] == shown
        assert [i for i, e in enumerate(entries) if not e.withheld] == shown


# -- when ---------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def fresh(world: World) -> Iterator[Office]:
    office = Office(world.mainland, world.hong_kong)
    yield office
    office.close()


async def reason(office: Office) -> str:
    try:
        await office.entries(end=1)
    except ForbiddenError as error:
        return error.reason
    return ""


class TestItsTime:
    @pytest.mark.parametrize(
        ("offset", "expected"),
        [(-1, "GRANT_NOT_YET"), (0, ""), (HOUR - 1, ""), (HOUR, "GRANT_EXPIRED")],
    )
    async def test_is_from_valid_from_until_just_before_valid_until(
        self, world: World, fresh: Office, offset: int, expected: str
    ) -> None:
        begin = world.clock() + HOUR
        fresh.admit(valid_from=begin, valid_until=begin + HOUR)
        world.clock.now = begin + offset
        assert await reason(fresh) == expected

    async def test_does_not_come_back_with_a_clock_that_is_set_back(
        self, world: World, fresh: Office
    ) -> None:
        fresh.admit(valid_until=world.clock() + HOUR)
        world.clock.advance(2)
        world.mainland.place(world.transfer())
        world.clock.advance(-2)
        assert await reason(fresh) == "GRANT_EXPIRED"


def rotated(office: Office, old: Institution, **limits: Any) -> None:
    """Give a regulator a new key, with another grant."""
    log, node = office.node.log, office.node
    event = log.rotation(old, new_key(), role=body_pb2.ROLE_REGULATOR, grant=grant(**limits))
    node.place(node.by_authority(key_event=event))
    office.keyring.refresh()


class TestANewGrant:
    async def test_takes_the_place_of_the_old_one(self, world: World, fresh: Office) -> None:
        old = fresh.admit()
        rotated(fresh, old, sectors=[HOSPITAL])
        assert await fresh.refusal(sectors=[BANK]) == "GRANT"

    async def test_of_another_key_is_the_newest_one(self, fresh: Office) -> None:
        fresh.admit()
        fresh.admit(sectors=[HOSPITAL])
        assert await fresh.refusal(sectors=[BANK]) == "GRANT"


class TestATailUnderWay:
    async def test_ends_when_the_grant_does(self, world: World, fresh: Office) -> None:
        fresh.admit(valid_until=world.clock() + HOUR)
        tail = fresh.tail()
        first = [await anext(tail) for _ in range(world.mainland.size)]
        world.mainland.place(world.transfer())
        world.clock.advance(1)
        with pytest.raises(ForbiddenError) as caught:
            await anext(tail)
        assert (caught.value.reason, first[-1].entry.index) == ("GRANT_EXPIRED", len(first) - 1)

    async def test_ends_when_the_key_is_revoked(self, world: World, fresh: Office) -> None:
        regulator = fresh.admit()
        tail = fresh.tail()
        for _ in range(world.mainland.size):
            await anext(tail)
        event = fresh.node.log.revocation(
            regulator, role=body_pb2.ROLE_REGULATOR, place=0, sector=0
        )
        world.mainland.place(world.mainland.by_authority(key_event=event))
        fresh.keyring.refresh()
        with pytest.raises(ForbiddenError) as caught:
            await anext(tail)
        assert caught.value.reason == "NOT_ADMITTED"

    async def test_is_narrower_from_the_next_batch_on(self, world: World, fresh: Office) -> None:
        regulator = fresh.admit()
        tail = fresh.tail()
        for _ in range(world.mainland.size):
            await anext(tail)
        rotated(fresh, regulator, sectors=[HOSPITAL])
        world.mainland.place(world.transfer())
        hospital = fresh.node.enrol("uscc.12440100MB0000001U", sector=HOSPITAL)
        # The two keys, which everybody sees; the bank's transfer between them is not sent.
        seen = [(await anext(tail)).entry.index for _ in range(2)]
        assert seen == [hospital.admitted_at - 2, hospital.admitted_at]


# -- what each list does ------------------------------------------------------------------------

TRANSFER, FINDING, QUERY_LOG = (KINDS[kind] for kind in ("transfer", "finding", "query_log"))


def facts(
    kind: int = TRANSFER,
    places: tuple[int, ...] = (SHENZHEN,),
    sectors: tuple[int, ...] = (BANK,),
    asked_by: str = "",
) -> EntryFacts:
    return EntryFacts(kind, frozenset(places), frozenset(sectors), asked_by)


PUBLICS = facts(17, (PUBLIC,), (PUBLIC,))
MINE = facts(QUERY_LOG, (NOBODYS,), (NOBODYS,), "cac")
ANOTHERS = facts(QUERY_LOG, (NOBODYS,), (NOBODYS,), "hkma")
OF_NOBODY = facts(FINDING, (), ())

# A grant, an entry, and whether the one covers the other.
COVERS: list[tuple[dict[str, Any], EntryFacts, bool]] = [
    ({}, facts(), True),
    ({}, OF_NOBODY, True),
    ({}, ANOTHERS, True),
    ({"places": [SHENZHEN]}, facts(), True),
    ({"places": [GUANGZHOU]}, facts(), False),
    ({"places": [GUANGZHOU, SHENZHEN]}, facts(), True),
    ({"places": [GUANGZHOU]}, facts(places=(GUANGZHOU, SHENZHEN)), True),
    ({"places": [GUANGZHOU]}, OF_NOBODY, False),
    ({"sectors": [BANK]}, facts(), True),
    ({"sectors": [BANK]}, facts(sectors=(HOSPITAL,)), False),
    ({"sectors": [BANK, HOSPITAL]}, facts(sectors=(HOSPITAL,)), True),
    ({"places": [SHENZHEN], "sectors": [BANK]}, facts(), True),
    ({"places": [SHENZHEN], "sectors": [HOSPITAL]}, facts(), False),
    ({"places": [GUANGZHOU], "sectors": [BANK]}, facts(), False),
    ({"kinds": [TRANSFER]}, facts(), True),
    ({"kinds": [FINDING]}, facts(), False),
    ({"kinds": [FINDING, TRANSFER], "places": [SHENZHEN]}, facts(), True),
    ({"places": [GUANGZHOU], "sectors": [HOSPITAL]}, PUBLICS, True),
    ({"kinds": [TRANSFER]}, PUBLICS, False),
    ({"places": [SHENZHEN]}, MINE, True),
    ({"sectors": [BANK]}, MINE, True),
    ({"places": [SHENZHEN]}, ANOTHERS, False),
    ({"sectors": [BANK]}, ANOTHERS, False),
    ({"kinds": [TRANSFER]}, MINE, False),
    ({"kinds": [QUERY_LOG]}, ANOTHERS, True),
]


@pytest.mark.parametrize(("limits", "entry", "covered"), COVERS)
def test_a_grant_covers_what_each_of_its_lists_does(
    limits: dict[str, Any], entry: EntryFacts, covered: bool
) -> None:
    limited = grant(**limits)
    clauses = tuple(grant_clauses(Asker("cac", limited)))
    store = MemoryStore(instance=bytes(16))
    with store.write() as transaction:
        postings = Postings()
        postings.add(transaction, tuple(posted(entry)), (0,))
        postings.flush(transaction)
    with store.snapshot() as snapshot:
        said = covers(snapshot, clauses, 0), visible(limited, entry, "cac")
    assert said == (covered, covered)


def posted(entry: EntryFacts) -> Iterator[bytes]:
    """The postings that a grant looks at."""
    yield posting(Field.KIND, code(entry.kind))
    for field, numbers in ((Field.PLACE, entry.places), (Field.SECTOR, entry.sectors)):
        for number in numbers:
            value = asked_by(entry.asked_by) if number == NOBODYS else code(number)
            yield posting(field, value)


# -- the same, said twice -----------------------------------------------------------------------

LIMITS = st.fixed_dictionaries({
    "places": st.lists(st.sampled_from([440100, 440300, 810000]), unique=True).map(sorted),
    "sectors": st.lists(st.sampled_from([1, 2, 3]), unique=True).map(sorted),
    "kinds": st.lists(st.sampled_from(sorted(KINDS.values())), unique=True).map(sorted),
})  # fmt: skip


class TestPostings:
    @given(limits=LIMITS, regulator=st.sampled_from(["whole", "bank.office"]))
    def test_cover_what_the_grant_covers(
        self, law: LawWorld, limits: dict[str, Any], regulator: str
    ) -> None:
        """grants.visible says in plain words what the clauses find."""
        node, given_ = law.mainland, grant(**limits)
        clauses = tuple(grant_clauses(Asker(regulator, given_)))
        with node.store.snapshot() as snapshot:
            for index in range(node.size):
                header, body = node.header(index), node.body(index)
                concerned = node.writer.machine.concerned_by(snapshot, body.finding)  # type: ignore[arg-type] # reads only
                facts = facts_of_entry(node.history(), header, body, concerned)
                assert covers(snapshot, clauses, index) == visible(given_, facts, regulator)

"""What a regulator may ask of the entries, and how the answer is paged, proven and dated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from api.office import CAC, NONE, Office, grant
from builders import HONG_KONG, RECIPIENT
from google.protobuf.message import Message
from ledger.law_world import LawWorld
from ledger.world import Node

from ledgerd.api.asking import MAX_VALUES, Asker, read_query
from ledgerd.api.paging import make_token
from ledgerd.projections.postings import Field, code, text
from ledgerd.projections.transfer_row import MAX_HALVES
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import FieldError, ForbiddenError, NotFoundError
from ledgerd_client.core.header import Header
from ledgerd_client.core.merkle import leaf_hash, verify_inclusion
from ledgerd_client.core.note import parse_note
from ledgerd_client.core.ranges import verify_range
from ledgerd_client.core.supervision import KIND_NUMBERS as KINDS

HEADER, BODY, STANDING, PROOF = 1, 2, 3, 4
MORNING = 1_785_720_000_000_000


@pytest.fixture(scope="module")
def law() -> LawWorld:
    """A contract, and what was sent under it: hourly, some of it without a word of receipt."""
    world = LawWorld()
    world.agree()
    for hour in range(6):
        world.clock.advance(1)
        terms = world.terms(purposes=[2], categories=[1, 7] if hour % 2 else [1])
        world.mainland.place(world.transfer(terms))
        if hour < 2:
            world.hong_kong.place(world.ack(terms))
    world.mainland.place(world.transfer(world.terms(contract_id="GBA-OTHER")))
    world.anchor()
    return world


@pytest.fixture(scope="module")
def office(law: LawWorld) -> Iterator[Office]:
    office = Office(law.mainland, law.hong_kong)
    office.admit()
    yield office
    office.close()


def scan(node: Node, wanted: Any) -> list[int]:
    """Indexes of the entries for which wanted(header, body) holds, by looking at each."""
    entries = ((index, node.header(index), node.body(index)) for index in range(node.size))
    return [index for index, header, body in entries if wanted(header, body)]


def of_kind(*kinds: str) -> Any:
    return lambda _, body: body.WhichOneof("record") in kinds


class TestAQuery:
    async def test_of_nothing_finds_every_entry_in_log_order(self, office: Office) -> None:
        assert await office.indexes() == list(range(office.node.size))

    async def test_newest_first_finds_them_the_other_way_round(self, office: Office) -> None:
        assert await office.indexes(newest_first=True) == list(reversed(range(office.node.size)))

    @pytest.mark.parametrize("kind", ["transfer", "finding", "contract", "key_event", "anchor"])
    async def test_of_a_kind_finds_that_kind(self, office: Office, kind: str) -> None:
        assert await office.indexes(kinds=[KINDS[kind]]) == scan(office.node, of_kind(kind))

    async def test_of_two_kinds_finds_both(self, office: Office) -> None:
        found = await office.indexes(kinds=[KINDS["transfer"], KINDS["pipia"]])
        assert found == scan(office.node, of_kind("transfer", "pipia"))

    async def test_of_two_fields_finds_what_has_both(self, office: Office) -> None:
        def with_records(_: Header, body: body_pb2.Body) -> bool:
            terms = body_pb2.Terms.FromString(body.transfer.terms)
            return 7 in terms.categories

        found = await office.indexes(kinds=[KINDS["transfer"]], categories=[7])
        assert found == scan(office.node, with_records)

    async def test_of_an_institution_finds_its_records_and_findings(
        self, office: Office, law: LawWorld
    ) -> None:
        found = await office.indexes(institutions=[law.exporter.id], kinds=[KINDS["finding"]])
        assert found == scan(office.node, of_kind("finding"))

    async def test_of_a_contract_finds_what_names_it(self, office: Office) -> None:
        found = await office.indexes(contract_ids=["GBA-OTHER"], kinds=[KINDS["transfer"]])
        assert len(found) == 1

    async def test_of_a_family_of_rules_finds_each_of_them(self, office: Office) -> None:
        one = await office.indexes(rules=["K3.unknown_contract"])
        assert (bool(one), one) == (True, await office.indexes(rules=["K3"]))

    async def test_of_a_transfer_finds_its_halves_and_findings(
        self, office: Office, law: LawWorld
    ) -> None:
        terms = law.terms()
        index = law.mainland.place(law.transfer(terms))
        ref = law.mainland.header(index).halves
        assert ref is not None
        assert (await office.indexes(refs=[ref.ref]))[0] == index

    async def test_from_and_until_bound_recorded_at(self, office: Office) -> None:
        times = [office.node.header(index).recorded_at for index in range(office.node.size)]
        since, until = times[4], times[-1]
        found = await office.indexes(**{"from": since, "until": until})
        assert found == [i for i, time in enumerate(times) if since <= time < until]

    async def test_first_and_end_bound_the_index(self, office: Office) -> None:
        assert await office.indexes(first=2, end=5) == [2, 3, 4]

    async def test_may_end_at_the_end(self, office: Office) -> None:
        size = office.node.size
        assert await office.indexes(first=size - 1, end=size) == [size - 1]

    async def test_is_put_on_record_with_the_size_of_its_answer(self, office: Office) -> None:
        await office.indexes(kinds=[KINDS["pipia"]])
        regulator, method, _, size = office.recorder.noted[-1]
        assert (regulator, method, size) == (
            CAC, "RegulatorService/ListEntries", office.node.size,
        )  # fmt: skip


# Each field of Query: where it is looked up, and by which values.
FIELDS = [
    ({"institutions": ["a", "b"]}, Field.INSTITUTION, {text("a"), text("b")}),
    ({"counterparties": [RECIPIENT]}, Field.COUNTERPARTY, {text(RECIPIENT)}),
    ({"contract_ids": ["c"]}, Field.CONTRACT, {text("c")}),
    ({"kinds": [18, 26]}, Field.KIND, {code(18), code(26)}),
    ({"directions": [2]}, Field.DIRECTION, {code(2)}),
    ({"places": [440300]}, Field.PLACE, {code(440300)}),
    ({"sectors": [1, 3]}, Field.SECTOR, {code(1), code(3)}),
    ({"categories": [7]}, Field.CATEGORY, {code(7)}),
    ({"sensitive_categories": [1]}, Field.SENSITIVE, {code(1)}),
    ({"purposes": [2, 7]}, Field.PURPOSE, {code(2), code(7)}),
    ({"mechanisms": [1]}, Field.MECHANISM, {code(1)}),
    ({"rules": ["K15.mismatch"]}, Field.RULE, {text("K15.mismatch")}),
    ({"severities": [3]}, Field.SEVERITY, {code(3)}),
    ({"states": ["open", "matched"]}, Field.STATE, {code(0), code(1)}),
    ({"standing": 2}, Field.STANDING, {code(2)}),
]


def read(**query: Any) -> Any:
    asker = Asker(CAC, grant())
    return read_query(pb.Query(**query), asker, origin="here", peer_origin="there")


class TestFields:
    @pytest.mark.parametrize(("query", "field", "values"), FIELDS)
    def test_are_looked_up_each_in_its_own_postings(
        self, query: dict[str, Any], field: Field, values: set[bytes]
    ) -> None:
        assert read(**query).clauses == ((field, frozenset(values)),)

    def test_are_all_in_the_table_above(self) -> None:
        others = {"origin", "checkpoint", "first", "end", "from", "until", "refs", "newest_first"}
        tested = {name for query, _, _ in FIELDS for name in query}
        assert tested | others == set(pb.Query.DESCRIPTOR.fields_by_name)

    def test_of_two_are_both_asked_for(self) -> None:
        asked = read(kinds=[18], purposes=[2])
        assert [clause.field for clause in asked.clauses] == [Field.KIND, Field.PURPOSE]

    @pytest.mark.parametrize(
        "query",
        [
            {"kinds": [15]}, {"directions": [9]}, {"places": [1]}, {"sectors": [10]},
            {"categories": [10_000]}, {"sensitive_categories": [0]}, {"purposes": [10_000]},
            {"mechanisms": [99]}, {"severities": [9]}, {"rules": ["K99"]},
            {"states": ["OPEN"]}, {"states": ["gone"]}, {"standing": 3},
        ],
    )  # fmt: skip
    def test_take_no_unknown_code(self, query: dict[str, Any]) -> None:
        with pytest.raises(FieldError) as caught:
            read(**query)
        assert caught.value.reason == "UNKNOWN_CODE"

    @pytest.mark.parametrize("institution", ["x" * 65, "\u7701" * 22])
    def test_take_no_id_that_is_too_long(self, institution: str) -> None:
        with pytest.raises(FieldError):
            read(institutions=[institution])

    def test_take_no_ref_that_is_no_digest(self) -> None:
        with pytest.raises(FieldError):
            read(refs=[bytes(31)])

    def test_take_a_hundred_values(self) -> None:
        assert read(institutions=[str(i) for i in range(MAX_VALUES)])
        with pytest.raises(FieldError):
            read(institutions=[str(i) for i in range(MAX_VALUES + 1)])

    def test_take_a_hundred_refs(self) -> None:
        assert read(refs=[i.to_bytes(32, "big") for i in range(MAX_VALUES)])
        with pytest.raises(FieldError):
            read(refs=[i.to_bytes(32, "big") for i in range(MAX_VALUES + 1)])


class TestContradictions:
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"from": 2, "until": 2}, ("from", "until")),
            ({"from": 3, "until": 2}, ("from", "until")),
            ({"first": 2, "end": 2}, ("first", "end")),
            ({"rules": ["K3"], "kinds": [18]}, ("rules", "kinds")),
            ({"severities": [1], "kinds": [18]}, ("severities", "kinds")),
            ({"standing": 1, "kinds": [18]}, ("standing", "kinds")),
            ({"states": ["open"], "kinds": [26, 27]}, ("states", "kinds")),
            ({"states": ["open"], "rules": ["K3"]}, ("states", "rules")),
        ],
    )
    def test_are_refused_and_both_fields_named(
        self, query: dict[str, Any], names: tuple[str, str]
    ) -> None:
        with pytest.raises(FieldError) as caught:
            read(**query)
        assert caught.value.reason == "CONTRADICTION"
        assert all(name in caught.value.message for name in names)

    @pytest.mark.parametrize(
        "query",
        [
            {"from": 1, "until": 2}, {"first": 1, "end": 2}, {"until": 5}, {"end": 5},
            {"rules": ["K3"], "kinds": [18, 26]}, {"states": ["open"], "kinds": [18, 27]},
        ],
    )  # fmt: skip
    def test_are_not_seen_where_something_could_match(self, query: dict[str, Any]) -> None:
        assert read(**query)


class TestTheLog:
    async def test_of_the_peer_is_not_shown(self, office: Office) -> None:
        assert await office.refusal(origin=HONG_KONG) == "OTHER_SIDE"

    def test_of_the_peer_is_forbidden(self) -> None:
        with pytest.raises(ForbiddenError):
            read(origin="there")

    def test_of_somebody_else_is_not_known(self) -> None:
        with pytest.raises(NotFoundError):
            read(origin="elsewhere")

    async def test_may_be_named(self, office: Office) -> None:
        assert await office.indexes(origin=office.node.log.origin, end=1) == [0]


class TestARange:
    @pytest.mark.parametrize("query", [{"first": 10**9}, {"end": 10**9}])
    async def test_past_the_end_is_refused(self, office: Office, query: dict[str, int]) -> None:
        assert await office.refusal(**query) == "BEYOND_THE_END"

    async def test_past_the_end_of_the_checkpoint_is_refused(self, office: Office) -> None:
        checkpoint = note_at(office, 5)
        assert await office.refusal(checkpoint=checkpoint, end=6) == "BEYOND_THE_END"


def note_at(office: Office, size: int) -> bytes:
    """The node's checkpoint when it had so many entries, signed again."""
    return sign(office, size, office.node.reader.root(size))


def sign(office: Office, size: int, root: bytes) -> bytes:
    return sign_checkpoint(Checkpoint(office.node.log.origin, size, root), office.node.log_key)


class TestACheckpoint:
    async def test_that_is_named_comes_back_word_for_word(self, office: Office) -> None:
        checkpoint = note_at(office, 5)
        assert (await office.entries(checkpoint=checkpoint)).checkpoint == checkpoint

    async def test_is_the_newest_unless_one_is_named(self, office: Office) -> None:
        head = office.node.reader.head()
        assert (await office.entries(end=1)).checkpoint == head.checkpoint

    async def test_bounds_the_answer(self, office: Office) -> None:
        found = await office.indexes(checkpoint=note_at(office, 5))
        assert found == [0, 1, 2, 3, 4]

    async def test_dates_the_answer(self, office: Office) -> None:
        answer = await office.entries(checkpoint=note_at(office, 5))
        assert answer.as_of == office.node.header(4).recorded_at

    async def test_of_another_log_is_refused(self, office: Office, law: LawWorld) -> None:
        checkpoint = law.hong_kong.reader.head().checkpoint
        assert await office.refusal(checkpoint=checkpoint) == "NOT_THIS_LOG"

    async def test_that_is_none_is_refused(self, office: Office) -> None:
        assert await office.refusal(checkpoint=b"no note") == "NOT_THIS_LOG"

    async def test_of_another_tree_is_refused_and_told_of(self, office: Office) -> None:
        checkpoint = sign(office, 5, bytes(32))
        assert await office.refusal(checkpoint=checkpoint) == "NOT_THIS_LOG"
        assert office.suspects[-1] == checkpoint

    async def test_of_more_than_there_is_is_refused_and_told_of(self, office: Office) -> None:
        checkpoint = sign(office, office.node.size + 1, bytes(32))
        assert await office.refusal(checkpoint=checkpoint) == "CHECKPOINT_AHEAD"
        assert office.suspects[-1] == checkpoint


class TestPages:
    async def test_follow_each_other_without_a_gap_or_a_repetition(self, office: Office) -> None:
        found = await every_page(office, {"page_size": 3}, kinds=[KINDS["transfer"]])
        assert found == scan(office.node, of_kind("transfer"))

    async def test_go_backwards_as_well(self, office: Office) -> None:
        found = await every_page(office, {"page_size": 3}, newest_first=True)
        assert found == list(reversed(range(office.node.size)))

    async def test_are_not_moved_by_what_is_appended_meanwhile(
        self, office: Office, law: LawWorld
    ) -> None:
        expected = scan(office.node, of_kind("transfer"))

        fresh = iter(range(5))

        def append() -> None:
            if next(fresh, None) is not None:
                law.mainland.append(*(law.transfer(law.terms()) for _ in range(100)))

        found = await every_page(
            office, {"page_size": 2}, meanwhile=append, kinds=[KINDS["transfer"]]
        )
        assert found == expected

    async def test_hold_a_hundred_entries_if_nothing_is_said(self, office: Office) -> None:
        assert len((await office.entries()).entries) == min(100, office.node.size)

    async def test_hold_at_most_five_hundred_entries(self, office: Office) -> None:
        assert await office.refusal(page={"page_size": 501}) == "FIELD_OUT_OF_RANGE"


async def every_page(
    office: Office, page: dict[str, Any], meanwhile: Any = lambda: None, **query: Any
) -> list[int]:
    found: list[int] = []
    token = b""
    while True:
        answer = await office.entries(page={**page, "page_token": token}, **query)
        found += [entry.index for entry in answer.entries]
        if not (token := answer.next_page_token):
            return found
        meanwhile()


class TestPageTokens:
    @pytest.mark.parametrize(
        "changed",
        [
            {"page": {"page_size": 4}}, {"newest_first": True}, {"kinds": [18]}, {"first": 1},
            {"until": 4_000_000_000_000_000}, {"institutions": ["uscc.OTHER"]}, {"parts": [1]},
        ],
    )  # fmt: skip
    async def test_of_another_query_are_refused(
        self, office: Office, changed: dict[str, Any]
    ) -> None:
        token = (await office.entries(page={"page_size": 3})).next_page_token
        page = {"page_size": 3, **changed.pop("page", {}), "page_token": token}
        assert await office.refusal(page=page, **changed) == "BAD_PAGE_TOKEN"

    async def test_of_another_checkpoint_are_refused(self, office: Office) -> None:
        token = (await office.entries(page={"page_size": 3})).next_page_token
        page = {"page_size": 3, "page_token": token}
        refusal = await office.refusal(page=page, checkpoint=note_at(office, 5))
        assert refusal == "BAD_PAGE_TOKEN"

    @pytest.mark.parametrize("place", [0, 7, 8, 23, 24, 60])
    async def test_with_a_byte_changed_are_refused(self, office: Office, place: int) -> None:
        token = bytearray((await office.entries(page={"page_size": 3})).next_page_token)
        token[place] ^= 1
        page = {"page_size": 3, "page_token": bytes(token)}
        assert await office.refusal(page=page) == "BAD_PAGE_TOKEN"

    @pytest.mark.parametrize("start", [0, 6, 2**63, 2**64 - 1])
    async def test_that_were_forged_lead_to_no_entry_outside_of_the_query(
        self, office: Office, start: int
    ) -> None:
        """Whoever knows the format can make one: there is no secret in it."""
        query = pb.Query(first=1, end=6, newest_first=True)
        token = make_token(pb.ListEntriesRequest(query=query), start, note_at(office, 6))
        asked = {"first": 1, "end": 6, "newest_first": True, "page": {"page_token": token}}
        assert await office.refusal(**asked) == "BAD_PAGE_TOKEN"

    @pytest.mark.parametrize("token", [b"\x00", b"x" * 24, bytes(1000)])
    async def test_that_nobody_gave_are_refused(self, office: Office, token: bytes) -> None:
        assert await office.refusal(page={"page_token": token}) == "BAD_PAGE_TOKEN"


class TestParts:
    async def test_are_header_body_and_standing_if_nothing_is_said(self, office: Office) -> None:
        index = scan(office.node, of_kind("transfer"))[0]
        (entry,) = (await office.entries(first=index, end=index + 1)).entries
        assert (entry.header, entry.body) == office.node.reader.entry(index)
        assert (entry.state, list(entry.proof)) == ("matched", [])

    async def test_are_those_that_are_named(self, office: Office) -> None:
        (entry,) = (await office.entries(end=1, parts=[HEADER])).entries
        assert (bool(entry.header), entry.body) == (True, b"")

    async def test_that_are_none_are_refused(self, office: Office) -> None:
        assert await office.refusal(parts=[5]) == "UNKNOWN_CODE"


class TestProofs:
    async def test_of_a_stretch_are_one(self, office: Office) -> None:
        answer = await office.entries(first=3, end=9, parts=[HEADER, PROOF])
        checkpoint = Checkpoint.parse(parse_note(answer.checkpoint).text)
        leaves = [leaf_hash(entry.header) for entry in answer.entries]
        verify_range(leaves, 3, checkpoint.size, list(answer.range_proof), checkpoint.root)
        assert not any(entry.proof for entry in answer.entries)

    async def test_of_scattered_entries_are_of_each(self, office: Office) -> None:
        answer = await office.entries(kinds=[KINDS["transfer"]], parts=[HEADER, PROOF])
        checkpoint = Checkpoint.parse(parse_note(answer.checkpoint).text)
        for entry in answer.entries:
            leaf = leaf_hash(entry.header)
            verify_inclusion(leaf, entry.index, checkpoint.size, list(entry.proof), checkpoint.root)
        assert not answer.range_proof

    async def test_are_under_the_checkpoint_that_was_named(self, office: Office) -> None:
        answer = await office.entries(
            checkpoint=note_at(office, 7), newest_first=True, parts=[HEADER, PROOF]
        )
        root = office.node.reader.root(7)
        for entry in answer.entries:
            verify_inclusion(leaf_hash(entry.header), entry.index, 7, list(entry.proof), root)


class TestSummaries:
    async def test_count_what_a_query_finds(self, office: Office) -> None:
        request = pb.SummarizeRequest(
            query=pb.Query(kinds=[KINDS["transfer"]]), group_by=[pb.DIMENSION_CONTRACT]
        )
        answer = await office.ask(CAC).Summarize(request, NONE)
        counts = {group.keys[0]: group.entries for group in answer.groups}
        assert (counts["GBA-OTHER"], sum(counts.values())) == (
            1, len(scan(office.node, of_kind("transfer"))),
        )  # fmt: skip

    async def test_by_state_have_no_key_that_a_query_refuses(self) -> None:
        """Not even of halves that are too many to be kept of their transfer."""
        law = LawWorld()
        office = Office(law.mainland, law.hong_kong)
        office.admit()
        terms = law.terms()
        law.mainland.append(*(law.transfer(terms) for _ in range(MAX_HALVES + 3)))
        query = pb.Query(kinds=[KINDS["transfer"]])
        request = pb.SummarizeRequest(query=query, group_by=[pb.DIMENSION_STATE])
        groups = (await office.ask(CAC).Summarize(request, NONE)).groups
        states = [group.keys[0] for group in groups]
        found = [await office.entries(states=[state]) for state in states]
        office.close()
        assert states == ["not_counted", "open"]
        assert [{entry.state for entry in page.entries} for page in found] == [{s} for s in states]

    @pytest.mark.parametrize("group_by", [[0], [22], [1, 2, 3, 4, 5], [9, 4, 9]])
    async def test_are_by_known_dimensions_once_each_and_not_too_many(
        self, office: Office, group_by: list[int]
    ) -> None:
        with pytest.raises(FieldError):
            await office.ask(CAC).Summarize(pb.SummarizeRequest(group_by=group_by), NONE)

    async def test_of_one_regulator_are_made_one_after_the_other(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []

        async def note(_regulator: str, _method: str, _request: Message, _size: int) -> None:
            done.append("begun")

        async def summarize() -> None:
            await office.ask(CAC).Summarize(pb.SummarizeRequest(), NONE)
            done.append("made")

        monkeypatch.setattr(office.recorder, "note", note)
        await asyncio.gather(summarize(), summarize())
        assert done == ["begun", "made"] * 2

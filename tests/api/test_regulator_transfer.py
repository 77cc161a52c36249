"""A transfer and a contract as a regulator sees them: both halves, with proofs, as of a size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api.office import Office
from builders import HONG_KONG, MAINLAND
from ledger.law_world import CONTRACT_ID, LawWorld

from ledgerd.ledger import search, views
from ledgerd.ledger.search import Clause
from ledgerd.projections import postings
from ledgerd.projections.postings import Field, text
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.checkpoint import Checkpoint, sign_checkpoint
from ledgerd_client.core.errors import NotFoundError
from ledgerd_client.core.merkle import leaf_hash, verify_inclusion
from ledgerd_client.core.note import parse_note


class Acknowledged(LawWorld):
    """A transfer that was acknowledged, and anchored on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.agree()
        terms = super().terms(delete_by=0)
        sent = self.mainland.place(self.transfer(terms))
        self.received = self.hong_kong.place(self.ack(terms))
        self.before = self.mainland.size
        self.anchor()
        halves = self.mainland.header(sent).halves
        assert halves is not None
        self.ref, self.sent = halves.ref, sent


@pytest.fixture(scope="module")
def world() -> Acknowledged:
    return Acknowledged()


@pytest.fixture(scope="module", params=["mainland", "hong_kong"])
def office(request: pytest.FixtureRequest, world: Acknowledged) -> Iterator[Office]:
    nodes = {"mainland": world.mainland, "hong_kong": world.hong_kong}
    node = nodes.pop(request.param)
    office = Office(node, *nodes.values())
    office.admit()
    yield office
    office.close()


def note_at(office: Office, size: int) -> bytes:
    log, reader = office.node.log, office.node.reader
    return sign_checkpoint(Checkpoint(log.origin, size, reader.root(size)), office.node.log_key)


def own(view: pb.TransferView, office: Office) -> pb.Half:
    return next(half for half in view.halves if half.origin == office.node.log.origin)


def peers(view: pb.TransferView, office: Office) -> pb.Half:
    return next(half for half in view.halves if half.origin != office.node.log.origin)


class TestATransfer:
    async def test_has_the_halves_of_both_logs(self, world: Acknowledged, office: Office) -> None:
        halves = (await office.transfer(world.ref)).halves
        assert {half.origin: half.index for half in halves} == {
            MAINLAND: world.sent, HONG_KONG: world.received,
        }  # fmt: skip

    async def test_has_a_proof_of_each(self, world: Acknowledged, office: Office) -> None:
        for half in (await office.transfer(world.ref)).halves:
            checkpoint = Checkpoint.parse(parse_note(half.checkpoint).text)
            assert checkpoint.origin == half.origin
            leaf = leaf_hash(half.header)
            proof = list(half.proof)
            verify_inclusion(leaf, half.index, checkpoint.size, proof, checkpoint.root)

    async def test_has_the_body_of_the_own_half(self, world: Acknowledged, office: Office) -> None:
        half = own(await office.transfer(world.ref), office)
        assert half.body == office.node.reader.entry(half.index)[1]

    async def test_never_has_the_body_of_the_peers(
        self, world: Acknowledged, office: Office
    ) -> None:
        assert peers(await office.transfer(world.ref), office).body == b""

    async def test_has_the_findings_about_it(self, world: Acknowledged, office: Office) -> None:
        view = await office.transfer(world.ref)
        assert len(view.findings) == len([
            finding for finding in office.node.findings() if finding.ref == world.ref
        ])  # fmt: skip

    def test_has_of_many_findings_the_newest_that_were_asked_for(
        self, world: Acknowledged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(views, "MAX_FINDINGS", 1)
        node, terms = world.mainland, world.terms(delete_by=0, purposes=[1])
        ref = node.header(node.place(world.transfer(terms, at=1))).halves.ref  # type: ignore[union-attr]
        about = [finding for finding in node.findings() if finding.ref == ref]
        first = Clause(Field.RULE, frozenset((text(about[0].rule),)))
        with node.store.snapshot() as snapshot:
            answer = views.transfer_at(snapshot, ref, node.size, b"", (first,))
        found = [body_pb2.Body.FromString(body).finding.rule for _, body in answer.findings]
        assert (len(about) > 1, found) == (True, [about[0].rule])

    async def test_is_dated(self, world: Acknowledged, office: Office) -> None:
        view = await office.transfer(world.ref)
        assert view.checkpoint == office.node.reader.head().checkpoint

    async def test_is_on_record(self, world: Acknowledged, office: Office) -> None:
        await office.transfer(world.ref)
        assert office.recorder.noted[-1][1] == "RegulatorService/GetTransfer"


class TestAnOlderSize:
    async def test_knows_nothing_of_the_peer_that_came_later(self, world: Acknowledged) -> None:
        office = Office(world.mainland, world.hong_kong)
        office.admit()
        view = await office.transfer(world.ref, checkpoint=note_at(office, world.before))
        assert [half.origin for half in view.halves] == [MAINLAND]
        assert (view.state, (await office.transfer(world.ref)).state) == ("open", "matched")

    async def test_knows_nothing_of_a_transfer_that_came_later(self, world: Acknowledged) -> None:
        office = Office(world.mainland, world.hong_kong)
        office.admit()
        with pytest.raises(NotFoundError):
            await office.transfer(world.ref, checkpoint=note_at(office, world.sent))

    async def test_comes_back_word_for_word(self, world: Acknowledged, office: Office) -> None:
        note = note_at(office, office.node.size - 1)
        assert (await office.transfer(world.ref, checkpoint=note)).checkpoint == note


class TestAContract:
    async def test_is_shown_as_its_party_here_has_stated_it(
        self, world: Acknowledged, office: Office
    ) -> None:
        (view,) = await office.contracts(CONTRACT_ID)
        party = world.exporter if office.node is world.mainland else world.recipient
        assert (view.institution, view.terms) == (party.id, world.contract_terms())

    async def test_has_the_halves_of_both_with_bodies_of_the_own(self, office: Office) -> None:
        (view,) = await office.contracts(CONTRACT_ID)
        with_body = {half.origin for half in view.halves if half.body}
        assert (with_body, {half.origin for half in view.halves}) == (
            {office.node.log.origin}, {MAINLAND, HONG_KONG},
        )  # fmt: skip

    async def test_is_shown_however_often_another_has_stated_one_of_its_name(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Over several blocks of the log as well."""
        for module in (postings, search, views):
            monkeypatch.setattr(module, "BLOCK", 8)
        law = LawWorld()
        law.mainland.place(law.contract())
        other = law.mainland.enrol("uscc.12440100MB0000001U")
        stated = body_pb2.ContractTerms.FromString(law.contract_terms(version=1))
        stated.exporter.institution = other.id
        supplement = body_pb2.Supplement(terms=encode_message(stated))
        law.mainland.append(*(law.mainland.by(other, supplement=supplement) for _ in range(30)))
        office = Office(law.mainland, law.hong_kong)
        office.admit()
        shown = [view.institution for view in await office.contracts(CONTRACT_ID)]
        office.close()
        assert shown == [other.id, law.exporter.id]

    async def test_of_another_name_is_not_found(self, office: Office) -> None:
        with pytest.raises(NotFoundError):
            await office.contracts("GBA-NONE")

    async def test_has_the_state_of_an_older_size(self) -> None:
        law = LawWorld()
        law.agree()
        before = law.mainland.size
        law.anchor()
        law.mainland.place(law.supplement(planned_scale=7))
        office = Office(law.mainland, law.hong_kong)
        office.admit()
        (then,) = await office.contracts(CONTRACT_ID, checkpoint=note_at(office, before))
        (now,) = await office.contracts(CONTRACT_ID)
        assert (then.state, now.state) == ("open", "open")
        assert (then.terms == now.terms, then.peer_size) == (False, 0)

    async def test_is_agreed_once_the_other_half_is_known(self) -> None:
        law = LawWorld()
        law.mainland.append(law.contract())
        law.hong_kong.append(law.counterpart())
        before = law.mainland.size
        law.anchor()
        office = Office(law.mainland, law.hong_kong)
        office.admit()
        (then,) = await office.contracts(CONTRACT_ID, checkpoint=note_at(office, before))
        (now,) = await office.contracts(CONTRACT_ID)
        assert (then.state, now.state) == ("open", "agreed")

    async def test_names_the_findings_that_stood(self) -> None:
        law = LawWorld()
        law.mainland.append(law.contract(), law.by_exporter(onward=law.onward(told=False)))
        office = Office(law.mainland, law.hong_kong)
        office.admit()
        (view,) = await office.contracts(CONTRACT_ID)
        rules = {law.mainland.body(index).finding.rule for index in view.findings}
        assert "K7.conditions" in rules

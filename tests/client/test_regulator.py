"""What a regulator's client believes of a node: what proves itself, and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

if find_spec("ledgerd") is None:
    pytest.skip("the SDK is tested alone", allow_module_level=True)

from builders import WHOLE
from client.supervised import Planted, admit, planted_border
from grpc import ChannelConnectivity

from ledgerd_client import (
    ChainError,
    FieldError,
    ForbiddenError,
    NotFoundError,
    NotReadyError,
    ProofError,
    Settings,
    StoreError,
    Trust,
    VerificationError,
    sync,
)
from ledgerd_client._channel import connect
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.body import encode_message
from ledgerd_client.core.checkpoint import Checkpoint, OpenedCheckpoint
from ledgerd_client.core.merkle import Frontier, leaf_hash
from ledgerd_client.core.remains import remains_of
from ledgerd_client.keyfile import read_file
from ledgerd_client.regulator import FoundEntry, Query, RegulatorClient
from ledgerd_client.regulator_transport import GrpcRegulatorTransport
from ledgerd_client.transport import GrpcTransport

Lie = Callable[[Any], Any]


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    with planted_border() as planted:
        yield planted


class Liar:
    """A way to a node that changes answers before they arrive."""

    def __init__(self, inner: GrpcRegulatorTransport) -> None:
        self._inner = inner
        self.lies: dict[str, Lie] = {}

    def __getattr__(self, name: str) -> Any:
        if name in {"tail", "follow"}:
            return lambda request: self._stream(name, request)

        async def call(request: Any) -> Any:
            return self._told(name, await getattr(self._inner, name)(request))

        return call

    async def _stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        async for response in getattr(self._inner, name)(request):
            yield self._told(name, response)

    def _told(self, name: str, answer: Any) -> Any:
        return (self.lies[name](answer) or answer) if name in self.lies else answer


class Asking:
    """A client, and the liar in between."""

    def __init__(self, client: RegulatorClient, liar: Liar) -> None:
        self.client = client
        self.liar = liar

    async def found(self, query: Query, **how: Any) -> list[FoundEntry]:
        return [entry async for entry in self.client.entries(query, **how)]

    async def pages(self, query: Query, size: int, **how: Any) -> list[FoundEntry]:
        pages = self.client._opened().pages(query, size=size, **how)
        return [entry async for page in pages for entry in page.entries]


@asynccontextmanager
async def asking_through_a_liar(settings: Settings) -> AsyncIterator[tuple[RegulatorClient, Liar]]:
    channel = connect(settings, Trust.parse(read_file(settings.trust)))
    transport = GrpcTransport(channel, settings.timeout_s)
    liar = Liar(GrpcRegulatorTransport(channel, settings.timeout_s, lambda: b""))
    async with RegulatorClient(settings, ways=(transport, liar)) as client:
        yield client, liar
    await transport.close()


@pytest.fixture
async def asking(planted: Planted) -> AsyncIterator[Asking]:
    async with asking_through_a_liar(planted.cac) as (client, liar):
        yield Asking(client, liar)


class Noted(RegulatorClient):
    """Tells a test how it was connected."""

    connected: ClassVar[list[Any]] = []

    def _connect(self, *how: Any) -> Any:
        ways = super()._connect(*how)
        self.connected.append(ways[0])
        return ways


def grow(planted: Planted) -> None:
    """Let there be an entry more."""
    admit(planted.mainland, f"cac.{os.urandom(2).hex()}")


def erase(shown: pb.Entry | pb.Half) -> None:
    """Show it as a node does whose authority had its body erased."""
    why = pb.Erased(index=999, at=1, reason="kept long enough", remains=remains_of(shown.body))
    shown.erased.CopyFrom(why)
    shown.body = b""


def changed(**fields: Any) -> Lie:
    """A lie about the first entry."""

    def lie(answer: pb.ListEntriesResponse) -> None:
        for name, value in fields.items():
            setattr(answer.entries[0], name, value)

    return lie


def without(place: int) -> Lie:
    def lie(answer: pb.ListEntriesResponse) -> None:
        del answer.entries[place]

    return lie


def swapped(field: str) -> Lie:
    """A lie that gives the second entry what is the first one's."""

    def lie(answer: pb.ListEntriesResponse) -> None:
        first, second = answer.entries[:2]
        copy = pb.Entry.FromString(first.SerializeToString())
        first.ClearField(field)
        second_copy = pb.Entry.FromString(second.SerializeToString())
        second.ClearField(field)
        for entry, other in ((first, second_copy), (second, copy)):
            value = getattr(other, field)
            if isinstance(value, bytes):
                setattr(entry, field, value)
            else:
                getattr(entry, field).extend(value)

    return lie


def reversed_entries(answer: pb.ListEntriesResponse) -> None:
    entries = list(answer.entries)[::-1]
    del answer.entries[:]
    answer.entries.extend(entries)


def repeated(answer: pb.ListEntriesResponse) -> None:
    answer.entries.append(answer.entries[-1])


def noted(note: bytes) -> Lie:
    def lie(answer: Any) -> None:
        answer.checkpoint = note

    return lie


class TestEntries:
    async def test_come_with_their_authors_and_bodies(
        self, asking: Asking, planted: Planted
    ) -> None:
        (first, *_) = await asking.found(Query(kinds=["transfer"]))
        assert (first.author, first.body.author) == (first.body.author, first.author)
        assert first.kind == "transfer"

    async def test_are_those_that_the_query_names(self, asking: Asking, planted: Planted) -> None:
        found = await asking.found(Query(kinds=["contract"], contract_ids=[planted.contract_id]))
        assert [entry.kind for entry in found] == ["contract"]

    async def test_come_newest_first_where_that_is_asked(self, asking: Asking) -> None:
        found = [entry.index for entry in await asking.found(Query(newest_first=True))]
        assert found == sorted(found, reverse=True)

    async def test_are_the_same_page_by_page(self, asking: Asking) -> None:
        at = (await asking.client.checkpoint()).note
        whole = [entry.index for entry in await asking.found(Query(), at=at)]
        assert [entry.index for entry in await asking.pages(Query(), 7, at=at)] == whole

    async def test_stop_at_a_limit(self, asking: Asking) -> None:
        assert len(await asking.found(Query(), limit=3)) == 3

    @pytest.mark.parametrize("query", [Query(end=20), Query(kinds=["transfer"])])
    async def test_are_proven_where_that_is_asked(self, asking: Asking, query: Query) -> None:
        found = await asking.found(query, proof=True)
        assert all(entry.receipt and entry.receipt.index == entry.index for entry in found)

    async def test_are_as_of_a_checkpoint_that_was_kept(
        self, asking: Asking, planted: Planted
    ) -> None:
        kept = await asking.client.checkpoint()
        grow(planted)
        found = await asking.found(Query(), at=kept.note)
        assert found[-1].index == kept.checkpoint.size - 1


class TestALie:
    @pytest.mark.parametrize(
        ("lie", "error"),
        [
            pytest.param(swapped("body"), VerificationError, id="another body"),
            pytest.param(changed(body=b""), VerificationError, id="no body"),
            pytest.param(changed(index=3), ChainError, id="another index"),
            pytest.param(reversed_entries, ChainError, id="another order"),
            pytest.param(repeated, ChainError, id="an entry twice"),
            pytest.param(noted(b"a note"), VerificationError, id="a checkpoint by nobody"),
        ],
    )
    async def test_about_entries_is_refused(
        self, asking: Asking, lie: Lie, error: type[VerificationError]
    ) -> None:
        asking.liar.lies["list_entries"] = lie
        with pytest.raises(error):
            await asking.found(Query(kinds=["transfer"]))

    async def test_a_skipped_entry_of_a_whole_range_does_not_lead_to_the_root(
        self, asking: Asking
    ) -> None:
        asking.liar.lies["list_entries"] = without(3)
        with pytest.raises(ProofError):
            await asking.found(Query(first=2, end=12), proof=True)

    async def test_nor_does_a_range_with_another_proof(self, asking: Asking) -> None:
        def lie(answer: pb.ListEntriesResponse) -> None:
            answer.range_proof[0] = bytes(32)

        asking.liar.lies["list_entries"] = lie
        with pytest.raises(ProofError):
            await asking.found(Query(first=2, end=12), proof=True)

    async def test_swapped_proofs_do_not_either(self, asking: Asking) -> None:
        asking.liar.lies["list_entries"] = swapped("proof")
        with pytest.raises(ProofError):
            await asking.found(Query(kinds=["transfer"]), proof=True)

    async def test_an_entry_beyond_the_range_is_none_that_was_asked_for(
        self, asking: Asking
    ) -> None:
        (other,) = await asking.found(Query(first=9, end=10))
        asking.liar.lies["list_entries"] = changed(header=other.header.encode(), index=9)
        with pytest.raises(VerificationError):
            await asking.found(Query(end=2))

    async def test_an_entry_of_another_kind_is_none_either(self, asking: Asking) -> None:
        incidents: list[pb.Entry] = []

        def keep(answer: pb.ListEntriesResponse) -> None:
            incidents.extend(answer.entries)

        def tell(answer: pb.ListEntriesResponse) -> None:
            del answer.entries[:]
            answer.entries.extend(incidents)

        asking.liar.lies["list_entries"] = keep
        await asking.found(Query(kinds=["incident"]))
        asking.liar.lies["list_entries"] = tell
        with pytest.raises(VerificationError, match="none that was asked for"):
            await asking.found(Query(kinds=["transfer"]))

    async def test_two_checkpoints_in_one_listing_are_refused(
        self, asking: Asking, planted: Planted
    ) -> None:
        older = (await asking.client.checkpoint()).note
        grow(planted)
        count = 0

        def lie(answer: pb.ListEntriesResponse) -> None:
            nonlocal count
            count += 1
            if count == 2:
                answer.checkpoint = older

        asking.liar.lies["list_entries"] = lie
        with pytest.raises(VerificationError, match="another checkpoint"):
            await asking.pages(Query(kinds=["transfer"]), 3)

    async def test_another_checkpoint_than_was_named_is_refused(
        self, asking: Asking, planted: Planted
    ) -> None:
        older = await asking.client.checkpoint()
        grow(planted)
        newer = await asking.client.checkpoint()
        asking.liar.lies["list_entries"] = noted(newer.note)
        with pytest.raises(VerificationError, match="another checkpoint"):
            await asking.found(Query(kinds=["transfer"]), at=older.note)

    async def test_groups_in_another_order_are_refused(self, asking: Asking) -> None:
        def lie(answer: pb.SummarizeResponse) -> None:
            groups = list(answer.groups)[::-1]
            del answer.groups[:]
            answer.groups.extend(groups)

        asking.liar.lies["summarize"] = lie
        with pytest.raises(VerificationError):
            await asking.client.summarize(Query(), ["kind"])


class TestATransfer:
    async def test_comes_with_both_halves_each_proven_in_its_log(
        self, asking: Asking, planted: Planted
    ) -> None:
        file = await asking.client.transfer(planted.matched.ref)
        assert file.state == "matched"
        assert [half.origin for half in file.halves] == [
            planted.mainland.side.origin,
            planted.mainland.peer.side.origin,
        ]

    async def test_has_no_body_of_the_other_side(self, asking: Asking, planted: Planted) -> None:
        own, peers = (await asking.client.transfer(planted.matched.ref)).halves
        assert (own.body is not None, peers.body) == (True, None)

    async def test_shows_a_half_outside_the_grant_without_its_body(
        self, asking: Asking, planted: Planted
    ) -> None:
        def withhold(answer: pb.RegulatorServiceGetTransferResponse) -> None:
            answer.transfer.halves[0].body, answer.transfer.halves[0].withheld = b"", True

        asking.liar.lies["get_transfer"] = withhold
        own, peers = (await asking.client.transfer(planted.matched.ref)).halves
        assert (own.withheld, own.body, peers.withheld) == (True, None, False)

    async def test_shows_what_remains_of_a_half_that_was_erased(
        self, asking: Asking, planted: Planted
    ) -> None:
        asking.liar.lies["get_transfer"] = lambda answer: erase(answer.transfer.halves[0])
        own, _ = (await asking.client.transfer(planted.matched.ref)).halves
        assert own.erased is not None
        assert (own.erased.index, own.erased.remains.salt) == (999, b"")

    async def test_with_remains_of_another_is_refused(
        self, asking: Asking, planted: Planted
    ) -> None:
        def lie(answer: pb.RegulatorServiceGetTransferResponse) -> None:
            half = answer.transfer.halves[0]
            erase(half)
            body = body_pb2.Body.FromString(half.erased.remains)
            terms = body_pb2.Terms.FromString(body.transfer.terms)
            terms.nonce = os.urandom(32)
            body.transfer.terms = encode_message(terms)
            half.erased.remains = encode_message(body)

        asking.liar.lies["get_transfer"] = lie
        with pytest.raises(VerificationError):
            await asking.client.transfer(planted.matched.ref)

    async def test_that_nobody_declared_is_not_found(self, asking: Asking) -> None:
        with pytest.raises(NotFoundError):
            await asking.client.transfer(bytes(32))

    @pytest.mark.parametrize(
        ("half", "field", "value"),
        [
            (0, "body", b""),
            (0, "checkpoint", b""),
            (0, "institution", "uscc.OTHER"),
            (1, "body", b"what is not its to show"),
            (1, "checkpoint", b""),
            (1, "origin", "elsewhere.example/log"),
        ],
    )
    async def test_is_refused_when_a_half_does_not_prove_itself(
        self, asking: Asking, planted: Planted, half: int, field: str, value: object
    ) -> None:
        def lie(answer: pb.RegulatorServiceGetTransferResponse) -> None:
            setattr(answer.transfer.halves[half], field, value)

        asking.liar.lies["get_transfer"] = lie
        with pytest.raises(VerificationError):
            await asking.client.transfer(planted.matched.ref)

    @pytest.mark.parametrize("half", [0, 1])
    async def test_is_refused_when_a_proof_is_another_ones(
        self, asking: Asking, planted: Planted, half: int
    ) -> None:
        def lie(answer: pb.RegulatorServiceGetTransferResponse) -> None:
            answer.transfer.halves[half].proof[0] = bytes(32)

        asking.liar.lies["get_transfer"] = lie
        with pytest.raises(ProofError):
            await asking.client.transfer(planted.matched.ref)


class TestHeaders:
    async def test_are_all_of_them(self, asking: Asking) -> None:
        end = await asking.client.checkpoint()
        found = [header.index async for header in asking.client.headers(end)]
        assert found == list(range(end.checkpoint.size))

    @pytest.mark.parametrize("size", range(1, 20))
    async def test_go_on_from_an_earlier_checkpoint(self, asking: Asking, size: int) -> None:
        """Of every size: the tree's peaks differ."""
        end = await asking.client.checkpoint()
        start = await checkpoint_of(asking, size)
        found = [header.index async for header in asking.client.headers(end, start)]
        assert found == list(range(size, end.checkpoint.size))

    @pytest.mark.parametrize("place", [0, 5])
    async def test_that_leave_one_out_are_refused(self, asking: Asking, place: int) -> None:
        def lie(answer: pb.FollowResponse) -> None:
            if answer.entries:
                del answer.entries[place]

        end = await asking.client.checkpoint()
        asking.liar.lies["follow"] = lie
        with pytest.raises(VerificationError):
            [header async for header in asking.client.headers(end)]

    async def test_that_make_another_tree_are_refused(self, asking: Asking) -> None:
        end = await asking.client.checkpoint()
        other = replace(end, checkpoint=replace(end.checkpoint, root=bytes(32)))
        with pytest.raises(ProofError):
            [header async for header in asking.client.headers(other)]

    async def test_from_a_checkpoint_of_another_tree_are_refused(self, asking: Asking) -> None:
        end = await asking.client.checkpoint()
        start = await checkpoint_of(asking, 7)
        other = replace(start, checkpoint=replace(start.checkpoint, root=bytes(32)))
        with pytest.raises(ProofError):
            [header async for header in asking.client.headers(end, other)]

    async def test_that_are_cut_short_are_refused(self, asking: Asking) -> None:
        def lie(answer: pb.FollowResponse) -> None:
            del answer.entries[:]

        end = await asking.client.checkpoint()
        asking.liar.lies["follow"] = lie
        with pytest.raises(ChainError):
            [header async for header in asking.client.headers(end)]

    async def test_come_with_the_bodies_of_their_digests(self, asking: Asking) -> None:
        def lie(answer: pb.FollowResponse) -> None:
            for entry in answer.entries:
                if entry.body:
                    entry.body += b"x"

        end = await asking.client.checkpoint()
        asking.liar.lies["follow"] = lie
        with pytest.raises(ChainError, match="not the one in the header"):
            [header async for header in asking.client.headers(end)]


class TestEntangled:
    async def test_reads_both_logs_to_their_ends(self, asking: Asking) -> None:
        found = await asking.client.entangled([0], [0])
        ends = found.own_end.checkpoint, found.peer_end.checkpoint
        assert [end.origin for end in ends] == [
            asking.client.origin, await asking.client._opened().histories.peer(),
        ]  # fmt: skip
        assert [log[0].index for log in (found.own, found.peer)] == [0, 0]
        assert found.timeline.own
        assert found.timeline.peer

    async def test_waits_for_a_node_that_has_not_replayed_its_peer(self, asking: Asking) -> None:
        def lie(answer: pb.FollowResponse) -> None:
            answer.checkpoint = b""

        asking.liar.lies["follow"] = lie
        with pytest.raises(NotReadyError):
            await asking.client.entangled()

    async def test_believes_no_other_logs_checkpoint(self, asking: Asking) -> None:
        note = (await asking.client.checkpoint()).note

        def lie(answer: pb.FollowResponse) -> None:
            if answer.checkpoint:
                answer.checkpoint = note

        asking.liar.lies["follow"] = lie
        with pytest.raises(VerificationError):
            await asking.client.entangled()


async def checkpoint_of(asking: Asking, size: int) -> OpenedCheckpoint:
    """A checkpoint with the root that the log had at a size; nobody signs one for each entry."""
    end = await asking.client.checkpoint()
    tree = Frontier()
    async for header in asking.client.headers(end):
        if header.index == size:
            break
        tree.append(leaf_hash(header.encode()))
    return OpenedCheckpoint(Checkpoint(asking.client.origin, size, tree.root()), b"", (), {})


class TestWhatCannotBeAsked:
    @pytest.mark.parametrize(
        "query",
        [
            {"kinds": ["no such"]},
            {"places": ["Atlantis"]},
            {"severities": ["dire"]},
            {"standing": "perhaps"},
            {"institutions": [""]},
            {"institutions": "uscc.ALONE"},
            {"refs": [b"short"]},
            {"end": 0},
            {"first": -1},
            {"institutions": [str(number) for number in range(101)]},
        ],
    )
    def test_is_refused_before_anything_is_sent(self, query: dict[str, Any]) -> None:
        with pytest.raises(FieldError):
            Query(**query).to_message()

    async def test_by_what_nothing_can_be_counted_is_not_counted(self, asking: Asking) -> None:
        with pytest.raises(FieldError, match="nothing to count by"):
            await asking.client.summarize(Query(), ["colour"])

    async def test_a_client_that_is_not_open_asks_nothing(self, planted: Planted) -> None:
        with pytest.raises(NotReadyError):
            await RegulatorClient(planted.cac).checkpoint()


class TestATail:
    async def test_begins_where_it_is_told_and_gives_each_entry_once(self, asking: Asking) -> None:
        tail = asking.client.tail(Query(first=2))
        found = [(await anext(tail)).index for _ in range(10)]
        await tail.aclose()
        assert found == list(range(2, 12))

    async def test_that_repeats_an_entry_is_refused(self, asking: Asking) -> None:
        kept: list[bytes] = []

        def lie(answer: pb.TailResponse) -> None:
            kept.append(answer.entry.SerializeToString())
            answer.entry.ParseFromString(kept[0])

        asking.liar.lies["tail"] = lie
        tail = asking.client.tail(Query(kinds=["transfer"]))
        await anext(tail)
        with pytest.raises(ChainError, match="twice"):
            await anext(tail)
        await tail.aclose()


class TestAClientThatCannotBeOpened:
    async def test_leaves_no_channel_open(self, planted: Planted, tmp_path: Path) -> None:
        """Say, because what it kept of the log was damaged."""
        keys = tmp_path / "keys"
        async with RegulatorClient(replace(planted.cac, keys=keys)) as client:
            await client.checkpoint()
        (kept,) = keys.glob("*.checkpoint")
        kept.write_bytes(kept.read_bytes()[:-9])
        with pytest.raises(StoreError):
            await Noted(replace(planted.cac, keys=keys)).__aenter__()
        (transport,) = Noted.connected
        assert transport._channel.get_state() is ChannelConnectivity.SHUTDOWN


class TestAGrant:
    async def test_that_does_not_cover_what_is_named_is_said_to(self, planted: Planted) -> None:
        narrow = body_pb2.Grant.FromString(WHOLE.SerializeToString())
        narrow.places.append(440100)
        settings = admit(planted.mainland, "cac.guangzhou", grant=narrow)
        async with RegulatorClient(settings) as client:
            with pytest.raises(ForbiddenError):
                [entry async for entry in client.entries(Query(places=["Shenzhen"]))]


class TestWithoutAnEventLoop:
    def test_entries_are_an_iterator(self, planted: Planted) -> None:
        query = Query(kinds=["contract"], contract_ids=[planted.contract_id])
        with sync.RegulatorClient(planted.cac) as client:
            assert [entry.kind for entry in client.entries(query, proof=True)] == ["contract"]

    def test_so_is_what_comes(self, planted: Planted) -> None:
        with sync.RegulatorClient(planted.cac) as client:
            assert next(client.tail(Query())).index == 0

    def test_so_are_headers(self, planted: Planted) -> None:
        with sync.RegulatorClient(planted.cac) as client:
            end = client.checkpoint()
            assert sum(1 for _ in client.headers(end)) == end.checkpoint.size

    def test_a_transfer_is_what_the_other_client_returns(self, planted: Planted) -> None:
        with sync.RegulatorClient(planted.cac) as client:
            assert client.transfer(planted.matched.ref).state == "matched"

    def test_it_says_whom_it_asks(self, planted: Planted) -> None:
        with sync.RegulatorClient(planted.cac) as client:
            assert (client.origin, client.at_mirror) == (planted.cac.origin, False)

    def test_it_raises_what_the_other_client_raises(self, planted: Planted) -> None:
        with sync.RegulatorClient(planted.cac) as client, pytest.raises(FieldError):
            client.summarize(Query(), ["weather"])

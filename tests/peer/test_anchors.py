"""When the peer's checkpoint is anchored, as a table, and that nothing echoes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from builders import HONG_KONG_PLACE
from peer.conftest import Watch

from ledgerd.ledger.peer_log import ANCHOR_STEP
from ledgerd.peer.anchors import Anchored, anchor_due
from ledgerd.peer.replica import Replica
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.checkpoint import open_checkpoint
from ledgerd_client.core.errors import NotReadyError
from ledgerd_client.core.header import Header
from ledgerd_client.core.note import COSIGNATURE_V1, Signer

NEWS, QUIET = True, False

# The last anchor's checkpoint was fetched at 1,000; the interval is 60.
TABLE = [
    # fetched_at, news, deadline -> due
    (1_060, NEWS, None, True, "news, and the interval has passed"),
    (1_059, NEWS, None, False, "news, too early"),
    (1_000, NEWS, None, False, "nothing was fetched since"),
    (900, NEWS, None, False, "our clock went back"),
    (9_000, QUIET, None, False, "no news, nothing awaited"),
    (9_000, QUIET, 9_001, False, "the deadline is still to come"),
    (9_000, QUIET, 9_000, False, "the deadline is this very moment"),
    (9_001, QUIET, 9_000, True, "the deadline has passed"),
    (9_001, QUIET, 1_000, True, "it passed right after the last anchor"),
    (9_001, QUIET, 999, False, "it had passed by the last anchor"),
    (1_030, QUIET, 1_010, False, "the deadline has passed, too early"),
    (9_001, NEWS, 9_000, True, "news and a deadline"),
]


@pytest.mark.parametrize(("fetched_at", "news", "deadline", "due", "why"), TABLE)
def test_anchor_is_due(
    fetched_at: int, news: bool, deadline: int | None, due: bool, why: str
) -> None:
    last = Anchored(7, 1_000)
    assert anchor_due(last, fetched_at, news=news, deadline=deadline, interval=60) is due, why


async def anchors_after(watch: Watch, seconds: float = 10) -> int:
    """Anchors that one more round makes, so many seconds later."""
    before = len(watch.side.anchors)
    watch.clock.advance(seconds=seconds)
    await watch.side.peer.monitor.step()
    return len(watch.side.anchors) - before


class TestNews:
    """What a finding may rest on is news; what the peer's node says by itself is not."""

    @pytest.fixture(autouse=True)
    async def anchored(self, watch: Watch) -> None:
        await watch.side.peer.monitor.step()
        assert len(watch.side.anchors) == 1

    async def test_an_institutions_entry_is(self, watch: Watch) -> None:
        border = watch.border
        watch.peer.log.record(border.recipient, ack=border.ack(border.transfer()))
        assert await anchors_after(watch) == 1

    async def test_the_authoritys_is(self, watch: Watch) -> None:
        watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)
        assert await anchors_after(watch) == 1

    async def test_a_loss_is(self, watch: Watch) -> None:
        log = watch.peer.log
        log.lose()
        assert await anchors_after(watch) == 1

    async def test_evidence_is(self, watch: Watch) -> None:
        accused = watch.side.log.origin
        watch.peer.log.by_node(
            evidence=pb.Evidence(accused_origin=accused, bundle_digest=bytes(32))
        )
        assert await anchors_after(watch) == 1

    async def test_an_anchor_is_not(self, watch: Watch) -> None:
        origin = watch.side.log.origin
        watch.peer.log.by_node(anchor=pb.Anchor(peer_origin=origin, checkpoint=b"-", fetched_at=1))
        assert await anchors_after(watch) == 0

    async def test_a_finding_is_not(self, watch: Watch) -> None:
        watch.peer.log.by_node(finding=pb.Finding(finding_id=bytes(32)))
        assert await anchors_after(watch) == 0

    async def test_nothing_at_all_is_not(self, watch: Watch) -> None:
        assert await anchors_after(watch) == 0

    async def test_too_early_it_waits(self, watch: Watch) -> None:
        watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)
        assert await anchors_after(watch, seconds=0.5) == 0
        assert await anchors_after(watch, seconds=0.5) == 1

    async def test_once_anchored_it_is_not_news_after_a_restart(self, watch: Watch) -> None:
        await watch.side.reopen()
        assert await anchors_after(watch) == 0


class TestBacklog:
    """More than one anchor takes up: the next are appended at once, whatever the interval."""

    @pytest.fixture(autouse=True)
    def grown(self, watch: Watch) -> None:
        log = watch.peer.log
        watch.peer.page = 512
        for _ in range(2 * ANCHOR_STEP - len(log.entries) + 1):
            log.by_node(finding=pb.Finding(finding_id=bytes(32)))

    async def steps(self, watch: Watch, count: int) -> list[bool]:
        return [await watch.side.peer.monitor.step() for _ in range(count)]

    async def test_the_same_checkpoint_is_anchored_until_it_is_taken_up(self, watch: Watch) -> None:
        assert await self.steps(watch, 4) == [False, False, True, True]
        assert len({anchor.checkpoint for anchor in watch.side.anchors}) == 1
        assert len(watch.side.anchors) == 3

    async def test_what_came_meanwhile_is_taken_up_too(self, watch: Watch) -> None:
        await self.steps(watch, 2)
        watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)
        await self.steps(watch, 3)
        assert watch.side.reader.anchor().taken_up == len(watch.peer.log.entries)

    async def test_a_restart_goes_on(self, watch: Watch) -> None:
        await self.steps(watch, 1)
        await watch.side.reopen()
        await self.steps(watch, 2)
        assert watch.side.reader.anchor().taken_up == len(watch.peer.log.entries)

    async def test_while_appends_are_refused_it_waits(self, watch: Watch) -> None:
        await self.steps(watch, 1)
        watch.side.sequencer.refuse = NotReadyError("not confirmed", reason="UNCONFIRMED")
        assert await self.steps(watch, 1) == [True]

    async def test_the_search_for_news_is_not_the_event_loops(self, watch: Watch) -> None:
        searched_by: list[str] = []
        replica = watch.side.peer.replica

        def headers(start: int, stop: int) -> Iterator[Header]:
            searched_by.append(threading.current_thread().name)
            return Replica.headers(replica, start, stop)

        await self.steps(watch, 3)
        watch.side.peer._anchors._replica = cast("Any", Listening(replica, headers))
        watch.peer.log.admit("hkbr.12345678", place=HONG_KONG_PLACE)
        await self.steps(watch, 1)
        assert searched_by
        assert all(name.startswith("peer-writer") for name in searched_by)


class Listening:
    """A replica whose headers() a test hears of."""

    def __init__(self, replica: Replica, headers: Callable[[int, int], Iterator[Header]]) -> None:
        self.headers = headers
        self._replica = replica

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replica, name)


class TestAnchor:
    async def test_it_carries_the_checkpoint_with_our_cosignature(self, watch: Watch) -> None:
        await watch.side.peer.monitor.step()
        (anchor,) = watch.side.anchors
        log = watch.side.log
        cosigner = Signer(log.origin, COSIGNATURE_V1, log.cosigner_key).verifier
        opened = open_checkpoint(
            anchor.checkpoint,
            log=watch.peer.log.history().log_keys(1),
            cosigners=[cosigner],
            strict=True,
        )
        assert (opened.checkpoint.size, list(opened.cosigned)) == (2, [cosigner])

    async def test_it_names_when_that_checkpoint_was_asked_for(self, watch: Watch) -> None:
        asked_at = watch.clock()
        await watch.side.peer.monitor.step()
        assert [anchor.fetched_at for anchor in watch.side.anchors] == [asked_at]

    async def test_while_appends_are_refused_there_is_none(self, watch: Watch) -> None:
        watch.side.sequencer.refuse = NotReadyError("not confirmed", reason="UNCONFIRMED")
        await watch.side.peer.monitor.step()
        assert watch.side.anchors == []

    async def test_once_they_are_taken_it_is_made_up_for(self, watch: Watch) -> None:
        watch.side.sequencer.refuse = NotReadyError("not confirmed", reason="UNCONFIRMED")
        await watch.side.peer.monitor.step()
        watch.side.sequencer.refuse = None
        await watch.side.peer.monitor.step()
        assert len(watch.side.anchors) == 1

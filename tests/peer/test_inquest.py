"""The inquest: an entry that is refused is evidence if the log's own root holds it, else nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from builders import HONG_KONG_PLACE, Log, new_body, new_key
from peer.conftest import Watch

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._proto import service_pb2
from ledgerd_client.core.body import AUTHORITY
from ledgerd_client.core.entry_evidence import EntryEvidence, parse_evidence
from ledgerd_client.core.errors import LedgerError, NotReadyError
from ledgerd_client.core.header import Header, Kind

# Entries that are replayed before the wrong one comes.
BEFORE = 8


def grow(watch: Watch, size: int) -> None:
    border, log = watch.border, watch.peer.log
    while len(log.entries) < size:
        log.record(border.recipient, ack=border.ack(border.transfer()))


async def replayed(watch: Watch, size: int) -> None:
    grow(watch, size)
    await watch.side.peer.monitor.step()


async def rounds(watch: Watch, count: int = 2) -> None:
    """The first finds the entry, the second asks about it."""
    for _ in range(count):
        with suppress(LedgerError):
            await watch.side.peer.monitor.step()


def change(log: Log, **changes: Any) -> None:
    raw, body = log.entries[-1]
    log.entries[-1] = (replace(Header.parse(raw), **changes).encode(), body)


# -- what a log may hold under its root ------------------------------------------------------------


def cut_short(watch: Watch) -> None:
    raw, body = watch.peer.log.entries[-1]
    watch.peer.log.entries[-1] = (raw[:-1], body)


def at_another_place(watch: Watch) -> None:
    change(watch.peer.log, index=99)


def not_from_the_one_before(watch: Watch) -> None:
    change(watch.peer.log, previous_leaf_hash=bytes(32))


def time_going_back(watch: Watch) -> None:
    change(watch.peer.log, recorded_at=1)


def signed_by_nobody(watch: Watch) -> None:
    change(watch.peer.log, signature=bytes(64))


def key_of_its_own_place(watch: Watch) -> None:
    change(watch.peer.log, key_index=len(watch.peer.log.entries) - 1)


def key_never_admitted(watch: Watch) -> None:
    border = watch.border
    stranger = replace(border.recipient, key=new_key())
    watch.peer.log.record(stranger, ack=border.ack(border.transfer()))


def key_revoked_long_ago(watch: Watch) -> None:
    border, log = watch.border, watch.peer.log
    log.by_authority(key_event=log.revocation(border.recipient))
    grow(watch, len(log.entries) + 1)


def key_rotated_away(watch: Watch) -> None:
    log = watch.peer.log
    log.by_authority(key_event=log.rotation(watch.border.recipient, new_key()))
    grow(watch, len(log.entries) + 1)


def entry_key_rotated_away(watch: Watch) -> None:
    log = watch.peer.log
    old = log.entry_key
    log.rotate(pb.ROLE_ENTRY)
    log.add(new_body(log.origin, "node", log.now, tick=pb.Tick()), old)


def body_of_a_verified_entry_again(watch: Watch) -> None:
    recipient = watch.border.recipient
    log = watch.peer.log
    log.add(log.entries[3][1], recipient.key, recipient.admitted_at)


def body_of_the_entry_before_again(watch: Watch) -> None:
    recipient = watch.border.recipient
    log = watch.peer.log
    log.add(log.entries[-1][1], recipient.key, recipient.admitted_at)


def admission_again_after_its_revocation(watch: Watch) -> None:
    log = watch.peer.log
    log.by_authority(key_event=log.revocation(watch.border.recipient))
    log.add(log.entries[1][1], log.authority)


def key_admitted_anew_after_its_revocation(watch: Watch) -> None:
    log, recipient = watch.peer.log, watch.border.recipient
    log.by_authority(key_event=log.revocation(recipient))
    again = log.admission(recipient.id, recipient.key, place=HONG_KONG_PLACE)
    log.by_authority(key_event=again)


def key_admitted_without_possession(watch: Watch) -> None:
    log = watch.peer.log
    event = log.admission("hkbr.1", new_key(), place=HONG_KONG_PLACE, possession=bytes(64))
    log.by_authority(key_event=event)


def key_event_of_another_log(watch: Watch) -> None:
    log = watch.peer.log
    event = log.admission("hkbr.1", new_key(), place=HONG_KONG_PLACE)
    log.add(new_body("a.example/b", AUTHORITY, log.now, key_event=event), log.authority)


def genesis_again(watch: Watch) -> None:
    log = watch.peer.log
    log.by_authority(genesis=log.genesis(watch.border.mainland))


Wrong = Callable[[Watch], None]
WRONG: list[tuple[str, Wrong]] = [
    ("form", cut_short), ("place", at_another_place), ("place", genesis_again),
    ("chain", not_from_the_one_before), ("time", time_going_back),
    ("signature", signed_by_nobody),
    ("key", key_of_its_own_place), ("key", key_never_admitted), ("key", key_revoked_long_ago),
    ("key", key_rotated_away), ("key", entry_key_rotated_away),
    ("repeat", body_of_a_verified_entry_again), ("repeat", body_of_the_entry_before_again),
    ("repeat", admission_again_after_its_revocation),
    ("body", key_admitted_anew_after_its_revocation), ("body", key_admitted_without_possession),
    ("body", key_event_of_another_log),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "wrong"), WRONG)
class TestAWrongEntryUnderASignedRoot:
    @pytest.fixture(autouse=True)
    async def served(self, watch: Watch, claim: str, wrong: Wrong) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 3)
        wrong(watch)
        grow(watch, len(watch.peer.log.entries) + 3)
        await rounds(watch)

    async def test_is_proved_offline(self, watch: Watch, claim: str) -> None:
        (bundle,) = watch.side.bundles
        evidence = parse_evidence(bundle)
        assert isinstance(evidence, EntryEvidence)
        tree = evidence.verify(watch.side.peer.replica.verified_history())
        assert (evidence.wrong, tree.size) == (claim, len(watch.peer.log.entries))

    async def test_stands_in_our_log(self, watch: Watch) -> None:
        (entry,) = watch.side.entries(Kind.EVIDENCE)
        assert entry.evidence.accused_origin == watch.peer.log.origin

    async def test_ends_the_cosigning(self, watch: Watch) -> None:
        assert watch.side.peer.status().latched
        assert watch.side.peer.witness.cosigned_size == BEFORE

    async def test_is_proved_once(self, watch: Watch) -> None:
        await rounds(watch, 4)
        assert len(watch.side.bundles) == 1

    async def test_is_not_proved_again_once_acknowledged(self, watch: Watch) -> None:
        (kept,) = watch.side.peer.accusations.kept()
        await watch.side.peer.accusations.acknowledge(kept.digest)
        grow(watch, len(watch.peer.log.entries) + 1)
        await rounds(watch, 4)
        assert (len(watch.side.bundles), watch.side.peer.status().latched) == (1, False)

    async def test_is_never_cosigned(self, watch: Watch) -> None:
        (kept,) = watch.side.peer.accusations.kept()
        await watch.side.peer.accusations.acknowledge(kept.digest)
        await rounds(watch, 4)
        assert watch.side.peer.witness.cosigned_size == BEFORE

    async def test_is_over_when_the_log_is_right_again(self, watch: Watch) -> None:
        (kept,) = watch.side.peer.accusations.kept()
        await watch.side.peer.accusations.acknowledge(kept.digest)
        del watch.peer.log.entries[BEFORE:]
        grow(watch, BEFORE + 20)
        await rounds(watch)
        assert watch.side.peer.witness.cosigned_size == BEFORE + 20


class TestSomebodyElse:
    """Whatever happens on the wire accuses nobody."""

    def rewrite(self, watch: Watch, **changes: Any) -> None:
        def change(message: service_pb2.ListHeadersResponse) -> None:
            for place, raw in enumerate(message.headers):
                header = Header.parse(raw)
                if header.index == BEFORE + 1:
                    message.headers[place] = replace(header, **changes).encode()

        watch.peer.change = change

    @pytest.mark.parametrize(
        "changes",
        [{"signature": bytes(64)}, {"previous_leaf_hash": bytes(32)}, {"recorded_at": 1}],
        ids=["signature", "chain", "time"],
    )
    async def test_changed_a_header(self, watch: Watch, changes: dict[str, Any]) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 4)
        self.rewrite(watch, **changes)
        await rounds(watch, 4)
        assert (watch.side.bundles, watch.side.peer.status().latched) == ([], False)

    async def test_changed_one_and_then_another(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 4)
        self.rewrite(watch, signature=bytes(64))
        await rounds(watch, 1)
        watch.peer.change = None
        await rounds(watch, 1)
        assert watch.side.peer.witness.cosigned_size == BEFORE + 4

    async def test_cut_the_stream_behind_it(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 2)
        signed_by_nobody(watch)
        grow(watch, BEFORE + 12)
        watch.peer.cut_after = 2
        await rounds(watch, 4)
        assert watch.side.bundles == []

    async def test_sent_another_body_with_it(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        watch.peer.log.admit("hkbr.1", place=HONG_KONG_PLACE)

        def change(message: service_pb2.ListHeadersResponse) -> None:
            for shared in message.bodies:
                shared.body = watch.peer.log.entries[1][1]

        watch.peer.change = change
        await rounds(watch, 4)
        assert watch.side.bundles == []

    async def test_signed_the_checkpoint(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 2)
        signed_by_nobody(watch)
        watch.peer.note = replace(watch.peer.log, log_key=new_key()).checkpoint()
        await rounds(watch, 4)
        assert watch.side.bundles == []


class TestAClock:
    async def test_that_is_ahead_is_no_wrong_entry(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 1)
        change(watch.peer.log, recorded_at=watch.clock() + 3_600_000_000)
        await rounds(watch, 4)
        assert (watch.side.bundles, watch.side.peer.witness.cosigned_size) == ([], BEFORE)


class TestEvidenceThatWaits:
    async def test_is_acknowledged_by_its_digest_alone(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 1)
        signed_by_nobody(watch)
        await rounds(watch)
        with pytest.raises(LedgerError) as caught:
            await watch.side.peer.accusations.acknowledge(bytes(32))
        assert caught.value.reason == "NOT_FOUND"

    async def test_is_told_to_the_peer(self, watch: Watch) -> None:
        await replayed(watch, BEFORE)
        grow(watch, BEFORE + 1)
        signed_by_nobody(watch)
        await rounds(watch)
        note = watch.peer.log.checkpoint(BEFORE)
        with pytest.raises(NotReadyError) as caught:
            await watch.side.peer.witness.add_checkpoint(BEFORE, [], note)
        assert caught.value.reason == "EVIDENCE"

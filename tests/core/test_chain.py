"""Replay: every rule of a log's headers, and that what breaks one changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from builders import (
    EXPORTER,
    HONG_KONG,
    MAINLAND,
    MINUTE,
    START,
    Border,
    Log,
    new_body,
    new_border,
    new_key,
    node_of,
)
from hypothesis import given
from hypothesis import strategies as st

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core import merkle
from ledgerd_client.core.chain import Replay, SignatureCheck, check_signatures
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    ForbiddenError,
    LedgerError,
    MalformedError,
    SignatureError,
    TrustError,
)
from ledgerd_client.core.header import Halves, Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.opening import open_log_checkpoint

RULES = pb.RuleSet(version="2026-08", digest=bytes(32))


@pytest.fixture
def border() -> Border:
    """The mainland's log: GENESIS, KEY, TRANSFER, NODE, EVIDENCE, KEY (rotation), LOSS."""
    border = new_border()
    log = border.mainland
    log.record(border.exporter, transfer=border.transfer())
    log.by_node(rule_set=RULES)
    log.by_node(evidence=pb.Evidence(accused_origin=HONG_KONG, bundle_digest=bytes(32)))
    log.by_authority(key_event=log.rotation(border.exporter, new_key()))
    log.lose()
    return border


@pytest.fixture
def log(border: Border) -> Log:
    return border.mainland


def replayed(log: Log, size: int | None = None) -> Replay:
    replay = log.replay()
    for raw, body in log.entries[:size]:
        replay.step(raw, body)
    return replay


def state(replay: Replay) -> tuple[Any, ...]:
    """Everything that a step may change."""
    tree, history = replay.tree, replay.history
    return tree.size, tree.root(), replay.last_leaf, replay.last_time, history.format()


@dataclass(frozen=True, slots=True)
class Refused:
    """How a step was refused, and whether anything changed."""

    error: LedgerError
    changed: bool


def refuse(replay: Replay, header: Header | bytes, body: bytes | None) -> Refused:
    before = state(replay)
    with pytest.raises(LedgerError) as refused:
        replay.step(header if isinstance(header, bytes) else header.encode(), body)
    return Refused(refused.value, state(replay) != before)


class TestAWholeLog:
    def test_is_replayed_to_its_root(self, log: Log) -> None:
        size = len(log.entries)
        replay = replayed(log)
        assert (replay.size, replay.tree.root()) == (size, merkle.root(node_of(log.leaves), size))

    def test_passes_with_every_signature(self, log: Log) -> None:
        replay = log.replay()
        check_signatures([replay.step(raw, body)[1] for raw, body in log.entries])

    def test_gives_each_signature_to_check(self, log: Log) -> None:
        replay = log.replay()
        header, check = [replay.step(raw, body) for raw, body in log.entries][2]
        assert check == SignatureCheck(
            2,
            log.history().signer(header),
            header.signed_bytes(MAINLAND),
            header.signature,
        )

    def test_needs_the_bodies_of_shared_kinds_only(self, log: Log) -> None:
        replay = log.replay()
        for raw, body in log.entries:
            kind = Header.parse(raw).kind
            replay.step(raw, None if kind in {Kind.TRANSFER, Kind.NODE} else body)
        assert replay.size == len(log.entries)

    def test_builds_the_key_history(self, log: Log) -> None:
        assert replayed(log).history.format() == log.history().format()

    def test_begins_at_the_link_made_of_the_origin(self, log: Log) -> None:
        assert log.replay().last_leaf == Header.parse(log.entries[0][0]).previous_leaf_hash

    def test_may_stand_still_in_time(self, log: Log) -> None:
        replay = replayed(log)
        header = log.header(Kind.NODE, b"body", log.entry_key, recorded_at=replay.last_time)
        replay.step(header.encode(), None)
        assert replay.size == len(log.entries) + 1


class TestPlace:
    @pytest.mark.parametrize(
        "changes",
        [
            {"index": 6},
            {"index": 8},
            {"index": 0},
            {"index": 2**64 - 1},
            {"previous_leaf_hash": bytes(32)},
            {"recorded_at": START + 6 * MINUTE - 1},
            {"recorded_at": 0},
        ],
        ids=str,
    )
    def test_another_than_the_next_is_refused(self, log: Log, changes: dict[str, Any]) -> None:
        header = log.header(Kind.NODE, b"body", log.entry_key, **changes)
        refused = refuse(replayed(log), header, None)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_the_same_entry_again_is_refused(self, log: Log) -> None:
        refused = refuse(replayed(log), *log.entries[-1])
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_an_entry_left_out_is_missed(self, log: Log) -> None:
        refused = refuse(replayed(log, 2), *log.entries[3])
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_two_entries_exchanged_are_refused(self, log: Log) -> None:
        (third, body), after = log.entries[3], Header.parse(log.entries[2][0])
        moved = replace(Header.parse(third), index=2, recorded_at=after.recorded_at)
        refused = refuse(replayed(log, 2), moved, body)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_a_link_to_the_entry_before_the_last_is_refused(self, log: Log) -> None:
        leaf = log.leaves[-2]
        header = log.header(Kind.NODE, b"body", log.entry_key, previous_leaf_hash=leaf)
        refused = refuse(replayed(log), header, None)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    @given(data=st.binary(max_size=300))
    def test_no_bytes_raise_anything_but_our_errors(self, data: bytes) -> None:
        replay = Replay.start(KeyHistory(MAINLAND, bytes(32)), lambda _digest, _index: True)
        assert not refuse(replay, data, None).changed


class TestGenesis:
    def test_comes_first(self, log: Log) -> None:
        replay = Log(MAINLAND).replay()
        first = Log(MAINLAND).header(Kind.NODE, b"body", log.entry_key)
        refused = refuse(replay, first, b"body")
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_comes_once(self, log: Log, border: Border) -> None:
        body = new_body(MAINLAND, "authority", genesis=log.genesis(border.hong_kong))
        refused = refuse(replayed(log), log.header(Kind.GENESIS, body, log.authority), body)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_of_the_other_log_is_refused(self, border: Border) -> None:
        refused = refuse(border.mainland.replay(), *border.hong_kong.entries[0])
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_of_another_authority_opens_no_checkpoint(self, border: Border) -> None:
        stranger = Log(MAINLAND)
        stranger.by_authority(genesis=stranger.genesis(border.hong_kong))
        replay = border.mainland.replay()
        replay.step(*stranger.entries[0])
        with pytest.raises(TrustError):
            open_log_checkpoint(stranger.checkpoint(), replay.history)

    def test_signed_by_another_than_it_names_is_refused(self, border: Border) -> None:
        log = Log(MAINLAND)
        body = new_body(MAINLAND, "authority", genesis=log.genesis(border.hong_kong))
        refused = refuse(log.replay(), log.header(Kind.GENESIS, body, new_key()), body)
        assert (type(refused.error), refused.changed) == (ForbiddenError, False)


class TestBodies:
    @pytest.mark.parametrize("index", [0, 1, 4, 5, 6])
    def test_of_shared_kinds_may_not_be_missing(self, log: Log, index: int) -> None:
        refused = refuse(replayed(log, index), log.entries[index][0], None)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    @pytest.mark.parametrize("index", range(7))
    def test_that_are_given_must_be_those_of_the_header(self, log: Log, index: int) -> None:
        header, body = log.entries[index]
        refused = refuse(replayed(log, index), header, body + b"\0")
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_of_another_entry_are_refused(self, log: Log) -> None:
        refused = refuse(replayed(log, 1), log.entries[1][0], log.entries[0][1])
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_that_were_there_before_are_refused(self, log: Log) -> None:
        # The same statement, by the same node, in a new place.
        body = log.entries[3][1]
        refused = refuse(replayed(log), log.header(Kind.NODE, body, log.entry_key), body)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_are_claimed_by_digest_and_index(self, log: Log) -> None:
        claimed: list[tuple[bytes, int]] = []

        def claim(digest: bytes, index: int) -> bool:
            claimed.append((digest, index))
            return True

        replay = Replay.start(KeyHistory(MAINLAND, log.authority.public), claim)
        for raw, body in log.entries:
            replay.step(raw, body)
        digests = [Header.parse(raw).body_digest for raw, _ in log.entries]
        assert claimed == list(zip(digests, range(7), strict=True))

    def test_of_what_is_refused_are_not_claimed(self, log: Log) -> None:
        claimed: list[int] = []

        def claim(digest: bytes, index: int) -> bool:
            claimed.append(index)
            return True

        replay = Replay.start(KeyHistory(MAINLAND, log.authority.public), claim)
        replay.step(*log.entries[0])
        refuse(replay, log.header(Kind.NODE, b"body", new_key(), index=1), b"body")
        assert claimed == [0]


class TestKeys:
    def late(self, log: Log, border: Border, **changes: Any) -> Header:
        """A CANCEL by the exporter at the end of the log, after its key was rotated at 5."""
        key = changes.pop("key", border.exporter.key)
        fields = {"key_index": border.exporter.admitted_at, **changes}
        halves = Halves(bytes(32), bytes(32), 0, HONG_KONG)
        return log.header(Kind.CANCEL, b"body", key, halves=halves, **fields)

    def test_that_are_revoked_sign_nothing(self, border: Border, log: Log) -> None:
        refused = refuse(replayed(log), self.late(log, border), None)
        assert (refused.error.reason, refused.changed) == ("KEY_REVOKED", False)

    def test_that_were_never_admitted_sign_nothing(self, border: Border, log: Log) -> None:
        refused = refuse(replayed(log), self.late(log, border, key=new_key()), None)
        assert (refused.error.reason, refused.changed) == ("KEY_UNKNOWN", False)

    def test_of_the_other_log_sign_nothing(self, border: Border, log: Log) -> None:
        refused = refuse(replayed(log), self.late(log, border, key=border.recipient.key), None)
        assert (refused.error.reason, refused.changed) == ("KEY_UNKNOWN", False)

    def test_of_the_node_do_not_speak_for_an_institution(self, border: Border, log: Log) -> None:
        header = self.late(log, border, key=log.entry_key, key_index=0)
        refused = refuse(replayed(log), header, None)
        assert (refused.error.reason, refused.changed) == ("KEY_UNKNOWN", False)

    def test_of_an_institution_do_not_speak_for_the_node(self, border: Border, log: Log) -> None:
        header = log.header(Kind.NODE, b"body", border.exporter.key, key_index=1)
        refused = refuse(replayed(log), header, None)
        assert (refused.error.reason, refused.changed) == ("KEY_UNKNOWN", False)

    def test_that_name_another_key_entry_sign_nothing(self, border: Border, log: Log) -> None:
        other = log.admit("lei.5493001KJTIIGC8Y1R12")
        header = self.late(log, border, key=other.key, key_index=5)
        refused = refuse(replayed(log), header, None)
        assert (refused.error.reason, refused.changed) == ("KEY_UNKNOWN", False)

    def test_that_name_the_entry_of_their_rotation_are_taken(self, border: Border) -> None:
        log = border.mainland
        other = log.admit("lei.5493001KJTIIGC8Y1R12")
        replay = replayed(log)
        replay.step(self.late(log, border, key=other.key, key_index=7).encode(), None)
        assert replay.size == 9


class TestKeyEvents:
    def refused(self, log: Log, event: pb.KeyEvent, **changes: Any) -> Refused:
        body = new_body(changes.pop("origin", MAINLAND), "authority", key_event=event)
        key = changes.pop("key", log.authority)
        return refuse(replayed(log), log.header(Kind.KEY, body, key, **changes), body)

    def test_against_the_rules_is_refused(self, border: Border, log: Log) -> None:
        refused = self.refused(log, log.admission(EXPORTER, border.exporter.key))
        assert (type(refused.error), refused.changed) == (ConflictError, False)

    def test_by_the_node_is_refused(self, log: Log) -> None:
        refused = self.refused(log, log.admission(EXPORTER, new_key()), key=log.entry_key)
        assert (type(refused.error), refused.changed) == (ForbiddenError, False)

    def test_made_for_another_log_is_refused(self, log: Log) -> None:
        refused = self.refused(log, log.admission(EXPORTER, new_key()), origin=HONG_KONG)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_that_is_no_body_is_refused(self, log: Log) -> None:
        header = log.header(Kind.KEY, b"body", log.authority)
        refused = refuse(replayed(log), header, b"body")
        assert (type(refused.error), refused.changed) == (MalformedError, False)

    def test_under_a_header_of_another_kind_is_refused(self, border: Border, log: Log) -> None:
        body = border.exporter.body(transfer=border.transfer())
        refused = refuse(replayed(log), log.header(Kind.KEY, body, log.authority), body)
        assert (type(refused.error), refused.changed) == (ChainError, False)

    def test_that_repeats_a_body_is_refused_before_it_is_applied(self, log: Log) -> None:
        history = KeyHistory(MAINLAND, log.authority.public)
        replay = Replay.start(history, lambda _digest, index: index != 1)
        replay.step(*log.entries[0])
        refused = refuse(replay, *log.entries[1])
        assert (type(refused.error), refused.changed) == (ChainError, False)


class TestSignatures:
    @pytest.fixture
    def checks(self, log: Log) -> list[SignatureCheck]:
        replay = log.replay()
        return [replay.step(raw, body)[1] for raw, body in log.entries]

    def test_of_nothing_pass(self) -> None:
        check_signatures([])

    @pytest.mark.parametrize("index", range(7))
    def test_fail_with_the_entry_named(self, checks: list[SignatureCheck], index: int) -> None:
        checks[index] = checks[index]._replace(signature=bytes(64))
        with pytest.raises(SignatureError, match=f"^entry {index}: "):
            check_signatures(checks)

    def test_of_two_that_fail_the_first_is_named(self, checks: list[SignatureCheck]) -> None:
        checks[2], checks[4] = (checks[at]._replace(message=b"") for at in (2, 4))
        with pytest.raises(SignatureError, match=r"^entry 2: "):
            check_signatures(checks)

    def test_over_the_other_logs_origin_fail(self, border: Border) -> None:
        log = border.mainland
        elsewhere = replace(log, origin=HONG_KONG)
        signed = elsewhere.header(Kind.NODE, b"body", log.entry_key)
        replay = replayed(log)
        _, check = replay.step(signed.encode(), None)
        with pytest.raises(SignatureError):
            check_signatures([check])

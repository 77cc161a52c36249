"""Keys of a node and of its authority in the log: in force from the entry that named them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import EXPORTER, MAINLAND, START, Border, Log, new_body, new_border, new_key

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.errors import ForbiddenError, LedgerError, TrustError
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey
from ledgerd_client.core.node_keys import NodeKey

LOG, ENTRY, COSIGNER, AUTHORITY = (
    pb.ROLE_LOG, pb.ROLE_ENTRY, pb.ROLE_COSIGNER, pb.ROLE_AUTHORITY,
)  # fmt: skip
RULES = pb.RuleSet(version="2026-08", digest=bytes(32))


@pytest.fixture
def border() -> Border:
    """GENESIS and one ADMIT on each side."""
    return new_border()


@pytest.fixture
def log(border: Border) -> Log:
    return border.mainland


def refusal(log: Log, **record: Any) -> str:
    """The reason for which an entry by the authority is refused at the end of the log."""
    body = new_body(log.origin, "authority", **record)
    kind = Kind.LOSS if "loss" in record else Kind.KEY
    header = log.header(kind, body, log.authority)
    with pytest.raises(LedgerError) as refused:
        log.history().check(header, pb.Body.FromString(body))
    return refused.value.reason


class TestAKeyInForce:
    @pytest.mark.parametrize("role", [LOG, ENTRY, COSIGNER, AUTHORITY])
    def test_is_that_of_genesis_at_first(self, log: Log, role: int) -> None:
        assert log.history().key_in_force(role) == NodeKey(log.key_of(role).public, 0)

    @pytest.mark.parametrize("role", [LOG, ENTRY, COSIGNER, AUTHORITY])
    def test_is_the_new_one_behind_its_rotation(self, log: Log, role: int) -> None:
        old = log.key_of(role).public
        index = log.rotate(role)
        history = log.history()
        at = [history.key_in_force(role, place).public for place in (index, index + 1)]
        assert at == [old, log.key_of(role).public]

    @pytest.mark.parametrize("role", [LOG, COSIGNER])
    def test_is_the_new_one_behind_a_loss(self, log: Log, role: int) -> None:
        index = log.lose()
        public = log.key_of(role).public
        assert log.history().key_in_force(role) == NodeKey(public, index, lost=True)

    @pytest.mark.parametrize("replace", [lambda log: log.rotate(LOG), Log.lose])
    def test_before_genesis_none_is_replaced(self, log: Log, replace: Callable[[Log], int]) -> None:
        replace(log)
        header, body = log.key_entries[-1]
        with pytest.raises(TrustError):
            KeyHistory(log.origin, log.authority.public).check(
                Header.parse(header), pb.Body.FromString(body)
            )

    def test_before_genesis_there_is_none(self) -> None:
        with pytest.raises(TrustError):
            KeyHistory(MAINLAND, new_key().public).key_in_force(LOG)


class TestASignature:
    def test_by_the_old_entry_key_ends_with_its_rotation(self, log: Log) -> None:
        old = log.entry_key
        log.rotate(ENTRY)
        with pytest.raises(ForbiddenError):
            log.history().signer(log.header(Kind.NODE, b"body", old))

    def test_by_the_new_entry_key_names_the_rotation(self, log: Log) -> None:
        index = log.rotate(ENTRY)
        header = log.header(Kind.NODE, b"body", log.entry_key, key_index=index)
        assert log.history().signer(header) == log.entry_key.public

    def test_by_the_new_entry_key_as_if_it_were_the_first_is_refused(self, log: Log) -> None:
        log.rotate(ENTRY)
        with pytest.raises(ForbiddenError):
            log.history().signer(log.header(Kind.NODE, b"body", log.entry_key, key_index=0))

    def test_of_a_rotation_of_the_authority_is_by_the_old_one(self, log: Log) -> None:
        old = log.authority
        index = log.rotate(AUTHORITY)
        header = Header.parse(log.entries[index][0])
        assert (header.key_id, log.history().signer(header)) == (old.key_id, old.public)

    def test_of_what_follows_is_by_the_new_authority(self, log: Log) -> None:
        log.rotate(AUTHORITY)
        admitted = log.admit("uscc.A").admitted_at
        signer = log.history().signer(Header.parse(log.entries[admitted][0]))
        assert signer == log.authority.public


class TestARotation:
    def event(self, log: Log, role: int = LOG, **changes: Any) -> pb.KeyEvent:
        return log.node_rotation(role, new_key(), **changes)

    @pytest.mark.parametrize("role", [LOG, ENTRY, COSIGNER, AUTHORITY])
    def test_of_a_key_that_is_not_in_force_is_refused(self, log: Log, role: int) -> None:
        event = self.event(log, role, previous_key_id=new_key().key_id)
        assert refusal(log, key_event=event) == "KEY_UNKNOWN"

    @pytest.mark.parametrize("role", [LOG, ENTRY, COSIGNER, AUTHORITY])
    def test_without_possession_of_the_new_key_is_refused(self, log: Log, role: int) -> None:
        event = self.event(log, role, possession=bytes(64))
        assert refusal(log, key_event=event) == "NO_POSSESSION"

    @pytest.mark.parametrize("role", [LOG, ENTRY, COSIGNER, AUTHORITY])
    @pytest.mark.parametrize("to", [LOG, ENTRY, COSIGNER, AUTHORITY])
    def test_to_a_key_that_the_log_has_named_is_refused(self, log: Log, role: int, to: int) -> None:
        event = log.node_rotation(role, log.key_of(to))
        assert refusal(log, key_event=event) == "KEY_KNOWN"

    def test_to_a_key_that_was_replaced_is_refused(self, log: Log) -> None:
        old = log.log_key
        log.rotate(LOG)
        assert refusal(log, key_event=log.node_rotation(LOG, old)) == "KEY_KNOWN"

    def test_to_an_institutions_key_is_refused(self, border: Border, log: Log) -> None:
        event = log.node_rotation(LOG, border.exporter.key)
        assert refusal(log, key_event=event) == "KEY_KNOWN"

    def test_makes_the_old_key_unfit_for_an_institution(self, log: Log) -> None:
        old = log.entry_key
        log.rotate(ENTRY)
        assert refusal(log, key_event=log.admission("uscc.A", old)) == "KEY_KNOWN"


class TestARotationOfTheAuthority:
    def test_is_over_the_history_before_it(self, log: Log) -> None:
        event = log.node_rotation(AUTHORITY, new_key())
        log.admit("uscc.A")
        assert refusal(log, key_event=event) == "HISTORY_MOVED"

    def test_of_another_history_is_not_borne_out_by_the_new_key(self, log: Log) -> None:
        """What who trusts the new key alone is safe from: a past made with the stolen old one."""
        event = log.node_rotation(AUTHORITY, new_key())
        log.admit("uscc.A")
        event.history_digest = log.history().history_digest
        assert refusal(log, key_event=event) == "NO_POSSESSION"

    def test_is_over_the_place_of_each(self, log: Log) -> None:
        """Else who stole the old key has others admitted, and revoked, where it suits him."""
        log.admit("uscc.A")
        log.rotate(AUTHORITY)
        moved = [
            (replace(header, index=header.index + (1000 if header.index else 0)).encode(), body)
            for header, body in ((Header.parse(raw), body) for raw, body in log.key_entries)
        ]
        with pytest.raises(TrustError):
            KeyHistory.of(log.origin, log.authority.public, moved)

    @pytest.mark.parametrize("pinned", ["old", "new"])
    def test_opens_notes_to_who_trusts_either_key(self, log: Log, pinned: str) -> None:
        keys = {"old": log.authority.public}
        log.rotate(AUTHORITY)
        keys["new"] = log.authority.public
        history = KeyHistory.of(log.origin, keys[pinned], log.key_entries)
        assert history.log_keys(1)[0].public == log.log_key.public

    @pytest.mark.parametrize(
        "ask",
        [
            lambda history: history.log_keys(1),
            lambda history: history.accountable(1),
            KeyHistory.cosigner_keys,
        ],
        ids=["checkpoints", "evidence", "cosignatures"],
    )
    def test_opens_nothing_before_it_holds_the_key_that_is_pinned(
        self, log: Log, ask: Callable[[KeyHistory], object]
    ) -> None:
        """As in a log that is replayed: a stranger's GENESIS comes first there, and proves none."""
        log.rotate(AUTHORITY)
        pinned, entries = log.authority.public, log.key_entries[:-1]
        history = KeyHistory.of(log.origin, pinned, entries, partial=True)
        with pytest.raises(TrustError):
            ask(history)

    def test_is_not_there_yet_for_who_trusts_the_new_key(self, log: Log) -> None:
        log.rotate(AUTHORITY)
        with pytest.raises(TrustError):
            KeyHistory.of(log.origin, log.authority.public, log.key_entries[:-1])


class TestAYoungRotation:
    """The old key is still needed: the next one waits until the peer has cosigned beyond it."""

    @pytest.mark.parametrize("role", [LOG, ENTRY])
    def test_is_one_that_the_peer_has_not_cosigned(self, log: Log, role: int) -> None:
        before = log.history().is_young(role, 0)
        index = log.rotate(role)
        history = log.history()
        young = [history.is_young(role, known) for known in (0, index, index + 1)]
        assert (before, young) == (False, [True, True, False])

    @pytest.mark.parametrize("replace", [lambda log: log.rotate(LOG, lost=True), Log.lose])
    def test_is_none_of_a_key_that_is_lost(self, log: Log, replace: Callable[[Log], int]) -> None:
        replace(log)
        assert not log.history().is_young(LOG, 0)

    @pytest.mark.parametrize("role", [COSIGNER, AUTHORITY])
    def test_is_none_of_another_role(self, log: Log, role: int) -> None:
        log.rotate(role)
        assert not log.history().is_young(role, 0)


class TestKeysOfCheckpoints:
    def test_are_the_one_in_force_there_and_those_before(self, log: Log) -> None:
        first = log.log_key.public
        index = log.rotate(LOG)
        second = log.log_key.public
        history = log.history()
        assert [[key.public for key in history.log_keys(size)] for size in (index, index + 1)] == [
            [first],
            [second, first],
        ]

    def test_do_not_hold_one_that_is_lost(self, log: Log) -> None:
        log.rotate(LOG, lost=True)
        size = len(log.entries)
        assert [key.public for key in log.history().log_keys(size)] == [log.log_key.public]

    def test_needed_on_the_first_one_are_those_that_were_replaced(self, log: Log) -> None:
        first = log.log_key.public
        index = log.rotate(LOG)
        history = log.history()
        needed = [
            [key.public for key in history.needs_both(known, size)]
            for known, size in (
                (index - 1, index), (index - 1, index + 1), (index, index + 9), (index + 1, 9),
            )
        ]  # fmt: skip
        assert needed == [[], [first], [first], []]

    @pytest.mark.parametrize("replace", [lambda log: log.rotate(LOG, lost=True), Log.lose])
    def test_needed_is_none_that_is_lost(self, log: Log, replace: Callable[[Log], int]) -> None:
        index = replace(log)
        assert log.history().needs_both(index, index + 1) == ()

    @pytest.mark.parametrize(
        ("replace", "count"),
        [
            (lambda log: log.rotate(LOG), 1),
            (lambda log: log.rotate(LOG, lost=True), 1),
            (lambda log: log.rotate(LOG, lost=True, compromised_since=START), 0),
            (lambda log: log.rotate(LOG, compromised_since=START), 0),
            (Log.lose, 1),
        ],
        ids=["rotated", "lost", "lost and stolen", "stolen", "loss"],
    )
    def test_count_against_the_log_unless_they_were_in_other_hands(
        self, log: Log, replace: Callable[[Log], int], count: int
    ) -> None:
        index = replace(log)
        history = log.history()
        counts = [len(history.accountable(size)) for size in (index, index + 1)]
        assert counts == [count, 1]

    def test_of_cosignatures_are_all_the_newest_first(self, log: Log) -> None:
        first = log.cosigner_key.public
        log.rotate(COSIGNER)
        named = [key.public for key in log.history().cosigner_keys()]
        assert named == [log.cosigner_key.public, first]


class TestALogKeyThatWasStolenAfterItsRotation:
    @pytest.fixture
    def stolen(self, log: Log) -> SigningKey:
        old = log.log_key
        log.rotate(LOG)
        return old

    def test_counts_against_the_log_no_more(self, log: Log, stolen: SigningKey) -> None:
        before = log.history().accountable(1)
        log.by_authority(key_event=log.disowning(stolen))
        assert ([key.public for key in before], log.history().accountable(1)) == (
            [stolen.public],
            (),
        )

    def test_leaves_those_to_count_that_were_not(self, log: Log, stolen: SigningKey) -> None:
        second = log.log_key
        log.rotate(LOG)
        log.by_authority(key_event=log.disowning(stolen))
        counting = [log.history().accountable(size)[0].public for size in (3, 4)]
        assert counting == [second.public, log.log_key.public]

    def test_opens_what_it_opened(self, log: Log, stolen: SigningKey) -> None:
        log.by_authority(key_event=log.disowning(stolen))
        assert [key.public for key in log.history().log_keys(1)] == [stolen.public]

    def test_is_still_needed_on_the_first_checkpoint_over_its_rotation(
        self, log: Log, stolen: SigningKey
    ) -> None:
        log.by_authority(key_event=log.disowning(stolen))
        assert [key.public for key in log.history().needs_both(2, 4)] == [stolen.public]

    def test_may_be_one_that_a_loss_put_an_end_to(self, log: Log) -> None:
        old = log.log_key
        log.lose()
        log.by_authority(key_event=log.disowning(old))
        assert log.history().accountable(1) == ()

    def test_is_said_once(self, log: Log, stolen: SigningKey) -> None:
        log.by_authority(key_event=log.disowning(stolen))
        assert refusal(log, key_event=log.disowning(stolen)) == "KEY_REVOKED"

    def test_is_not_said_again_of_what_its_rotation_said(self, log: Log) -> None:
        old = log.log_key
        log.rotate(LOG, compromised_since=START)
        assert refusal(log, key_event=log.disowning(old)) == "KEY_REVOKED"

    def test_is_not_one_that_is_in_force(self, log: Log, stolen: SigningKey) -> None:
        assert refusal(log, key_event=log.disowning(log.log_key)) == "KEY_UNKNOWN"

    @pytest.mark.parametrize("role", [ENTRY, COSIGNER, AUTHORITY])
    def test_is_no_key_of_another_role(self, log: Log, role: int) -> None:
        old = log.key_of(role)
        log.rotate(role)
        assert refusal(log, key_event=log.disowning(old)) == "KEY_UNKNOWN"


class TestALoss:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"size": 1}, "BAD_CHAIN"),
            ({"size": 3}, "BAD_CHAIN"),
            ({"log_possession": bytes(64)}, "NO_POSSESSION"),
            ({"cosigner_possession": bytes(64)}, "NO_POSSESSION"),
        ],
    )
    def test_of_something_else_is_refused(
        self, log: Log, changes: dict[str, Any], reason: str
    ) -> None:
        assert refusal(log, loss=log.loss(**changes)) == reason

    @pytest.mark.parametrize("role", [LOG, ENTRY, COSIGNER, AUTHORITY])
    @pytest.mark.parametrize("place", [0, 1])
    def test_with_a_key_that_the_log_has_named_is_refused(
        self, log: Log, role: int, place: int
    ) -> None:
        keys = [new_key(), new_key()]
        keys[place] = log.key_of(role)
        assert refusal(log, loss=log.loss(keys=keys)) == "KEY_KNOWN"

    def test_is_told(self, log: Log) -> None:
        index = log.lose()
        assert [loss.size for loss in log.history().losses()] == [index]

    def test_stands_in_the_file_of_the_history(self, log: Log) -> None:
        log.lose()
        history = log.history()
        again = KeyHistory.parse(history.format(), log.authority.public)
        assert again.history_digest == history.history_digest


class TestACertificate:
    def event(self, digest: bytes = bytes(32)) -> pb.KeyEvent:
        return pb.KeyEvent(
            action=pb.KEY_ACTION_REVOKE,
            role=pb.ROLE_TLS,
            subject=f"institution/{EXPORTER}",
            public_key=digest,
        )

    def test_is_good_until_it_is_revoked(self, log: Log) -> None:
        before = log.history().is_revoked(bytes(32))
        log.by_authority(key_event=self.event())
        assert (before, log.history().is_revoked(bytes(32))) == (False, True)

    def test_is_revoked_by_itself(self, log: Log) -> None:
        log.by_authority(key_event=self.event())
        assert not log.history().is_revoked(bytes(31) + b"\x01")

    def test_is_revoked_once(self, log: Log) -> None:
        log.by_authority(key_event=self.event())
        assert refusal(log, key_event=self.event()) == "KEY_REVOKED"


class TestTheDigest:
    def test_is_of_each_entry_in_order(self, log: Log) -> None:
        seen = {log.history().history_digest}
        log.by_node(rule_set=RULES)
        seen.add(log.history().history_digest)
        log.admit("uscc.A")
        seen.add(log.history().history_digest)
        log.lose()
        seen.add(log.history().history_digest)
        assert len(seen) == 3

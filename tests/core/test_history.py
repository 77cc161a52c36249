"""Key histories: who may sign what at which index, decided by what the authority signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from builders import (
    EXPORTER,
    HONG_KONG,
    MAINLAND,
    SHENZHEN,
    START,
    Border,
    Institution,
    Log,
    new_body,
    new_border,
    new_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client.core.admission import admission_digest
from ledgerd_client.core.encoding import encode_base64
from ledgerd_client.core.errors import (
    ChainError,
    ConflictError,
    ForbiddenError,
    LedgerError,
    MalformedError,
    NotFoundError,
    SignatureError,
    TrustError,
    VerificationError,
)
from ledgerd_client.core.header import Header, Kind
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.keys import SigningKey

OTHER = "lei.5493001KJTIIGC8Y1R12"
REGULATOR = "reg.example"
LOW_ORDER_KEY = bytes(32)


@pytest.fixture
def border() -> Border:
    """The exporter's key is admitted at 1; the log ends there."""
    return new_border()


@pytest.fixture
def log(border: Border) -> Log:
    return border.mainland


def refusal(log: Log, event: pb.KeyEvent) -> LedgerError:
    """The error with which an event at the end of the log is refused."""
    body = new_body(log.origin, "authority", key_event=event)
    header = log.header(Kind.KEY, body, log.authority)
    with pytest.raises(LedgerError) as refused:
        log.history().check(header, pb.Body.FromString(body))
    return refused.value


class TestAdmissionDigest:
    def test_is_over_origin_subject_role_and_key(self) -> None:
        public = new_key().public
        by_hand = (
            b"ledgerd/admission/v1\n"
            + bytes([len(MAINLAND)]) + MAINLAND.encode()
            + bytes([len(EXPORTER)]) + EXPORTER.encode()
            + b"\x01" + public
        )  # fmt: skip
        assert admission_digest(MAINLAND, EXPORTER, 1, public) == sha256(by_hand).digest()


class TestGenesis:
    def history_of(self, log: Log, genesis: pb.Genesis, **changes: Any) -> KeyHistory:
        body = new_body(changes.pop("origin", log.origin), "authority", genesis=genesis)
        header = log.header(Kind.GENESIS, body, changes.pop("key", log.authority), **changes)
        return KeyHistory.of(log.origin, log.authority.public, [(header.encode(), body)])

    @pytest.fixture
    def empty(self) -> Log:
        return Log(MAINLAND)

    @pytest.fixture
    def genesis(self, empty: Log) -> pb.Genesis:
        return empty.genesis(Log(HONG_KONG))

    def test_by_the_trusted_authority_begins_a_history(
        self, empty: Log, genesis: pb.Genesis
    ) -> None:
        assert self.history_of(empty, genesis).genesis == genesis

    def test_that_names_another_authority_is_refused(self, empty: Log, genesis: pb.Genesis) -> None:
        genesis.authority_key = new_key().public
        with pytest.raises(TrustError):
            self.history_of(empty, genesis)

    def test_signed_by_another_authority_is_refused(self, empty: Log, genesis: pb.Genesis) -> None:
        with pytest.raises(TrustError):
            self.history_of(empty, genesis, key=new_key())

    def test_in_the_name_of_the_authority_by_another_is_refused(
        self, empty: Log, genesis: pb.Genesis
    ) -> None:
        with pytest.raises(TrustError):
            self.history_of(empty, genesis, key=new_key(), key_id=empty.authority.key_id)

    def test_of_another_log_is_refused(self, empty: Log, genesis: pb.Genesis) -> None:
        genesis.peer_origin = MAINLAND
        with pytest.raises(VerificationError):
            self.history_of(empty, genesis, origin=HONG_KONG)

    def test_at_index_1_is_refused(self, empty: Log, genesis: pb.Genesis) -> None:
        with pytest.raises(VerificationError):
            self.history_of(empty, genesis, index=1)

    def test_with_a_key_index_is_refused(self, empty: Log, genesis: pb.Genesis) -> None:
        with pytest.raises(VerificationError):
            self.history_of(empty, genesis, key_index=1)

    def test_with_a_key_that_is_no_sound_point_is_refused(
        self, empty: Log, genesis: pb.Genesis
    ) -> None:
        genesis.entry_key = LOW_ORDER_KEY
        with pytest.raises(MalformedError):
            self.history_of(empty, genesis)

    def test_comes_once(self, log: Log, genesis: pb.Genesis) -> None:
        again = log.entries[0]
        header = replace(Header.parse(again[0]), index=2)
        with pytest.raises(VerificationError):
            KeyHistory.of(
                log.origin, log.authority.public, [*log.entries, (header.encode(), again[1])]
            )

    @pytest.mark.parametrize("index", [0, 2])
    def test_may_not_follow_one(self, border: Border, log: Log, index: int) -> None:
        header = replace(Header.parse(log.entries[0][0]), index=index)
        with pytest.raises(ChainError):
            log.history().check(header, pb.Body.FromString(log.entries[0][1]))

    def test_may_not_stand_elsewhere(self, log: Log) -> None:
        header = replace(Header.parse(log.entries[0][0]), index=1)
        with pytest.raises(ChainError):
            KeyHistory(MAINLAND, log.authority.public).check(
                header, pb.Body.FromString(log.entries[0][1])
            )

    def test_comes_before_any_key(self, log: Log) -> None:
        with pytest.raises(TrustError):
            KeyHistory.of(log.origin, log.authority.public, log.entries[1:])

    def test_of_nothing_there_is_none(self) -> None:
        with pytest.raises(TrustError):
            KeyHistory.of(MAINLAND, new_key().public, []).need_genesis()

    def test_names_the_keys_of_checkpoints_and_cosignatures(self, log: Log) -> None:
        history = log.history()
        named = [(key.name, key.algorithm, key.public) for key in history.log_keys(1)]
        cosigners = [(key.name, key.algorithm, key.public) for key in history.cosigner_keys()]
        assert (named, cosigners) == (
            [(MAINLAND, 1, log.log_key.public)],
            [(MAINLAND, 4, log.cosigner_key.public)],
        )


class TestAdmit:
    def test_makes_a_key_known(self, border: Border, log: Log) -> None:
        found = log.history().find(border.exporter.key.key_id)
        assert found is not None
        assert (found.subject, found.role, found.place, found.admitted_at, found.revoked_at) == (
            EXPORTER,
            pb.ROLE_INSTITUTION,
            SHENZHEN,
            1,
            None,
        )

    def test_gives_a_subject_as_many_keys_as_it_asks_for(self, border: Border, log: Log) -> None:
        second = log.admit(EXPORTER)
        found = dict(log.history().of_subject(pb.ROLE_INSTITUTION, EXPORTER))
        assert set(found) == {border.exporter.key.key_id, second.key.key_id}

    def test_does_not_mix_roles(self, log: Log) -> None:
        log.admit(REGULATOR, role=pb.ROLE_REGULATOR)
        assert list(log.history().of_subject(pb.ROLE_INSTITUTION, REGULATOR)) == []

    def test_of_a_key_that_is_known_is_refused(self, border: Border, log: Log) -> None:
        error = refusal(log, log.admission(EXPORTER, border.exporter.key))
        assert (type(error), error.reason) == (ConflictError, "KEY_KNOWN")

    def test_of_a_key_for_a_second_subject_is_refused(self, border: Border, log: Log) -> None:
        assert refusal(log, log.admission(OTHER, border.exporter.key)).reason == "KEY_KNOWN"

    def test_of_a_key_for_a_second_role_is_refused(self, border: Border, log: Log) -> None:
        event = log.admission(EXPORTER, border.exporter.key, role=pb.ROLE_REGULATOR)
        assert refusal(log, event).reason == "KEY_KNOWN"

    def test_of_a_revoked_key_is_refused(self, border: Border, log: Log) -> None:
        log.by_authority(key_event=log.revocation(border.exporter))
        assert refusal(log, log.admission(EXPORTER, border.exporter.key)).reason == "KEY_KNOWN"

    def test_of_a_rotated_key_is_refused(self, border: Border, log: Log) -> None:
        log.by_authority(key_event=log.rotation(border.exporter, new_key()))
        assert refusal(log, log.admission(EXPORTER, border.exporter.key)).reason == "KEY_KNOWN"

    @pytest.mark.parametrize("name", ["log_key", "entry_key", "cosigner_key", "authority"])
    def test_of_a_key_of_the_node_or_authority_is_refused(self, log: Log, name: str) -> None:
        assert refusal(log, log.admission(OTHER, getattr(log, name))).reason == "KEY_KNOWN"

    @pytest.mark.parametrize(
        ("origin", "subject", "role", "own_key"),
        [
            (HONG_KONG, OTHER, 1, True),
            (MAINLAND, EXPORTER, 1, True),
            (MAINLAND, OTHER, 2, True),
            (MAINLAND, OTHER, 1, False),
        ],
        ids=["another origin", "another subject", "another role", "another key"],
    )
    def test_with_possession_of_something_else_is_refused(
        self, log: Log, origin: str, subject: str, role: int, own_key: bool
    ) -> None:
        key = new_key()
        public = key.public if own_key else new_key().public
        proof = key.sign(admission_digest(origin, subject, role, public))
        error = refusal(log, log.admission(OTHER, key, possession=proof))
        assert (type(error), error.reason) == (SignatureError, "NO_POSSESSION")

    def test_with_possession_by_another_key_is_refused(self, log: Log) -> None:
        key = new_key()
        possession = new_key().sign(admission_digest(MAINLAND, OTHER, 1, key.public))
        event = log.admission(OTHER, key, possession=possession)
        assert refusal(log, event).reason == "NO_POSSESSION"

    def test_of_a_key_that_is_no_sound_point_is_refused(self, log: Log) -> None:
        event = log.admission(OTHER, new_key(), public_key=LOW_ORDER_KEY)
        assert refusal(log, event).reason == "BAD_KEY"


class TestRotate:
    def test_ends_the_old_key(self, border: Border, log: Log) -> None:
        index = log.by_authority(key_event=log.rotation(border.exporter, new_key()))
        old = log.history().find(border.exporter.key.key_id)
        assert old is not None
        assert old.revoked_at == index

    def test_admits_the_new_one(self, border: Border, log: Log) -> None:
        new = new_key()
        index = log.by_authority(key_event=log.rotation(border.exporter, new))
        found = log.history().find(new.key_id)
        assert found is not None
        assert (found.subject, found.admitted_at) == (EXPORTER, index)

    def test_keeps_what_it_does_not_say_anew(self, border: Border, log: Log) -> None:
        old = log.admit(EXPORTER, name="Example Ltd")
        event = log.rotation(old, key := new_key(), place=0, sector=0)
        log.by_authority(key_event=event)
        found = log.history().find(key.key_id)
        assert found is not None
        assert (found.place, found.sector, found.name) == (SHENZHEN, 1, "Example Ltd")

    def test_takes_what_it_says_anew(self, border: Border, log: Log) -> None:
        said = {"place": 440100, "sector": 2, "name": "Example Ltd"}
        event = log.rotation(border.exporter, key := new_key(), **said)
        log.by_authority(key_event=event)
        found = log.history().find(key.key_id)
        assert found is not None
        assert (found.place, found.sector, found.name) == (440100, 2, "Example Ltd")

    def test_says_since_when_the_old_key_is_not_trusted(self, border: Border, log: Log) -> None:
        event = log.rotation(border.exporter, key := new_key(), compromised_since=START)
        log.by_authority(key_event=event)
        found = [log.history().find(of.key_id) for of in (border.exporter.key, key)]
        assert [one.compromised_since for one in found if one] == [START, 0]

    def test_of_an_unknown_key_is_refused(self, border: Border, log: Log) -> None:
        event = log.rotation(border.exporter, new_key(), previous_key_id=new_key().key_id)
        error = refusal(log, event)
        assert (type(error), error.reason) == (NotFoundError, "KEY_UNKNOWN")

    def test_of_another_subjects_key_is_refused(self, border: Border, log: Log) -> None:
        other = log.admit(OTHER)
        event = log.rotation(border.exporter, new_key(), previous_key_id=other.key.key_id)
        assert refusal(log, event).reason == "KEY_UNKNOWN"

    def test_of_a_key_of_another_role_is_refused(self, border: Border, log: Log) -> None:
        event = log.rotation(border.exporter, new_key(), role=pb.ROLE_REGULATOR)
        assert refusal(log, event).reason == "KEY_UNKNOWN"

    def test_of_a_revoked_key_is_refused(self, border: Border, log: Log) -> None:
        log.by_authority(key_event=log.revocation(border.exporter))
        error = refusal(log, log.rotation(border.exporter, new_key()))
        assert (type(error), error.reason) == (ConflictError, "KEY_REVOKED")

    def test_to_itself_is_refused(self, border: Border, log: Log) -> None:
        event = log.rotation(border.exporter, border.exporter.key)
        assert refusal(log, event).reason == "KEY_KNOWN"

    def test_to_a_known_key_is_refused(self, border: Border, log: Log) -> None:
        second = log.admit(EXPORTER)
        assert refusal(log, log.rotation(border.exporter, second.key)).reason == "KEY_KNOWN"

    def test_to_a_key_of_the_node_is_refused(self, border: Border, log: Log) -> None:
        assert refusal(log, log.rotation(border.exporter, log.entry_key)).reason == "KEY_KNOWN"

    def test_without_possession_of_the_new_key_is_refused(self, border: Border, log: Log) -> None:
        event = log.rotation(border.exporter, new_key(), possession=bytes(64))
        assert refusal(log, event).reason == "NO_POSSESSION"


class TestRevoke:
    def test_ends_the_key(self, border: Border, log: Log) -> None:
        event = log.revocation(border.exporter, compromised_since=START)
        index = log.by_authority(key_event=event)
        found = log.history().find(border.exporter.key.key_id)
        assert found is not None
        assert (found.revoked_at, found.compromised_since) == (index, START)

    def test_need_not_say_where_the_institution_is(self, border: Border, log: Log) -> None:
        log.by_authority(key_event=log.revocation(border.exporter, place=0, sector=0))
        found = log.history().find(border.exporter.key.key_id)
        assert found is not None
        assert (found.revoked_at, found.place) == (2, SHENZHEN)

    def test_of_an_unknown_key_is_refused(self, border: Border, log: Log) -> None:
        event = log.revocation(replace(border.exporter, key=new_key()))
        assert refusal(log, event).reason == "KEY_UNKNOWN"

    def test_of_another_subjects_key_is_refused(self, border: Border, log: Log) -> None:
        event = log.revocation(replace(border.exporter, id=OTHER))
        assert refusal(log, event).reason == "KEY_UNKNOWN"

    def test_of_a_key_of_another_role_is_refused(self, border: Border, log: Log) -> None:
        event = log.revocation(border.exporter, role=pb.ROLE_REGULATOR)
        assert refusal(log, event).reason == "KEY_UNKNOWN"

    def test_comes_once(self, border: Border, log: Log) -> None:
        log.by_authority(key_event=log.revocation(border.exporter))
        error = refusal(log, log.revocation(border.exporter))
        assert (type(error), error.reason) == (ConflictError, "KEY_REVOKED")

    def test_of_a_node_key_is_refused(self, border: Border, log: Log) -> None:
        event = log.revocation(replace(border.exporter, key=log.entry_key))
        assert refusal(log, event).reason == "KEY_UNKNOWN"


class TestChecking:
    def test_changes_nothing(self, border: Border, log: Log) -> None:
        history = log.history()
        before = history.format()
        body = new_body(log.origin, "authority", key_event=log.revocation(border.exporter))
        history.check(log.header(Kind.KEY, body, log.authority), pb.Body.FromString(body))
        assert (history.format(), history.find(border.exporter.key.key_id)) == (
            before,
            log.history().find(border.exporter.key.key_id),
        )

    def test_a_body_of_another_log_is_refused(self, log: Log) -> None:
        body = new_body(HONG_KONG, "authority", key_event=log.admission(OTHER, new_key()))
        with pytest.raises(ChainError):
            log.history().check(log.header(Kind.KEY, body, log.authority), pb.Body.FromString(body))

    def test_a_body_of_another_kind_is_refused(self, border: Border, log: Log) -> None:
        body = new_body(log.origin, "authority", genesis=log.genesis(border.hong_kong))
        with pytest.raises(ChainError):
            log.history().check(log.header(Kind.KEY, body, log.authority), pb.Body.FromString(body))


# Kind: whose key signs it, by section 2 of docs/format.md.
SIGNERS = {
    Kind.KEY: "authority",
    Kind.TRANSFER: "institution",
    Kind.ACK: "institution",
    Kind.CANCEL: "institution",
    Kind.CORRECTION: "institution",
    Kind.ANCHOR: "node",
    Kind.EVIDENCE: "node",
    Kind.LOSS: "authority",
    Kind.RECORD: "institution",
    Kind.NODE: "node",
    Kind.CONTRACT: "institution",
}


class TestSigner:
    @pytest.fixture
    def keys(self, border: Border, log: Log) -> dict[str, tuple[SigningKey, int]]:
        regulator = log.admit(REGULATOR, role=pb.ROLE_REGULATOR)
        return {
            "authority": (log.authority, 0),
            "node": (log.entry_key, 0),
            "institution": (border.exporter.key, border.exporter.admitted_at),
            "regulator": (regulator.key, regulator.admitted_at),
            "log": (log.log_key, 0),
            "cosigner": (log.cosigner_key, 0),
            "stranger": (new_key(), 1),
        }

    @pytest.mark.parametrize(
        "who",
        ["authority", "node", "institution", "regulator", "log", "cosigner", "stranger"],
    )
    @pytest.mark.parametrize("kind", SIGNERS)
    def test_of_each_kind_is_its_own_and_no_other(
        self, log: Log, keys: dict[str, tuple[SigningKey, int]], kind: Kind, who: str
    ) -> None:
        key, key_index = keys[who]
        header = log.header(kind, b"body", key, key_index=key_index)
        try:
            taken = log.history().signer(header) == key.public
        except ForbiddenError:
            taken = False
        assert taken == (SIGNERS[kind] == who)

    def test_of_genesis_is_the_authority(self, border: Border, log: Log) -> None:
        header = log.header(Kind.GENESIS, b"body", log.authority, index=0)
        assert log.history().signer(header) == log.authority.public

    def test_of_genesis_at_another_index_there_is_none(self, log: Log) -> None:
        header = log.header(Kind.GENESIS, b"body", log.authority, index=2)
        with pytest.raises(ForbiddenError):
            log.history().signer(header)

    def test_of_another_kind_at_index_0_there_is_none(self, log: Log) -> None:
        header = log.header(Kind.NODE, b"body", log.entry_key, index=0)
        with pytest.raises(ForbiddenError):
            log.history().signer(header)

    @pytest.mark.parametrize("kind", [Kind.KEY, Kind.LOSS])
    def test_by_the_authority_has_key_index_0(self, log: Log, kind: Kind) -> None:
        with pytest.raises(ForbiddenError):
            log.history().signer(log.header(kind, b"body", log.authority, key_index=1))

    def test_by_the_node_has_key_index_0(self, log: Log) -> None:
        with pytest.raises(ForbiddenError):
            log.history().signer(log.header(Kind.NODE, b"body", log.entry_key, key_index=1))

    def test_before_genesis_there_is_none_but_the_authority(self, log: Log) -> None:
        header = log.header(Kind.NODE, b"body", log.entry_key)
        with pytest.raises(TrustError):
            KeyHistory(MAINLAND, log.authority.public).signer(header)


class TestKeyOfAnInstitution:
    @pytest.fixture
    def history(self, border: Border, log: Log) -> KeyHistory:
        """Admitted at 1, another at 2, revoked at 3."""
        log.admit(OTHER)
        log.by_authority(key_event=log.revocation(border.exporter))
        return log.history()

    def reason(self, history: KeyHistory, of: Institution, admitted_at: int, index: int) -> str:
        try:
            history.institution_key(of.key.key_id, admitted_at, index)
        except ForbiddenError as error:
            return error.reason
        return "good"

    @pytest.mark.parametrize(
        ("index", "expected"),
        [
            (0, "KEY_UNKNOWN"),
            (1, "KEY_UNKNOWN"),
            (2, "good"),
            (3, "KEY_REVOKED"),
            (4, "KEY_REVOKED"),
            (2**64 - 1, "KEY_REVOKED"),
        ],
    )
    def test_signs_above_its_admission_and_below_its_revocation(
        self, border: Border, history: KeyHistory, index: int, expected: str
    ) -> None:
        assert self.reason(history, border.exporter, 1, index) == expected

    @pytest.mark.parametrize("admitted_at", [0, 2, 3, 4])
    def test_is_named_by_the_entry_that_admitted_it(
        self, border: Border, history: KeyHistory, admitted_at: int
    ) -> None:
        assert self.reason(history, border.exporter, admitted_at, 2) == "KEY_UNKNOWN"

    @pytest.mark.parametrize(
        ("index", "good"), [(0, False), (1, False), (2, True), (3, False), (4, False)]
    )
    def test_is_good_in_between_only(
        self, border: Border, history: KeyHistory, index: int, good: bool
    ) -> None:
        found = history.find(border.exporter.key.key_id)
        assert found is not None
        assert found.good_at(index) == good

    def test_is_replaced_at_its_rotation(self, border: Border, log: Log) -> None:
        new = new_key()
        index = log.by_authority(key_event=log.rotation(border.exporter, new))
        old, next_ = border.exporter, Institution(MAINLAND, EXPORTER, new, index)
        told = [
            self.reason(log.history(), one, one.admitted_at, at)
            for one in (old, next_)
            for at in (index - 1, index, index + 1)
        ]
        assert told == [
            "KEY_UNKNOWN" if index - 1 == old.admitted_at else "good", "KEY_REVOKED", "KEY_REVOKED",
            "KEY_UNKNOWN", "KEY_UNKNOWN", "good",
        ]  # fmt: skip


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "empty lines": lambda _: b"\n" * 4,
    "no newline at the end": lambda file: file[:-1],
    "an empty line at the end": lambda file: file + b"\n",
    "an empty line at the start": lambda file: b"\n" + file,
    "empty lines between": lambda file: file.replace(b"\n", b"\n\n"),
    "carriage returns": lambda file: file.replace(b"\n", b"\r\n"),
    "another version": lambda file: file.replace(b"keys/v1", b"keys/v2"),
    "a space in the origin": lambda file: file.replace(MAINLAND.encode(), b"gba example"),
    "no origin": lambda file: file.replace(MAINLAND.encode(), b""),
    "no entry": lambda file: b"\n".join(file.split(b"\n")[:2]) + b"\n",
    "two spaces": lambda file: file.replace(b" ", b"  "),
    "no space": lambda file: file.replace(b" ", b""),
    "a tab": lambda file: file.replace(b" ", b"\t"),
    "spaces at the ends": lambda file: file.replace(b"\n", b" \n"),
    "no padding": lambda file: file.replace(b"=", b""),
    "a byte order mark": lambda file: b"\xef\xbb\xbf" + file,
    "not UTF-8": lambda file: b"\xff" + file,
}
CHOSEN: dict[str, Callable[[list[Any]], list[Any]]] = {
    "without GENESIS": lambda entries: entries[1:],
    "GENESIS second": lambda entries: [entries[1], entries[0]],
    "GENESIS twice": lambda entries: [entries[0], entries[0]],
    "an entry twice": lambda entries: [*entries, entries[-1]],
    "out of order": lambda entries: [entries[0], entries[2], entries[1]],
    "rotated and never admitted": lambda entries: [entries[0], entries[2]],
    "GENESIS with another body": lambda entries: [(entries[0][0], entries[1][1])],
    "a KEY with another body": lambda entries: [entries[0], (entries[1][0], entries[2][1])],
}


class TestFile:
    @pytest.fixture
    def log(self, border: Border) -> Log:
        """GENESIS, one of each event, and entries of other kinds in between."""
        log = border.mainland
        log.record(border.exporter, transfer=border.transfer())
        log.by_authority(key_event=log.rotation(border.exporter, new_key()))
        other = log.admit(OTHER)
        log.by_node(rule_set=pb.RuleSet(version="2026-08", digest=bytes(32)))
        log.by_authority(key_event=log.revocation(other))
        log.admit(REGULATOR, role=pb.ROLE_REGULATOR)
        return log

    @pytest.fixture
    def file(self, log: Log) -> bytes:
        return log.history().format()

    def read(self, log: Log, file: bytes) -> KeyHistory:
        return KeyHistory.parse(file, log.authority.public)

    def test_is_two_lines_and_one_of_each_key_entry(self, log: Log, file: bytes) -> None:
        lines = ["ledgerd-keys/v1", MAINLAND]
        lines += [f"{encode_base64(h)} {encode_base64(b)}" for h, b in log.key_entries]
        assert file == "".join(line + "\n" for line in lines).encode()

    def test_is_written_as_it_was_read(self, log: Log, file: bytes) -> None:
        assert self.read(log, file).format() == file

    def test_of_genesis_alone_is_read(self, border: Border) -> None:
        log = replace(border.hong_kong, entries=border.hong_kong.entries[:1])
        assert self.read(log, log.history().format()).genesis == log.history().genesis

    def test_says_the_same_of_every_key(self, log: Log, file: bytes) -> None:
        ids = [pb.Body.FromString(body).key_event.public_key for _, body in log.key_entries]
        read, kept = self.read(log, file), log.history()
        assert [read.find(one) for one in ids] == [kept.find(one) for one in ids]

    def test_of_another_authority_is_refused(self, file: bytes) -> None:
        with pytest.raises(TrustError):
            KeyHistory.parse(file, new_key().public)

    def test_of_another_log_is_refused(self, border: Border, file: bytes) -> None:
        with pytest.raises(VerificationError):
            KeyHistory.parse(
                file.replace(MAINLAND.encode(), HONG_KONG.encode(), 1),
                border.mainland.authority.public,
            )

    @pytest.mark.parametrize("what", SPOILED)
    def test_another_spelling_is_refused(self, log: Log, file: bytes, what: str) -> None:
        with pytest.raises(MalformedError):
            self.read(log, SPOILED[what](file))

    @pytest.mark.parametrize("what", CHOSEN)
    def test_of_other_entries_is_refused(self, log: Log, what: str) -> None:
        with pytest.raises(VerificationError):
            KeyHistory.of(MAINLAND, log.authority.public, CHOSEN[what](log.key_entries))

    @pytest.mark.parametrize("index", [1, 2])
    def test_with_a_key_at_or_below_the_index_of_the_one_before_is_refused(
        self, log: Log, index: int
    ) -> None:
        body = new_body(MAINLAND, "authority", key_event=log.admission(OTHER, new_key()))
        second = log.header(Kind.KEY, body, log.authority, index=index)
        first = replace(Header.parse(log.entries[1][0]), index=2)
        entries = [log.entries[0], (first.encode(), log.entries[1][1]), (second.encode(), body)]
        with pytest.raises(ChainError):
            KeyHistory.of(MAINLAND, log.authority.public, entries)

    def test_with_an_entry_of_another_kind_is_refused(self, log: Log) -> None:
        with pytest.raises(ChainError):
            KeyHistory.of(MAINLAND, log.authority.public, log.entries)

    def test_with_a_key_entry_by_the_node_is_refused(self, log: Log) -> None:
        body = new_body(MAINLAND, "authority", key_event=log.admission(OTHER, new_key()))
        header = log.header(Kind.KEY, body, log.entry_key)
        with pytest.raises(VerificationError):
            KeyHistory.of(
                MAINLAND, log.authority.public, [*log.key_entries, (header.encode(), body)]
            )

    def test_with_a_key_entry_signed_for_another_log_is_refused(
        self, border: Border, log: Log
    ) -> None:
        body = new_body(MAINLAND, "authority", key_event=log.admission(OTHER, new_key()))
        signed = Log(HONG_KONG, authority=log.authority).header(Kind.KEY, body, log.authority)
        header = replace(signed, index=len(log.entries))
        with pytest.raises(VerificationError):
            KeyHistory.of(
                MAINLAND, log.authority.public, [*log.key_entries, (header.encode(), body)]
            )

    def test_with_a_key_entry_against_the_rules_is_refused(self, border: Border, log: Log) -> None:
        log.by_authority(key_event=log.revocation(border.exporter))
        with pytest.raises(TrustError):
            log.history()

    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 4), st.binary(max_size=60))
    def test_no_bytes_raise_anything_but_our_errors(self, lines: int, data: bytes) -> None:
        head = [b"ledgerd-keys/v1", MAINLAND.encode(), b"AAAA AAAA", b""][:lines]
        with pytest.raises(LedgerError):
            KeyHistory.parse(b"\n".join([*head, data]), LOW_ORDER_KEY)

    def test_survives_a_changed_bit_in_the_place_of_an_entry_only(self, border: Border) -> None:
        """The authority signs what a KEY entry says, not where it stands (docs/format.md)."""
        log = border.mainland
        file = log.history().format()
        # After index, time and link: docs/format.md section 1.
        stated = [(header[49:], body) for header, body in log.key_entries]
        survived = []
        for at in range(len(file)):
            changed = bytearray(file)
            changed[at] ^= 1 << at % 8
            try:
                history = self.read(log, bytes(changed))
            except LedgerError:
                continue
            if [(header[49:], body) for header, body in history.entries] != stated:
                survived.append(at)
        assert survived == []

    def test_an_entry_in_another_place_makes_its_receipts_fail(self, border: Border) -> None:
        log = border.mainland
        (genesis, (raw, body)) = log.key_entries
        moved = replace(Header.parse(raw), index=5)
        history = KeyHistory.of(MAINLAND, log.authority.public, [genesis, (moved.encode(), body)])
        with pytest.raises(ForbiddenError):
            history.institution_key(border.exporter.key.key_id, 1, 6)

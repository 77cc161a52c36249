"""
What a hostile or broken caller sends to a real node, as raw gRPC: the SDK would refuse it first.

Everything is sent to one node, whose peer is down, so that its log grows by what it takes and by
nothing else. Each record is right and rightly signed but for the one thing that its name says.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import builders
import pytest
from bench.load import connect
from border import Border, audit
from e2e.raw import Call, World, by, changed, now, other_bytes, reason_of, settings, sign, unlimited
from spellings import other_spellings

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.core.body import MAX_BODY_BYTES
from ledgerd_client.core.fields import MAX_COUNT
from ledgerd_client.transport import MAX_REQUEST_BYTES

MINUTE = 60_000_000


def in_six_minutes(world: World) -> pb.Record:
    transfer = body_pb2.Transfer(terms=world.terms())
    return world.record(at=now() + 6 * MINUTE, transfer=transfer)


def of_terms(raw: bytes) -> body_pb2.Transfer:
    return body_pb2.Transfer(terms=raw)


# What is wrong with a record, the reason that the node must give, and the record.
RECORDS: dict[str, tuple[str, Callable[[World], pb.Record]]] = {
    "it is not signed": ("UNSIGNED", lambda w: changed(w.transfer(), signature=b"")),
    "its signature is another record's": ("BAD_SIGNATURE", lambda w: changed(w.transfer(), signature=w.transfer().signature)),
    "its body was changed after signing": ("BAD_SIGNATURE", lambda w: changed(w.transfer(), body=w.transfer().body)),
    "its signature is cut short": ("FIELD_OUT_OF_RANGE", lambda w: changed(w.transfer(), signature=bytes(63))),
    "its key was never admitted": ("KEY_UNKNOWN", lambda w: sign(w.transfer().body, builders.new_key())),
    "its key is another institution's": ("KEY_UNKNOWN", lambda w: sign(w.transfer().body, w.bank.key)),
    "another institution wrote it": ("WRONG_AUTHOR", World.by_bank),
    "it is the authority's to state": ("WRONG_AUTHOR", World.revocation_of_bank),
    "it is of another log": ("WRONG_ORIGIN", World.of_the_other_log),
    "its terms name another exporter": ("NOT_EXPORTER", lambda w: w.transfer(exporter=w.bank.party)),
    "it acknowledges what another was sent": ("NOT_RECIPIENT", lambda w: w.ack(w.bank)),
    "it accepts another payload than was declared": ("FIELD_OUT_OF_RANGE", lambda w: w.ack(w.hospital, received_commitment=os.urandom(32))),
    "its outcome has no meaning": ("UNKNOWN_CODE", lambda w: w.ack(w.hospital, outcome=9)),
    "its body is not canonical": ("NOT_CANONICAL", lambda w: changed(w.transfer(), body=w.transfer().body + b"\xf8\x07\x01")),
    "its terms are not canonical": ("NOT_CANONICAL", lambda w: w.record(transfer=of_terms(w.terms() + b"\xf8\x07\x01"))),
    "its body is no message": ("MALFORMED", lambda w: changed(w.transfer(), body=b"\xff")),
    "its body is empty": ("FIELD_OUT_OF_RANGE", lambda w: changed(w.transfer(), body=b"")),
    "its body is too large": ("BODY_TOO_LARGE", lambda w: changed(w.transfer(), body=bytes(MAX_BODY_BYTES + 1))),
    "it counts more people than there are": ("FIELD_OUT_OF_RANGE", lambda w: w.transfer(subjects=MAX_COUNT + 1)),
    "it counts more first-timers than people": ("FIELD_OUT_OF_RANGE", lambda w: w.transfer(subjects=3, subjects_first_this_year=4)),
    "it names a purpose that is not known": ("UNKNOWN_CODE", lambda w: w.transfer(purposes=[999])),
    "its purposes are not ascending": ("FIELD_OUT_OF_RANGE", lambda w: w.transfer(purposes=[7, 2])),
    "its day of deletion is none": ("FIELD_OUT_OF_RANGE", lambda w: w.transfer(delete_by=20270229)),
    "nothing crosses": ("FIELD_OUT_OF_RANGE", lambda w: w.transfer(recipient=w.bank.party)),
    "it holds a Mainland identity number": ("PERSONAL_DATA", lambda w: w.transfer(contract_id="No 11010519491231002X")),
    "it holds a Hong Kong identity card number": ("PERSONAL_DATA", lambda w: w.cancel("asked by A123456(3) at the desk")),
    "it holds a card number": ("PERSONAL_DATA", lambda w: w.cancel("charged to 4111 1111 1111 1111")),
    "it is of six minutes from now": ("CLOCK_AHEAD", in_six_minutes),
}  # fmt: skip


def one(world: World) -> bytes:
    return pb.AppendRequest(records=[world.transfer()]).SerializeToString()


def many(world: World) -> bytes:
    return pb.AppendRequest(records=[world.transfer()] * 1001).SerializeToString()


# What is wrong with a call as a whole, its reason (or gRPC's code where the node says nothing), and
# the call.
CALLS: dict[str, tuple[str, Call]] = {
    "it has no record": ("BATCH_EMPTY", by("sz-hospital", "LedgerService/Append")),
    "it has 1,001 records": ("BATCH_TOO_LARGE", by("sz-hospital", "LedgerService/Append", many)),
    "it is no message": ("MALFORMED", by("sz-hospital", "LedgerService/Append", lambda _: b"\xff")),
    "its message is too large": ("RESOURCE_EXHAUSTED", unlimited(lambda _: bytes(MAX_REQUEST_BYTES + 1))),
    "its caller has no certificate": ("UNAVAILABLE", unlimited(one, certificate=False)),
    "an institution of the other side appends": ("TRUST_DOMAIN", by("hk-clinic", "LedgerService/Append", one)),
    "an operator appends": ("WRONG_ROLE", by("mainland-operator", "LedgerService/Append", one)),
    "the peer appends": ("WRONG_ROLE", by("hongkong/node", "LedgerService/Append", one)),
    "the peer submits a key": ("WRONG_ROLE", by("hongkong/node", "AdminService/SubmitKeyEvent")),
    "an institution submits a key": ("WRONG_ROLE", by("gz-bank", "AdminService/SubmitKeyEvent")),
    "an institution asks for headers": ("WRONG_ROLE", by("gz-bank", "PeerService/ListHeaders")),
    "an institution asks to be cosigned": ("WRONG_ROLE", by("gz-bank", "PeerService/AddCheckpoint")),
    "an institution asks what is cosigned": ("WRONG_ROLE", by("gz-bank", "PeerService/GetCosigned")),
    "an institution reads everything": ("WRONG_ROLE", by("gz-bank", "RegulatorService/ListEntries")),
}  # fmt: skip


@dataclass(slots=True)
class Answers:
    """What the node said to each, and its log's size before and after."""

    records: dict[str, str]
    calls: dict[str, str]
    reused: str
    spellings: set[str]
    sizes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Played:
    answers: Answers
    audit: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    border = Border(tmp_path_factory.mktemp("bad-input") / "border")
    try:
        border.mainland.start()
        answers = asyncio.run(send_everything(World.of(border)))
        assert border.mainland.stop() == 0
        yield Played(answers, audit(border.mainland.config))
    finally:
        border.close()


async def send_everything(world: World) -> Answers:
    async with connect(settings(world.border, "sz-hospital")) as channel:
        stub = rpc.LedgerServiceStub(channel)

        async def outcome(record: pb.Record) -> pb.AppendOutcome:
            reply = await stub.Append(pb.AppendRequest(records=[record]), wait_for_ready=True)
            return reply.outcomes[0]

        async def refusal(record: pb.Record) -> str:
            return (await outcome(record)).refused.reason

        good = world.transfer()
        # A right one is taken: how they are made here is not what refuses the others.
        assert (await outcome(good)).WhichOneof("result") == "recorded"
        before = (await stub.GetInfo(pb.GetInfoRequest())).size
        records = {name: await refusal(make(world)) for name, (_, make) in RECORDS.items()}
        calls = {name: await reason_of(call(world)) for name, (_, call) in CALLS.items()}
        reused = await refusal(other_bytes(good, world.hospital.key))
        spelled = other_spellings(good.body).values()
        spellings = {await refusal(changed(good, body=body)) for body in spelled}
        after = (await stub.GetInfo(pb.GetInfoRequest())).size
    return Answers(records, calls, reused, spellings, (before, after))


@pytest.mark.parametrize("what", RECORDS)
def test_a_record_is_refused_because(played: Played, what: str) -> None:
    assert played.answers.records[what] == RECORDS[what][0]


@pytest.mark.parametrize("what", CALLS)
def test_a_call_is_refused_because(played: Played, what: str) -> None:
    assert played.answers.calls[what] == CALLS[what][0]


def test_a_record_id_is_not_used_for_other_bytes(played: Played) -> None:
    assert played.answers.reused == "RECORD_ID_REUSED"


def test_no_second_spelling_of_a_stored_record_is_taken(played: Played) -> None:
    assert played.answers.spellings <= {"NOT_CANONICAL", "MALFORMED"}


def test_nothing_of_it_is_stored(played: Played) -> None:
    assert played.answers.sizes[0] == played.answers.sizes[1]


def test_the_store_audits_afterwards(played: Played) -> None:
    assert played.audit.stdout.startswith(f"{played.answers.sizes[1]} entries")

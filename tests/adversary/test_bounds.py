"""No lie makes the honest node grow, stops its appends, or makes it accuse the wrong one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from hashlib import sha256

import grpc
import pytest
import pytest_asyncio
from adversary.entries import tick
from adversary.liar import Script
from adversary.scene import Scene, scene
from adversary.streams import BEYOND, STREAMS
from builders import Border, Institution, Log, new_key
from e2e.raw import institution, now, settings, sign

from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client._proto import service_pb2_grpc as rpc
from ledgerd_client.core.checkpoint import Checkpoint, cosign
from ledgerd_client.core.header import Halves, Kind
from ledgerd_client.core.note import COSIGNATURE_V1, Signer, parse_note
from ledgerd_client.core.transfer import ref_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

GREEDY = [
    "enormous_message", "very_many_headers_in_one_message", "very_many_bodies_in_one_message",
    "stream_without_end", "empty_messages_without_end", "garbage",
]  # fmt: skip
MIB = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(tmp_path_factory.mktemp("bounds"), entries=20) as found:
        yield found


class TestMemory:
    async def test_does_not_grow_with_what_is_sent(self, told: Scene) -> None:
        await told.honest.append()
        before = told.honest.memory
        for name in GREEDY * 2:
            log = told.copy()
            for _ in range(BEYOND):
                tick(log)
            await told.tell(STREAMS[name][1](told, log))
            await told.truth()
        assert told.honest.memory < before + 64 * MIB

    async def test_does_not_grow_with_what_callers_say_they_saw(self, told: Scene) -> None:
        before = told.honest.memory
        async with told.honest.channel("hk-clinic") as channel:
            call = rpc.LedgerServiceStub(channel).GetInfo
            for _ in range(2000):
                metadata = grpc.aio.Metadata(("ledgerd-peer-checkpoint-bin", os.urandom(4000)))
                await call(pb.GetInfoRequest(), metadata=metadata)
        assert told.honest.memory < before + 16 * MIB


class TestTheDaemon:
    async def test_has_never_ended(self, told: Scene) -> None:
        assert told.honest.node.process is not None
        assert told.honest.node.process.poll() is None


# -- what was cosigned -----------------------------------------------------------------------------


def of_the_newest(told: Scene, key: Signer) -> bytes:
    tree = Checkpoint.parse(parse_note(told.liar.cosigned).text)
    note = told.liar.cosigned.partition(b"\n\n")[0] + b"\n\n"
    own = told.liar.cosigned.removeprefix(note).splitlines(keepends=True)[0]
    return note + own + cosign(tree, key, 1_790_000_000).format().encode()


def nothing(told: Scene) -> bytes:
    return b""


def garbage(told: Scene) -> bytes:
    return os.urandom(300)


def by_another_cosigner(told: Scene) -> bytes:
    return of_the_newest(told, Signer(told.log.origin, COSIGNATURE_V1, new_key()))


def not_by_the_honest_log(told: Scene) -> bytes:
    tree = Checkpoint.parse(parse_note(told.liar.cosigned).text)
    other = Log(tree.origin)
    return other.checkpoint() if other.entries else of_another_log(told, tree)


def of_another_log(told: Scene, tree: Checkpoint) -> bytes:
    stranger = Log(tree.origin, entries=told.log.entries[:5])
    return stranger.checkpoint()


@pytest.mark.parametrize("said", [nothing, garbage, by_another_cosigner, not_by_the_honest_log])
class TestALiarThatSaysWhatItCosigned:
    async def test_takes_nothing_back(self, told: Scene, said: object) -> None:
        await told.truth()
        known = await own_cosigned(told)
        assert callable(said)
        told.liar.script = Script(cosigned=said(told))
        await told.honest.restart()
        await told.honest.append()
        # What it has asked for since, the liar has cosigned as it should.
        assert await own_cosigned(told) in told.liar.given
        assert told.honest.bundles == []
        told.liar.script = Script()
        await told.until(lambda: own_cosigned(told), lambda note: note != known)


async def own_cosigned(told: Scene) -> bytes:
    """What the honest node shows its institutions as cosigned by the liar."""
    async with told.honest.channel("hk-clinic") as channel:
        request = pb.GetCheckpointRequest(cosigned=True)
        return (await rpc.LedgerServiceStub(channel).GetCheckpoint(request)).checkpoint


# -- a half by the wrong one -----------------------------------------------------------------------


class TestAnAckByAnInstitutionThatTheTermsDoNotName:
    async def test_is_a_finding_and_no_failure(self, told: Scene) -> None:
        terms = await declared(told)
        bank = told.log.institution(told.border, "gz-bank")
        del told.log.entries[told.liar.shown :]
        accept(told.log, bank, terms)
        await told.truth()
        found = await told.until(
            lambda: findings(told), lambda rules: any("foreign_half" in rule for rule in rules)
        )
        assert (told.honest.bundles, len(found)) == ([], 1)


async def declared(told: Scene) -> bytes:
    """The terms of a transfer that a clinic declared to a hospital on the liar's side."""
    author, recipient = (
        institution(settings(told.border, name)) for name in ("hk-clinic", "sz-hospital")
    )
    logs = Log(author.origin), Log(recipient.origin)
    transfer = Border(*logs, author, recipient).transfer()
    record = sign(author.body(now(), transfer=transfer), author.key)
    async with told.honest.channel("hk-clinic") as channel:
        await rpc.LedgerServiceStub(channel).Append(pb.AppendRequest(records=[record]))
    return transfer.terms


def accept(log: Log, bank: Institution, terms: bytes) -> None:
    ack = body_pb2.Ack(terms=terms, outcome=body_pb2.OUTCOME_ACCEPTED, received_at=now())
    body = bank.body(now(), ack=ack)
    parties = body_pb2.Terms.FromString(terms)
    halves = Halves(ref_of(parties), sha256(terms).digest(), 1, parties.exporter.origin)
    header = log.header(Kind.ACK, body, bank.key, key_index=bank.admitted_at, halves=halves)
    log.append(header, body)


async def findings(told: Scene) -> list[str]:
    """The rules of the findings that concern the clinic."""
    async with told.honest.channel("hk-clinic") as channel:
        response = await rpc.LedgerServiceStub(channel).ListFindings(pb.ListFindingsRequest())
    bodies = (body_pb2.Body.FromString(found.body) for found in response.findings)
    return [body.finding.rule for body in bodies]

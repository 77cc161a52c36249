"""Raw requests in, checked records out: in this process, and in worker processes that may die."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Any, cast

import pytest
from builders import HONG_KONG, MAINLAND, Border, Institution, new_border, new_key

from ledgerd.ledger.admission import (
    MAX_RECORDS,
    Admission,
    Request,
    check_requests,
)
from ledgerd.ledger.call import Call, Item
from ledgerd.ledger.workers import Workers
from ledgerd_client._proto import body_pb2 as pb
from ledgerd_client._proto import service_pb2
from ledgerd_client.core.body import parse_body
from ledgerd_client.core.errors import (
    ForbiddenError,
    InputError,
    LedgerError,
    MalformedError,
    SignatureError,
    TooLargeError,
    UnavailableError,
)
from ledgerd_client.core.record import Admitted, Key, SignedRecord, admit, sign_record


@pytest.fixture(scope="module")
def border() -> Border:
    return new_border()


def record(border: Border, author: Institution | None = None) -> SignedRecord:
    author = author or border.exporter
    return sign_record(author.body(transfer=border.transfer()), author.key)


def raw(*records: SignedRecord) -> bytes:
    return service_pb2.AppendRequest(
        records=[
            service_pb2.Record(body=r.body, key_id=r.key_id, signature=r.signature) for r in records
        ]
    ).SerializeToString()


def keys_of(author: Institution) -> Mapping[bytes, Key]:
    return {author.key.key_id: Key(author.admitted_at, author.key.public)}


def request(border: Border, *records: SignedRecord, **changes: Any) -> Request:
    whole = Request(raw(*records), border.exporter.id, keys_of(border.exporter))
    return whole._replace(**changes)


def checked(request: Request) -> list[Item]:
    """What a worker makes of a request's records; raises what is wrong with it as a whole."""
    (result,) = check_requests(MAINLAND, [request])
    if isinstance(result, LedgerError):
        raise result
    return result.items()


def outcomes(items: list[Item]) -> list[type]:
    return [type(each) for each in items]


class TestRequest:
    def test_a_good_record_is_admitted_under_its_key(self, border: Border) -> None:
        (admitted,) = checked(request(border, record(border)))
        assert isinstance(admitted, Admitted)
        assert (admitted.key_id, admitted.key_index) == (border.exporter.key.key_id, 1)

    def test_its_bytes_are_kept_as_they_came(self, border: Border) -> None:
        signed = record(border)
        (admitted,) = checked(request(border, signed))
        assert isinstance(admitted, Admitted)
        assert admitted.body == signed.body
        assert signed.signature in admitted.tail

    def test_each_record_has_an_outcome_of_its_own(self, border: Border) -> None:
        good = record(border)
        forged = SignedRecord(good.body, good.key_id, bytes(64))
        items = checked(request(border, good, forged, good))
        assert outcomes(items) == [Admitted, SignatureError, Admitted]

    @pytest.mark.parametrize("count", [1, MAX_RECORDS])
    def test_a_call_of_so_many_records_is_taken(self, border: Border, count: int) -> None:
        empty = SignedRecord(b"", b"", b"")
        assert len(checked(request(border, *[empty] * count))) == count

    @pytest.mark.parametrize(
        ("count", "reason"), [(0, "BATCH_EMPTY"), (MAX_RECORDS + 1, "BATCH_TOO_LARGE")]
    )
    def test_a_call_of_so_many_is_not(self, border: Border, count: int, reason: str) -> None:
        with pytest.raises(TooLargeError) as caught:
            checked(request(border, *[SignedRecord(b"", b"", b"")] * count))
        assert caught.value.reason == reason

    @pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", b"\x0b" * 9, b"text"])
    def test_what_is_no_request_is_malformed(self, border: Border, data: bytes) -> None:
        with pytest.raises(MalformedError):
            checked(request(border, raw=data))


class TestRecord:
    """What the log need not be asked for."""

    def refused(self, border: Border, signed: SignedRecord, **changes: Any) -> LedgerError:
        (error,) = checked(request(border, signed, **changes))
        assert isinstance(error, LedgerError)
        return error

    def test_a_record_without_a_signature(self, border: Border) -> None:
        signed = record(border)
        bare = SignedRecord(signed.body, signed.key_id, b"")
        assert self.refused(border, bare).reason == "UNSIGNED"

    def test_a_signature_that_fails(self, border: Border) -> None:
        signed = record(border)
        forged = SignedRecord(signed.body, signed.key_id, signed.signature[::-1])
        assert self.refused(border, forged).reason == "BAD_SIGNATURE"

    def test_a_signature_of_another_body(self, border: Border) -> None:
        first, second = record(border), record(border)
        mixed = SignedRecord(first.body, first.key_id, second.signature)
        assert self.refused(border, mixed).reason == "BAD_SIGNATURE"

    def test_a_key_that_was_not_admitted(self, border: Border) -> None:
        signed = sign_record(record(border).body, new_key())
        assert self.refused(border, signed).reason == "KEY_UNKNOWN"

    def test_no_key_at_all(self, border: Border) -> None:
        assert self.refused(border, record(border), keys={}).reason == "KEY_UNKNOWN"

    def test_a_body_by_somebody_else(self, border: Border) -> None:
        assert self.refused(border, record(border), author="uscc.OTHER").reason == "WRONG_AUTHOR"

    def test_a_body_for_the_other_log(self, border: Border) -> None:
        terms = border.transfer(exporter=border.recipient.party, recipient=border.exporter.party)
        stranger = Institution(HONG_KONG, border.recipient.id, border.exporter.key, 1)
        signed = sign_record(stranger.body(transfer=terms), stranger.key)
        assert self.refused(border, signed, author=stranger.id).reason == "WRONG_ORIGIN"

    def test_a_body_that_is_not_canonical(self, border: Border) -> None:
        signed = record(border)
        spelt = SignedRecord(signed.body + b"\xf8\x07\x01", signed.key_id, signed.signature)
        assert self.refused(border, spelt).reason == "NOT_CANONICAL"

    def test_a_body_that_is_too_large(self, border: Border) -> None:
        large = SignedRecord(bytes(32 * 1024 + 1), b"", b"")
        assert self.refused(border, large).reason == "BODY_TOO_LARGE"

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 9, bytes(9)])
    def test_a_body_that_is_none(self, border: Border, data: bytes) -> None:
        signed = record(border)
        error = self.refused(border, SignedRecord(data, signed.key_id, signed.signature))
        assert isinstance(error, InputError)

    @pytest.mark.parametrize("size", [0, 32, 34])
    def test_a_key_id_of_another_size(self, border: Border, size: int) -> None:
        signed = record(border)
        error = self.refused(border, SignedRecord(signed.body, bytes(size), signed.signature))
        assert isinstance(error, InputError)

    def test_a_half_that_is_not_the_authors_to_state(self, border: Border) -> None:
        terms = border.transfer(exporter=border.recipient.party, recipient=border.exporter.party)
        with pytest.raises(ForbiddenError):
            sign_record(border.exporter.body(transfer=terms), border.exporter.key)


class TestRequestsTogether:
    """Requests that went to a worker together do not share their faults."""

    def test_a_bad_request_leaves_the_others(self, border: Border) -> None:
        good = request(border, record(border))
        results = check_requests(MAINLAND, [good, request(border, raw=b"\xff"), good])
        assert [type(result) for result in results] == [Call, MalformedError, Call]

    def test_a_fault_nobody_thought_of_leaves_the_others_too(self, border: Border) -> None:
        good = request(border, record(border))
        strange = good._replace(keys=None)  # type: ignore[arg-type]  # what no caller passes
        results = check_requests(MAINLAND, [good, strange, good])
        assert [type(result) for result in results] == [Call, LedgerError, Call]


class TestCall:
    def test_items_come_out_as_they_went_in(self, border: Border) -> None:
        """Alike, of another contract, of another kind, and refused."""
        bodies = [
            {"transfer": border.transfer()},
            {"transfer": border.transfer()},
            {"transfer": border.transfer(contract_id="GBA-SC-2026-777")},
            {"cancel": pb.Cancel(terms=border.transfer().terms)},
        ]
        author = border.exporter
        signed = [sign_record(author.body(**body), author.key) for body in bodies]
        forged = signed[0]._replace(signature=bytes(64))
        *admitted, refused = checked(request(border, *signed, forged))
        keys = keys_of(author)
        assert admitted == [
            admit(each, origin=MAINLAND, author=author.id, keys=keys) for each in signed
        ]
        assert isinstance(refused, SignatureError)


async def started(count: int) -> Workers:
    workers = Workers(count)
    await workers.start()
    return workers


class TestWorkers:
    async def test_they_are_processes_of_their_own(self) -> None:
        workers = await started(1)
        assert await workers.run(os.getpid) != os.getpid()
        await workers.close()

    async def test_they_stand_back_for_the_writer(self) -> None:
        workers = await started(1)
        niceness = os.getpriority(os.PRIO_PROCESS, await workers.run(os.getpid))
        assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + 5, 19)
        await workers.close()

    async def test_an_error_of_ours_comes_back_whole(self) -> None:
        workers = await started(1)
        with pytest.raises(MalformedError) as caught:
            await workers.run(parse_body, b"\xff")
        assert caught.value.reason == "MALFORMED"
        await workers.close()

    async def test_a_killed_worker_is_told_and_replaced(self, border: Border) -> None:
        """Its call may be made again, and the next one is served."""
        workers = await started(1)
        admission = Admission(MAINLAND, workers)
        os.kill(await workers.run(os.getpid), signal.SIGKILL)
        with pytest.raises(UnavailableError):
            await admission.check(request(border, record(border)))
        checked = await admission.check(request(border, record(border)))
        assert outcomes(checked.items()) == [Admitted]
        await workers.close()

    async def test_calls_after_closing_are_answered(self, border: Border) -> None:
        workers = Workers(1)
        await workers.close()
        with pytest.raises(LedgerError):
            await Admission(MAINLAND, workers).check(request(border, record(border)))


class Gated:
    """One worker, whose calls end once the gate is open; tells what it was asked to check."""

    count = 1

    def __init__(self) -> None:
        self.called, self.gate = asyncio.Event(), asyncio.Event()
        self.batches: list[list[Request]] = []

    async def run(
        self, _check: object, _origin: str, requests: list[Request]
    ) -> list[Call | LedgerError]:
        self.batches.append(requests)
        self.called.set()
        await self.gate.wait()
        return [Call.of([]) for _ in requests]


class TestAdmission:
    async def test_one_call_after_the_other_finds_the_worker_free(self, border: Border) -> None:
        """The next call comes in the turn of the loop in which the last one is answered."""
        workers = await started(1)
        admission = Admission(MAINLAND, workers)
        for _ in range(3):
            checked = await admission.check(request(border, record(border)))
            assert outcomes(checked.items()) == [Admitted]
        await workers.close()

    async def test_many_requests_are_each_answered_with_their_own(self, border: Border) -> None:
        workers = await started(2)
        admission = Admission(MAINLAND, workers)
        records = [record(border) for _ in range(40)]
        checked = await asyncio.gather(
            *(admission.check(request(border, *[each] * 3)) for each in records)
        )
        bodies = [
            [item.body for item in each.items() if isinstance(item, Admitted)] for each in checked
        ]
        assert bodies == [[each.body] * 3 for each in records]
        await workers.close()

    async def test_a_caller_that_went_away_disturbs_nobody(self, border: Border) -> None:
        workers = await started(1)
        admission = Admission(MAINLAND, workers)
        calls = [
            asyncio.create_task(admission.check(request(border, record(border)))) for _ in range(10)
        ]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [
            outcomes(result.items()) for result in results[1::2] if isinstance(result, Call)
        ] == [[Admitted]] * 5
        await workers.close()

    async def test_what_a_caller_that_went_away_asked_is_neither_kept_nor_checked(
        self, border: Border
    ) -> None:
        workers = Gated()
        admission = Admission(MAINLAND, cast("Workers", workers))
        asked = [request(border, *[record(border)] * 100) for _ in range(6)]
        calls = [asyncio.create_task(admission.check(each)) for each in asked]
        # The first few go to the worker, and the last is to follow them.
        await workers.called.wait()
        for call in calls[:-1]:
            call.cancel()
        await asyncio.gather(*calls[:-1], return_exceptions=True)
        workers.gate.set()
        await calls[-1]
        assert workers.batches[1:] == [[asked[-1]]]

    async def test_a_bad_request_is_raised_to_its_caller_alone(self, border: Border) -> None:
        workers = await started(1)
        admission = Admission(MAINLAND, workers)
        good, bad = request(border, record(border)), request(border, raw=b"\xff")
        results = await asyncio.gather(
            *(admission.check(each) for each in (good, bad, good)), return_exceptions=True
        )
        assert [type(result) for result in results] == [Call, MalformedError, Call]
        await workers.close()


class TestAuthorsTakeTurns:
    """One that sends much waits behind itself."""

    async def test_with_what_waits_for_a_worker(self, border: Border) -> None:
        taken: list[list[str]] = []

        class OneWorker:
            count = 1

            async def run(self, _check: object, _origin: str, requests: list[Request]) -> list[Any]:
                taken.append([each.author for each in requests])
                await asyncio.sleep(0)
                return [Call.of([])] * len(requests)

        admission = Admission(MAINLAND, cast("Workers", OneWorker()))
        # Each fills a passage, so that none goes along with another.
        large = bytes(1 << 20)
        much = [admission.check(Request(large, "uscc.MUCH", {})) for _ in range(5)]
        await asyncio.gather(*much, admission.check(Request(large, "uscc.LITTLE", {})))
        assert taken.index(["uscc.LITTLE"]) <= 2

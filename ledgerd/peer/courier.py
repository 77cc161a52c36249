"""
A peer that is reached by files alone: what it would have said, and somebody carried here.

Headers and cosignatures prove themselves, however they came. What has to be new, too, does so only
in an answer: how old the peer's log is here, by our own clock, and what it knows of our past.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from ledgerd.ledger.reader import Reader
from ledgerd.peer.answer import Answer
from ledgerd.peer.carried import Carried
from ledgerd.peer.exchange import Came, Exchange, Outcome
from ledgerd.peer.notes import parse_known
from ledgerd.peer.replica import HEADERS_CUT, Replica
from ledgerd_client._proto import body_pb2
from ledgerd_client._proto import service_pb2 as pb
from ledgerd_client.core.errors import (
    ConflictError,
    InputError,
    LedgerError,
    NotReadyError,
    SignatureError,
    UnavailableError,
    VerificationError,
)
from ledgerd_client.core.keys import Signs
from ledgerd_client.core.merkle import leaf_hash

_CARRY: Final = "carry a file to the peer, and its answer back: `ledgerd peer export`"
_AGAIN: Final = "carry it again; if the same comes of it, call the other operator"


class CarriedPeer:
    """
    A PeerClient out of an Exchange. Belongs to the event loop.

    is_unconfirmed: whether this node waits for the peer's word about its own past. It takes that
    from an answer alone, to a question that it has asked since it lost its memory.
    """

    def __init__(
        self,
        exchange: Exchange,
        reader: Reader,
        *,
        origin: str,
        peer_origin: str,
        key: Callable[[], Signs],
        is_unconfirmed: Callable[[], bool],
    ) -> None:
        """Reader and origin are those of our own log; key: our entry key in force."""
        self.known_checkpoint = b""
        self._exchange = exchange
        self._reader = reader
        self._origin = origin
        self._peer_origin = peer_origin
        self._key = key
        self._is_unconfirmed = is_unconfirmed
        self._reading = asyncio.Lock()
        # What is replayed in this round; and, once it is, the answer that it has for us.
        self._taken: Came | None = None
        self._heard: Answer | None = None
        # What was answered last: question, both notes, and the key that signed.
        self._said: tuple[bytes, bytes, bytes, bytes] | None = None
        self._told: Outcome | None = None

    # -- what the monitor asks ------------------------------------------------------------

    def asked_at(self, replica: Replica) -> int:
        """
        When what is replayed was asked for, by our clock (µs); 0: it answers nothing of ours.

        Whatever the peer had recorded by then is in replica.
        """
        answer = self._taken.carried.answer if self._taken else None
        asked = self._exchange.asked(answer.question) if answer else None
        self._heard = None
        if answer is None or asked is None or not self._is_by_peer(answer, replica):
            return 0
        if answer.size < asked.verified:
            # It has lost entries that we have: what else it has lost, nobody knows.
            return 0
        self._heard = answer
        return asked.at

    async def brought(self) -> tuple[int, Sequence[bytes]]:
        """
        Hashes of the headers that came in this round's file, and the first one's index.

        None of a file that ends before its checkpoint: they come to nothing.
        """
        if self._taken is None or self._taken.carried.is_part:
            return 0, []
        carried = self._taken.carried
        return carried.start, await asyncio.to_thread(_leaves, carried)

    def _is_by_peer(self, answer: Answer, replica: Replica) -> bool:
        """Whether the peer says so by its present key, and of a log that is replayed."""
        if answer.size > replica.verified_size or replica.root(answer.size) != answer.root:
            return False
        key = replica.verified_history().key_in_force(body_pb2.ROLE_ENTRY)
        try:
            answer.verify(key.public, self._peer_origin, self._origin)
        except SignatureError:
            return False
        return True

    async def reply(self, vouched: bytes, seen: bytes, error: LedgerError | None) -> None:
        """
        Answer the file that was taken in this round, and tell whoever brought it what came of it.

        vouched: what we vouch for of the peer's log, once nothing more of it is on its way; seen:
        as Witness.seen; error: why the round failed.
        """
        if self._taken is not None:
            await self._answer(self._taken.carried.envelope.asks, vouched, seen)
            await self._tell(self._taken.digest, error)

    async def _answer(self, question: bytes, vouched: bytes, seen: bytes) -> None:
        key = self._key()
        said = (question, vouched, seen, key.public)
        if said == self._said:
            return
        answer = Answer.make(
            key,
            self._peer_origin,
            question=question,
            head=parse_known(self._reader.head().checkpoint).checkpoint,
            cosigned=vouched,
            seen=seen,
        )
        await asyncio.to_thread(self._exchange.put_answer, answer)
        self._said = said

    async def _tell(self, file: bytes, error: LedgerError | None) -> None:
        answers = self._heard.question if self._heard and error is None else b""
        outcome = Outcome(file, answers, "", "", "")
        # Of a part all was replayed that is in it.
        if error is not None and error.reason != HEADERS_CUT:
            # What is wrong in itself may have been changed on its way.
            is_bad = isinstance(error, VerificationError | InputError)
            action = _AGAIN if is_bad else error.action
            outcome = Outcome(file, answers, error.reason, error.message, action)
        if outcome != self._told:
            await asyncio.to_thread(self._exchange.put_outcome, outcome)
            self._told = outcome

    # -- a PeerClient -----------------------------------------------------------------------

    async def list_headers(self, start: int) -> AsyncGenerator[pb.ListHeadersResponse, None]:
        self._taken = None
        self._taken = await self._need()
        carried = self._taken.carried
        if start < carried.start:
            raise UnavailableError(
                f"the peer's file begins at entry {carried.start}, and {start} are replayed",
                reason="CARRIED_TOO_LITTLE",
                action="carry a file to the peer, which says so, and its answer back",
            )
        note = carried.checkpoint
        for page in carried.pages:
            cut = min(max(0, start - page.first), len(page.headers))
            first = page.first + cut
            if note or cut < len(page.headers):
                yield pb.ListHeadersResponse(
                    checkpoint=note,
                    first=max(first, start),
                    headers=page.headers[cut:],
                    bodies=[each for each in page.bodies if each.index >= first],
                )
            note = b""

    async def list_replica(self, start: int) -> AsyncGenerator[pb.ListReplicaResponse, None]:
        for _ in (start,):
            raise NotReadyError("there is no link to the peer", reason="NO_LINK")
        yield pb.ListReplicaResponse()

    async def prove(self, old: int, new: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
        raise NotReadyError("there is no link to the peer", reason="NO_LINK")

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: bytes) -> str:
        cosigned, _ = await self.get_cosigned()
        if (parse_known(cosigned).size if cosigned else 0) != old_size:
            raise ConflictError("the peer has cosigned another size", reason="SIZE_CONFLICT")
        # The ordinary course: the peer has it when the next file goes there.
        raise UnavailableError(
            "no file of the peer's has a larger cosignature", reason="REPLAY_BEHIND", action=_CARRY
        )

    async def get_cosigned(self) -> tuple[bytes, bytes]:
        if not self._is_unconfirmed():
            cosigned = (await self._need()).carried.cosigned
            return cosigned, self._heard.seen if self._heard else b""
        if self._heard is None:
            raise UnavailableError(
                "nothing was carried here that answers a question which this node has asked since"
                " it was started",
                reason="NOT_CARRIED",
                action=_CARRY,
            )
        return self._heard.cosigned, self._heard.seen

    async def renew(self, *, certificate: bytes, key: bytes) -> None:
        """Nobody is called."""

    async def close(self) -> None:
        """Nothing is open."""

    async def _need(self) -> Came:
        try:
            async with self._reading:
                came = await asyncio.to_thread(self._exchange.newest)
        except LedgerError as error:
            raise UnavailableError(error.message, reason=error.reason) from error
        if came is None:
            raise UnavailableError(
                "nothing was carried here from the peer", reason="NOT_CARRIED", action=_CARRY
            )
        return came


def _leaves(carried: Carried) -> list[bytes]:
    return [leaf_hash(header) for page in carried.pages for header in page.headers]

"""The directory by which a node and `ledgerd peer` speak to each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from ledgerd.peer.answer import Answer
from ledgerd.peer.carried import MAX_BYTES, Carried
from ledgerd.synced import read_file, replace_file
from ledgerd_client.core.errors import MalformedError, StoreError
from ledgerd_client.jsonfile import JsonFile

FROM_PEER: Final = "from-peer"
QUESTIONS: Final = "questions"
ANSWER: Final = "answer"
OUTCOME: Final = "outcome"

_KEPT_QUESTIONS: Final = 256


class Asked(NamedTuple):
    """When a question went out (µs), and how many entries of the peer's were verified by then."""

    at: int
    verified: int


class Came(NamedTuple):
    """A file of the peer's, and the SHA-256 of it."""

    carried: Carried
    digest: bytes


@dataclass(frozen=True, slots=True)
class Outcome(JsonFile):
    """
    What came of the newest round over a file, by its digest; reason and the rest: why it failed.

    reason is "" where all went well; answers: what was asked of the peer and is answered by it,
    b"" for nothing.
    """

    FORMAT: ClassVar = "ledgerd-outcome/v1"

    file: bytes
    answers: bytes
    reason: str
    message: str
    action: str


class Exchange:
    """
    Files from the peer and for it; the directory is made when there is none.

    Files are replaced whole, and are on the disk afterwards. Methods raise StoreError. Those for
    the newest file from the peer are for one thread at a time.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # What was read last, and of which file.
        self._newest: tuple[tuple[int, ...], Came] | None = None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {directory}: {error.strerror}") from error

    def newest(self) -> Came | None:
        """The newest file that came from the peer; raises MalformedError too."""
        path = self._directory / FROM_PEER
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if found.st_size > MAX_BYTES:
            raise MalformedError(f"{path} has more than {MAX_BYTES} bytes")
        which = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._newest is None or self._newest[0] != which:
            # Never two of them at once.
            self._newest = None
            data = self._read(FROM_PEER)
            self._newest = which, Came(Carried.parse(data), sha256(data).digest())
        return self._newest[1]

    def put(self, carried: Carried) -> bytes:
        """Hand over a file; returns its digest."""
        data = carried.format()
        self._replace(FROM_PEER, data)
        return sha256(data).digest()

    def outcome(self) -> Outcome | None:
        """What came of the newest file that the node has gone through."""
        data = self._read(OUTCOME)
        return Outcome.parse(data) if data else None

    def put_outcome(self, outcome: Outcome) -> None:
        self._replace(OUTCOME, outcome.format())

    def answer(self) -> Answer | None:
        """What the node has answered to the newest file that it has taken."""
        data = self._read(ANSWER)
        return Answer.parse(data) if data else None

    def put_answer(self, answer: Answer) -> None:
        self._replace(ANSWER, answer.format())

    def ask(self, question: bytes, asked: Asked) -> None:
        """Remember a question before it goes out."""
        self._put_questions([*self._questions(), (question, asked)][-_KEPT_QUESTIONS:])

    def asked(self, question: bytes) -> Asked | None:
        """What is known of a question; None for none of ours."""
        return dict(self._questions()).get(question)

    def forget(self) -> None:
        """Take no answer to what was asked until now."""
        self._put_questions([])

    def _questions(self) -> list[tuple[bytes, Asked]]:
        lines = self._read(QUESTIONS).decode("ascii", "replace").split("\n")[:-1]
        try:
            return [
                (bytes.fromhex(question), Asked(int(at), int(verified)))
                for question, at, verified in (line.split(" ") for line in lines)
            ]
        except ValueError:
            raise StoreError(f"{self._directory / QUESTIONS} is damaged") from None

    def _put_questions(self, questions: Iterable[tuple[bytes, Asked]]) -> None:
        text = "".join(f"{question.hex()} {at} {held}\n" for question, (at, held) in questions)
        self._replace(QUESTIONS, text.encode())

    def _replace(self, name: str, data: bytes) -> None:
        replace_file(self._directory / name, data)

    def _read(self, name: str) -> bytes:
        return read_file(self._directory / name)

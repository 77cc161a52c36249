"""
Evidence of a wrong entry: a tree that the log's key signed holds what no honest log takes.

Whoever can tell the log's own signatures verifies it offline: all else that a claim rests on is in
the file, included under the same checkpoint (docs/format.md, "Evidence"). As a file:

    ledgerd-entry-evidence/v1
    wrong <claim>
    entry <position> <base64 of the header>   the wrong entry, after an earlier one if the claim is
    hash <base64>                             about two; below each a line for each hash of its
    body <base64>                             inclusion proof, and its body if the claim needs it
    note <bytes>                              the checkpoint's length in bytes; after it the note
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ledgerd_client.core.checkpoint import Checkpoint
from ledgerd_client.core.encoding import parse_base64, parse_decimal
from ledgerd_client.core.errors import (
    InputError,
    MalformedError,
    VerificationError,
)
from ledgerd_client.core.evidence import Evidence, open_accountable, take_note
from ledgerd_client.core.history import KeyHistory
from ledgerd_client.core.wrong_entries import CLAIMS, Entry

FILE_HEAD = "ledgerd-entry-evidence/v1"


@dataclass(frozen=True, slots=True)
class EntryEvidence:
    """
    One of CLAIMS, the wrong entry, the earlier one that it is about, and the whole signed note.

    Two entries stand in the order of their positions.
    """

    wrong: str
    entries: tuple[Entry, ...]
    note: bytes

    @property
    def entry(self) -> Entry:
        """The wrong one."""
        return self.entries[-1]

    def format(self) -> bytes:
        lines = [FILE_HEAD, f"wrong {self.wrong}"]
        lines += [line for entry in self.entries for line in entry.lines()]
        head = "".join(f"{line}\n" for line in lines).encode()
        return head + f"note {len(self.note)}\n".encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """
        Read a bundle, believed by nobody yet.

        Raises MalformedError unless data is its one spelling.
        """
        head, mark, rest = data.partition(b"\nnote ")
        _, *lines = head.decode("ascii", "replace").split("\n")
        blocks: list[list[str]] = []
        for line in lines[1:]:
            if line.startswith("entry ") or not blocks:
                blocks.append([])
            blocks[-1].append(line)
        wrong = "".join(lines[:1]).removeprefix("wrong ")
        note, _ = take_note(mark[1:] + rest)
        evidence = cls(wrong, tuple(map(_parse_entry, blocks)), note)
        positions = [entry.position for entry in evidence.entries]
        if evidence.format() != data or positions != sorted(set(positions)):
            raise MalformedError(f"not a {FILE_HEAD} file, or not in its one spelling")
        if wrong not in CLAIMS or not 1 <= len(positions) <= 2:
            raise MalformedError("evidence of an entry claims one thing, of one entry or two")
        return evidence

    def verify(self, history: KeyHistory) -> Checkpoint:
        """
        Check that this proves what it claims of history's log; return the checkpoint.

        Raises VerificationError when it proves nothing, MalformedError for parts that are none.
        """
        tree = open_accountable(self.note, history)
        for entry in self.entries:
            entry.check_included(tree)
        earlier = self.entries[0] if len(self.entries) > 1 else None
        if not CLAIMS[self.wrong](tree.origin, earlier, self.entry):
            raise VerificationError(f"it proves nothing: the claim {self.wrong!r} is not true")
        return tree


def parse_evidence(data: bytes) -> Evidence | EntryEvidence:
    """Read a bundle of either form; raises MalformedError."""
    form = EntryEvidence if data.startswith(FILE_HEAD.encode() + b"\n") else Evidence
    try:
        return form.parse(data)
    except MalformedError as error:
        raise MalformedError(f"no evidence file: {error.message}") from None


def find_wrong(
    history: KeyHistory, note: bytes, earlier: Iterable[Entry], entry: Entry
) -> EntryEvidence | None:
    """
    Look for what is wrong with an entry, alone or after one of the earlier ones.

    Returns evidence that verifies under history, None if there is nothing.
    """
    for before in (None, *earlier):
        for wrong in CLAIMS:
            entries = (entry,) if before is None else (before, entry)
            evidence = EntryEvidence(wrong, entries, note)
            try:
                evidence.verify(history)
            except (InputError, VerificationError):
                continue
            return evidence
    return None


def _parse_entry(lines: list[str]) -> Entry:
    word, _, rest = lines[0].partition(" ")
    position, _, header = rest.partition(" ")
    if word != "entry":
        raise MalformedError("evidence of an entry begins with the entry")
    fields = [line.partition(" ") for line in lines[1:]]
    hashes = tuple(parse_base64(value) for word, _, value in fields if word == "hash")
    bodies = [parse_base64(value) for word, _, value in fields if word == "body"]
    if len(bodies) > 1:
        raise MalformedError("an entry has one body")
    return Entry(parse_decimal(position), parse_base64(header), hashes, b"".join(bodies))
